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
    import pyarrow as pa

    parquet = source.ending == ".parquet"
    kind = "Parquet" if parquet else "Feather"
    records = Records(cell_of)
    with source.open_anywhere(options.on_progress) as file:
        try:
            for batch in _parquet(file) if parquet else _feather(file):
                for record in batch.to_pylist():
                    records.add(record)
        except (pa.ArrowException, OSError) as error:
            raise StudioError(
                f"This is a damaged {kind} file: {str(error).splitlines()[0].rstrip('.')}.",
                where=source.where,
                remedy="Fetch or make it anew.",
            ) from None
    if not records.count:
        raise NoRowsError("The table has no rows.", source.where)
    columns = records.columns(source.where)
    return Rows(columns, range(1, records.count + 1), kind)


def _parquet(file: IO[bytes]) -> Iterator[Any]:
    from pyarrow import parquet

    yield from parquet.ParquetFile(file).iter_batches(batch_size=_BATCH)


def _feather(file: IO[bytes]) -> Iterator[Any]:
    import pyarrow as pa

    reader = pa.ipc.open_file(file)
    for number in range(reader.num_record_batches):
        yield reader.get_batch(number)
