"""How a table writes its labels: recognised, and turned into one row a text, one column a key.

Schemes can be on top of each other, as 0/1 columns within JSON or the long format of 0/1 columns.
Where it is not clear what a table means, it stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from llm_tool.data.indicators import indicators
from llm_tool.data.json_cells import json_cells
from llm_tool.data.long_format import long_format

if TYPE_CHECKING:
    from llm_tool.config import RunConfig
    from llm_tool.data.arrangement import Change
    from llm_tool.data.loaders import Table

_SCHEMES: dict[str, Callable[[Table, RunConfig], Change | None]] = {
    "long": long_format,
    "json": json_cells,
    "indicators": indicators,
}

LABELS = "Labels: "  # what a note on how labels are written begins with


@dataclass(frozen=True)
class Arranged:
    """A table as the rest works with it: one row a text, each key a column.

    Attributes:
        table: The table; its row numbers are those of the first row of each text.
        changes: The schemes that were recognised, in the order of turning them into columns.
        made: The keys that each column which is gone was turned into.
        coded: Keys in which a missing cell says that nobody labelled the row.
    """

    table: Table
    changes: tuple[Change, ...] = ()
    made: dict[str, tuple[str, ...]] = field(default_factory=dict)
    coded: frozenset[str] = frozenset()

    @property
    def notes(self) -> tuple[str, ...]:
        """What was recognised, left out, or is doubtful; each a sentence."""
        return tuple(n for c in self.changes for n in (f"{LABELS}{c.said}.", *c.notes))


def arrange(table: Table, config: RunConfig) -> Arranged:
    """Return a table of any label scheme as plain columns.

    Args:
        table: As it was read.
        config: Names the scheme, or has it recognised (``auto``). Columns that it names as labels
            or for another role are not taken for parts of a scheme.

    Raises:
        StudioError: The scheme that it names does not fit the table, or rows of one text
            contradict each other.
    """
    wanted = config.scheme
    if wanted == "auto" and (config.key_column or config.value_column):
        wanted = "long"
    arranged = Arranged(table)
    for scheme, change_of in _SCHEMES.items():
        if wanted in ("auto", scheme) and (change := change_of(arranged.table, config)):
            arranged = Arranged(
                change.table,
                (*arranged.changes, change),
                _followed(arranged.made, change) | dict(change.made),
                (arranged.coded & set(change.table.frame.columns)) | change.coded,
            )
    return replace(arranged, coded=arranged.coded.union(_with_empty_lists(arranged.table)))


def _with_empty_lists(table: Table) -> Iterator[str]:
    """Yield the columns in which some row has none of the labels, and says so."""
    for name in table.frame.columns:
        if any(isinstance(cell, list) and not cell for cell in table.frame[name].tolist()):
            yield str(name)


def _followed(made: dict[str, tuple[str, ...]], change: Change) -> dict[str, tuple[str, ...]]:
    """Return what columns were turned into, where some of it was turned into something else."""
    return {
        gone: tuple(dict.fromkeys(new for key in keys for new in change.made.get(key, (key,))))
        for gone, keys in made.items()
    }
