"""What rare classes count in training: how often their rows are drawn, and how much they weigh.

Without torch, so that a plan can say what its training will do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from llm_tool.config import MOST_DRAWN, TrainingSettings
from llm_tool.plan import Job
from llm_tool.trainers.multi_label_trainer import Labels, label_array

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_tool.data.dataset import Dataset


def row_draws(labels: Labels, settings: TrainingSettings) -> NDArray[np.float64]:
    """Return how often each training row is drawn in an epoch, shape (rows,).

    With ``oversample: balanced`` as often as makes its class as frequent as the most frequent one,
    ten times at most. Of a shared encoder's rows, which have several labels, as often as the rarest
    of them asks for (Charte et al. 2015, ML-ROS), and once those without a label.

    Args:
        labels: Position of each row's class, shape (rows,), or 0 and 1, shape (rows, labels).
        settings: How it is trained.
    """
    if settings.oversample == "none" or not len(labels):
        return np.ones(len(labels))
    counts = np.bincount(labels) if labels.ndim == 1 else labels.sum(axis=0)
    times = np.minimum(MOST_DRAWN, counts.max() / np.maximum(counts, 1))
    drawn: NDArray[np.float64] = times[labels] if labels.ndim == 1 else (labels * times).max(axis=1)
    return np.maximum(1.0, drawn)


def row_weights(labels: Labels, settings: TrainingSettings) -> NDArray[np.float32]:
    """Return the weight of each row and label: one, or so that classes weigh the same in all.

    ``rows / (classes * rows of the class)``, as scikit-learn's ``balanced`` (King & Zeng 2001),
    counted as they are drawn: what drawing has evened out is not evened out a second time. The mean
    over the drawn rows is one.
    """
    weights = np.ones(labels.shape, dtype=np.float32)
    if settings.class_weights == "none":
        return weights
    draws = row_draws(labels, settings)
    columns, by_column = labels.reshape(len(labels), -1), weights.reshape(len(labels), -1)
    for i in range(columns.shape[1]):
        drawn = np.bincount(columns[:, i], weights=draws)
        by_column[:, i] = draws.sum() / (np.count_nonzero(drawn) * drawn[columns[:, i]])
    return weights


@dataclass(frozen=True)
class Effect:
    """What a class counts in training: its rows' draws in an epoch, and their weight."""

    name: str
    draws: float
    weight: float


def effects(
    job: Job, dataset: Dataset, rows: Sequence[int], settings: TrainingSettings
) -> tuple[Effect, ...]:
    """Return what each class of a job counts, or each label of a shared encoder.

    Args:
        job: The job.
        dataset: The rows.
        rows: Those of its training part.
        settings: How it is trained.
    """
    labels = label_array(job, dataset, rows)
    draws, weights = row_draws(labels, settings), row_weights(labels, settings)
    found = []
    for i, name in enumerate(job.task.classes):
        own = labels[:, i] == 1 if job.labels else labels == i
        if own.any():
            weighed = weights[own, i] if job.labels else weights[own]
            found.append(Effect(name, float(draws[own].mean()), float(weighed[0])))
    return tuple(found)


def drawn_share(
    job: Job, dataset: Dataset, rows: Sequence[int], settings: TrainingSettings
) -> float:
    """Return how many texts an epoch of a job draws for each training row."""
    if settings.oversample == "none" or not rows:
        return 1.0
    return float(row_draws(label_array(job, dataset, rows), settings).mean())
