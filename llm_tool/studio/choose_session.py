"""Which session: a question that several entries of the menu ask."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from llm_tool.logs.overview import Overview
from llm_tool.studio.sessions import data_of, jobs_done
from llm_tool.studio.wizard import BACK, Asker
from llm_tool.text import shorten, visible


def choose_session(
    asker: Asker,
    console: Console,
    question: str,
    sessions: Sequence[Overview],
    none: str,
    default: str | None = None,
) -> str | None:
    """Ask which session, and return its id; ``None`` when the user goes back or there is none.

    Args:
        asker: Who asks.
        console: The terminal.
        question: What is asked.
        sessions: Those to choose from.
        none: What is said when there is none.
        default: The id under Enter; the first by default.
    """
    if not sessions:
        console.print(Text(none))
        return None
    answer = asker.choose(question, titles(sessions), default=default or sessions[0].id)
    return None if answer is BACK else str(answer)


def titles(sessions: Sequence[Overview]) -> list[tuple[str, str]]:
    """Return each session as a line to choose it by, and its id."""
    return [(_title(one), one.id) for one in sessions]


def _title(session: Overview) -> str:
    what = ", ".join(filter(None, (*session.modes, shorten(data_of(session), 30))))
    about = f"{session.id}  {session.status}, {jobs_done(session)} jobs done"
    return visible("  ".join(filter(None, (about, what))))
