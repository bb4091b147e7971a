"""The command that compares the models of finished sessions."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Annotated

import typer

from llm_tool.cli.flags import LogsDir
from llm_tool.errors import StudioError


def compare(
    sessions: Annotated[list[str], typer.Argument(metavar="SESSION", help="The sessions' ids.")],
    logs_dir: LogsDir = None,
    category: Annotated[
        list[str] | None, typer.Option(help="Only this category; repeat for more.")
    ] = None,
    as_latex: Annotated[
        bool, typer.Option("--latex", help="Write LaTeX tables to stdout (booktabs).")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write the comparison to stdout as one JSON object.")
    ] = False,
) -> None:
    """Compare models on the test items that they share: who is better, and how sure that is."""
    from llm_tool.analysis.compare_latex import latex
    from llm_tool.logs.session import LOGS_DIR
    from llm_tool.studio.compare import compare_sessions, show_comparison
    from llm_tool.studio.theme import make_console

    if as_json and as_latex:
        raise StudioError("--json and --latex are two ways to write.", remedy="Give one of them.")
    talk = make_console(stderr=True)
    found = compare_sessions(talk, logs_dir or LOGS_DIR, sessions, category or ())
    if as_json:
        sys.stdout.write(json.dumps(asdict(found), ensure_ascii=False) + "\n")
    elif as_latex:
        sys.stdout.write(latex(found))
    else:
        show_comparison(make_console(), found)
