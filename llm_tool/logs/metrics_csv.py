"""training.csv and best.csv of one category: derived from the journals, readable at any time.

Both start with four comment lines; then one header, then rows in the order of the plan. Text
that a spreadsheet would run as a formula is written with a leading apostrophe, which
``read_metrics`` takes away again.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from llm_tool.events import EpochEnded, JobEnded, JobStarted
from llm_tool.logs.category_rows import CategoryRows, original
from llm_tool.logs.files import append, replacing, sync
from llm_tool.logs.journal import JOURNAL, News, job_number, read_on

if TYPE_CHECKING:
    import pandas as pd

TRAINING, BEST = "training.csv", "best.csv"
RUNS = "runs"
COMMENT_LINES = 4
_ENCODING = ("utf-8", "backslashreplace")
_UNKNOWN = (-1, -1)
_Left = tuple[int, int] | None  # size and time of a file; None: not there
_JOB_ID = re.compile(r"j\d+")


class CategoryCsv:
    """Keeps the two files of a category in step with its journals.

    One process writes them at a time (the session's lock). Whoever finds that one of them is not
    as it left it starts again from the journals, so a row that any process recorded is never lost.

    A process that trains tells each event with ``update``, and both files follow at once. One that
    collects what others train gives what it read to ``take``: ``append`` then writes new rows in
    the order they came, ``catch_up`` rewrites what lies before them, and ``finish`` brings all into
    the order of the plan.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._rows = CategoryRows()
        self._taken: dict[str, int] = {}  # how far the journal of a job is in the rows, in bytes
        self._seen: tuple[_Left, _Left] = _UNKNOWN, _UNKNOWN  # how both files were left
        self._on_its_way = False  # whether something was written that may not be on disk

    @property
    def is_behind(self) -> bool:
        """Whether rows that are in the files, or should come between them, changed."""
        return self._rows.behind or self._rows.best_behind

    def update(self, event: JobStarted | EpochEnded | JobEnded) -> None:
        """Bring both files up to date after an event was added to its job's journal."""
        if not self._is_as_left():
            self.rebuild()
            return
        self._rows.add(event)
        if not self._rows.unordered:
            self._append(to_disk=True)
        self.finish()

    def take(self, news: Mapping[str, News]) -> None:
        """Take in what was read of the journals of some jobs, but for what was taken in before.

        Start again from the journals if one was replaced, or if the file is not as it was left.
        """
        if any(own.anew for own in news.values()) or not self._is_as_left():
            self.rebuild(news)
        for job_id, own in news.items():
            self._add(job_id, own)

    def append(self) -> None:
        """Write the rows that are new; it costs the same however many there are.

        Nothing waits for the disk: what a power failure takes is in the journals.
        """
        self._append(to_disk=False)

    def catch_up(self) -> None:
        """Write the files anew whose rows changed, with the new rows where the plan has them.

        Nothing waits for the disk here either.
        """
        self._catch_up(to_disk=False)

    def finish(self) -> None:
        """Leave both files whole, in the plan's order, as ``rebuild`` would, and on disk."""
        if not self._is_as_left():
            self.rebuild()
        if self._rows.unordered:
            self._rows.behind = True
        if self.is_behind:
            self._catch_up(to_disk=True)
        if self._on_its_way:
            for path in filter(Path.exists, (self.folder / TRAINING, self.folder / BEST)):
                sync(path)
            sync(self.folder)
            self._on_its_way = False

    def rebuild(self, news: Mapping[str, News] = MappingProxyType({})) -> bool:
        """Make both files from the journals; tell whether that changed them.

        Args:
            news: What was read of the journals of some jobs just now.
        """
        self._seen = _UNKNOWN, _UNKNOWN
        self._rows, self._taken = CategoryRows(), {}
        for job_id in _jobs(self.folder / RUNS):
            own = news.get(job_id)
            if own is None or own.since:
                own = read_on(self.folder / RUNS / job_id / JOURNAL)
            self._add(job_id, own)
        changed = [self._write_training(), self._write_best()] if self._rows else []
        self._seen = self._signatures()
        return any(changed)

    def _add(self, job_id: str, news: News) -> None:
        before = self._taken.get(job_id, 0)
        for event, end in news.events:
            if end > before:
                self._rows.add(event)
        self._taken[job_id] = max(before, news.position.end)

    def _catch_up(self, *, to_disk: bool) -> None:
        # Until both are written: what breaks off is made anew.
        (training, best), self._seen = self._seen, (_UNKNOWN, _UNKNOWN)
        self._on_its_way |= not to_disk
        if self._rows.behind:
            self._write_training(to_disk=to_disk)
            training = _signature(self.folder / TRAINING)
        if self._rows.best_behind:
            self._write_best(to_disk=to_disk)
            best = _signature(self.folder / BEST)
        self._seen = training, best

    def _append(self, *, to_disk: bool) -> None:
        if self._rows.behind or not self._rows.new:
            return
        (_, best), self._seen = self._seen, (_UNKNOWN, _UNKNOWN)
        self._on_its_way |= not to_disk
        path = self.folder / TRAINING
        append(path, "".join(self._rows.new).encode(*_ENCODING), to_disk=to_disk)
        self._rows.new = []
        self._seen = _signature(path), best

    def _write_training(self, *, to_disk: bool = True) -> bool:
        changed = _write(self.folder / TRAINING, self._rows.training(), to_disk=to_disk)
        self._rows.settle()
        return changed

    def _write_best(self, *, to_disk: bool = True) -> bool:
        changed = _write(self.folder / BEST, self._rows.best(), to_disk=to_disk)
        self._rows.best_behind = False
        return changed

    def _is_as_left(self) -> bool:
        return self._seen == self._signatures()

    def _signatures(self) -> tuple[_Left, _Left]:
        return _signature(self.folder / TRAINING), _signature(self.folder / BEST)


def _jobs(runs: Path) -> list[str]:
    """Return the jobs that have a folder, in the plan's order."""
    try:
        names = [path.name for path in runs.iterdir()]
    except FileNotFoundError:
        return []
    return sorted(filter(_JOB_ID.fullmatch, names), key=job_number)


def _write(path: Path, lines: Iterable[str], *, to_disk: bool) -> bool:
    """Write a file anew unless it is that already; tell whether it was another."""
    text = "".join(lines)
    with suppress(FileNotFoundError):
        if path.read_bytes() == text.encode(*_ENCODING):
            return False
    with replacing(path, to_disk=to_disk) as file:
        file.write(text)
    return True


def _signature(path: Path) -> _Left:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_size, status.st_mtime_ns


def read_metrics(path: str | Path) -> pd.DataFrame:
    """Return a training.csv or best.csv as a table, with every name as the user wrote it.

    A last row that is not there to its end is left out: it is being written, or a crash tore it.

    Raises:
        FileNotFoundError: There is no such file.
    """
    import pandas as pd

    # The names of classes, models and folders are text even where they look like numbers or NA.
    text = ("model_identifier", "model_name", "label_key", "label_value", "language", "timestamp",
            "training_phase", "selection_metric", "saved_model_path")  # fmt: skip
    content = Path(path).read_bytes()
    frame = pd.read_csv(
        io.BytesIO(content[: content.rfind(b"\n") + 1]),
        skiprows=COMMENT_LINES,
        dtype=dict.fromkeys(text, str),
        keep_default_na=False,
        na_values={name: [""] for name in _header_of(path) if name not in text},
    )
    frame.columns = [str(original(name)) for name in frame.columns]
    for name in frame.columns.intersection(list(text)):
        frame[name] = frame[name].map(original)
    return frame


def read_columns(path: Path, names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield the cells of some columns of a training.csv or best.csv, row by row, without pandas.

    Every cell is text, as the user wrote it; an empty one is a number that is not defined.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A column is not there, or a row is not whole.
        csv.Error: It is no such table.
    """
    with path.open(encoding="utf-8", newline="") as file:
        for _ in range(COMMENT_LINES):
            file.readline()
        rows = csv.reader(file)
        titles = next(rows, [])
        places = [titles.index(name) for name in names]
        for row in rows:
            if len(row) != len(titles):
                raise ValueError("a row is not whole")
            yield tuple(str(original(row[place])) for place in places)


def _header_of(path: str | Path) -> list[str]:
    with Path(path).open(encoding="utf-8", newline="") as file:
        for _ in range(COMMENT_LINES):
            file.readline()
        return next(csv.reader(file), [])
