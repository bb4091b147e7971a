"""The rows of a training: of each class and language in each part, as far as its files say."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llm_tool.errors import StudioError
from llm_tool.logs.archive import Training

if TYPE_CHECKING:
    import pandas as pd

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class CountRow:
    """How many rows of a class or language each part has; ``None`` where nothing says it."""

    name: str
    parts: tuple[int | None, ...]

    @property
    def total(self) -> int | None:
        """All parts together."""
        known = [rows for rows in self.parts if rows is not None]
        return sum(known) if len(known) == len(self.parts) else None


@dataclass(frozen=True)
class Counts:
    """The rows of a training: ``whole`` of each part, then by class and by language."""

    whole: CountRow
    classes: tuple[CountRow, ...]
    languages: tuple[CountRow, ...]


def count_rows(training: Training) -> Counts:
    """Return the rows of a training that has begun."""
    started, task = training.started, training.job.task
    whole: tuple[int | None, ...] = (None, None, None)
    if started is not None:
        whole = (started.train_rows, started.validation_rows, started.test_rows)
    table = _table(training)
    classes = [_row(table, "true", name) for name in task.classes]
    languages = [_row(table, "language", name) for name in _languages(table, task.languages)]
    return Counts(CountRow("all", whole), tuple(classes), tuple(languages))


def _table(training: Training) -> pd.DataFrame | None:
    """Return ``part``, ``true`` and ``language`` of every row, or of those that have a prediction.

    ``None`` where no file says it.
    """
    for read in (training.split, training.predictions):
        try:
            table = read()
        except StudioError:
            continue
        if {"part", "true", "language"} <= set(table.columns):
            return table
    return None


def _languages(table: pd.DataFrame | None, known: Iterable[str]) -> list[str]:
    found = [] if table is None else sorted(filter(None, set(table["language"])))
    return list(dict.fromkeys([*known, *found]))


def _row(table: pd.DataFrame | None, column: str, value: str) -> CountRow:
    if table is None:
        return CountRow(value, (None,) * len(PARTS))
    own = table.loc[table[column] == value, "part"].value_counts()
    said = set(table["part"])
    # A file of predictions knows nothing of the training rows.
    counts = [int(own.get(part, 0)) if part in said or part == "test" else None for part in PARTS]
    return CountRow(value, tuple(counts))
