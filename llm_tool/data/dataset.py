"""The rows that a run works on: texts, labels, languages, and what was left out."""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from llm_tool.config import DEMO_DATA
from llm_tool.data.columns import PART_NAMES, choose_columns, is_missing, separator
from llm_tool.data.loaders import read_table
from llm_tool.errors import StudioError
from llm_tool.text import UNWRITABLE, plural, visible

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
    ``test`` or empty, and all empty without a split column. ``kept`` are the rows' positions in the
    table. ``notes`` say what was left out.
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
    kept: tuple[int, ...] = ()

    @property
    def language_list(self) -> tuple[str, ...]:
        """The languages of the rows, sorted."""
        return tuple(sorted(set(self.languages) - {""}))


def open_table(config: RunConfig) -> Table:
    """Read the table that a configuration names; ``demo`` is the one inside the package."""
    path = _data_path(config)
    return read_table(path, encoding=config.encoding, delimiter=config.delimiter)


def data_sha256(config: RunConfig) -> str:
    """Return the hash of the table's file, as ``Table`` has it; empty if it cannot be read."""
    try:
        return hashlib.sha256(Path(_data_path(config)).read_bytes()).hexdigest()
    except OSError:
        return ""


def _data_path(config: RunConfig) -> str:
    if config.data == DEMO_DATA:
        return str(resources.files("llm_tool.data") / "demo.csv")
    return config.data


def load_dataset(config: RunConfig) -> Dataset:
    """Read the table of a configuration and build its dataset.

    Raises:
        StudioError: See ``read_table`` and ``build_dataset``.
    """
    table = open_table(config)
    return build_dataset(table, choose_columns(table, config), name=config.data)


def build_dataset(table: Table, columns: Columns, name: str) -> Dataset:
    """Return the rows of a table that have a text.

    What no file can hold (``UNWRITABLE``) is replaced by ``�`` here, in texts and in all values.

    Raises:
        StudioError: No row has a text, the split column has a value that is not a part, or two
            values would be the same with ``�``.
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
        raw = table.frame[which].tolist()
        cells = ["" if is_missing(raw[i]) else _text(raw[i]).strip() for i in kept]
        written = _writable([(cell,) for cell in cells], table, which, kept)
        return tuple(cell for (cell,) in written)

    def key(name: str) -> LabelKey:
        own = _label_key(name, table.frame[name].iloc[kept].tolist())
        return replace(own, values=_writable(own.values, table, name, kept))

    ids = column(columns.id) if columns.id else tuple(str(table.row_numbers[i]) for i in kept)
    return Dataset(
        name=name,
        sha256=table.sha256,
        columns=columns,
        texts=tuple(raw_texts[i] for i in kept),
        ids=ids,
        languages=tuple(language.upper() for language in column(columns.language)),
        groups=column(columns.group),
        parts=_parts(table, column(columns.split), kept),
        keys={name: key(name) for name in columns.labels},
        notes=tuple(notes),
        kept=tuple(kept),
    )


def _writable(
    values: Sequence[tuple[str, ...]], table: Table, column: str, kept: Sequence[int]
) -> tuple[tuple[str, ...], ...]:
    """Return the values of rows as files can hold them; no two that differ become the same."""
    if not any(UNWRITABLE.search(value) for row in values for value in row):
        return tuple(values)
    raw_of: dict[str, str] = {}
    for number, row in zip(kept, values, strict=True):
        for value in row:
            other = raw_of.setdefault(UNWRITABLE.sub("�", value), value)
            if other != value:
                raise StudioError(
                    f"'{visible(other)}' and '{visible(value)}' differ only in characters that no "
                    "file can hold.",
                    where=f"{visible(table.path)}, row {table.row_numbers[number]}, column "
                    f"'{visible(column)}'",
                    remedy="Give one of them another name in the file.",
                )
    return tuple(tuple(UNWRITABLE.sub("�", value) for value in row) for row in values)


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
    return UNWRITABLE.sub("�", text).strip() if readable else ""


def _rows(table: Table, positions: Sequence[int]) -> str:
    numbers = [table.row_numbers[i] for i in positions]
    shown = ", ".join(map(str, numbers[:5])) + (", …" if len(numbers) > 5 else "")
    return f"{plural(len(numbers), 'row')} ({shown})"
