"""The reinforced phase: which classes are weak, what is done about it, what it gained.

It is one more course of the same training loop: from the best weights, with the rows of weak
classes drawn more often and weighing more in the loss.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from llm_tool.config import TrainingSettings
from llm_tool.data.tokens import Examples
from llm_tool.events import (
    ClassGain,
    EpochEnded,
    Phase,
    ReinforcementEnded,
    ReinforcementStarted,
    WeakClass,
)
from llm_tool.plan import Job
from llm_tool.trainers.imbalance import row_draws, row_weights
from llm_tool.trainers.multi_label_trainer import Labels, Logits, each_task, predict

Flags = NDArray[np.bool_]
_FEWEST = 5  # validation rows of a class in one language that are enough to call it weak there


@dataclass(frozen=True)
class Course:
    """One course of training: the normal one, or the reinforced one after it.

    ``draws`` says how often each row is drawn in an epoch, shape (rows,); ``weights`` how much it
    weighs in the loss, shape of the labels: (rows,), or (rows, labels) of a shared encoder.
    A ``steady`` course divides the loss of a batch by what so many drawn rows weigh on average,
    others divide it by what its own rows weigh.
    """

    phase: Phase
    first_epoch: int
    epochs: int
    learning_rate: float
    draws: NDArray[np.float64]
    weights: NDArray[np.float32]
    steady: bool = False

    @property
    def last_epoch(self) -> int:
        """The number of its last epoch."""
        return self.first_epoch + self.epochs - 1

    def weight_of(self, batch: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return what a batch's sum of losses is divided by, for each output that is learned."""
        if self.steady:  # divided by its own weight, a batch of one row weighs what any other does
            return np.asarray(len(batch) * self._mean_weight, dtype=np.float32)
        own: NDArray[np.float32] = self.weights[batch].sum(axis=0)
        return own

    @cached_property
    def _mean_weight(self) -> NDArray[np.float64]:
        mean: NDArray[np.float64] = np.average(self.weights, axis=0, weights=self.draws)
        return mean


def normal_course(train: Examples, settings: TrainingSettings) -> Course:
    """Return the course that every training begins with; settings are resolved."""
    rate = settings.learning_rate or 0.0
    return Course(
        phase="normal",
        first_epoch=1,
        epochs=settings.epochs or 1,
        learning_rate=rate,
        draws=row_draws(train.labels, settings),
        weights=class_weights(train, settings),
        steady=settings.class_weights != "none",
    )


def class_weights(train: Examples, settings: TrainingSettings) -> NDArray[np.float32]:
    """Return the weight of each row and label; see ``row_weights``."""
    return row_weights(train.labels, settings)


def class_shares(job: Job, train: Examples, settings: TrainingSettings) -> NDArray[np.float64]:
    """Return the share of each class in the loss, or of the yes of each label, shape (outputs,)."""
    draws = row_draws(train.labels, settings)
    weights = (class_weights(train, settings).astype(np.float64).T * draws).T
    if job.labels:
        in_loss = (weights * train.labels).sum(axis=0)
    else:
        in_loss = np.bincount(train.labels, weights=weights, minlength=len(job.task.classes))
    shares: NDArray[np.float64] = in_loss / weights.sum(axis=0)
    return shares


def find_weak(
    job: Job, logits: Logits, validation: Examples, threshold: float
) -> tuple[WeakClass, ...]:
    """Return the classes whose F1 on validation is below the threshold, weakest first.

    Every class of a multi-class task, the positive one of a binary task, every label of a shared
    encoder. A class that is strong in all rows together is weak in a language where it is not,
    given five validation rows there.

    Args:
        job: The job.
        logits: The best epoch's outputs for the validation rows.
        validation: These rows.
        threshold: F1 from which a class is strong.
    """
    own = np.asarray(validation.languages)
    weak = []
    for name, true, predicted in _candidates(job, logits, validation.labels):
        f1 = _f1(true, predicted)
        if true.any() and f1 < threshold:
            weak.append(WeakClass(name, f1, int(true.sum())))
            continue
        for language in job.task.languages if len(job.task.languages) > 1 else ():
            here = own == language
            support = int(true[here].sum())
            f1 = _f1(true[here], predicted[here])
            if support >= _FEWEST and f1 < threshold:
                weak.append(WeakClass(name, f1, support, language))
    return tuple(sorted(weak, key=lambda w: w.f1))


def _candidates(job: Job, logits: Logits, labels: Labels) -> Iterator[tuple[str, Flags, Flags]]:
    """Yield each class that can be weak, with the rows that are and that are called so."""
    names = iter(job.task.classes)
    for task, own_logits, own in each_task(job, logits, labels):
        predicted = predict(own_logits)
        for i, name in enumerate(task.classes):
            if not task.label_value:
                yield name, own == i, predicted == i
            elif i == 1:
                yield next(names) if job.labels else name, own == i, predicted == i


def _f1(true: Flags, predicted: Flags) -> float:
    marked = int(true.sum() + predicted.sum())
    return 2 * int((true & predicted).sum()) / marked if marked else 0.0


def reinforced_course(
    job: Job,
    weak: tuple[WeakClass, ...],
    train: Examples,
    settings: TrainingSettings,
    after: int,
) -> Course:
    """Return the course for weak classes; epochs go on counting after epoch ``after``.

    A class that is weak in one language only is reinforced by its rows in that language.
    """
    position = {name: i for i, name in enumerate(job.task.classes)}
    own = np.asarray(train.languages)
    columns = train.labels.reshape(len(train), -1)
    drawn = np.zeros(len(train), dtype=bool)
    weights = class_weights(train, settings)
    by_column = weights.reshape(columns.shape)
    for one in weak:
        column, value = (position[one.name], 1) if job.labels else (0, position[one.name])
        rows = (columns[:, column] == value) & ((own == one.language) | (not one.language))
        drawn |= rows
        by_column[rows, column] *= settings.reinforced_class_weight
    return Course(
        phase="reinforced",
        first_epoch=after + 1,
        epochs=settings.reinforced_epochs,
        learning_rate=settings.reinforced_learning_rate or 0.0,
        draws=row_draws(train.labels, settings)
        * np.where(drawn, settings.reinforced_oversampling, 1.0),
        weights=weights,
        steady=settings.class_weights != "none",
    )


def reinforcement_started(
    job: Job, weak: tuple[WeakClass, ...], best: EpochEnded, settings: TrainingSettings
) -> ReinforcementStarted:
    """Return what the phase is about to do, from the best epoch on; settings are resolved."""
    return ReinforcementStarted(
        job=job,
        threshold=settings.reinforced_threshold,
        weak=weak,
        from_epoch=best.epoch,
        epochs=settings.reinforced_epochs,
        learning_rate=settings.reinforced_learning_rate or 0.0,
        oversampling=settings.reinforced_oversampling,
        class_weight=settings.reinforced_class_weight,
    )


def summarise(
    job: Job,
    weak: tuple[WeakClass, ...],
    before: EpochEnded,
    after: EpochEnded | None,
    *,
    kept: bool,
) -> ReinforcementEnded:
    """Return what the phase gained: the best normal against the best reinforced epoch.

    Without an ``after`` the phase broke off, and its value is not a number.
    """
    names = {one.name for one in weak}
    gained = {c.name: c.f1 for c in after.scores.classes} if after else {}
    gains = tuple(
        ClassGain(c.name, c.f1, gained.get(c.name), c.name in names) for c in before.scores.classes
    )
    value = after.selection_value if after else math.nan
    return ReinforcementEnded(job, kept, before.monitor, before.selection_value, value, gains)
