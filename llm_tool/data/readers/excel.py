"""Workbooks: the sheet that holds the table, and the rows that are the table."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain, islice
from typing import IO, Any

from llm_tool.data.readers.rows import (
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
    """Read a sheet of a workbook: the one that is named, else the one with the most rows.

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
    largest: Rows | None = None
    failed: StudioError | None = None  # a sheet that is no table is no matter, if another one is
    for name in names:
        try:
            rows = _table(book.get_sheet_by_name(name).iter_rows(), name, source.where)
        except StudioError as error:
            failed = failed or error
            continue
        if rows is not None and (largest is None or len(rows.numbers) > len(largest.numbers)):
            largest = rows
    if largest is not None:
        return replace(largest, how=f"{largest.how}{others(len(book.sheet_names) - 1)}")
    if failed is not None:
        raise failed
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


def _table(cells: Iterable[Sequence[object]], sheet: str, where: str) -> Rows | None:
    """Return the rows under a sheet's header, if it has any."""
    filled = (
        (number, [shown(value) for value in row])
        for number, row in enumerate(cells, start=1)
        if any(value not in ("", None) for value in row)
    )
    above = list(islice(filled, _HEADER_WITHIN))
    widths = [sum(bool(cell.strip()) for cell in row) for _, row in above]
    # A title has one cell, however wide it looks; a header has one for each column.
    skipped = next((i for i, width in enumerate(widths) if width > 1), 0)
    columns, numbers = [Column() for _ in above[0][1]] if above else [], list[int]()
    for number, row in chain(above[skipped + 1 :], filled):
        for column, cell in zip(columns, row, strict=True):
            column.put(len(numbers), cell)
        numbers.append(number)
    if not numbers:
        return None
    first, header = above[skipped]
    used = [i for i, name in enumerate(header) if name.strip() or any(columns[i].cells)]
    names = column_names(
        [header[i] for i in used], f"{where}, sheet '{visible(sheet)}', row {first}"
    )
    notes = (f"{plural(skipped, 'row')} above the header left out.",) if skipped else ()
    cells_of = dict(zip(names, (columns[i].cells for i in used), strict=True))
    return Rows(cells_of, numbers, f"Excel, sheet '{visible(sheet)}'", notes)
