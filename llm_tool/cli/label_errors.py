"""The command that looks for rows that are probably coded wrongly."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from llm_tool.cli.flags import LogsDir


def label_errors(
    session_id: Annotated[str, typer.Argument(metavar="SESSION", help="The session's id.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Write the rows to this CSV, for recoding.")
    ],
    category: Annotated[
        list[str] | None, typer.Option(help="Only this category; repeat for more.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Only what this model says. Default: the mean of all.")
    ] = None,
    logs_dir: LogsDir = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write the summary to stdout as one JSON object.")
    ] = False,
) -> None:
    """Find rows that are probably coded wrongly; best after a run with --folds."""
    from llm_tool.logs.session import LOGS_DIR
    from llm_tool.studio.label_errors import search, show_label_errors, summary
    from llm_tool.studio.theme import make_console

    folder = logs_dir or LOGS_DIR
    found = search(make_console(stderr=True), folder, session_id, out, category or (), model)
    if as_json:
        facts = {"session": session_id, "out": str(out), "categories": summary(found)}
        sys.stdout.write(json.dumps(facts, ensure_ascii=False) + "\n")
    else:
        show_label_errors(make_console(), found, out)
