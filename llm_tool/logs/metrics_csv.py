"""training.csv and best.csv of one category: derived from the journals, readable at any time.

Both start with four comment lines; then one header, then rows in the order of the plan. Text
that a spreadsheet would run as a formula is written with a leading apostrophe, which
``read_metrics`` takes away again.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from llm_tool.events import EpochEnded, JobEnded, JobStarted
from llm_tool.logs.files import append, replacing
from llm_tool.logs.journal import JobRecord, job_number, read_records
from llm_tool.plan import Task
from llm_tool.text import visible

if TYPE_CHECKING:
    import pandas as pd

TRAINING, BEST = "training.csv", "best.csv"
COMMENT_LINES = 4
_ENCODING = ("utf-8", "backslashreplace")
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


class CategoryCsv:
    """Keeps the two files of a category in step with its journals.

    One process writes them at a time (the session's lock). Whoever finds that the file is not as
    it left it starts again from the journals, so a row that any process recorded is never lost.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._records: dict[str, JobRecord] = {}
        self._seen: tuple[int, int] | None = None
        self._columns: list[str] = []
        self._last_job = 0

    def update(self, event: JobStarted | EpochEnded | JobEnded) -> None:
        """Bring both files up to date after an event was added to its job's journal."""
        path = self.folder / TRAINING
        as_left = self._seen is not None and self._seen == _signature(path)
        if not as_left:
            self.rebuild()
            return
        if isinstance(event, JobStarted) and event.job.id not in self._records:
            return  # it has no row that a new attempt could take back
        self._seen = None  # until both files are written: what breaks off is made anew
        self._records.setdefault(event.job.id, JobRecord(event.job)).add(event)
        widened = training_columns(r.job.task for r in self._records.values()) != self._columns
        is_epoch = isinstance(event, EpochEnded)
        is_next = not is_epoch or job_number(event.job.id) >= self._last_job
        if isinstance(event, JobStarted) or widened or not is_next:
            self._write_all()
            return
        if isinstance(event, EpochEnded):
            append(path, _line(_epoch_row(event), self._columns).encode(*_ENCODING))
        if isinstance(event, JobEnded) or event.is_best:
            self._write_best()
        self._left()

    def rebuild(self) -> None:
        """Write both files anew from the journals."""
        self._seen = None
        self._records = read_records(self.folder)
        if self._records:
            self._write_all()

    def _write_all(self) -> None:
        self._records = dict(sorted(self._records.items(), key=lambda item: job_number(item[0])))
        self._columns = training_columns(record.job.task for record in self._records.values())
        with replacing(self.folder / TRAINING) as file:
            file.write(training_text(self._records.values()))
        self._write_best()
        self._left()

    def _write_best(self) -> None:
        with replacing(self.folder / BEST) as file:
            file.write(best_text(self._records.values()))

    def _left(self) -> None:
        """Note how the files were left."""
        self._last_job = max(map(job_number, self._records), default=0)
        self._seen = _signature(self.folder / TRAINING)


def training_columns(tasks: Iterable[Task]) -> list[str]:
    """Return the columns of a category's training.csv: the union over its tasks."""
    classes, languages = _union(tasks)
    per_class = [_class_column(score, c) for c in classes for score in _CLASS_SCORES]
    per_language = [f"{lang}_{score}" for lang in languages for score in _LANGUAGE_SCORES]
    return [*_FIRST, *per_class, *per_language, *_LAST]


def _class_column(score: str, name: str) -> str:
    # A class called "macro" must not take the place of f1_macro, nor "class_macro" that one's.
    taken = f"{score}_{_CLASS_MARKS.sub('', name)}" in (*_FIRST, *_BEST_ONLY)
    return f"{score}_class_{name}" if taken else f"{score}_{name}"


def _union(tasks: Iterable[Task]) -> tuple[list[str], list[str]]:
    tasks = list(tasks)
    classes = list(dict.fromkeys(c for task in tasks for c in task.classes))
    languages = list(dict.fromkeys(lang for task in tasks for lang in task.languages))
    return classes, languages


def training_text(records: Iterable[JobRecord]) -> str:
    """Return the whole of a category's training.csv."""
    records = list(records)
    columns = training_columns(r.job.task for r in records)
    lines = [_line(_epoch_row(epoch), columns) for record in records for epoch in record.epochs]
    return _comments(records) + _header(columns) + "".join(lines)


def best_text(records: Iterable[JobRecord]) -> str:
    """Return the whole of a category's best.csv: one row for each job that has an epoch."""
    records = list(records)
    columns = [*training_columns(r.job.task for r in records), *_BEST_ONLY]
    lines = [_line(_best_row(record), columns) for record in records if record.best]
    return _comments(records) + _header(columns) + "".join(lines)


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


def _best_row(record: JobRecord) -> Row:
    best, ended = record.best, record.ended
    if best is None:
        raise ValueError("a job without an epoch has no best row")
    row = _epoch_row(best)
    row["selection_metric"] = best.monitor
    row["selection_value"] = best.selection_value
    if ended is not None:
        row["f1_macro_low"] = ended.f1_macro_low
        row["f1_macro_high"] = ended.f1_macro_high
        row["test_f1_macro"] = ended.test.f1_macro if ended.test else None
        row["test_accuracy"] = ended.test.accuracy if ended.test else None
        row["saved_model_path"] = ended.saved_model_path
    return row


def _comments(records: Sequence[JobRecord]) -> str:
    # One cell a line, whatever the separator a spreadsheet assumes: no comma, semicolon or tab.
    def plain(text: str) -> str:
        return _SEPARATORS.sub(lambda mark: f"\\x{ord(mark[0]):02x}", visible(text))

    tasks = [r.job.task for r in records]
    classes, languages = _union(tasks)
    category = tasks[0].category if tasks else ""
    return (
        "# TRAINING METRICS\n"
        f"# category: {plain(category)}\n"
        f"# classes: {' | '.join(map(plain, classes))}\n"
        f"# languages: {' | '.join(map(plain, languages))}\n"
    )


def _header(columns: Sequence[str]) -> str:
    return _csv_line([neutral(name) for name in columns])


def _line(row: Row, columns: Sequence[str]) -> str:
    return _csv_line([_cell(row.get(name)) for name in columns])


def _cell(value: Cell) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""  # the journal knows no undefined numbers, and a row is the same from either
    # Six significant digits: more than any score means, and the same text on every run.
    return f"{value:.6g}" if isinstance(value, float) else neutral(str(value))


def neutral(text: str) -> str:
    """Return text as a cell that no spreadsheet runs as a formula."""
    text = text.replace("\0", "\\x00")
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def _original(text: object) -> object:
    if isinstance(text, str) and text.startswith("'") and text[1:].startswith(_FORMULA_STARTS):
        return text[1:]
    return text


def _csv_line(cells: Sequence[str]) -> str:
    buffer = io.StringIO()
    # With "\n" alone, Python before 3.13 leaves a lone carriage return in a name unquoted.
    csv.writer(buffer, lineterminator="\r\n").writerow(cells)
    return buffer.getvalue().removesuffix("\r\n") + "\n"


def _signature(path: Path) -> tuple[int, int] | None:
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
    frame.columns = [str(_original(name)) for name in frame.columns]
    for name in frame.columns.intersection(list(text)):
        frame[name] = frame[name].map(_original)
    return frame


def _header_of(path: str | Path) -> list[str]:
    with Path(path).open(encoding="utf-8", newline="") as file:
        for _ in range(COMMENT_LINES):
            file.readline()
        return next(csv.reader(file), [])
