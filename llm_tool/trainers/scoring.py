"""From a model's outputs to the facts of an epoch and of a finished job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from llm_tool.config import TrainingSettings
from llm_tool.data.tokens import Examples, JobData
from llm_tool.errors import StudioError
from llm_tool.events import (
    EpochEnded,
    JobEnded,
    JobStarted,
    Phase,
    Scores,
)
from llm_tool.logs.labels import MEAN, together, whole_result
from llm_tool.logs.session import timestamp
from llm_tool.plan import Job, Task
from llm_tool.trainers.metrics import f1_macro_interval, score
from llm_tool.trainers.multi_label_trainer import Labels, Logits, best_threshold, each_task, predict
from llm_tool.trainers.pretrained import Model


@dataclass(frozen=True)
class Pass:
    """One pass over the training rows; ``losses`` has one entry an output that is learned."""

    losses: Sequence[float]
    learning_rate: float
    seconds: float
    tokens: int


class NotFiniteError(StudioError):
    """The loss is infinite or not a number, and so will be all that follows."""


def check_finite(loss: float, where: str) -> None:
    """Refuse to go on with a loss that is not a number.

    Raises:
        NotFiniteError: It is infinite or not a number.
    """
    if not np.isfinite(loss):
        raise NotFiniteError(
            f"The loss is not finite any more ({where}).",
            remedy="Try a lower --learning-rate.",
        )


def is_better(value: float, than: float, monitor: str) -> bool:
    """Tell whether a value of the monitored metric beats another; equal does not."""
    lower_wins = monitor.removeprefix(MEAN) == "val_loss"
    return value < than if lower_wins else value > than


def best_of(epochs: Sequence[EpochEnded]) -> EpochEnded:
    """Return the epoch with the best monitored metric, the earliest of equals."""
    best = epochs[0]
    for epoch in epochs[1:]:
        if is_better(epoch.selection_value, best.selection_value, epoch.monitor):
            best = epoch
    return best


def job_started(
    job: Job, data: JobData, settings: TrainingSettings, model: Model, resumed_from: int
) -> JobStarted:
    """Return what a job begins with; settings are resolved.

    Args:
        job: The job.
        data: Its rows.
        settings: How it is trained.
        model: What is trained.
        resumed_from: The last epoch of an earlier attempt that counts.
    """
    sets = (data.train, data.validation, data.test)
    return JobStarted(
        job=job,
        timestamp=timestamp(),
        train_rows=len(data.train),
        validation_rows=len(data.validation),
        test_rows=len(data.test),
        epochs=settings.epochs or 1,
        batch_size=settings.batch_size or 1,
        learning_rate=settings.learning_rate or 0.0,
        max_length=settings.max_length or max(int(s.windows.lengths.max(initial=0)) for s in sets),
        cut=data.cut,
        excluded=data.excluded,
        chunked=data.chunked,
        monitor=settings.monitor,
        device=str(model.device),
        precision=settings.precision or "float32",
        parameters=model.num_parameters(),
        resumed_from=resumed_from,
    )


def epoch_ended(
    job: Job,
    epoch: int,
    phase: Phase,
    one_pass: Pass,
    logits: Logits,
    validation: Examples,
    settings: TrainingSettings,
    best: EpochEnded | None,
) -> EpochEnded:
    """Return the facts of an epoch from the outputs for the validation rows.

    Raises:
        StudioError: The validation loss is not finite.
    """
    epochs = []
    tasks = each_task(job, logits, validation.labels)
    for (task, own_logits, labels), loss in zip(tasks, one_pass.losses, strict=True):
        val_loss = float(cross_entropy(torch.from_numpy(own_logits), torch.from_numpy(labels)))
        # Every score of such outputs would be a number, and mean nothing.
        check_finite(val_loss, f"epoch {epoch}, validation")
        scores = _scores(task, predict(own_logits), labels, validation)
        value = val_loss if settings.monitor == "val_loss" else getattr(scores, settings.monitor)
        ended = EpochEnded(
            job=job.of(task),
            epoch=epoch,
            timestamp=timestamp(),
            train_loss=loss,
            val_loss=val_loss,
            scores=scores,
            learning_rate=one_pass.learning_rate,
            seconds=one_pass.seconds,
            tokens_per_second=one_pass.tokens / one_pass.seconds,
            monitor=settings.monitor,
            selection_value=value,
            is_best=False,
            training_phase=phase,
        )
        epochs.append(ended)
    whole = together(job, epochs) if job.labels else epochs[0]
    chosen = best is None or is_better(whole.selection_value, best.selection_value, whole.monitor)
    own = tuple(replace(label, is_best=chosen) for label in whole.labels)
    return replace(whole, is_best=chosen, labels=own)


def _scores(task: Task, predicted: Labels, labels: Labels, rows: Examples) -> Scores:
    return score(labels, predicted, task.classes, task.languages, rows.languages)


def job_ended(
    job: Job,
    best: EpochEnded,
    validation: tuple[Logits, Examples],
    test: tuple[Logits, Examples] | None,
) -> JobEnded:
    """Return the result of a job: thresholds from validation rows, then scores of test rows.

    Args:
        job: The job.
        best: Its best epoch.
        validation: Outputs of that epoch's weights, and the rows.
        test: The same for the test rows, if there are any.
    """
    own_best = best.labels or (best,)
    tasks = [list(each_task(job, validation[0], validation[1].labels))]
    if test is not None:
        tasks.append(list(each_task(job, test[0], test[1].labels)))
    results = []
    for i, own in enumerate(own_best):
        task, logits, labels = tasks[0][i]
        threshold = best_threshold(logits, labels) if task.label_value else None
        result = JobEnded(own.job, own, 0.0, None, None, None, threshold=threshold)
        if test is not None:
            _, logits, labels = tasks[1][i]
            predicted = predict(logits, threshold)
            low, high = f1_macro_interval(labels, predicted, seed=job.seed)
            scores = _scores(task, predicted, labels, test[1])
            result = replace(result, test=scores, f1_macro_low=low, f1_macro_high=high)
        results.append(result)
    return whole_result(job, best, results)


def with_cost(
    result: JobEnded, *, seconds: float, parameters: int, tokens_per_second: float
) -> JobEnded:
    """Return a result, and those of its labels, with what the training took."""
    cost: dict[str, Any] = {
        "seconds": seconds, "parameters": parameters, "tokens_per_second": tokens_per_second
    }  # fmt: skip
    return replace(result, **cost, labels=tuple(replace(own, **cost) for own in result.labels))
