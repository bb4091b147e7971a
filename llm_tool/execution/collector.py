"""From the journals that others write to the CSVs of the session, and to what its display shows.

The owner of a session asks for the journals of the jobs that run. Only what came to them since the
last time is read, and each row is made once, so that a poll costs the same however much was
collected before. Nothing is kept anywhere but in the journals: a collector that dies costs nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from llm_tool.events import (
    EpochEnded,
    JobEnded,
    JobEvent,
    JobFailed,
    JobStarted,
    ReinforcementStarted,
)
from llm_tool.logs.files import disk_errors
from llm_tool.logs.journal import News, Position, read_on
from llm_tool.logs.labels import recorded
from llm_tool.logs.metrics_csv import CategoryCsv
from llm_tool.logs.session import Session
from llm_tool.plan import Job

_SHARE = 0.05  # of the time, for writing files anew that grow with what was collected
_SAVED = 1.0  # seconds of it that can be saved up, for many small files at once


@dataclass
class JobState:
    """How far a job is, by its journals: ``started``, ``ended`` and ``failed`` of its last attempt.

    ``epoch`` is its last, 0 before the first; ``epochs`` counts those of the reinforced phase too
    once it has begun; ``f1_macro`` is that of the last epoch.
    """

    epoch: int = 0
    epochs: int = 0
    f1_macro: float = math.nan
    started: JobStarted | None = None
    ended: JobEnded | None = None
    failed: JobFailed | None = None

    def add(self, event: JobEvent) -> None:
        """Take in one event of the job."""
        if isinstance(event, JobStarted):
            self.started, self.ended, self.failed = event, None, None
            self.epoch, self.epochs = event.resumed_from, event.epochs
        elif isinstance(event, EpochEnded):
            self.epoch, self.f1_macro = event.epoch, event.scores.f1_macro
        elif isinstance(event, ReinforcementStarted):
            self.epochs = self.epoch + event.epochs
        elif isinstance(event, JobEnded):
            self.ended = event
        elif isinstance(event, JobFailed):
            self.failed = event


class Collector:
    """Reads on in the journals of jobs, and keeps the CSVs of their categories."""

    def __init__(
        self,
        session: Session,
        jobs: Iterable[Job] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin; nothing is read yet.

        Args:
            session: Whose jobs they are; a run of it is open.
            jobs: Those that will be asked for; others can be, too.
            clock: Seconds, whenever they began.
        """
        self._session = session
        self._jobs = {job.id: _Collected(job) for job in jobs}
        self._allowance = _Allowance(clock)
        self._behind: dict[CategoryCsv, None] = {}  # those to write anew, the longest waiting first
        self._touched: dict[CategoryCsv, None] = {}

    def collect(self, jobs: Iterable[Job]) -> list[JobEvent]:
        """Read on in the journals of some jobs; bring the CSVs up to date; return the new events.

        Rows are added to training.csv at once, in the order they come. What has to be written anew,
        best.csv above all, is as soon as that takes no more than a twentieth of the time.

        Returns:
            The events of each job in their order, a shared encoder's as its own process shows them.

        Raises:
            DiskError: A journal cannot be read, or the logs folder cannot be written. Nothing is
                lost: the same events come next time.
        """
        with disk_errors(self._session.folder, "Reading the journals"):
            read = [(one, one.read(self._session)) for one in map(self._collected, jobs)]
        news = [(one, own) for one, own in read if any(own)]
        if news or self._behind:
            with self._session.writing("Collecting what the jobs recorded"):
                self._write(news)
        return [event for one, own in news for event in one.take(own)]

    def state(self, job: Job) -> JobState:
        """Return how far a job is, by what was collected."""
        return self._collected(job).state

    def finish(self) -> None:
        """Leave the CSVs whole and in the plan's order.

        Raises:
            DiskError: The logs folder cannot be written.
        """
        with self._session.writing("Writing the logs"):
            for csv in self._touched:
                csv.finish()
        self._behind = {}

    def _collected(self, job: Job) -> _Collected:
        if job.id not in self._jobs:
            self._jobs[job.id] = _Collected(job)
        return self._jobs[job.id]

    def _write(self, news: Sequence[tuple[_Collected, Sequence[News]]]) -> None:
        touched: dict[CategoryCsv, dict[str, News]] = {}
        for one, own in news:
            for journal, each in zip(one.journals, own, strict=True):
                touched.setdefault(journal.csv, {})[one.job.id] = each
        self._touched |= dict.fromkeys(touched)
        for csv, read in touched.items():
            csv.take(read)
            csv.append()
        self._behind |= {csv: None for csv in touched if csv.is_behind}
        for csv in list(self._behind):
            if not self._allowance.is_left():
                return
            with self._allowance.spending():
                csv.catch_up()
            del self._behind[csv]


@dataclass
class _Journal:
    """The journal of one of a job's tasks, and its events that wait for those of the others."""

    path: Path
    csv: CategoryCsv
    position: Position = field(default_factory=Position)
    events: list[JobEvent] = field(default_factory=list)


@dataclass
class _Collected:
    """A job, and what was read of its journals."""

    job: Job
    state: JobState = field(default_factory=JobState)
    journals: list[_Journal] = field(default_factory=list)

    def read(self, session: Session) -> list[News]:
        """Read on, but take nothing in: it may be that it cannot be written."""
        if not self.journals:
            self.journals = [
                _Journal(path, session.csv(path.parents[2])) for path in session.journals(self.job)
            ]
        # They are written from the first to the last: so none has more than those before it.
        news = [read_on(each.path, each.position) for each in reversed(self.journals)]
        return news[::-1]

    def take(self, news: Sequence[News]) -> Iterator[JobEvent]:
        """Take in what was read; yield the events that all of the job's tasks have."""
        if any(each.anew for each in news):
            self.state = JobState()
        for journal, each in zip(self.journals, news, strict=True):
            if each.anew:
                journal.events.clear()
            journal.position = each.position
            journal.events.extend(event for event, _ in each.events)
        for own in _in_all([journal.events for journal in self.journals]):
            event = recorded(self.job, own)
            self.state.add(event)
            yield event


def _in_all(queues: Sequence[list[JobEvent]]) -> Iterator[list[JobEvent]]:
    """Take the events out of queues that are in all of them, and yield those of each.

    What only some have, an attempt left behind that was killed in mid-writing.
    """
    for event in list(queues[-1]):
        places = [_place(event, queue) for queue in queues]
        found = [place for place in places if place is not None]
        if len(found) == len(queues):
            yield [queue[place] for queue, place in zip(queues, found, strict=True)]
            for queue, place in zip(queues, found, strict=True):
                del queue[: place + 1]


def _place(event: JobEvent, queue: Sequence[JobEvent]) -> int | None:
    key = _key(event)
    return next((place for place, one in enumerate(queue) if _key(one) == key), None)


def _key(event: JobEvent) -> tuple[object, ...]:
    """Return what the parts of one event have in common, and no two events of an attempt."""
    if isinstance(event, JobStarted):
        return event.event, event.timestamp
    return event.event, event.epoch if isinstance(event, EpochEnded) else 0


class _Allowance:
    """A share of the time, to be spent on what is not urgent."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._left = _SAVED
        self._counted = clock()

    def is_left(self) -> bool:
        """Tell whether something may be done now; how long that takes counts afterwards."""
        now = self._clock()
        self._left = min(_SAVED, self._left + _SHARE * (now - self._counted))
        self._counted = now
        return self._left > 0

    @contextmanager
    def spending(self) -> Iterator[None]:
        """Count the time that this takes."""
        started = self._clock()
        yield
        self._left -= self._clock() - started
