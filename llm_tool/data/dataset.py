"""The rows that a run works on: texts, labels, languages, and what was left out."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from typing import TYPE_CHECKING

from llm_tool.config import DEMO_DATA
from llm_tool.data.columns import PART_NAMES, choose_columns, is_missing, separator
from llm_tool.data.loaders import read_table
from llm_tool.errors import StudioError
from llm_tool.text import plural, visible

if TYPE_CHECKING:
    from llm_tool.config import RunConfig
    from llm_tool.data.columns import Columns
    from llm_tool.data.loaders import Table


@dataclass(frozen=True)
class LabelKey:
    """A label column. ``values[row]`` are the row's values, empty where it has none."""

    name: str
    multi: bool
    values: tuple[tuple[str, ...], ...]

    @cached_property
    def counts(self) -> Counter[str]:
        """Rows of each value, the most frequent first."""
        return Counter(dict(Counter(v for row in self.values for v in row).most_common()))


@dataclass(frozen=True)
class Dataset:
    """Rows of text with their labels; every sequence has one entry a row.

    ``languages`` are in upper case, empty where unknown; ``parts`` are ``train``, ``validation``,
    ``test`` or empty, and all empty without a split column. ``notes`` say what was left out.
    """

    name: str
    sha256: str
    columns: Columns
    texts: tuple[str, ...]
    ids: tuple[str, ...]
    languages: tuple[str, ...]
    groups: tuple[str, ...]
    parts: tuple[str, ...]
    keys: dict[str, LabelKey]
    notes: tuple[str, ...] = ()

    @property
    def language_list(self) -> tuple[str, ...]:
        """The languages of the rows, sorted."""
        return tuple(sorted(set(self.languages) - {""}))


def open_table(config: RunConfig) -> Table:
    """Read the table that a configuration names; ``demo`` is the one inside the package."""
    path = config.data
    if path == DEMO_DATA:
        path = str(resources.files("llm_tool.data") / "demo.csv")
    return read_table(path, encoding=config.encoding, delimiter=config.delimiter)


def load_dataset(config: RunConfig) -> Dataset:
    """Read the table of a configuration and build its dataset.

    Raises:
        StudioError: See ``read_table`` and ``build_dataset``.
    """
    table = open_table(config)
    return build_dataset(table, choose_columns(table, config), name=config.data)


def build_dataset(table: Table, columns: Columns, name: str) -> Dataset:
    """Return the rows of a table that have a text.

    Raises:
        StudioError: No row has a text, or the split column has a value that is not a part.
    """
    raw_texts = [_clean(cell) for cell in table.frame[columns.text].tolist()]
    kept = [i for i, text in enumerate(raw_texts) if text]
    if not kept:
        raise StudioError(
            f"No row has a text in the column '{visible(columns.text)}'.",
            where=visible(table.path),
            remedy="Choose another column with --text-column.",
        )
    notes = []
    if len(kept) < len(raw_texts):
        gone = sorted(set(range(len(raw_texts))) - set(kept))
        notes.append(f"{_rows(table, gone)} left out: no text.")

    def column(which: str | None) -> tuple[str, ...]:
        if which is None:
            return ("",) * len(kept)
        cells = table.frame[which].tolist()
        return tuple("" if is_missing(cells[i]) else _text(cells[i]).strip() for i in kept)

    ids = column(columns.id) if columns.id else tuple(str(table.row_numbers[i]) for i in kept)
    labels = {key: table.frame[key].iloc[kept].tolist() for key in columns.labels}
    return Dataset(
        name=name,
        sha256=table.sha256,
        columns=columns,
        texts=tuple(raw_texts[i] for i in kept),
        ids=ids,
        languages=tuple(language.upper() for language in column(columns.language)),
        groups=column(columns.group),
        parts=_parts(table, column(columns.split), kept),
        keys={key: _label_key(key, cells) for key, cells in labels.items()},
        notes=tuple(notes),
    )


def _label_key(name: str, cells: Sequence[object]) -> LabelKey:
    mark = separator([c for c in cells if not is_missing(c)])
    values: list[tuple[str, ...]] = []
    for cell in cells:
        if is_missing(cell):
            values.append(())
        elif isinstance(cell, list):
            own = (str(v).strip() for v in cell if not is_missing(v))
            values.append(tuple(dict.fromkeys(own)))
        elif mark is not None and mark != "list":
            pieces = (piece.strip() for piece in str(cell).split(mark))
            values.append(tuple(dict.fromkeys(p for p in pieces if p)))
        else:
            values.append((str(cell).strip(),))
    return LabelKey(name, multi=mark is not None, values=tuple(values))


def _parts(table: Table, cells: Sequence[str], kept: Sequence[int]) -> tuple[str, ...]:
    parts = tuple(PART_NAMES.get(cell.lower(), "?") if cell else "" for cell in cells)
    if "?" in parts:
        row = parts.index("?")
        raise StudioError(
            f"The split column says '{visible(cells[row])}'.",
            where=f"{visible(table.path)}, row {table.row_numbers[kept[row]]}",
            remedy="Its values are train, validation and test; or give --split-column none.",
        )
    return parts


def _text(cell: object) -> str:
    return " ".join(map(str, cell)) if isinstance(cell, list) else str(cell)


def _clean(cell: object) -> str:
    """Return a text stripped; empty if nothing in it can be read."""
    if is_missing(cell):
        return ""
    text = _text(cell)
    if text.isascii() and text.isprintable():
        return text.strip()
    # Control characters and separators alone are no text.
    readable = any(unicodedata.category(c)[0] not in "CZ" for c in text[:10_000])
    return text.strip() if readable else ""


def _rows(table: Table, positions: Sequence[int]) -> str:
    numbers = [table.row_numbers[i] for i in positions]
    shown = ", ".join(map(str, numbers[:5])) + (", …" if len(numbers) > 5 else "")
    return f"{plural(len(numbers), 'row')} ({shown})"
