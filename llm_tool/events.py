"""What a run tells its observers: frozen facts, never the trainer itself.

Every event is a plain dataclass of plain values, so that one encoder (``to_json``) serves the
journal and ``--json``, and ``from_json`` gives the same object back.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated, Literal

from llm_tool.plan import Job

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, TypeAdapter
    from pydantic_core import core_schema

Phase = Literal["normal", "reinforced"]
Status = Literal["done", "failed", "interrupted", "detached"]


class _NullIsNan:
    """JSON has no NaN: ``to_json`` writes ``null``, which a number that is always there reads."""

    def __get_pydantic_core_schema__(
        self, source: type, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        from pydantic_core import core_schema

        return core_schema.no_info_before_validator_function(
            lambda number: math.nan if number is None else number, handler(source)
        )


Number = Annotated[float, _NullIsNan()]


@dataclass(frozen=True)
class ClassScore:
    """One class's scores; ``None`` where the class neither occurs nor is predicted."""

    name: str
    precision: float | None
    recall: float | None
    f1: float | None
    support: int


@dataclass(frozen=True)
class LanguageScore:
    """One language's scores; ``None`` where the part has no row in that language."""

    language: str
    accuracy: float | None
    f1_macro: float | None
    support: int


@dataclass(frozen=True)
class Scores:
    """Scores of one model on one part of the data; all shares are between 0 and 1."""

    accuracy: float
    precision_macro: float
    recall_macro: float
    f1_macro: float
    f1_weighted: float
    classes: tuple[ClassScore, ...]
    languages: tuple[LanguageScore, ...] = ()

    @property
    def weakest(self) -> ClassScore | None:
        """The class with the lowest F1, the first of equals; ``None`` when none is defined."""
        defined = [c for c in self.classes if c.f1 is not None]
        return min(defined, key=lambda c: c.f1 or 0.0, default=None)


@dataclass(frozen=True)
class RunStarted:
    """A run begins: its session, where that logs and saves, its ordered jobs.

    ``workers`` is the number of jobs that are trained at the same time; ``done`` are the results
    of jobs that were finished before, when a run is resumed.
    """

    session_id: str
    mode: str
    logs_folder: str
    models_folder: str
    jobs: tuple[Job, ...]
    workers: int = 1
    done: tuple[JobEnded, ...] = ()
    event: Literal["run_started"] = "run_started"


@dataclass(frozen=True)
class LongTexts:
    """How many texts have more tokens than a model takes; ``exact`` when every text was counted.

    ``treatment`` is what will be done with them.
    """

    model_name: str
    max_length: int
    texts: int
    share: float
    exact: bool
    treatment: Literal["truncate", "chunk", "exclude"] = "truncate"


@dataclass(frozen=True)
class RunEstimated:
    """What a run will take on this machine, measured before it begins.

    ``seconds`` are those of all epochs, ``seconds_at_most`` with the reinforced phase, if there is
    one, and every row drawn as often as those of weak classes. ``memory_bytes`` is that of all
    processes together at their peak, with ``device`` cuda that of the fullest GPU.
    ``job_seconds`` are in the plan's order, ``None`` for jobs of which nothing is known: those of
    the models in ``unknown``, by their names, with the reason. ``None`` also stands where nothing
    is known at all.
    """

    seconds: float | None
    seconds_at_most: float | None
    memory_bytes: int | None
    device: str
    job_seconds: tuple[float | None, ...]
    long_texts: tuple[LongTexts, ...] = ()
    unknown: tuple[tuple[str, str], ...] = ()
    event: Literal["run_estimated"] = "run_estimated"


@dataclass(frozen=True)
class JobStarted:
    """A job begins, with every derived setting resolved.

    ``cut`` counts the texts longer than ``max_length`` tokens, special tokens included, that lose
    their end; ``excluded`` counts those that were left out instead, ``chunked`` those that are read
    in windows. ``resumed_from`` is the last epoch of an earlier attempt that this one goes on from:
    what was recorded after it no longer counts.
    """

    job: Job
    timestamp: str
    train_rows: int
    validation_rows: int
    test_rows: int
    epochs: int
    batch_size: int
    learning_rate: float
    max_length: int
    cut: int
    monitor: str
    device: str
    precision: str
    parameters: int
    excluded: int = 0
    resumed_from: int = 0
    chunked: int = 0
    event: Literal["job_started"] = "job_started"


@dataclass(frozen=True)
class JobRetried:
    """A job met a problem that it can get round by itself: ``why``, and ``how`` it goes on."""

    job: Job
    why: str
    how: str
    event: Literal["job_retried"] = "job_retried"


@dataclass(frozen=True)
class BatchEnded:
    """Progress within an epoch; for displays only, never logged. ``seconds`` since its start."""

    job: Job
    epoch: int
    epochs: int
    batch: int
    batches: int
    tokens: int
    seconds: float
    event: Literal["batch_ended"] = "batch_ended"


@dataclass(frozen=True)
class EpochEnded:
    """One epoch with its validation scores.

    ``learning_rate`` is the epoch's last, ``seconds`` the wall time of its training part, and
    ``tokens_per_second`` the real (unpadded) training tokens over it. ``selection_value`` is the
    monitored metric.

    For a shared encoder ``labels`` are the same facts of each label; the others are their means,
    and ``scores.classes`` are the labels themselves.
    """

    job: Job
    epoch: int
    timestamp: str
    train_loss: Number
    val_loss: Number
    scores: Scores
    learning_rate: float
    seconds: float
    tokens_per_second: float
    monitor: str
    selection_value: Number
    is_best: bool
    training_phase: Phase = "normal"
    labels: tuple[EpochEnded, ...] = ()
    event: Literal["epoch_ended"] = "epoch_ended"


@dataclass(frozen=True)
class WeakClass:
    """A class whose F1 stays below the threshold: on all rows, or only in one ``language``."""

    name: str
    f1: float
    support: int
    language: str = ""


@dataclass(frozen=True)
class ReinforcementStarted:
    """The reinforced phase begins, from the weights of epoch ``from_epoch``."""

    job: Job
    threshold: float
    weak: tuple[WeakClass, ...]
    from_epoch: int
    epochs: int
    learning_rate: float
    oversampling: float
    class_weight: float
    event: Literal["reinforcement_started"] = "reinforcement_started"


@dataclass(frozen=True)
class ReinforcementSkipped:
    """No class stays below the threshold: there is nothing to reinforce."""

    job: Job
    threshold: float
    event: Literal["reinforcement_skipped"] = "reinforcement_skipped"


@dataclass(frozen=True)
class ClassGain:
    """A class's validation F1 before and after the reinforced phase."""

    name: str
    before: float | None
    after: float | None
    weak: bool


@dataclass(frozen=True)
class ReinforcementEnded:
    """The reinforced phase is over; ``kept`` when its best epoch beats all normal ones.

    ``before`` and ``after`` are the monitored metric of the best normal and the best reinforced
    epoch; ``after`` is not a number when the phase broke off because its loss was none.
    """

    job: Job
    kept: bool
    monitor: str
    before: Number
    after: Number
    gains: tuple[ClassGain, ...]
    event: Literal["reinforcement_ended"] = "reinforcement_ended"


@dataclass(frozen=True)
class JobEnded:
    """A job is done.

    ``f1_macro_low`` and ``f1_macro_high`` are the 95 % interval of the test macro F1; they and
    ``test`` are ``None`` when there are no test rows. ``threshold`` is the probability from which
    a binary task says yes, chosen on validation; the test scores use it. ``tokens_per_second`` is
    over all epochs. ``labels`` are the results of a shared encoder's labels, as in ``EpochEnded``.
    ``saved_model_path`` is empty for a point of a learning curve: see ``save_model``.
    """

    job: Job
    best: EpochEnded
    seconds: float
    test: Scores | None
    f1_macro_low: float | None
    f1_macro_high: float | None
    saved_model_path: str = ""
    threshold: float | None = None
    parameters: int = 0
    tokens_per_second: float = 0.0
    labels: tuple[JobEnded, ...] = ()
    event: Literal["job_ended"] = "job_ended"


@dataclass(frozen=True)
class JobFailed:
    """A job ended without a model: what went wrong, in its first line, and what to do about it."""

    job: Job
    what: str
    where: str = ""
    remedy: str = ""
    event: Literal["job_failed"] = "job_failed"


@dataclass(frozen=True)
class RunEnded:
    """A run is over. ``status`` says how: every job done, some failed, or stopped before its end.

    ``detached``: its jobs go on on a cluster. ``jobs`` is how many were planned, ``done`` and
    ``failed`` how many of them ended; ``resume`` trains what is not done, empty when all is.
    """

    session_id: str
    status: Status
    jobs: int
    done: int
    failed: int
    seconds: float
    resume: str = ""
    event: Literal["run_ended"] = "run_ended"


@dataclass(frozen=True)
class RunningJob:
    """A job that a cluster is training: where, and its last epoch, 0 before the first."""

    job: Job
    node: str
    epoch: int = 0
    epochs: int = 0
    f1_macro: Number = math.nan


@dataclass(frozen=True)
class ClusterSeen:
    """How the jobs of a run stand on a cluster; for displays only, never logged.

    ``queued``, ``done`` and ``failed`` count jobs of the whole run; ``waiting`` is the scheduler's
    reason why those in the queue do not run yet, ``news`` what happened to jobs since the last time
    (lost with a node and submitted again, and the like).
    """

    queued: int
    running: tuple[RunningJob, ...]
    done: int
    failed: int
    waiting: str = ""
    news: tuple[str, ...] = ()
    event: Literal["cluster_seen"] = "cluster_seen"


@dataclass(frozen=True)
class Preparing:
    """What jobs need is made ready, and how much of it is; for displays only, never logged."""

    what: str
    share: float | None = None
    event: Literal["preparing"] = "preparing"


Reinforcement = ReinforcementStarted | ReinforcementSkipped | ReinforcementEnded
# What a journal keeps.
JobEvent = JobStarted | JobRetried | EpochEnded | Reinforcement | JobEnded | JobFailed
Event = RunEstimated | RunStarted | Preparing | BatchEnded | ClusterSeen | JobEvent | RunEnded
Observer = Callable[[Event], None]


@cache
def _adapter() -> TypeAdapter[Event]:
    from pydantic import Field, TypeAdapter

    return TypeAdapter(Annotated[Event, Field(discriminator="event")])


def to_json(event: Event) -> str:
    """Return an event as one JSON object on one line; undefined numbers become ``null``."""
    return _adapter().dump_json(event).decode("utf-8")


def from_json(line: str | bytes) -> Event:
    """Return the event that ``to_json`` wrote.

    Raises:
        ValueError: The line is not an event (pydantic's ``ValidationError`` is one).
    """
    return _adapter().validate_json(line)
