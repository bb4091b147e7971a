"""The journal of one job: an append-only file of events, the truth that CSVs are made from."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from llm_tool.events import (
    EpochEnded,
    Event,
    JobEnded,
    JobEvent,
    JobFailed,
    JobStarted,
    from_json,
    to_json,
)
from llm_tool.logs.files import append_line
from llm_tool.plan import Job

JOURNAL = "journal.jsonl"
# How a line ends: ``to_json`` writes the name of the event last.
_ENDED = b'"event":"job_ended"}\n'
_UNDER_WAY = (b'"event":"job_started"}\n', b'"event":"epoch_ended"}\n')
_TAIL = 40  # bytes, longer than each of these
_MARK = 200  # bytes: some measured numbers, which no two journals share


@dataclass
class JobRecord:
    """What a journal says of its job so far; ``started`` and ``failed`` are the last attempt's.

    ``had_epoch``: some attempt had one, though a later one may have taken it back.
    """

    job: Job
    epochs: list[EpochEnded] = field(default_factory=list)
    ended: JobEnded | None = None
    started: JobStarted | None = None
    failed: JobFailed | None = None
    had_epoch: bool = False

    @property
    def best(self) -> EpochEnded | None:
        """The best epoch so far."""
        return next((epoch for epoch in reversed(self.epochs) if epoch.is_best), None)

    def add(self, event: Event) -> None:
        """Take in one event of the job; a new attempt takes back what it does not go on from."""
        self.had_epoch |= isinstance(event, EpochEnded | JobEnded)
        if isinstance(event, JobStarted):
            self.epochs = [one for one in self.epochs if one.epoch <= event.resumed_from]
            self.started, self.ended, self.failed = event, None, None
        elif isinstance(event, EpochEnded):
            self.epochs.append(event)
        elif isinstance(event, JobEnded):
            self.ended = event
        elif isinstance(event, JobFailed):
            self.failed = event


def append(run_folder: Path, event: Event) -> None:
    """Write an event at the end of a job's journal; it is on disk when this returns."""
    run_folder.mkdir(parents=True, exist_ok=True)
    append_line(run_folder / JOURNAL, to_json(event).encode("utf-8", "backslashreplace"))


@dataclass(frozen=True)
class Position:
    """How far a journal was read, in whole lines, and the last bytes before, to know it again."""

    end: int = 0
    before: bytes = b""


@dataclass(frozen=True)
class News:
    """What was read of a journal: its events, each with where its line ends, in bytes.

    ``since`` is where the first one begins. ``anew``: the journal is not the one that was read
    before, and these are all of its events.
    """

    events: tuple[tuple[JobEvent, int], ...]
    position: Position
    since: int
    anew: bool = False

    def __bool__(self) -> bool:
        return bool(self.events) or self.anew


def read_on(path: Path, since: Position = Position()) -> News:
    """Read what came to a journal that another process, perhaps on another machine, writes.

    It is opened anew each time, and never asked for its size: file systems of a network tell old
    sizes, but what is opened is up to date. A line that is not there to its end waits for its rest;
    one that a crash tore is passed over.

    Raises:
        OSError: It is there but cannot be read.
    """
    anew = False
    try:
        with path.open("rb", buffering=0) as file:
            file.seek(since.end - len(since.before))
            data = file.readall()
            if not data.startswith(since.before):  # it became shorter, or is another one
                file.seek(0)
                data, since, anew = file.readall(), Position(), True
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ESTALE):
            raise
        return News((), since, since.end)
    data = data[len(since.before) :]
    lines = data.split(b"\n")[:-1]
    while lines and b"\0" in lines[-1]:  # the length is there, the bytes are still on their way
        lines.pop()
    if not lines:
        return News((), since, since.end, anew)
    events, end = [], since.end
    for line in lines:
        end += len(line) + 1
        with suppress(ValueError):
            event = from_json(line)
            if isinstance(event, JobEvent):
                events.append((event, end))
    last = (since.before + data[: end - since.end])[-_MARK:]
    return News(tuple(events), Position(end, last), since.end, anew)


def read_events(path: Path) -> Iterator[Event]:
    """Yield the events of a journal; a line that a crash tore is passed over."""
    with path.open("rb") as file:
        for line in file:
            try:
                yield from_json(line)
            except ValueError:
                continue


def read_record(path: Path) -> JobRecord | None:
    """Return what a journal says of its job; ``None`` when it never had an epoch."""
    record = read_attempts(path)
    return record if record and record.had_epoch else None


def read_attempts(path: Path) -> JobRecord | None:
    """Return what a journal says of its job, though it had no epoch; ``None`` when it is empty."""
    record: JobRecord | None = None
    for event in read_events(path):
        if isinstance(event, JobEvent):
            record = record or JobRecord(event.job)
            record.add(event)
    return record


def is_ended(path: Path) -> bool:
    """Tell whether a journal says that its job is done, from its last bytes where they tell."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _TAIL))
        last = file.read()
    if last.endswith(_ENDED):
        return True
    if last.endswith(_UNDER_WAY):
        return False
    return _result(path) is not None


def read_result(path: Path) -> JobEnded | None:
    """Return the result of a journal's job, from the last line where that tells; else ``None``."""
    data = path.read_bytes()
    if data.endswith(_UNDER_WAY):
        return None
    if data.endswith(_ENDED):
        with suppress(ValueError):
            last = from_json(data[data.rfind(b"\n", 0, -1) + 1 :])
            return last if isinstance(last, JobEnded) else None
    return _result(path)


def _result(path: Path) -> JobEnded | None:
    record = read_attempts(path)
    return record.ended if record else None


def job_number(job_id: str) -> int:
    """Return the place of a job in its session's plan, from its id (``j0012`` is 12)."""
    return int(job_id.removeprefix("j"))
