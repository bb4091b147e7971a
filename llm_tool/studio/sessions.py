"""The sessions of a logs folder: listed, repaired."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from llm_tool.logs.facts import read_facts
from llm_tool.logs.overview import Overview, list_sessions
from llm_tool.logs.session import Session
from llm_tool.studio.theme import BAD, GOOD, QUIET, WARN, Column, print_table
from llm_tool.text import visible

_STYLES = {"done": "", "running": GOOD, "interrupted": WARN, "failed": BAD, "damaged": BAD}


def show_sessions(console: Console, logs_dir: str) -> None:
    """Print the sessions of a logs folder, the newest first, and how to go on with one."""
    sessions = list_sessions(logs_dir)
    if not sessions:
        console.print(Text(f"No sessions in {visible(logs_dir)}/."))
        return
    columns = [
        Column("session"),
        Column("status"),
        Column("jobs done", "right"),
        Column("modes", flexible=True),
        Column("data", flexible=True),
    ]
    rows = [
        [one.id, one.status, jobs_done(one), ", ".join(one.modes), ", ".join(one.data)]
        for one in sessions
    ]
    print_table(console, columns, rows, [_STYLES[one.status] for one in sessions])
    unfinished = next((one for one in sessions if one.is_unfinished), None)
    if unfinished is not None:
        command = Session(logs_dir, unfinished.id).resume_command
        console.print(Text(f"Go on with one: {visible(command)}", style=QUIET), soft_wrap=True)


def jobs_done(session: Overview) -> str:
    """Return how many jobs of a session are done, as ``2 of 5``."""
    return f"{session.done} of {session.jobs}"


def repair_session(console: Console, logs_dir: str, session_id: str) -> None:
    """Write a session's CSVs anew from its journals and say what that changed.

    Raises:
        StudioError: There is no such session, or it cannot be read or written.
    """
    session = Session(logs_dir, session_id)
    read_facts(session.folder)  # before anything is made there
    changed = session.repair()
    for name in changed:
        console.print(Text(f"{visible(name)}: training.csv and best.csv written anew."))
    if not changed:
        console.print(Text("Every training.csv and best.csv was as its journals say."))
