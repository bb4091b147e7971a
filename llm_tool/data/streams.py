"""A table of any size, some hundred rows at a time: what prediction reads.

CSV, TSV, JSON Lines, Parquet and Feather are read piece by piece, compressed or not. All other
formats (Excel, R, SPSS, Stata, SAS, an array of JSON, a ZIP archive, a folder) are in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from llm_tool.data.loaders import FORMATS, Table, format_of, read_table, table_sha256
from llm_tool.data.readers.arrow import arrow_batches, kind_of
from llm_tool.data.readers.decoding import find_encoding
from llm_tool.data.readers.delimited import find_form, stream_delimited
from llm_tool.data.readers.json_tables import json_cell, json_records
from llm_tool.data.readers.kinds import refuse_other_kinds, refuse_wrong_packing
from llm_tool.data.readers.rows import Cell, NoRowsError, Options, Records
from llm_tool.data.readers.source import PACKINGS, Source
from llm_tool.data.readers.values import cell_of
from llm_tool.errors import StudioError
from llm_tool.text import visible

if TYPE_CHECKING:
    import pandas as pd

_ROWS = 500
# By the first rows columns are judged: as many as ``guess_columns`` looks at, but no whole books.
_HEAD, _HEAD_CHARACTERS = 5_000, 4_000_000
_STREAMED = {"CSV", "TSV", "JSON Lines", "Parquet", "Feather"}
_SHEET = "There is one table in a file of this format, and no choice."


@dataclass(frozen=True)
class Batch:
    """Some rows: their cells by column, and where a format has types what the file holds.

    ``records`` are the objects of JSON Lines or the rows of Parquet; ``arrow`` is pyarrow's batch.
    """

    columns: Mapping[str, Sequence[Cell]]
    count: int
    records: Sequence[Mapping[str, Any]] | None = None
    arrow: Any = None

    @property
    def characters(self) -> int:
        """How much text the cells hold."""
        return sum(sum(map(len, cells)) for cells in self.columns.values())


Batches: TypeAlias = Callable[[], Iterator[Batch]]


@dataclass(frozen=True)
class TableStream:
    """A table that was read once to the end, and can be read again from its start.

    ``head`` has its first rows, ``lists`` names the columns with a list in some cell, ``keys`` are
    those of records, ``schema`` is pyarrow's where the file has one.
    """

    path: str
    how: str
    sha256: str
    count: int
    names: tuple[str, ...]
    lists: frozenset[str]
    head: Table
    batches: Batches
    keys: frozenset[str] = frozenset()
    schema: Any = None
    notes: tuple[str, ...] = ()
    in_memory: bool = False


def open_stream(
    path: str | Path,
    *,
    encoding: str | None = None,
    delimiter: str | None = None,
    sheet: str | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> TableStream:
    """Read a table to its end, keeping its first rows; what is not given is detected.

    Args:
        path: A table as ``read_table`` takes it.
        encoding: Encoding of its texts.
        delimiter: What separates its cells.
        sheet: Sheet of a workbook, object of an R file, file in a ZIP.
        on_progress: Gets the bytes read so far, and their number in all.

    Raises:
        StudioError: See ``read_table``.
    """
    options = Options(encoding, delimiter, sheet, on_progress)
    digest = table_sha256(path)
    place = Path(path)
    if place.is_dir() or format_of(place) not in _STREAMED:
        table = read_table(
            path, encoding=encoding, delimiter=delimiter, sheet=sheet, on_progress=on_progress
        )
        return _of_table(table)
    where = visible(str(path))
    if sheet is not None:
        raise StudioError(_SHEET, where=f"--sheet, {where}", remedy="Leave out --sheet.")
    packing = place.suffix.lower() if place.suffix.lower() in PACKINGS else None
    source = Source(place, place.stem if packing else place.name, where, packing)
    try:
        if packing:
            refuse_wrong_packing(source)
        refuse_other_kinds(source, FORMATS[source.ending], encoding)
        stream = _opened(source, options, digest)
    except OSError as error:  # a disk that fails while it is read
        raise StudioError(f"The file cannot be read: {error}", where=where) from error
    if packing:
        return replace(stream, how=f"{stream.how}, {PACKINGS[packing]}")
    return stream


def _opened(source: Source, options: Options, digest: str) -> TableStream:
    kind = FORMATS[source.ending]
    if kind in {"CSV", "TSV"}:
        return _of_delimited(source, options, digest, "\t" if kind == "TSV" else ",")
    if kind == "JSON Lines":
        return _of_json_lines(source, options, digest)
    return _of_arrow(source, options, digest)


def _of_delimited(source: Source, options: Options, digest: str, prefer: str) -> TableStream:
    form = find_form(source, options, prefer)

    def batches(options: Options) -> Iterator[Batch]:
        for columns in stream_delimited(source, form, options):
            yield Batch(columns, len(next(iter(columns.values()))))

    first = _Head()
    for batch in batches(options):
        first.add(batch)
    again = partial(batches, replace(options, on_progress=None))
    return first.stream(source, form.how, digest, again)


def _of_json_lines(source: Source, options: Options, digest: str) -> TableStream:
    encoding = find_encoding(source, options.encoding)
    if encoding.empty:
        raise NoRowsError("The file is empty.", source.where)

    def records(options: Options) -> Iterator[tuple[Sequence[Mapping[str, Any]], None]]:
        piece: list[Mapping[str, Any]] = []
        for _, record in json_records(source, encoding, options):
            piece.append(record)
            if len(piece) == _ROWS:
                yield piece, None
                piece = []
        if piece:
            yield piece, None

    how = f"JSON Lines, {encoding.name}"
    return _of_records(source, options, digest, how, json_cell, records)


def _of_arrow(source: Source, options: Options, digest: str) -> TableStream:
    def records(options: Options) -> Iterator[tuple[Sequence[Mapping[str, Any]], Any]]:
        for batch in arrow_batches(source, options):
            if batch.num_rows:
                yield batch.to_pylist(), batch

    stream = _of_records(source, options, digest, kind_of(source), cell_of, records)
    schema = next(stream.batches()).arrow.schema
    return replace(stream, schema=schema)


def _of_records(
    source: Source,
    options: Options,
    digest: str,
    how: str,
    cell: Callable[[object], Cell],
    records: Callable[[Options], Iterator[tuple[Sequence[Mapping[str, Any]], Any]]],
) -> TableStream:
    """Return the stream of records, whose columns are known once all were seen."""
    every = Records(cell)
    count = 0
    for piece, _ in records(options):
        for record in piece:
            every.add(record)
        every.forget()
        count += len(piece)
    names = every.names(source.where)

    def batches() -> Iterator[Batch]:
        for piece, arrow in records(replace(options, on_progress=None)):
            own = Records(cell)
            for record in piece:
                own.add(record)
            yield Batch(own.named(names), len(piece), piece, arrow)

    first = _Head()
    for batch in batches():
        first.add(batch)
        if first.is_full:
            break
    head = _table(source, how, digest, first.columns)
    lists = every.lists(names)
    columns = tuple(names.values())
    return TableStream(
        str(source.path), how, digest, count, columns, lists, head, batches, every.keys()
    )


class _Head:
    """The first rows of a table, and how many there are."""

    def __init__(self) -> None:
        self.columns: dict[str, list[Cell]] = {}
        self._count = self._characters = 0

    @property
    def is_full(self) -> bool:
        """Whether the rows are enough."""
        return self._count >= _HEAD or self._characters >= _HEAD_CHARACTERS

    def add(self, batch: Batch) -> None:
        """Count some rows, and keep the first ones."""
        if not self.is_full:
            for name, cells in batch.columns.items():
                self.columns.setdefault(name, []).extend(cells)
            self._characters += batch.characters
        self._count += batch.count

    def stream(self, source: Source, how: str, digest: str, batches: Batches) -> TableStream:
        """Return the table as a stream."""
        head = _table(source, how, digest, self.columns)
        names = tuple(self.columns)
        return TableStream(
            str(source.path), how, digest, self._count, names, frozenset(), head, batches
        )


def _table(source: Source, how: str, digest: str, columns: Mapping[str, Sequence[Cell]]) -> Table:
    import pandas as pd

    frame: pd.DataFrame = pd.DataFrame(
        {name: pd.Series(list(cells), dtype=object) for name, cells in columns.items()}
    )
    return Table(str(source.path), frame, how, digest, range(1, len(frame) + 1))


def _of_table(table: Table) -> TableStream:
    """Return a table that was read whole as a stream."""
    columns = {str(name): table.frame[name].tolist() for name in table.frame.columns}
    count = len(table.frame)
    lists = frozenset(n for n, cells in columns.items() if any(isinstance(c, list) for c in cells))

    def batches() -> Iterator[Batch]:
        for start in range(0, count, _ROWS):
            own = {name: cells[start : start + _ROWS] for name, cells in columns.items()}
            yield Batch(own, min(_ROWS, count - start))

    return TableStream(
        table.path, table.how, table.sha256, count, tuple(columns), lists, table, batches,
        notes=table.notes, in_memory=True,
    )  # fmt: skip
