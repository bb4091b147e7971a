"""Parquet and Feather, a batch of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any

from llm_tool.data.readers.rows import NoRowsError, Options, Records, Rows
from llm_tool.data.readers.source import Source
from llm_tool.data.readers.values import cell_of
from llm_tool.errors import StudioError

_BATCH = 500  # rows: few, as in ``delimited``


def read_arrow(source: Source, options: Options) -> Rows:
    """Read a Parquet or Feather file; lists are lists, structs become columns.

    Raises:
        StudioError: It is damaged, or has no rows.
    """
    records = Records(cell_of)
    for batch in arrow_batches(source, options):
        for record in batch.to_pylist():
            records.add(record)
    columns = records.columns(source.where)
    return Rows(columns, range(1, records.count + 1), kind_of(source))


def kind_of(source: Source) -> str:
    """Return which of the two formats a file has."""
    return "Parquet" if source.ending == ".parquet" else "Feather"


def arrow_batches(source: Source, options: Options) -> Iterator[Any]:
    """Yield some hundred rows after the other, as pyarrow has them.

    Raises:
        StudioError: The file is damaged, or has no rows.
    """
    import pyarrow as pa

    count = 0
    with source.open_anywhere(options.on_progress) as file:
        try:
            for batch in _parquet(file) if kind_of(source) == "Parquet" else _feather(file):
                count += batch.num_rows
                yield batch
        except (pa.ArrowException, OSError) as error:
            raise StudioError(
                f"This is a damaged {kind_of(source)} file: "
                f"{str(error).splitlines()[0].rstrip('.')}.",
                where=source.where,
                remedy="Fetch or make it anew.",
            ) from None
    if not count:
        raise NoRowsError("The table has no rows.", source.where)


def _parquet(file: IO[bytes]) -> Iterator[Any]:
    from pyarrow import parquet

    yield from parquet.ParquetFile(file).iter_batches(batch_size=_BATCH)


def _feather(file: IO[bytes]) -> Iterator[Any]:
    import pyarrow as pa

    reader = pa.ipc.open_file(file)
    for number in range(reader.num_record_batches):
        batch = reader.get_batch(number)
        for start in range(0, batch.num_rows, _BATCH):
            yield batch.slice(start, _BATCH)
