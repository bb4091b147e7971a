"""The journal of one job: an append-only file of events, the truth that CSVs are made from."""

from __future__ import annotations

import os
from collections.abc import Iterator
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
from llm_tool.logs.files import append as append_bytes
from llm_tool.plan import Job

JOURNAL = "journal.jsonl"
# How a line ends: ``to_json`` writes the name of the event last.
_ENDED = b'"event":"job_ended"}\n'
_UNDER_WAY = (b'"event":"job_started"}\n', b'"event":"epoch_ended"}\n')
_TAIL = 40  # bytes, longer than each of these


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
    path = run_folder / JOURNAL
    line = to_json(event).encode("utf-8", "backslashreplace") + b"\n"
    # A line that a crash left unfinished is closed off, so that it costs only itself.
    if path.exists() and path.stat().st_size and _last_byte(path) != b"\n":
        line = b"\n" + line
    append_bytes(path, line)


def _last_byte(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1)


def read_events(path: Path) -> Iterator[Event]:
    """Yield the events of a journal; a line that a crash tore is passed over."""
    with path.open("rb") as file:
        for line in file:
            try:
                yield from_json(line)
            except ValueError:
                continue


def read_records(category_folder: Path) -> dict[str, JobRecord]:
    """Return what the journals of a category say of jobs with an epoch, in the plan's order."""
    read = (read_record(path) for path in category_folder.glob(f"runs/*/{JOURNAL}"))
    records = {record.job.id: record for record in read if record is not None}
    return dict(sorted(records.items(), key=lambda item: job_number(item[0])))


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
    record = read_attempts(path)
    return record is not None and record.ended is not None


def job_number(job_id: str) -> int:
    """Return the place of a job in its session's plan, from its id (``j0012`` is 12)."""
    return int(job_id.removeprefix("j"))
