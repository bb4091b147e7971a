"""The awkward files that only a program can write: workbooks, Parquet, R, SPSS, Stata."""

from __future__ import annotations

import datetime as dt
import io
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

Make = Callable[[Path], object]
DAY = dt.date(2024, 1, 31)
NOON = {"2024-01-31": dt.date(2024, 1, 31), "2024-01-31 10:30:00": dt.datetime(2024, 1, 31, 10, 30)}


def workbook(
    sheets: dict[str, list[list[Any]]],
    pack: Callable[[bytes], bytes] = bytes,
    merged: str | None = None,
) -> Make:
    """Return what writes sheets as Excel does; texts that are dates become dates."""

    def make(path: Path) -> None:
        path.write_bytes(pack(_workbook(sheets, merged)))

    return make


def _workbook(sheets: dict[str, list[list[Any]]], merged: str | None = None) -> bytes:
    import openpyxl

    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append([NOON.get(cell, cell) for cell in row])
        if merged:
            sheet.merge_cells(merged)
    raw = io.BytesIO()
    book.save(raw)
    return raw.getvalue()


def encrypted_workbook(rows: list[list[Any]]) -> Make:
    """Return what writes a workbook with a password."""

    def make(path: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from msoffcrypto.format.ooxml import OOXMLFile

            with path.open("wb") as file:
                OOXMLFile(io.BytesIO(_workbook({"S": rows}))).encrypt("secret", file)

    return make


def old_workbook(rows: list[list[Any]]) -> Make:
    """Return what writes an .xls of before 2007."""

    def make(path: Path) -> None:
        import xlwt

        book = xlwt.Workbook()
        sheet = book.add_sheet("S")
        for y, row in enumerate(rows):
            for x, cell in enumerate(row):
                sheet.write(y, x, cell)
        book.save(str(path))

    return make


def opendocument(rows: list[list[Any]]) -> Make:
    """Return what writes a LibreOffice table."""

    def make(path: Path) -> None:
        import pandas as pd

        frame = pd.DataFrame(rows[1:], columns=rows[0])
        frame.to_excel(path, sheet_name="S", index=False, engine="odf")

    return make


def parquet_with_everything(kind: str) -> Make:
    """Return what writes lists, structs, nulls and categories."""

    def make(path: Path) -> None:
        import pyarrow as pa
        from pyarrow import feather, parquet

        table = pa.table(
            {
                "text": ["x", None],
                "tags": [["a", None, "b"], None],
                "labels": [{"pos": 1, "deep": {"k": 1}}, None],
                "kind": pa.array(["u", "v"]).dictionary_encode(),
                "n": [1.0, None],
                "ok": [True, None],
                "day": [DAY, None],
            }
        )
        write = parquet.write_table if kind == "parquet" else feather.write_feather
        write(table, str(path))

    return make


def _frame(**columns: Sequence[Any]) -> Any:  # noqa: ANN401 - pandas' own type is imported late
    import pandas as pd

    return pd.DataFrame({name: pd.Series(cells, dtype=object) for name, cells in columns.items()})


def _r_writer() -> Any:  # noqa: ANN401 - a module
    import rdata

    if not hasattr(rdata, "write_rds"):
        pytest.skip(f"rdata {rdata.__version__}, the last for Python 3.10, reads but cannot write")
    return rdata


def r_frame(path: Path) -> None:
    """Write a data frame with a factor, dates and missing values."""
    import numpy as np
    import pandas as pd

    rdata = _r_writer()
    from rdata.conversion import to_r

    frame = _frame(text=["été", None])
    frame["label"] = pd.Categorical(["pos", "neg"])
    frame["n"] = np.array([1, 2])
    frame["x"] = np.array([1.0, np.nan])
    frame["day"] = np.array([19753.0, 19754.0])
    constructors = {
        pd.Categorical: to_r.categorical_constructor,
        pd.DataFrame: _tibble,
    }
    rdata.write_rds(path, frame, constructor_dict=constructors)


def _tibble(frame: Any, converter: Any) -> Any:  # noqa: ANN401 - rdata's own signature
    """Return a data frame with the classes that tidyverse gives it, and days as dates."""
    import numpy as np
    from rdata.conversion.to_r import build_r_object
    from rdata.parser import RObjectType

    columns = []
    for name, series in frame.items():
        cells = series.array if series.dtype == "category" else series.to_numpy()
        if name == "day":
            of_days = converter.convert_to_r_attributes({"class": "Date"})
            days = build_r_object(RObjectType.REAL, value=cells, is_object=True, attributes=of_days)
            columns.append(days)
        else:
            columns.append(converter.convert_to_r_object(cells))
    attributes = {
        "names": np.array(list(frame.columns)),
        "class": np.array(["tbl_df", "tbl", "data.frame"]),
        "row.names": np.arange(1, len(frame) + 1, dtype=np.int32),
    }
    return build_r_object(
        RObjectType.VEC,
        value=columns,
        is_object=True,
        attributes=converter.convert_to_r_attributes(attributes),
    )


def r_data(path: Path) -> None:
    """Write two data frames, of which the first is empty, and a vector."""
    import numpy as np

    rdata = _r_writer()
    coded = _frame(text=["a good film", "a bad one"], label=["pos", "neg"])
    empty = coded.iloc[:0]
    rdata.write_rda(path, {"empty": empty, "numbers": np.array([1, 2]), "coded": coded})


def r_vector(path: Path) -> None:
    """Write what is no data frame."""
    import numpy as np

    _r_writer().write_rds(path, np.array([1.0, 2.0]))


def spss(path: Path) -> None:
    """Write codes with and without labels, one of which the user calls missing."""
    import pyreadstat

    frame = _frame(text=["été", "b", ""], day=[DAY] * 3)
    frame.insert(1, "tone", [1.0, 2.0, 9.0])
    frame["n"] = [1.0, float("nan"), 3.0]
    labels = {"tone": {1: "positive", 9: "no answer"}}
    pyreadstat.write_sav(frame, path, variable_value_labels=labels, missing_ranges={"tone": [9]})


def stata(path: Path) -> None:
    """Write codes with labels, as Stata 15 does."""
    import pyreadstat

    frame = _frame(text=["été", "b"])
    frame["tone"] = [1, 2]
    labels = {"tone": {1: "positive", 2: "negative"}}
    pyreadstat.write_dta(frame, path, variable_value_labels=labels)


def old_stata(path: Path) -> None:
    """Write Latin-1, as Stata did up to version 13."""
    frame = _frame(text=["café", "b"])
    frame["n"] = [1, 2]
    frame.to_stata(path, write_index=False, version=114)


def transport(path: Path) -> None:
    """Write what SAS hands to others."""
    import pyreadstat

    frame = _frame(text=["a", "b"])
    frame["n"] = [1.0, 2.0]
    pyreadstat.write_xport(frame, path)
