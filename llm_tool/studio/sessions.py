"""The sessions of a logs folder: listed, repaired."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from llm_tool.logs.facts import read_facts
from llm_tool.logs.overview import Overview
from llm_tool.logs.session import Session
from llm_tool.studio.theme import BAD, GOOD, QUIET, WARN, Column, print_table
from llm_tool.text import plural, shell_word, shorten, visible

_STYLES = {
    "done": "", "running": GOOD, "detached": GOOD, "interrupted": WARN, "failed": BAD,
    "damaged": BAD,
}  # fmt: skip
_BEST_WIDTH = 17  # of the column with the best models, at least
_NAMED = 5  # sessions with missing files


def show_sessions(
    console: Console,
    logs_dir: str,
    sessions: Sequence[Overview],
    every: int,
    category: str | None = None,
) -> None:
    """Print sessions, the newest first, and how to go on with one.

    Args:
        console: Where to print.
        logs_dir: Their folder.
        sessions: Those to show.
        every: How many there are.
        category: Show the best model of this category only.
    """
    if not sessions:
        said = f"None of the {plural(every, 'session')} in" if every else "No sessions in"
        console.print(Text(f"{said} {visible(logs_dir)}/{' is like that' if every else ''}."))
        return
    columns = [
        Column("session"),
        Column("status"),
        Column("jobs done", "right"),
        Column("modes", flexible=True),
        Column("data", flexible=True),
    ]
    rows = [
        [one.id, one.status, jobs_done(one), ", ".join(one.modes), data_of(one)] for one in sessions
    ]
    titles = [column.title for column in columns]
    taken = sum(max(map(cell_len, cells)) + 2 for cells in zip(titles, *rows, strict=True))
    room = max(console.width - taken, _BEST_WIDTH if category else 0)
    if room >= _BEST_WIDTH:
        columns.append(Column("best val macro F1"))
        for row, one in zip(rows, sessions, strict=True):
            row.append(_best(one, room, category))
    print_table(console, columns, rows, [_STYLES[one.status] for one in sessions])
    _say_what_to_do(console, logs_dir, sessions)


def _best(session: Overview, width: int, category: str | None) -> str:
    """Return the best score of as many categories as fit, the first ones."""
    best = [(one.name, one.best) for one in session.categories if one.best is not None]
    if category is not None:
        own = [one for one in session.categories if category in (one.name, one.folder)]
        return "–" if not own or own[0].best is None else f"{own[0].best.f1_macro:.3f}"
    words = [f"{visible(shorten(name, 24))} {one.f1_macro:.3f}" for name, one in best if one]
    for shown in range(len(words), 0, -1):
        rest = [f"+{len(words) - shown}"] if shown < len(words) else []
        said = ", ".join([*words[:shown], *rest])
        if cell_len(said) <= width:
            return said
    return f"{max(one.f1_macro for _, one in best):.3f}" if best else "–"


def _say_what_to_do(console: Console, logs_dir: str, sessions: Sequence[Overview]) -> None:
    """Say which files are gone, and how to go on with what is not done."""
    torn = [one for one in sessions if one.missing]
    for one in torn[:_NAMED]:
        console.print(Text(f"! {one.id} lacks {visible(', '.join(one.missing))}.", style=WARN))
    if len(torn) > _NAMED:
        console.print(Text(f"! {len(torn) - _NAMED} more lack files.", style=WARN))
    unfinished = next((one for one in sessions if one.is_unfinished), None)
    if unfinished is not None:
        session = Session(logs_dir, unfinished.id)
        follow = "Follow it" if unfinished.status == "detached" else "Go on with one"
        if unfinished.status == "detached" and not unfinished.done:
            scripts = to_submit(session)
            words = [f"sbatch {shell_word(script)}" for script in scripts]
            if len(words) > _NAMED:
                folder = visible(str(PurePath(scripts[0]).parent))
                words = [f"sbatch, with each of the {len(words)} scripts in {folder}"]
            for own in words:
                said = f"Submit it, unless that is done: {own}"
                console.print(Text(visible(said), style=QUIET), soft_wrap=True)
        said = f"{follow}: {session.resume_command}"
        console.print(Text(visible(said), style=QUIET), soft_wrap=True)


def to_submit(session: Session) -> list[str]:
    """Return the scripts that the user has to submit, of a session that was exported."""
    from llm_tool.execution.submissions import Submissions

    known = Submissions(session)
    jobs = [job_id for name in known if (one := known.named(name)) for job_id in one.jobs]
    return known.scripts(jobs)


def data_of(session: Overview) -> str:
    """Return the names of a session's data, without their folders."""
    return ", ".join(dict.fromkeys(PurePath(name).name for name in session.data))


def jobs_done(session: Overview) -> str:
    """Return how many jobs of a session are done, as ``2 of 5``; a dash where nobody knows."""
    if session.status == "damaged":
        return "–"
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
