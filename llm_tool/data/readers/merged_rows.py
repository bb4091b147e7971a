"""Rows that two stray quotes made one of: the table has no error, and is wrong."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from llm_tool.data.readers.rows import Cell
from llm_tool.errors import StudioError
from llm_tool.text import shorten, visible

_LINE_END = re.compile("\r\n|\r|\n")
ROWS_JUDGED = 20_000
_FORMS = 50  # a column with more kinds of cells tells nothing of what belongs in it


@dataclass(frozen=True)
class Suspect:
    """A cell whose lines are separated as rows are: its row's number and place, its column."""

    number: int
    place: int
    column: int
    lines: tuple[str, ...]


def suspects(
    rows: Sequence[Sequence[str]], numbers: Sequence[int], first: int, delimiter: str
) -> list[Suspect]:
    """Return the cells that hold the separators of the rows that their lines would be.

    Args:
        rows: Some rows.
        numbers: Their numbers in the file.
        first: The place of the first of them in the table.
        delimiter: What separates cells.
    """
    found = []
    for place, (number, row) in enumerate(zip(numbers, rows, strict=True), start=first):
        for column, cell in enumerate(row):
            lines = tuple(_LINE_END.split(cell)) if "\n" in cell or "\r" in cell else ()
            if len(lines) > 1 and _separated(lines, column, len(row), delimiter):
                found.append(Suspect(number, place, column, lines))
    return found


def _separated(lines: Sequence[str], column: int, width: int, delimiter: str) -> bool:
    # The first line has the rest of the row in which the quote opened, the last one the start of
    # the row in which it closed.
    wanted = [width - 1 - column, *[width - 1] * (len(lines) - 2), column]
    return width > 1 and [line.count(delimiter) for line in lines] == wanted


def refuse_merged(
    found: Sequence[Suspect], columns: Sequence[Sequence[Cell]], delimiter: str, where: str
) -> None:
    """Refuse a table with a cell whose lines are rows: what they hold is found in the columns.

    Raises:
        StudioError: There is one; texts of several lines with commas in them are none.
    """
    if not found:
        return
    places = {suspect.place for suspect in found}
    forms = [_forms(column, places) for column in columns]
    for suspect in found:
        if _is_rows(suspect, forms, delimiter):
            shown = shorten(visible(" / ".join(suspect.lines)), 60)
            raise StudioError(
                f"A quoted cell in row {suspect.number} holds what look like "
                f"{len(suspect.lines)} rows: {shown}",
                where=f"{where}, row {suspect.number}",
                remedy='Two stray quotes made one row of them: write quotes inside cells twice (""'
                "). If it is one text, save the table as JSON or Excel.",
            )


def _forms(column: Sequence[Cell], without: set[int]) -> set[str] | None:
    """Return the kinds of cells of a column, if they are few; digits are alike."""
    cells = [c for i, c in enumerate(column[:ROWS_JUDGED]) if i not in without]
    forms = {_form(str(cell)) for cell in cells} - {""}
    return forms if len(forms) <= min(_FORMS, len(cells) / 2) else None


def _form(cell: str) -> str:
    return re.sub(r"\d+", "0", cell)


def _is_rows(suspect: Suspect, forms: Sequence[set[str] | None], delimiter: str) -> bool:
    """Tell whether the pieces of the lines are what their columns hold, wherever that is known."""
    known = 0
    for position, line in enumerate(suspect.lines):
        pieces = line.split(delimiter)
        if position == 0:
            own = list(enumerate(pieces[1:], start=suspect.column + 1))
        elif position == len(suspect.lines) - 1:
            own = list(enumerate(pieces[:-1]))
        else:
            own = list(enumerate(pieces))
        for column, piece in own:
            telling = forms[column]
            if telling is not None and piece.strip():
                if _form(piece) not in telling:
                    return False
                known += 1
    return known > 0
