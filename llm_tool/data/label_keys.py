"""From the cells of a label column to its values, and what is doubtful about how they are spelt."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from llm_tool.data.arrangement import rows_said
from llm_tool.data.columns import is_missing, separator
from llm_tool.errors import StudioError
from llm_tool.text import UNWRITABLE, plural, shorten, visible

if TYPE_CHECKING:
    from llm_tool.data.loaders import Table

_PAIRS_SHOWN = 5
_SPELLED = 40  # characters of a value in a note
Values = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class LabelKey:
    """A label column. ``values[row]`` are the row's values, empty where it has none.

    ``uncoded`` are the rows of which the file says that nobody labelled them, in distinction from
    those that have none of the labels.
    """

    name: str
    multi: bool
    values: Values
    uncoded: frozenset[int] = frozenset()

    @cached_property
    def counts(self) -> Counter[str]:
        """Rows of each value, the most frequent first."""
        return Counter(dict(Counter(v for row in self.values for v in row).most_common()))


def label_key(
    table: Table, name: str, kept: Sequence[int], coded: Collection[str]
) -> tuple[LabelKey, list[str]]:
    """Return a column of the table as labels, and notes on values that are easily mistaken.

    Args:
        table: The table.
        name: The column.
        kept: The rows that have a text.
        coded: Columns in which a missing cell says that nobody labelled the row.

    Raises:
        StudioError: Two values differ only in what no file can hold.
    """
    column = table.frame[name].tolist()
    cells = [column[row] for row in kept]
    mark = separator([cell for cell in cells if not is_missing(cell)])
    written = [split_cell(cell, mark) for cell in cells]
    values = writable([tuple(map(composed, row)) for row in written], table, name, kept)
    values = [tuple(dict.fromkeys(row)) for row in values]
    uncoded = frozenset(
        row
        for row, cell in enumerate(cells)
        if name in coded and not isinstance(cell, list) and is_missing(cell)
    )
    key = LabelKey(name, mark is not None, tuple(values), uncoded)
    notes = [
        *_taken_for_missing(table, cells, kept),
        *_composed(value for row in written for value in row),
        *_differing_in_case(key),
    ]
    return key, [f"{visible(name)}: {note}" for note in notes]


def split_cell(cell: object, mark: str | None) -> tuple[str, ...]:
    """Return the values of a cell, stripped, each once; ``mark`` is how ``separator`` names it."""
    if is_missing(cell):
        return ()
    if isinstance(cell, list):
        pieces = [str(value) for value in cell if not is_missing(value)]
    elif mark is not None and mark != "list":
        pieces = str(cell).split(mark)
    else:
        pieces = [str(cell)]
    return tuple(dict.fromkeys(piece.strip() for piece in pieces if piece.strip()))


def composed(text: str) -> str:
    """Return text with its accents as part of their letters, where Unicode has such (NFC)."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def writable(
    values: Sequence[tuple[str, ...]], table: Table, column: str, kept: Sequence[int]
) -> Sequence[tuple[str, ...]]:
    """Return the values of rows as files can hold them; no two that differ become the same.

    Raises:
        StudioError: Two would be.
    """
    if not any(UNWRITABLE.search(value) for row in values for value in row):
        return values
    raw_of: dict[str, str] = {}
    for number, row in zip(kept, values, strict=True):
        for value in row:
            other = raw_of.setdefault(UNWRITABLE.sub("�", value), value)
            if other != value:
                raise StudioError(
                    f"'{visible(other)}' and '{visible(value)}' differ only in characters that no "
                    "file can hold.",
                    where=f"{table.place(number)}, column '{visible(column)}'",
                    remedy="Give one of them another name in the file.",
                )
    return [tuple(UNWRITABLE.sub("�", value) for value in row) for row in values]


def _taken_for_missing(table: Table, cells: Sequence[object], kept: Sequence[int]) -> Iterator[str]:
    """Yield which cells were written, and yet taken for empty; ``NA`` may be Namibia."""
    rows: dict[str, list[int]] = defaultdict(list)
    for row, cell in zip(kept, cells, strict=True):
        for value in cell if isinstance(cell, list) else (cell,):
            spelled = str(value).strip()
            if spelled and is_missing(value) and row not in rows[spelled][-1:]:
                rows[spelled].append(row)
    for spelled, own in rows.items():
        yield f"'{spelled}' was taken for no value in {rows_said(table, own)}."


def _composed(values: Iterator[str]) -> Iterator[str]:
    """Yield which values are written both with composed and with decomposed accents."""
    spellings: dict[str, set[str]] = defaultdict(set)
    for value in set(values):
        spellings[composed(value)].add(value)
    for value in sorted(v for v, own in spellings.items() if len(own) > 1):
        yield f"'{_short(value)}' is spelt in two ways that look alike (Unicode): one class."


def _differing_in_case(key: LabelKey) -> Iterator[str]:
    """Yield which values differ only in case; they stay different classes."""
    alike: dict[str, list[str]] = defaultdict(list)
    for value in key.counts:
        alike[value.casefold()].append(value)
    several = [own for own in alike.values() if len(own) > 1]
    for own in several[:_PAIRS_SHOWN]:
        shown = " and ".join(f"'{_short(v)}' ({plural(key.counts[v], 'row')})" for v in own)
        yield f"{shown} differ only in case: {len(own)} classes."
    if len(several) > _PAIRS_SHOWN:
        yield f"{len(several) - _PAIRS_SHOWN} more such sets of values."


def _short(value: str) -> str:
    return shorten(visible(value), _SPELLED)
