"""Workbooks: the sheet that holds the table, and the rows that are the table."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from itertools import islice
from typing import IO, Any

from llm_tool.data.readers.rows import (
    Cell,
    Column,
    NoRowsError,
    Options,
    Rows,
    column_names,
    load_library,
    others,
)
from llm_tool.data.readers.source import Source, refuse_absurd
from llm_tool.data.readers.values import shown
from llm_tool.errors import StudioError, nearest
from llm_tool.text import plural, visible

_HEADER_WITHIN = 50  # rows in which the header is looked for


def read_excel(source: Source, options: Options) -> Rows:
    """Read a sheet of a workbook: the one that is named, else the first with rows.

    Rows above the header, as titles are, and empty rows and columns are left out; row numbers are
    Excel's. Cells with an error are empty.

    Raises:
        StudioError: The extra is missing, the file is damaged or protected, there is no such
            sheet, or none has rows.
    """
    calamine = load_library("python_calamine", "Excel", "excel", source.where)
    with source.open_anywhere(options.on_progress) as file:
        _refuse_bomb(file, source.where)
        try:
            book = calamine.load_workbook(file)
            return _read_book(book, options.sheet, source)
        except calamine.PasswordError:
            raise _protected(source.where) from None
        except calamine.CalamineError as error:
            file.seek(0)
            if "EncryptedPackage".encode("utf-16-le") in file.read():
                raise _protected(source.where) from None
            raise StudioError(
                f"This Excel file cannot be read: {error}.",
                where=source.where,
                remedy="Open it in Excel and save it anew, as .xlsx or CSV (UTF-8).",
            ) from None


def _protected(where: str) -> StudioError:
    return StudioError(
        "This Excel file is protected by a password.",
        where=where,
        remedy="Open it in Excel and save it without one.",
    )


def _refuse_bomb(file: IO[bytes], where: str) -> None:
    if not zipfile.is_zipfile(file):
        file.seek(0)
        return
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
    refuse_absurd(sum(m.file_size for m in members), sum(m.compress_size for m in members), where)
    file.seek(0)


def _read_book(book: Any, wanted: str | None, source: Source) -> Rows:  # noqa: ANN401 - untyped
    names = list(book.sheet_names)
    if wanted is not None:
        names = [_sheet(names, wanted, source.where)]
    for name in names:
        found = _table(book.get_sheet_by_name(name).to_python(skip_empty_area=False))
        if found is not None:
            return _rows(*found, name, len(book.sheet_names) - 1, source)
    one = f"The sheet '{visible(names[0])}' has no rows" if len(names) == 1 else "No sheet has rows"
    raise NoRowsError(f"{one} under a header.", source.where)


def _sheet(names: Sequence[str], wanted: str, where: str) -> str:
    """Return the sheet of a name, or of a number from 1."""
    if wanted in names:
        return wanted
    if wanted.isdecimal() and 0 < int(wanted) <= len(names):
        return names[int(wanted) - 1]
    raise StudioError(
        f"There is no sheet '{visible(wanted)}'.",
        where=f"--sheet, {where}",
        remedy=nearest(visible(wanted), map(visible, names), kind="existing"),
    )


def _table(cells: Sequence[Sequence[object]]) -> tuple[int, list[tuple[int, list[str]]]] | None:
    """Return the number of the header's row, and the filled rows with their numbers from it on."""
    filled = (
        (number, [shown(value) for value in row])
        for number, row in enumerate(cells, start=1)
        if any(value not in ("", None) for value in row)
    )
    above = list(islice(filled, _HEADER_WITHIN))
    widths = [sum(bool(cell.strip()) for cell in row) for _, row in above]
    # A title has one cell, however wide it looks; a header has one for each column.
    header = next((i for i, width in enumerate(widths) if width > 1), 0)
    rows = [*above[header:], *filled]
    return (header, rows) if len(rows) > 1 else None


def _rows(
    above: int, rows: list[tuple[int, list[str]]], sheet: str, more: int, source: Source
) -> Rows:
    where = f"{source.where}, sheet '{visible(sheet)}', row {rows[0][0]}"
    used = [
        i
        for i, name in enumerate(rows[0][1])
        if name.strip() or any(i < len(row) and row[i] for _, row in rows[1:])
    ]
    names = column_names([rows[0][1][i] for i in used], where)
    columns: dict[str, Sequence[Cell]] = {}
    for name, i in zip(names, used, strict=True):
        column = Column()
        column.extend([row[i] for _, row in rows[1:]])
        columns[name] = column.cells
    notes = (f"{plural(above, 'row')} above the header left out.",) if above else ()
    how = f"Excel, sheet '{sheet}'{others(more)}"
    return Rows(columns, [number for number, _ in rows[1:]], how, notes)
