"""Tables in JSON: one object a line, an array of objects, or an object of columns."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from llm_tool.data.readers.decoding import Encoding, find_encoding, open_lines
from llm_tool.data.readers.rows import Cell, NoRowsError, Options, Records, Rows
from llm_tool.data.readers.source import Source
from llm_tool.errors import StudioError

_TABLES = (
    'A table is an array of objects, as [{"text": "…", "label": "…"}], or an object of columns.'
)


def read_json_lines(source: Source, options: Options) -> Rows:
    """Read one object a line.

    Raises:
        StudioError: A line that is none, an object with a key twice, an encoding that does not
            fit, or no rows.
    """
    encoding = find_encoding(source, options.encoding)
    if encoding.empty:
        raise NoRowsError("The file is empty.", source.where)
    records, numbers = Records(json_cell), []
    for number, record in json_records(source, encoding, options):
        records.add(record)
        numbers.append(number)
    return Rows(records.columns(source.where), numbers, f"JSON Lines, {encoding.name}")


def json_records(
    source: Source, encoding: Encoding, options: Options
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the number and the object of one line after the other.

    Raises:
        StudioError: See ``read_json_lines``.
    """
    with open_lines(source, encoding, newline="\n", on_progress=options.on_progress) as lines:
        yield from _objects(lines, source.where)


def read_json(source: Source, options: Options) -> Rows:
    """Read a JSON document that is a table; the document is in memory as a whole meanwhile.

    One object a line is read as JSON Lines whatever the name says.

    Raises:
        StudioError: It is no JSON, no table, has a key twice, or no rows.
    """
    encoding = find_encoding(source, options.encoding)
    if encoding.empty:
        raise NoRowsError("The file is empty.", source.where)
    with open_lines(source, encoding, newline="\n", on_progress=options.on_progress) as lines:
        filled = (line for line in lines if line.strip())
        first, second = next(filled, ""), next(filled, "")
        if second and _is_object(first):
            return read_json_lines(source, options)
        text = "".join(chain([first, second], lines))
    records = Records(json_cell)
    for record in _table(_document(text, source.where), source.where):
        records.add(record)
    if not records.count:
        raise NoRowsError("The file has no rows.", source.where)
    numbers = range(1, records.count + 1)
    return Rows(records.columns(source.where), numbers, f"JSON, {encoding.name}")


def _objects(lines: Iterable[str], where: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line.rstrip("\n"), object_pairs_hook=_without_repeats)
        except (ValueError, RecursionError) as error:
            raise StudioError(
                f"Line {number} is not JSON: {error}",
                where=f"{where}, line {number}",
                remedy="JSON Lines has one complete JSON object on each line.",
            ) from None
        if not isinstance(record, dict):
            raise StudioError(
                f"Line {number} is not a JSON object.",
                where=f"{where}, line {number}",
                remedy='Write one object a line, as {"text": "…", "label": "…"}.',
            )
        yield number, record


def _document(text: str, where: str) -> object:
    try:
        return json.loads(text, object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as error:
        line = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise StudioError(
            f"This is not JSON: {error}", where=f"{where}{line}", remedy=_TABLES
        ) from None


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object, of which Python would keep the last of two values of one key."""
    record = dict(pairs)
    if len(record) < len(pairs):
        raise ValueError("a key occurs twice")
    return record


def _table(document: object, where: str) -> Iterable[Mapping[str, Any]]:
    """Return the rows of a document, in any of the shapes in which tables are written."""
    if isinstance(document, dict):
        lists = [v for v in document.values() if _is_list_of(dict, v) and v]
        if len(lists) == 1:
            return _table(lists[0], where)
        rows = _of_split(document) or _of_columns(document) or _of_objects(document)
        if rows is not None:
            return rows
    elif isinstance(document, list):
        for number, record in enumerate(document, start=1):
            if not isinstance(record, dict):
                raise StudioError(
                    f"Item {number} is not a JSON object.",
                    where=f"{where}, row {number}",
                    remedy=_TABLES,
                )
        return document
    raise StudioError("This JSON is not a table.", where=where, remedy=_TABLES)


def _is_list_of(kind: type, value: object) -> bool:
    return isinstance(value, list) and all(isinstance(v, kind) for v in value)


def _of_split(document: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Return the rows of names and lists of cells, as pandas writes them with orient="split"."""
    names, rows = document.get("columns"), document.get("data")
    if not _is_list_of(str, names) or not _is_list_of(list, rows) or names is None or rows is None:
        return None
    if any(len(row) != len(names) for row in rows):
        return None
    return [dict(zip(names, row, strict=True)) for row in rows]


def _of_columns(document: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Return the rows of an object with a list for each column."""
    columns = list(document.values())
    if not _is_list_of(list, columns) or len({len(column) for column in columns}) != 1:
        return None
    return [dict(zip(document, row, strict=True)) for row in zip(*columns, strict=True)]


def _of_objects(document: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Return the rows of an object with an object for each column, or for each row.

    Rows are told from columns by their keys: those of rows are numbers, as pandas writes them.
    """
    if not document or not _is_list_of(dict, list(document.values())):
        return None
    inner = dict.fromkeys(key for value in document.values() for key in value)
    if all(key.isdecimal() for key in document) and not all(key.isdecimal() for key in inner):
        return list(document.values())
    return [
        {name: column[key] for name, column in document.items() if key in column} for key in inner
    ]


def json_cell(value: object) -> Cell:
    """Return a value as a cell: a list as a list of strings, nothing as an empty string."""
    if value is None:
        return ""
    if isinstance(value, list):
        return [_json_text(v) for v in value if v is not None]
    return _json_text(value)


def _json_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
