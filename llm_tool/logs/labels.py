"""The facts of a shared encoder from those of its labels; ``per_category`` is the way back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

from llm_tool.events import (
    ClassScore,
    EpochEnded,
    JobEnded,
    JobEvent,
    LanguageScore,
    Scores,
)
from llm_tool.plan import Job

MEAN = "mean_"


def together(job: Job, epochs: Sequence[EpochEnded]) -> EpochEnded:
    """Return the epoch of a shared encoder: the means of its labels, which are its classes.

    One network has one best epoch: the mean of the monitored metric chooses it for all labels.
    """
    value = fmean(epoch.selection_value for epoch in epochs)
    monitor = MEAN + epochs[0].monitor
    return replace(
        epochs[0],
        job=job,
        train_loss=fmean(epoch.train_loss for epoch in epochs),
        val_loss=fmean(epoch.val_loss for epoch in epochs),
        scores=_mean_scores(job, [epoch.scores for epoch in epochs]),
        monitor=monitor,
        selection_value=value,
        labels=tuple(replace(e, monitor=monitor, selection_value=value) for e in epochs),
    )


def _mean_scores(job: Job, scores: Sequence[Scores]) -> Scores:
    names = ("accuracy", "precision_macro", "recall_macro", "f1_macro", "f1_weighted")
    means = {name: fmean(getattr(one, name) for one in scores) for name in names}
    positive = zip(job.task.classes, scores, strict=True)
    return Scores(
        **means,
        classes=tuple(_named(one.classes[1], name) for name, one in positive),
        languages=tuple(
            LanguageScore(
                language=own[0].language,
                accuracy=_mean([lang.accuracy for lang in own]),
                f1_macro=_mean([lang.f1_macro for lang in own]),
                support=own[0].support,
            )
            for own in zip(*(one.languages for one in scores), strict=True)
        ),
    )


def _named(positive: ClassScore, name: str) -> ClassScore:
    return replace(positive, name=name)


def _mean(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return fmean(defined) if defined else None


def whole_result(job: Job, best: EpochEnded, own: Sequence[JobEnded]) -> JobEnded:
    """Return the result of a job from those of its tasks: of a shared encoder, the means.

    Args:
        job: The job.
        best: Its best epoch.
        own: The result of its one task, or of each label of a shared encoder.
    """
    if not job.labels:
        return own[0]
    tested = [result.test for result in own if result.test is not None]
    mean = _mean_scores(job, tested) if tested else None
    return replace(own[0], job=job, best=best, test=mean, f1_macro_low=None, f1_macro_high=None,
                   threshold=None, labels=tuple(own))  # fmt: skip


def recorded(job: Job, own: Sequence[JobEvent]) -> JobEvent:
    """Return an event of a job from what the journals of its tasks say of it, one each."""
    if not job.labels:
        return own[0]
    epochs = [event for event in own if isinstance(event, EpochEnded)]
    if epochs:
        return _recorded_epoch(job, epochs)
    ends = [event for event in own if isinstance(event, JobEnded)]
    return recorded_result(job, ends) if ends else replace(own[0], job=job)


def recorded_result(job: Job, own: Sequence[JobEnded]) -> JobEnded:
    """Return the result of a finished job from what the journals of its tasks say."""
    if not job.labels:
        return own[0]
    return whole_result(job, _recorded_epoch(job, [result.best for result in own]), own)


def _recorded_epoch(job: Job, own: Sequence[EpochEnded]) -> EpochEnded:
    return replace(
        together(job, own),
        monitor=own[0].monitor,  # chosen by the mean already
        selection_value=own[0].selection_value,
        labels=tuple(own),
    )


def per_category(event: JobEvent) -> tuple[JobEvent, ...]:
    """Return an event as the category of each of its job's tasks should know it."""
    if not event.job.labels:
        return (event,)
    if isinstance(event, EpochEnded | JobEnded):
        return event.labels
    return tuple(replace(event, job=event.job.of(task)) for task in event.job.labels)
