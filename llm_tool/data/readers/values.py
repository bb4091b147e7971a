"""Cells that have a type, as people see them: no 1.0 for a 1, dates as ISO writes them."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llm_tool.data.readers.rows import Cell, Column, column_names

if TYPE_CHECKING:
    import pandas as pd


def cell_of(value: object) -> Cell:
    """Return a value as a cell: a list as a list of strings, nothing as an empty string."""
    if isinstance(value, list | tuple):
        return [shown(part) for part in value if part is not None]
    return shown(value)


def shown(value: object) -> str:
    """Return a value as people see it: True, 1 (also for 1.0), 0.5, 2024-01-31, 10:30:00."""
    if isinstance(value, str):
        return value
    if value is None or value != value:  # not a number, not a time
        return ""
    if isinstance(value, float):
        # As a spreadsheet shows it, up to the largest number that counts on being whole.
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    if isinstance(value, dt.datetime):
        midnight = value.time() == dt.time() and value.tzinfo is None
        return value.date().isoformat() if midnight else value.isoformat(sep=" ")
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="backslashreplace")
    if isinstance(value, dict | list | tuple):
        return json.dumps(value, ensure_ascii=False, default=shown)
    return str(value)


def columns_of(frame: pd.DataFrame, where: str) -> dict[str, Sequence[Cell]]:
    """Return the columns of a frame as cells.

    Raises:
        StudioError: Two columns have one name.
    """
    names = column_names([str(name) for name in frame.columns], where)
    columns: dict[str, Sequence[Cell]] = {}
    for position, name in enumerate(names):
        series = frame.iloc[:, position]
        missing = series.isna().tolist()
        values: list[Any] = series.tolist()
        column = Column()
        column.extend(["" if gone else shown(v) for v, gone in zip(values, missing, strict=True)])
        columns[name] = column.cells
    return columns
