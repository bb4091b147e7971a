"""The command that labels a table with saved models."""

from __future__ import annotations

from typing import Annotated

import typer

from llm_tool.cli.exits import INTERRUPTED
from llm_tool.cli.flags import Delimiter, Encoding, Json, Sheet, TextColumn
from llm_tool.errors import StudioError


def predict(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL... DATA",
            help="Folders of saved models, and last the table to label.",
            show_default=False,
        ),
    ],
    out: Annotated[
        str, typer.Option("--out", "-o", help="File to write: .csv, .jsonl or .parquet.")
    ],
    text_column: TextColumn = None,
    language_column: Annotated[
        str | None,
        typer.Option(
            help="Column with the languages, or `detect`; for models of one language each."
        ),
    ] = None,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Add a column for each class.")
    ] = False,
    int8: Annotated[
        bool,
        typer.Option(
            "--int8", help="Compute in 8 bits, on a processor; shows what that changes first."
        ),
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Replace the output, and unfinished rows of something else."
        ),
    ] = False,
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    sheet: Sheet = None,
    as_json: Json = False,
) -> None:
    """Label a table with saved models. The same command goes on with what was interrupted.

    Adds {category}_label and {category}_probability: the label's own probability, or in a
    yes-or-no category that of yes. Empty texts get empty cells.
    """
    if len(paths) < 2:
        raise StudioError(
            "There is one path; prediction takes two at least.",
            where="MODEL... DATA",
            remedy="Give the folders of one or several models, and last the table.",
        )
    from llm_tool.inference.request import Request
    from llm_tool.studio.predictions import run_prediction
    from llm_tool.studio.theme import make_console

    request = Request(
        models=tuple(paths[:-1]),
        data=paths[-1],
        out=out,
        text_column=text_column,
        language_column=language_column,
        encoding=encoding,
        delimiter=delimiter,
        sheet=sheet,
        probabilities=probabilities,
        int8=int8,
        overwrite=overwrite,
    )
    talk, results = make_console(stderr=True), make_console()
    if not run_prediction(request, talk=talk, out=results, as_json=as_json):
        raise typer.Exit(INTERRUPTED)
