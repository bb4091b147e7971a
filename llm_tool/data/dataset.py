"""The rows that a run works on: texts, labels, languages, and what was left out."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from typing import TYPE_CHECKING, Protocol, TypeVar

from llm_tool.config import DEMO_DATA
from llm_tool.data.arrangement import rows_said
from llm_tool.data.columns import PART_NAMES, choose_columns, is_missing
from llm_tool.data.label_keys import LabelKey as LabelKey
from llm_tool.data.label_keys import composed, label_key, writable
from llm_tool.data.loaders import read_table, table_sha256
from llm_tool.data.schemes import arrange
from llm_tool.errors import StudioError
from llm_tool.text import UNWRITABLE, visible

if TYPE_CHECKING:
    from llm_tool.config import RunConfig
    from llm_tool.data.columns import Columns
    from llm_tool.data.loaders import Table
    from llm_tool.data.readers.rows import Progress

T_co = TypeVar("T_co", covariant=True)


class ByRow(Protocol[T_co]):
    """Something of each row, by its position in the dataset."""

    def __getitem__(self, row: int, /) -> T_co:
        """Return that of a row."""


class Labels(Protocol):
    """The values of a label column; ``LabelKey`` has more."""

    @property
    def values(self) -> ByRow[tuple[str, ...]]:
        """The values of each row, none where it has none."""


class Rows(Protocol):
    """What training takes of a dataset's rows besides their tokens; ``Dataset`` has more."""

    @property
    def ids(self) -> ByRow[str]:
        """What the user knows each row by."""

    @property
    def languages(self) -> ByRow[str]:
        """The language of each row, in upper case, empty where unknown."""

    @property
    def keys(self) -> Mapping[str, Labels]:
        """The label columns by their names."""


@dataclass(frozen=True)
class Dataset:
    """Rows of text with their labels; every sequence has one entry a row.

    ``languages`` are in upper case, empty where unknown; ``parts`` are ``train``, ``validation``,
    ``test`` or empty, and all empty without a split column. ``notes`` say what was left out,
    ``without_text`` how many rows of the table have no text; ``kept`` are the positions of the
    others in it.
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
    without_text: int = 0
    kept: tuple[int, ...] = ()

    @property
    def language_list(self) -> tuple[str, ...]:
        """The languages of the rows, sorted."""
        return tuple(sorted(set(self.languages) - {""}))


def open_table(config: RunConfig, on_progress: Progress | None = None) -> Table:
    """Read the table that a configuration names; ``demo`` is the one inside the package."""
    path = _data_path(config)
    return read_table(
        path,
        encoding=config.encoding,
        delimiter=config.delimiter,
        sheet=config.sheet,
        on_progress=on_progress,
    )


def data_sha256(config: RunConfig) -> str:
    """Return the hash of the table's file, as ``Table`` has it; empty if it cannot be read."""
    try:
        return table_sha256(_data_path(config))
    except StudioError:
        return ""


def _data_path(config: RunConfig) -> str:
    if config.data == DEMO_DATA:
        return str(resources.files("llm_tool.data") / "demo.csv")
    return config.data


def load_dataset(config: RunConfig, on_progress: Progress | None = None) -> Dataset:
    """Read the table of a configuration and build its dataset.

    Raises:
        StudioError: See ``load_table``.
    """
    return load_table(config, on_progress)[1]


def load_table(config: RunConfig, on_progress: Progress | None = None) -> tuple[Table, Dataset]:
    """Read the table of a configuration; return it with one row a text, and its dataset.

    Raises:
        StudioError: See ``read_table``, ``arrange``, ``choose_columns`` and ``build_dataset``.
    """
    arranged = arrange(open_table(config, on_progress), config)
    columns = choose_columns(arranged.table, config, arranged.made)
    dataset = build_dataset(arranged.table, columns, name=config.data, coded=arranged.coded)
    return arranged.table, replace(dataset, notes=(*arranged.notes, *dataset.notes))


def build_dataset(
    table: Table, columns: Columns, name: str, *, coded: Collection[str] = ()
) -> Dataset:
    """Return the rows of a table that have a text.

    What no file can hold (``UNWRITABLE``) is replaced by ``�`` here, in texts and in all values.

    Args:
        table: One row a text, each label key a column, as ``arrange`` returns it.
        columns: The role of each column.
        name: What to call the dataset.
        coded: Keys in which a missing cell says that nobody labelled the row.

    Raises:
        StudioError: No row has a text, the split column has a value that is not a part, or two
            values would be the same with ``�``.
    """
    raw_texts = [clean_text(cell) for cell in table.frame[columns.text].tolist()]
    kept = [i for i, text in enumerate(raw_texts) if text]
    if not kept:
        raise StudioError(
            f"No row has a text in the column '{visible(columns.text)}'.",
            where=visible(table.path),
            remedy="Choose another column with --text-column.",
        )
    notes = list(table.notes)
    if len(kept) < len(raw_texts):
        gone = sorted(set(range(len(raw_texts))) - set(kept))
        notes.append(f"{rows_said(table, gone)} left out: no text.")

    def column(which: str | None) -> tuple[str, ...]:
        if which is None:
            return ("",) * len(kept)
        raw = table.frame[which].tolist()
        cells = ["" if is_missing(raw[i]) else _text(raw[i]).strip() for i in kept]
        written = writable([(cell,) for cell in cells], table, which, kept)
        return tuple(cell for (cell,) in written)

    keys: dict[str, LabelKey] = {}
    for label in columns.labels:
        keys[label], about = label_key(table, label, kept, coded)
        notes += about
    ids = column(columns.id) if columns.id else tuple(table.row_name(i) for i in kept)
    return Dataset(
        name=name,
        sha256=table.sha256,
        columns=columns,
        texts=tuple(raw_texts[i] for i in kept),
        ids=ids,
        languages=tuple(composed(own).upper() for own in column(columns.language)),
        groups=tuple(map(composed, column(columns.group))),
        parts=_parts(table, column(columns.split), kept),
        keys=keys,
        notes=tuple(notes),
        without_text=len(raw_texts) - len(kept),
        kept=tuple(kept),
    )


def _parts(table: Table, cells: Sequence[str], kept: Sequence[int]) -> tuple[str, ...]:
    parts = tuple(PART_NAMES.get(cell.lower(), "?") if cell else "" for cell in cells)
    if "?" in parts:
        row = parts.index("?")
        raise StudioError(
            f"The split column says '{visible(cells[row])}'.",
            where=table.place(kept[row]),
            remedy="Its values are train, validation and test; or give --split-column none.",
        )
    return parts


def _text(cell: object) -> str:
    return " ".join(map(str, cell)) if isinstance(cell, list) else str(cell)


def clean_text(cell: object) -> str:
    """Return a text as models read it: stripped, and empty if nothing in it can be read."""
    if is_missing(cell):
        return ""
    text = _text(cell)
    if text.isascii() and text.isprintable():
        return text.strip()
    # Control characters and separators alone are no text.
    readable = any(unicodedata.category(c)[0] not in "CZ" for c in text[:10_000])
    return UNWRITABLE.sub("�", text).strip() if readable else ""
