"""Report in the studio: of which session, of which kind, and where it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from llm_tool.errors import StudioError
from llm_tool.logs.overview import list_sessions
from llm_tool.logs.session import command_line
from llm_tool.studio.choose_session import choose_session
from llm_tool.studio.runs import status
from llm_tool.studio.theme import GOOD, QUIET, show_error
from llm_tool.studio.wizard import BACK, Asker
from llm_tool.text import visible

if TYPE_CHECKING:
    from llm_tool.analysis.report.render import Kind

_KINDS = [
    ("HTML        one page: curves, tables, comparison, methods", "html"),
    ("LaTeX       tables for a paper, methods", "latex"),
    ("Markdown    the same as plain text", "markdown"),
]


def write_a_report(asker: Asker, console: Console, logs_dir: str | Path) -> None:
    """Ask for a session and a kind, write the report to the session's folder and say where."""
    sessions = [one for one in list_sessions(logs_dir) if one.status != "damaged" and one.done]
    none = f"No session in {visible(str(logs_dir))}/ has a result yet."
    session_id = choose_session(asker, console, "Report which session?", sessions, none)
    if session_id is None:
        return
    kind = asker.choose("As what?", _KINDS, default="html")
    if kind is BACK:
        return
    try:
        with status(console, "Writing the report"):
            path = _write(logs_dir, session_id, kind)
    except StudioError as error:  # of one session; the studio goes on
        show_error(console, error)
        return
    console.print(Text(f"✓ {visible(str(path))}", style=GOOD), soft_wrap=True)
    console.print(
        Text(f"  {_command(logs_dir, session_id, kind, path)}", style=QUIET), soft_wrap=True
    )
    console.print()


def _write(logs_dir: str | Path, session_id: str, kind: Kind) -> Path:
    from llm_tool.analysis.report.writing import default_path, write_report
    from llm_tool.logs.archive import read_session

    archive = read_session(logs_dir, session_id)
    return write_report(archive, kind, default_path(archive, kind))


def _command(logs_dir: str | Path, session_id: str, kind: Kind, path: Path) -> str:
    """Return the command that does the same without questions."""
    out = [] if kind == "html" else ["--out", str(path)]
    return command_line("report", session_id, f"--{kind}", *out, logs_dir=logs_dir)
