"""The output: the table's own columns as they were read and ours behind them, in three formats."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from llm_tool.data.readers.rows import Cell
from llm_tool.data.readers.values import shown
from llm_tool.errors import StudioError
from llm_tool.inference.answers import Value
from llm_tool.logs.category_rows import neutral
from llm_tool.text import UNWRITABLE, visible

if TYPE_CHECKING:
    from llm_tool.data.streams import Batch, TableStream

Columns = Mapping[str, Sequence[Value]]  # ours, by name
_ENCODING: dict[str, Any] = {"encoding": "utf-8", "errors": "backslashreplace", "newline": ""}


class Format(Protocol):
    """How a table is written: some rows in a file of their own, then all those files as one."""

    def write(self, path: Path, batches: Sequence[Batch], own: Columns) -> None:
        """Write some rows, with our columns for them, to a new file."""

    def join(self, path: Path, parts: Sequence[Path]) -> None:
        """Write the table from files with its rows, in their order, to a new file."""


def format_for(path: Path) -> str:
    """Return the ending of an output file.

    Raises:
        StudioError: It is not one that is written.
    """
    ending = path.suffix.lower()
    if ending not in _FORMATS:
        raise StudioError(
            f"Tables that end in '{visible(path.suffix)}' are not written."
            if path.suffix
            else "The output's name has no ending that says its format.",
            where=f"--out {visible(str(path))}",
            remedy=f"Name it with one of {', '.join(_FORMATS)}.",
        )
    return ending


def make_format(ending: str, table: TableStream, own: Mapping[str, type]) -> Format:
    """Return how a table is written.

    Args:
        ending: What ``format_for`` returned.
        table: The table that is read.
        own: Our columns: whether each holds ``str`` or ``float``.
    """
    made: Format = _FORMATS[ending](table, own)
    return made


class _Csv:
    """CSV in UTF-8. Texts of ours that a spreadsheet would run as a formula get an apostrophe."""

    def __init__(self, table: TableStream, own: Mapping[str, type]) -> None:
        self._header = [*table.names, *map(neutral, own)]

    def write(self, path: Path, batches: Sequence[Batch], own: Columns) -> None:
        """Write some rows."""
        added = zip(*(map(_csv_value, cells) for cells in own.values()), strict=True)
        with path.open("x", **_ENCODING) as file:
            for batch in batches:
                cells = zip(*(map(_csv_cell, batch.columns[n]) for n in batch.columns), strict=True)
                for row in cells:
                    file.write(_csv_line([*row, *next(added)]))

    def join(self, path: Path, parts: Sequence[Path]) -> None:
        """Write the header and all rows."""
        with path.open("x", **_ENCODING) as file:
            file.write(_csv_line(self._header))
        _append(path, parts)


def _csv_cell(cell: Cell) -> str:
    return cell if isinstance(cell, str) else json.dumps(cell, ensure_ascii=False)


def _csv_value(value: Value) -> str:
    if value is None:
        return ""
    return f"{value:.6f}" if isinstance(value, float) else neutral(value)


def _csv_line(cells: Sequence[str]) -> str:
    buffer = io.StringIO()
    # With "\n" alone, Python before 3.13 leaves a lone carriage return in a cell unquoted.
    csv.writer(buffer, lineterminator="\r\n").writerow(cells)
    return buffer.getvalue()[:-2] + "\n"


class _JsonLines:
    """One object a line; of JSON Lines and Parquet with the values that the file has."""

    def __init__(self, table: TableStream, own: Mapping[str, type]) -> None:
        del table, own  # every line says its own columns

    def write(self, path: Path, batches: Sequence[Batch], own: Columns) -> None:
        """Write some rows."""
        added = zip(*own.values(), strict=True)
        with path.open("x", **_ENCODING) as file:
            for batch in batches:
                for record in _records(batch):
                    row = {**record, **dict(zip(own, next(added), strict=True))}
                    file.write(_json_line(row))

    def join(self, path: Path, parts: Sequence[Path]) -> None:
        """Write all rows."""
        path.open("x").close()
        _append(path, parts)


def _records(batch: Batch) -> Iterator[Mapping[str, Any]]:
    if batch.records is not None:
        yield from batch.records
        return
    for cells in zip(*batch.columns.values(), strict=True):
        yield dict(zip(batch.columns, cells, strict=True))


def _json_line(row: Mapping[str, Any]) -> str:
    try:
        text = json.dumps(row, ensure_ascii=False, allow_nan=False, default=shown)
    except ValueError:  # JSON has no numbers that are none
        text = json.dumps(_defined(row), ensure_ascii=False, default=shown)
    return text + "\n"


def _defined(value: Any) -> Any:  # noqa: ANN401 - anything in a cell
    if isinstance(value, Mapping):
        return {str(key): _defined(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_defined(part) for part in value]
    return None if isinstance(value, float) and value - value != 0 else value


def _append(path: Path, parts: Sequence[Path]) -> None:
    with path.open("ab") as file:
        for part in parts:
            with part.open("rb") as rows:
                shutil.copyfileobj(rows, file, 1 << 20)


class _Parquet:
    """Parquet; of Parquet and Feather with the types that the file has, else with strings."""

    def __init__(self, table: TableStream, own: Mapping[str, type]) -> None:
        import pyarrow as pa

        self._native = table.schema is not None
        schema = table.schema
        if schema is None:
            texts, lists = pa.string(), pa.list_(pa.string())
            schema = pa.schema([(n, lists if n in table.lists else texts) for n in table.names])
        for name, kind in own.items():
            written = UNWRITABLE.sub("�", name)
            schema = schema.append(pa.field(written, pa.string() if kind is str else pa.float64()))
        self._schema = schema

    def write(self, path: Path, batches: Sequence[Batch], own: Columns) -> None:
        """Write some rows."""
        import pyarrow as pa
        from pyarrow import parquet

        if self._native:
            columns = pa.Table.from_batches([batch.arrow for batch in batches]).columns
        else:
            columns = [
                [_parquet_cell(cell, lists) for batch in batches for cell in batch.columns[name]]
                for name, lists in self._cells(len(own))
            ]
        ours = [[_clean(value) for value in cells] for cells in own.values()]
        fields = list(self._schema)
        arrays = [
            column if self._native and i < len(columns) else pa.array(column, type=fields[i].type)
            for i, column in enumerate([*columns, *ours])
        ]
        parquet.write_table(pa.Table.from_arrays(arrays, schema=self._schema), path)

    def _cells(self, own: int) -> list[tuple[str, bool]]:
        """Return the table's columns, and which of them hold lists."""
        import pyarrow as pa

        return [(f.name, pa.types.is_list(f.type)) for f in list(self._schema)[:-own]]

    def join(self, path: Path, parts: Sequence[Path]) -> None:
        """Write all rows, a part in memory at a time."""
        from pyarrow import parquet

        with parquet.ParquetWriter(path, self._schema) as writer:
            for part in parts:
                rows = parquet.ParquetFile(part).read()
                same = rows.schema.equals(self._schema)
                writer.write_table(rows if same else rows.cast(self._schema))


def _parquet_cell(cell: Cell, lists: bool) -> str | list[str]:
    if lists:
        own = cell if isinstance(cell, list) else [cell] if cell else []
        return [UNWRITABLE.sub("�", one) for one in own]
    return UNWRITABLE.sub("�", cell) if isinstance(cell, str) else json.dumps(cell)


def _clean(value: Value) -> Value:
    return UNWRITABLE.sub("�", value) if isinstance(value, str) else value


_FORMATS: dict[str, Any] = {".csv": _Csv, ".jsonl": _JsonLines, ".parquet": _Parquet}
