"""The command that puts a session on paper."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from llm_tool.cli.flags import LogsDir
from llm_tool.errors import StudioError


def report(
    session_id: Annotated[str, typer.Argument(metavar="SESSION", help="The session's id.")],
    html: Annotated[
        bool, typer.Option("--html", help="One page with curves, tables and all. The default.")
    ] = False,
    latex: Annotated[bool, typer.Option("--latex", help="Tables for a paper.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Tables as Markdown.")] = False,
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="Write it there; -: to standard output. Default: for --html report.html in the "
            "session's folder of logs, else standard output.",
        ),
    ] = None,
    logs_dir: LogsDir = None,
) -> None:
    """Report a session: its models, scores, data and settings, and how it was done, in words."""
    chosen = {"html": html, "latex": latex, "markdown": markdown}
    kinds = [kind for kind, wanted in chosen.items() if wanted] or ["html"]
    if len(kinds) > 1:
        raise StudioError(
            f"A report is of one kind, not of {len(kinds)}.",
            remedy="Run the command once for each: --html, --latex, --markdown.",
        )
    from llm_tool.analysis.report.render import KINDS, render
    from llm_tool.analysis.report.writing import default_path, write_report
    from llm_tool.logs.archive import read_session
    from llm_tool.logs.session import LOGS_DIR

    kind = next(one for one in KINDS if one == kinds[0])
    archive = read_session(logs_dir or LOGS_DIR, session_id)
    if out is None and kind == "html":
        out = str(default_path(archive, kind))
    if out in (None, "-"):
        sys.stdout.write(render(archive, kind))
    else:
        sys.stdout.write(f"{write_report(archive, kind, str(out))}\n")
