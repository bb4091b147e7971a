"""Several labels a row: the outputs of a shared encoder seen as one binary task a label.

A network with one output ``z`` a label says the same as a two-class network with the outputs
``(0, z)``: softmax gives the sigmoid, cross-entropy the binary one. So each label of a shared
encoder is scored, recorded and given a threshold by the code that serves a model of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from llm_tool.plan import Job, Task

if TYPE_CHECKING:
    from llm_tool.data.dataset import Rows

Logits = NDArray[np.float32]
Labels = NDArray[np.int64]
EVEN_ODDS = 0.5


def label_array(job: Job, dataset: Rows, rows: Sequence[int]) -> Labels:
    """Return what rows are to be taught as, shape (rows,), or (rows, labels) of a shared encoder.

    Positions in the task's classes; for a binary task 1 where the row has the label value.
    """
    if job.labels:
        columns = [label_array(job.of(task), dataset, rows) for task in job.labels]
        return np.stack(columns, axis=1)
    task = job.task
    values = dataset.keys[task.label_key].values
    if task.label_value:
        return np.fromiter((task.label_value in values[row] for row in rows), np.int64, len(rows))
    position = {name: i for i, name in enumerate(task.classes)}
    return np.fromiter((position[values[row][0]] for row in rows), np.int64, len(rows))


def each_task(job: Job, logits: Logits, labels: Labels) -> Iterator[tuple[Task, Logits, Labels]]:
    """Yield every task of a job with its own logits, shape (rows, classes), and labels (rows,)."""
    if not job.labels:
        yield job.task, logits, labels
        return
    for i, task in enumerate(job.labels):
        yield task, np.stack([np.zeros_like(logits[:, i]), logits[:, i]], axis=1), labels[:, i]


def probabilities(logits: Logits) -> Logits:
    """Return the softmax of logits, shape (rows, classes)."""
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Logits = raised / raised.sum(axis=1, keepdims=True)
    return shares


def predict(logits: Logits, threshold: float | None = None) -> Labels:
    """Return the predicted class of each row: the likeliest, or from a threshold on the second."""
    if threshold is None:
        likeliest: Labels = logits.argmax(axis=1)
        return likeliest
    # In double precision, as it was chosen: rounded, a threshold can fall on a row that it is not.
    return (probabilities(logits)[:, 1].astype(np.float64) >= threshold).astype(np.int64)


def best_threshold(logits: Logits, labels: Labels) -> float:
    """Return the probability from which to say yes, so that macro F1 on these rows is highest.

    Halfway between the two rows that it separates; 0.5 unless another one is truly better, and
    the nearest to it among equals.

    Args:
        logits: Outputs of a binary task, shape (rows, 2).
        labels: True classes, shape (rows,).
    """
    yes = probabilities(logits)[:, 1].astype(np.float64)
    levels = np.unique(yes)
    candidates = np.concatenate([[EVEN_ODDS], (levels[1:] + levels[:-1]) / 2])
    # Rows that each candidate calls positive, by true class: counts above it in a sorted list.
    called = [
        own.size - np.searchsorted(own, candidates, side="left")
        for own in (np.sort(yes[labels == 0]), np.sort(yes[labels == 1]))
    ]
    false_positive, true_positive = called
    negatives, positives = int((labels == 0).sum()), int((labels == 1).sum())
    f1_yes = _f1(true_positive, false_positive + true_positive, positives)
    f1_no = _f1(negatives - false_positive, len(labels) - false_positive - true_positive, negatives)
    macro = np.round((f1_yes + f1_no) / 2, 9)  # equal but for the last bits is equal
    best = np.flatnonzero(macro == macro.max())
    return float(candidates[best[np.abs(candidates[best] - EVEN_ODDS).argmin()]])


def _f1(hits: NDArray[np.int64], called: NDArray[np.int64], true: int) -> NDArray[np.float64]:
    total = called + true
    f1: NDArray[np.float64] = np.zeros(len(total))
    np.divide(2.0 * hits, total, out=f1, where=total > 0)
    return f1
