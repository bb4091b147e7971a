"""The rows of a category's training.csv and best.csv, as text, job by job.

Text that a spreadsheet would run as a formula is written with a leading apostrophe, which
``read_metrics`` takes away again.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from llm_tool.events import EpochEnded, JobEnded, JobEvent, JobStarted
from llm_tool.logs.journal import job_number
from llm_tool.plan import Task
from llm_tool.text import visible

_FIRST = (
    "model_identifier", "model_name", "label_key", "label_value", "language", "timestamp",
    "epoch", "train_loss", "val_loss", "accuracy", "precision_macro", "recall_macro", "f1_macro",
    "f1_weighted",
)  # fmt: skip
_LAST = ("learning_rate", "seconds", "tokens_per_second", "training_phase", "seed")
_BEST_ONLY = (
    "selection_metric", "selection_value", "f1_macro_low", "f1_macro_high", "test_f1_macro",
    "test_accuracy", "saved_model_path",
)  # fmt: skip
_CLASS_SCORES = ("precision", "recall", "f1", "support")
_LANGUAGE_SCORES = ("accuracy", "f1_macro", "support")
# What spreadsheets take for the start of a formula (OWASP, CSV injection), full-width forms
# included; and the apostrophe itself, so that taking one away is always right.
_FORMULA_STARTS = tuple("=+-@\t\r\n＝＋－＠'")
_SEPARATORS = re.compile('[,;"]')
_CLASS_MARKS = re.compile("^(class_)+")

Cell = str | int | float | None
Row = dict[str, Cell]


@dataclass(slots=True)
class _Epoch:
    """A row of training.csv; ``selection`` are the cells that it has besides in best.csv."""

    number: int
    row: str
    selection: str = ""


@dataclass
class _Job:
    task: Task
    epochs: list[_Epoch] = field(default_factory=list)
    result: str = ""

    @property
    def best_row(self) -> str:
        """The job's row of best.csv; empty without a best epoch."""
        best = next((epoch for epoch in reversed(self.epochs) if epoch.selection), None)
        if best is None:
            return ""
        return f"{best.row[:-1]},{best.selection},{self.result or _result(None)}\n"


class CategoryRows:
    """The rows of a category, made once each from the events of its journals.

    A new row costs the same however many there are; only new columns touch those before it.
    For whoever keeps the files: ``new`` are rows that can be added at the end of training.csv,
    ``unordered`` says that the end is not their place in the plan's order; ``behind`` and
    ``best_behind`` say that other rows of training.csv, or any of best.csv, changed.
    """

    def __init__(self, events: Iterable[JobEvent] = ()) -> None:
        self._jobs: dict[int, _Job] = {}
        self._first: dict[Task, int] = {}  # the lowest number of a job with this task
        self._columns: list[str] = []
        self._last = 0
        self.new: list[str] = []
        self.behind = self.unordered = self.best_behind = False
        for event in events:
            self.add(event)

    def __bool__(self) -> bool:
        return bool(self._jobs)

    def add(self, event: JobEvent) -> None:
        """Take in an event; a new attempt takes back the epochs that it does not go on from."""
        number = job_number(event.job.id)
        if isinstance(event, JobStarted):
            self._take_back(event.job.id, event.resumed_from)
        elif isinstance(event, EpochEnded):
            row = self._line(event, number)
            selection = _csv_cells(event.monitor, event.selection_value) if event.is_best else ""
            self._jobs[number].epochs.append(_Epoch(event.epoch, row, selection))
            self.new.append(row)
            self.unordered |= number < self._last
            self._last = max(self._last, number)
            self.best_behind |= event.is_best
        elif isinstance(event, JobEnded):
            self._enter(event.job.task, number)
            self._jobs[number].result = _result(event)
            self.best_behind = True

    def _take_back(self, job_id: str, epochs: int) -> None:
        """Take back what a job has after its first ``epochs`` epochs, and its result."""
        job = self._jobs.get(job_number(job_id))
        if job is None:
            return
        kept = [epoch for epoch in job.epochs if epoch.number <= epochs]
        self.behind |= len(kept) < len(job.epochs)
        self.best_behind |= len(kept) < len(job.epochs) or bool(job.result)
        job.epochs, job.result = kept, ""

    def settle(self) -> None:
        """Note that training.csv was written whole."""
        self.new, self.behind, self.unordered = [], False, False

    def training(self) -> Iterator[str]:
        """Yield the whole of training.csv, in the order of the plan."""
        yield self._head(self._columns)
        for _, job in sorted(self._jobs.items()):
            yield from (epoch.row for epoch in job.epochs)

    def best(self) -> Iterator[str]:
        """Yield the whole of best.csv: one row for each job that has a best epoch."""
        yield self._head([*self._columns, *_BEST_ONLY])
        yield from (job.best_row for _, job in sorted(self._jobs.items()))

    def _line(self, event: EpochEnded, number: int) -> str:
        self._enter(event.job.task, number)
        row = _epoch_row(event)
        return _csv_line([_cell(row.get(name)) for name in self._columns])

    def _enter(self, task: Task, number: int) -> None:
        """Make room for a job, and for its columns, which are in the order of the plan as well."""
        if number in self._jobs:
            return
        self._jobs[number] = _Job(task)
        if number < self._first.get(task, number + 1):
            self._first[task] = number
            columns = training_columns(self._tasks())
            if columns != self._columns:
                self._refit(columns)
                self._columns = columns

    def _tasks(self) -> list[Task]:
        return sorted(self._first, key=self._first.__getitem__)

    def _refit(self, columns: Sequence[str]) -> None:
        """Give the rows that are there other columns."""
        self.behind = self.best_behind = True
        places = {name: place for place, name in enumerate(self._columns)}
        chosen = [places.get(name) for name in columns]
        for job in self._jobs.values():
            for epoch in job.epochs:
                (cells,) = csv.reader(io.StringIO(epoch.row, newline=""))
                fitted = ("" if place is None else cells[place] for place in chosen)
                epoch.row = _csv_line(list(fitted))

    def _head(self, columns: Sequence[str]) -> str:
        return _comments(self._tasks()) + _csv_line([neutral(name) for name in columns])


def _result(ended: JobEnded | None) -> str:
    """Return the cells of best.csv that a job has when it is done."""
    if ended is None:
        return _csv_cells(None, None, None, None, None)
    f1_macro, accuracy = (ended.test.f1_macro, ended.test.accuracy) if ended.test else (None, None)
    low, high = ended.f1_macro_low, ended.f1_macro_high
    return _csv_cells(low, high, f1_macro, accuracy, ended.saved_model_path)


def training_columns(tasks: Iterable[Task]) -> list[str]:
    """Return the columns of a category's training.csv: the union over its tasks."""
    classes, languages = _union(tasks)
    per_class = [_class_column(score, c) for c in classes for score in _CLASS_SCORES]
    per_language = [f"{lang}_{score}" for lang in languages for score in _LANGUAGE_SCORES]
    return [*_FIRST, *per_class, *per_language, *_LAST]


@lru_cache(maxsize=4096)
def _class_column(score: str, name: str) -> str:
    # A class called "macro" must not take the place of f1_macro, nor "class_macro" that one's.
    taken = f"{score}_{_CLASS_MARKS.sub('', name)}" in (*_FIRST, *_BEST_ONLY)
    return f"{score}_class_{name}" if taken else f"{score}_{name}"


def _union(tasks: Iterable[Task]) -> tuple[list[str], list[str]]:
    tasks = list(tasks)
    classes = list(dict.fromkeys(c for task in tasks for c in task.classes))
    languages = list(dict.fromkeys(lang for task in tasks for lang in task.languages))
    return classes, languages


def _epoch_row(event: EpochEnded) -> Row:
    job, scores = event.job, event.scores
    row: Row = {
        "model_identifier": job.name,
        "model_name": job.model_name,
        "label_key": job.task.label_key,
        "label_value": job.task.label_value,
        "language": job.language,
        "seed": job.seed,
        "precision_macro": scores.precision_macro,
        "recall_macro": scores.recall_macro,
        "accuracy": scores.accuracy,
        "f1_macro": scores.f1_macro,
        "f1_weighted": scores.f1_weighted,
    }
    for name in ("timestamp", "epoch", "train_loss", "val_loss", *_LAST[:-1]):
        row[name] = getattr(event, name)
    for c in scores.classes:
        row.update({_class_column(s, c.name): getattr(c, s) for s in _CLASS_SCORES})
    for lang in scores.languages:
        row.update({f"{lang.language}_{s}": getattr(lang, s) for s in _LANGUAGE_SCORES})
    return row


def _comments(tasks: Sequence[Task]) -> str:
    # One cell a line, whatever the separator a spreadsheet assumes: no comma, semicolon or tab.
    def plain(text: str) -> str:
        return _SEPARATORS.sub(lambda mark: f"\\x{ord(mark[0]):02x}", visible(text))

    classes, languages = _union(tasks)
    category = tasks[0].category if tasks else ""
    return (
        "# TRAINING METRICS\n"
        f"# category: {plain(category)}\n"
        f"# classes: {' | '.join(map(plain, classes))}\n"
        f"# languages: {' | '.join(map(plain, languages))}\n"
    )


def _cell(value: Cell) -> str:
    if isinstance(value, float):
        # Six significant digits: more than any score means, and the same text on every run. The
        # journal knows no undefined numbers, and a row is the same from either.
        return f"{value:.6g}" if math.isfinite(value) else ""
    return "" if value is None else neutral(str(value))


def neutral(text: str) -> str:
    """Return text as a cell that no spreadsheet runs as a formula."""
    text = text.replace("\0", "\\x00")
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def original(text: object) -> object:
    """Return what ``neutral`` made a cell of."""
    if isinstance(text, str) and text.startswith("'") and text[1:].startswith(_FORMULA_STARTS):
        return text[1:]
    return text


def _csv_cells(*values: Cell) -> str:
    return _csv_line([_cell(value) for value in values])[:-1]


def _csv_line(cells: Sequence[str]) -> str:
    buffer = io.StringIO()
    # With "\n" alone, Python before 3.13 leaves a lone carriage return in a name unquoted.
    csv.writer(buffer, lineterminator="\r\n").writerow(cells)
    return buffer.getvalue().removesuffix("\r\n") + "\n"
