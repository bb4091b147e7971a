"""Files of spreadsheets and statistics programs."""

from __future__ import annotations

from tests.awkward.case import NO_ROWS, PLAIN, RENAME, SAVE_CSV, TWO, Case
from tests.awkward.writers import (
    encrypted_workbook,
    old_stata,
    old_workbook,
    opendocument,
    parquet_with_everything,
    r_data,
    r_frame,
    r_vector,
    spss,
    stata,
    transport,
    workbook,
)

EXCEL = [
    Case(
        "two-sheets.xlsx",
        workbook({"Notes": [], "Coding": [["text", "label"], ["a good film", "pos"]]}),
        "Excel sheets",
        "Excel, sheet 'Coding' (1 other)",
        [["text", "label"], ["a good film", "pos"]],
    ),
    Case(
        "named-sheet.xlsx",
        workbook({"One": [["a"], ["b"]], "Two": [["text"], ["a good film"]], "Three": []}),
        "named-sheet",
        "Excel, sheet 'Two' (2 others)",
        [["text"], ["a good film"]],
        options={"sheet": "Two"},
    ),
    Case(
        "no-sheet.xlsx",
        workbook({"Coding": [["text"], ["a"]], "Notes": []}),
        "unknown-sheet",
        error=("There is no sheet 'coding'.", "--sheet, no-sheet.xlsx", "Did you mean Coding?"),
        options={"sheet": "coding"},
    ),
    Case(
        "no-rows.xlsx",
        workbook({"Coding": [["text", "label"]], "Notes": []}),
        "Excel-no-rows",
        error=("No sheet has rows under a header.", "no-rows.xlsx", NO_ROWS),
    ),
    Case(
        "title.xlsx",
        workbook(
            {
                "S": [
                    [],
                    [None, "Coding of 2024"],
                    [],
                    [None, "text", None, "label"],
                    [None, "a good film", None, "pos"],
                    [],
                    [None, "a bad one", None, "neg"],
                ]
            },
            merged="B2:D2",
        ),
        "merged-title empty-columns",
        "Excel, sheet 'S'",
        TWO,
        notes=("1 row above the header left out.",),
    ),
    Case(
        "values.xlsx",
        workbook(
            {
                "S": [
                    ["text", "n", "share", "ok", "day", "time", "error"],
                    ["x", 1.0, 0.5, True, "2024-01-31", "2024-01-31 10:30:00", "#N/A"],
                    [None, 20240131, -2, False, None, None, None],
                ]
            }
        ),
        "dates booleans integers formula-errors",
        "Excel, sheet 'S'",
        [
            ["text", "n", "share", "ok", "day", "time", "error"],
            ["x", "1", "0.5", "True", "2024-01-31", "2024-01-31 10:30:00", ""],
            ["", "20240131", "-2", "False", "", "", ""],
        ],
    ),
    Case("old.xls", old_workbook(TWO), "xls", "Excel, sheet 'S'", TWO),
    Case("office.ods", opendocument(TWO), "ods", "Excel, sheet 'S'", TWO),
    Case(
        "protected.xlsx",
        encrypted_workbook(TWO),
        "password",
        error=(
            "This Excel file is protected by a password.",
            "protected.xlsx",
            "Open it in Excel and save it without one.",
        ),
    ),
    Case(
        "renamed.csv",
        workbook({"S": TWO}),
        "xlsx-as-csv",
        error=(
            "This is an Excel or ZIP file although its name ends in .csv.",
            "renamed.csv",
            RENAME.format(".xlsx or .zip"),
        ),
    ),
    Case(
        "renamed.xlsx",
        PLAIN,
        "csv-as-xlsx",
        error=(
            "This is a text file although its name ends in .xlsx.",
            "renamed.xlsx",
            "Rename it so that it ends in .csv.",
        ),
    ),
    Case(
        "page.xls",
        b"<html><body><table><tr><td>text</td></tr></table></body></html>",
        "HTML-as-xls",
        error=("This is a web page although its name ends in .xls.", "page.xls", SAVE_CSV),
    ),
]

TYPED = [
    Case(
        "everything.parquet",
        parquet_with_everything("parquet"),
        "Parquet lists dicts nulls categoricals",
        "Parquet",
        [
            ["text", "tags", "pos", "deep", "kind", "n", "ok", "day"],
            ["x", ["a", "b"], "1", '{"k": 1}', "u", "1", "True", "2024-01-31"],
            ["", "", "", "", "v", "", "", ""],
        ],
    ),
    Case(
        "everything.feather",
        parquet_with_everything("feather"),
        "Feather",
        "Feather",
        [
            ["text", "tags", "pos", "deep", "kind", "n", "ok", "day"],
            ["x", ["a", "b"], "1", '{"k": 1}', "u", "1", "True", "2024-01-31"],
            ["", "", "", "", "v", "", "", ""],
        ],
    ),
    Case(
        "cut.parquet",
        b"PAR1\x15\x04\x15" + b"\0" * 40,
        "damaged-Parquet",
        error=(
            "This is a damaged Parquet file: Parquet magic bytes not found in footer. Either the "
            "file is corrupted or this is not a parquet file.",
            "cut.parquet",
            "Fetch or make it anew.",
        ),
    ),
    Case(
        "frame.rds",
        r_frame,
        "R factor",
        "R",
        [
            ["text", "label", "n", "x", "day"],
            ["été", "pos", "1", "1", "2024-01-31"],
            ["", "neg", "2", "", "2024-02-01"],
        ],
    ),
    Case("two.RData", r_data, "RData", "R, object 'coded' (2 others)", TWO),
    Case(
        "chosen.rda",
        r_data,
        "named-object",
        "R, object 'empty' (2 others)",
        error=("The data frame has no rows.", "chosen.rda", NO_ROWS),
        options={"sheet": "empty"},
    ),
    Case(
        "vector.rds",
        r_vector,
        "R-no-frame",
        error=(
            "This R file holds no data frame.",
            "vector.rds",
            "In R, save the table as a data frame: saveRDS(as.data.frame(x), file).",
        ),
    ),
    Case(
        "survey.sav",
        spss,
        "SPSS value-labels user-missing",
        "SPSS, UTF-8, value labels in place of codes",
        [
            ["text", "tone", "day", "n"],
            ["été", "positive", "2024-01-31", "1"],
            ["b", "2", "2024-01-31", ""],
            ["", "", "2024-01-31", "3"],
        ],
    ),
    Case(
        "survey.dta",
        stata,
        "Stata value-labels",
        "Stata, value labels in place of codes",
        [["text", "tone"], ["été", "positive"], ["b", "negative"]],
    ),
    Case("old.dta", old_stata, "Stata-Latin", "Stata", [["text", "n"], ["café", "1"], ["b", "2"]]),
    Case("transport.xpt", transport, "SAS", "SAS", [["text", "n"], ["a", "1"], ["b", "2"]]),
    Case(
        "damaged.sas7bdat",
        b"\0" * 4000,
        "SAS-damaged",
        error=(
            "This is a damaged SAS file, or of a kind that is not understood: Invalid file, or "
            "file has unsupported features.",
            "damaged.sas7bdat",
            "Open it in SAS and save the table as CSV (UTF-8).",
        ),
    ),
    Case(
        "renamed.sav",
        b"<stata_dta>",
        "stata-as-sav",
        error=(
            "This is a Stata file although its name ends in .sav.",
            "renamed.sav",
            RENAME.format(".dta"),
        ),
    ),
]
