"""Flags that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

TextColumn = Annotated[
    str | None, typer.Option("--text-column", "-t", help="Column with the texts.")
]
Labels = Annotated[
    list[str] | None, typer.Option("--label", "-l", help="Label column; repeat for more.")
]
LanguageColumn = Annotated[
    str | None, typer.Option(help="Column with the languages, or `none`, or `detect`.")
]
IdColumn = Annotated[str | None, typer.Option(help="Column with row ids, or `none`.")]
GroupColumn = Annotated[
    str | None, typer.Option(help="Rows of one group (author, outlet) stay in one part.")
]
SplitColumn = Annotated[
    str | None, typer.Option(help="Column with train, validation, test, or `none`.")
]
Scheme = Annotated[
    str | None,
    typer.Option(help="How labels are written: auto, columns, indicators, long or json."),
]
KeyColumn = Annotated[
    str | None, typer.Option(help="Column that names the keys of the long format.")
]
ValueColumn = Annotated[str | None, typer.Option(help="Column with the values of the long format.")]
Encoding = Annotated[str | None, typer.Option(help="Encoding of the file.")]
Delimiter = Annotated[str | None, typer.Option(help="Column separator of the file.")]
Sheet = Annotated[
    str | None, typer.Option(help="Sheet of a workbook, object of an R file, table in a ZIP.")
]
MaxLength = Annotated[int | None, typer.Option(help="Longest text in tokens.")]
LongDocuments = Annotated[
    str | None, typer.Option(help="Texts over the limit: truncate, chunk or exclude.")
]
ConfigFile = Annotated[
    Path | None, typer.Option(help="YAML file with settings; flags win over it.")
]
Assignments = Annotated[
    list[str] | None, typer.Option("--set", help="Any setting as KEY=VALUE; repeat.")
]
LogsDir = Annotated[
    str | None, typer.Option(help="Folder of the logs.", show_default="training_logs")
]
ModelsDir = Annotated[
    str | None, typer.Option(help="Folder of the trained models.", show_default="models")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show the plan and what it takes, and stop.")
]
Json = Annotated[
    bool, typer.Option("--json", help="Write one JSON object a line to stdout, one per event.")
]
