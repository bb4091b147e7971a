"""What turning a table of one label scheme into plain columns gives, and what all schemes share."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from llm_tool.text import UNWRITABLE, plural, shorten, visible

if TYPE_CHECKING:
    from llm_tool.config import RunConfig
    from llm_tool.data.loaders import Table

Cell = str | list[str]
MOST_KEYS = 200  # keys that one scheme makes; with more, what names them is no key
_ROWS_SHOWN = 5


@dataclass(frozen=True)
class Change:
    """One scheme that was recognised, and the table without it.

    Attributes:
        scheme: As the setting names it.
        said: What was recognised, in a line; names in it are as they are in the file.
        table: One row a text, one column a key.
        made: The keys that each column which is gone was turned into.
        coded: Keys in which a missing cell says that nobody labelled the row, because a row
            without any of the labels is written otherwise.
        notes: What was left out, or is doubtful.
        examples: A few rows before and after.
    """

    scheme: str
    said: str
    table: Table
    made: Mapping[str, tuple[str, ...]]
    coded: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
    examples: tuple[tuple[str, str], ...] = field(default=(), compare=False)


def named_for_a_role(config: RunConfig) -> set[str]:
    """Return the columns that the configuration names as anything but labels."""
    names = (
        config.text_column,
        config.language_column,
        config.id_column,
        config.group_column,
        config.split_column,
    )
    return {name for name in names if name}


def with_columns(
    table: Table, drop: Collection[str], add: Mapping[str, Sequence[Cell]], at: str
) -> Table:
    """Return a table with some columns in the place of others, at that of the column ``at``."""
    import pandas as pd

    columns: dict[str, object] = {}
    for name in table.frame.columns:
        if name == at:
            columns |= {new: pd.Series(list(cells), dtype=object) for new, cells in add.items()}
        if name not in drop:
            columns[name] = table.frame[name]
    return replace(table, frame=pd.DataFrame(columns, dtype=object))


def new_name(name: str, taken: Collection[str], otherwise: str) -> str:
    """Return a name for a column, which must not be empty, unwritable or taken."""
    wanted = UNWRITABLE.sub("�", name)
    if wanted.strip() and wanted not in taken:
        return wanted
    candidates = (otherwise if n == 1 else f"{otherwise}_{n}" for n in range(1, len(taken) + 3))
    return next(one for one in candidates if one not in taken)


def rows_said(table: Table, positions: Sequence[int], most: int = _ROWS_SHOWN) -> str:
    """Return a number of rows with the first of their numbers: ``3 rows (2, 5, 9)``."""
    return f"{plural(len(positions), 'row')} ({numbers_said(table, positions, most)})"


def numbers_said(table: Table, positions: Sequence[int], most: int = _ROWS_SHOWN) -> str:
    """Return the first of some rows' numbers, as a spreadsheet shows them."""
    shown = ", ".join(visible(table.row_name(i)) for i in positions[:most])
    return shown + (", …" if len(positions) > most else "")


def listed(names: Iterable[str], most: int = 8) -> str:
    """Return names as a list that stays short."""
    every = [shorten(visible(name), 40) for name in names]
    return ", ".join(every[:most]) + (", …" if len(every) > most else "")


def spelled_alike(names: Iterable[str]) -> list[tuple[str, str]]:
    """Return pairs of names that differ only in case, in blanks, or in how accents are composed."""
    first: dict[str, str] = {}
    pairs = []
    for name in names:
        same = " ".join(unicodedata.normalize("NFC", name).casefold().split())
        other = first.setdefault(same, name)
        if other != name:
            pairs.append((other, name))
    return pairs


def shown_cell(cell: object) -> str:
    """Return a cell as a line shows it; what lists hold is separated by semicolons."""
    if isinstance(cell, list):
        text = "; ".join(map(str, cell)) or "none"
    else:
        text = str(cell).strip() or "–"
    return shorten(visible(text), 60)


def shown_row(table: Table, names: Iterable[str], row: int) -> str:
    """Return some cells of a row, with the names of their columns: ``theme = eco; law``."""
    shown = [f"{visible(name)} = {shown_cell(table.frame[name].iloc[row])}" for name in names]
    return ", ".join(shown[:6]) + (", …" if len(shown) > 6 else "")
