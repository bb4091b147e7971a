"""Which classes a model takes for which."""

from __future__ import annotations

from llm_tool.logs.archive import Training


def confusion(training: Training, part: str = "test") -> tuple[tuple[int, ...], ...]:
    """Return how many rows of each class (rows) were taken for each (columns), as sklearn orders.

    Args:
        training: A training that has a result.
        part: ``test`` or ``validation``.

    Raises:
        StudioError: Its predictions cannot be read.
    """
    from sklearn.metrics import confusion_matrix

    predictions = training.predictions()
    own = predictions[predictions["part"] == part]
    classes = list(training.job.task.classes)
    if own.empty:  # sklearn refuses what is empty
        return tuple((0,) * len(classes) for _ in classes)
    counts = confusion_matrix(own["true"], own["predicted"], labels=classes)
    return tuple(tuple(map(int, row)) for row in counts)
