"""From events to the runs of a tracker: what is told of a job, and when."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from llm_tool.events import (
    EpochEnded,
    Event,
    JobEnded,
    JobEvent,
    JobFailed,
    JobStarted,
    RunEnded,
    RunStarted,
    Status,
)
from llm_tool.logs.labels import per_category
from llm_tool.logs.session import Session
from llm_tool.plan import Job

Metrics = dict[str, float]
_TRAINED_WITH = (
    "train_rows", "validation_rows", "test_rows", "epochs", "batch_size", "learning_rate",
    "max_length", "monitor", "device", "precision", "parameters",
)  # fmt: skip
# Settings that are not the job's own, or that its own facts say more exactly.
_OF_THE_RUN = {"label", "model", "seeds", "seed", "session_id", "logs_dir", "models_dir", "tracker"}


@dataclass(frozen=True)
class TrackedRun:
    """One job as one category knows it: a run of the tracker.

    ``settings`` are what it is trained with, as text.
    """

    session_id: str
    category: str
    job_id: str
    name: str
    settings: Mapping[str, str] = field(default_factory=dict, compare=False)


class Store(Protocol):
    """Where a tracker keeps its runs."""

    def begin(self, run: TrackedRun) -> None:
        """Start a run anew: whatever is there of it is taken away."""

    def log(self, run: TrackedRun, epoch: int, metrics: Metrics) -> None:
        """Add the numbers of an epoch."""

    def end(self, run: TrackedRun, metrics: Metrics, status: Status) -> None:
        """Add the numbers of the end, and say how it ended."""


class Tracking:
    """An observer that keeps a tracker's runs as the journals are.

    A job that starts again, in this process or when its session is resumed, gets its run anew,
    with the epochs that it goes on from: those that it takes back are not in it, none is twice.
    What jobs on a cluster did while nobody followed them is told when somebody does again.
    """

    def __init__(self, store: Store, session: Session, settings: Mapping[str, Any]) -> None:
        """Feed a store.

        Args:
            store: Where the runs go.
            session: What is trained; its journals have the epochs of earlier attempts.
            settings: Those of the run that differ from the defaults.
        """
        self._store = store
        self._session = session
        self._settings = {k: v for k, v in settings.items() if k not in _OF_THE_RUN}
        self._open: dict[tuple[str, str], TrackedRun] = {}

    def __call__(self, event: Event) -> None:
        """Tell the tracker of an event, if it is one of a job's."""
        if isinstance(event, RunStarted) and self._settings.get("executor") == "slurm":
            for result in event.done:
                for own in per_category(result):
                    self._tell(own)
        elif isinstance(event, RunEnded):
            for run in list(self._open.values()):  # what was stopped in its midst
                left = event.status == "detached"  # on a cluster, where it goes on
                self._end(run, {}, "detached" if left else "interrupted")
        elif isinstance(event, JobStarted | EpochEnded | JobEnded | JobFailed):
            for own in per_category(event):
                self._tell(own)

    def _tell(self, event: JobEvent) -> None:
        category = self._session.category_name(event.job.task)
        if isinstance(event, JobStarted):
            self._begin(category, event.job, event, event.resumed_from)
            return
        run = self._open.get((category, event.job.id)) or self._join(category, event)
        if isinstance(event, EpochEnded):
            self._store.log(run, event.epoch, epoch_metrics(event))
        elif isinstance(event, JobEnded):
            self._end(run, end_metrics(event), "done")
        elif isinstance(event, JobFailed):
            self._end(run, {}, "failed")

    def _join(self, category: str, event: JobEvent) -> TrackedRun:
        """Begin the run of a job that has begun before, with the epochs before this event."""
        (record,) = self._session.records(event.job)
        until = event.epoch - 1 if isinstance(event, EpochEnded) else sys.maxsize
        return self._begin(category, event.job, record.started if record else None, until)

    def _begin(self, category: str, job: Job, started: JobStarted | None, until: int) -> TrackedRun:
        """Begin a job's run anew, with the recorded epochs up to one of them."""
        name = " ".join(filter(None, (job.name, job.model_name, job.language, f"seed {job.seed}")))
        settings = {k: _text(v) for k, v in self._settings.items()} | job_settings(job, started)
        run = TrackedRun(self._session.id, category, job.id, name, settings)
        self._open.pop((category, job.id), None)
        self._store.begin(run)
        self._open[category, job.id] = run  # not before: Ctrl-C can come in the midst of it
        (record,) = self._session.records(job) if until else (None,)
        for epoch in record.epochs if record else ():
            if epoch.epoch <= until:
                self._store.log(run, epoch.epoch, epoch_metrics(epoch))
        return run

    def _end(self, run: TrackedRun, metrics: Metrics, status: Status) -> None:
        del self._open[run.category, run.job_id]
        self._store.end(run, metrics, status)


def job_settings(job: Job, started: JobStarted | None) -> dict[str, str]:
    """Return what a job is trained with, as text."""
    about: dict[str, object] = {
        "model": job.model_name,
        "label_key": job.task.label_key,
        "label_value": job.task.label_value,
        "classes": job.task.classes,
        "language": job.language,
        "seed": job.seed,
        "fold": job.fold or None,
        "share": job.share if job.is_partial else None,
    }
    if started is not None:
        about |= {name: getattr(started, name) for name in _TRAINED_WITH}
    return {name: _text(value) for name, value in about.items() if value not in (None, "")}


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def epoch_metrics(event: EpochEnded) -> Metrics:
    """Return the numbers of an epoch; a class without an F1 has none."""
    return {
        "train_loss": event.train_loss,
        "val_loss": event.val_loss,
        "f1_macro": event.scores.f1_macro,
        "accuracy": event.scores.accuracy,
        **{f"f1/{one.name}": one.f1 for one in event.scores.classes if one.f1 is not None},
        "learning_rate": event.learning_rate,
        "tokens_per_second": event.tokens_per_second,
    }


def end_metrics(event: JobEnded) -> Metrics:
    """Return the numbers of a job that is done: its best epoch, and its test scores if any."""
    metrics: Metrics = {
        "best_epoch": event.best.epoch,
        "best_f1_macro": event.best.scores.f1_macro,
        "seconds": event.seconds,
    }
    if event.test is not None:
        metrics |= {"test_f1_macro": event.test.f1_macro, "test_accuracy": event.test.accuracy}
        interval = {"low": event.f1_macro_low, "high": event.f1_macro_high}
        metrics |= {f"test_f1_macro_{end}": v for end, v in interval.items() if v is not None}
        classes = event.test.classes
        metrics |= {f"test_f1/{one.name}": one.f1 for one in classes if one.f1 is not None}
    return metrics
