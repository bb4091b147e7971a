"""``llm-tool sessions``: list them, open one, repair one."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from llm_tool.cli.flags import LogsDir
from llm_tool.errors import StudioError


def sessions(
    session_id: Annotated[
        str | None, typer.Argument(metavar="SESSION", help="Open this session.")
    ] = None,
    status: Annotated[
        str | None,
        typer.Option(help="Only those done, running, detached, interrupted, failed or damaged."),
    ] = None,
    category: Annotated[
        str | None, typer.Option(help="Only those with this category; of one session, only it.")
    ] = None,
    mode: Annotated[str | None, typer.Option(help="Only those with a run of this mode.")] = None,
    data: Annotated[
        str | None, typer.Option(help="Only those on data with this in the name.")
    ] = None,
    job: Annotated[
        str | None, typer.Option(help="Of one session, only this job's training, as j0003.")
    ] = None,
    logs_dir: LogsDir = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write one JSON object a line to stdout, one a session.")
    ] = False,
    repair: Annotated[
        str | None,
        typer.Option(metavar="SESSION", help="Write this session's CSVs anew from its journals."),
    ] = None,
) -> None:
    """List the sessions and how they stand, or open one."""
    from llm_tool.logs.session import LOGS_DIR
    from llm_tool.studio.sessions import repair_session
    from llm_tool.studio.theme import make_console

    folder = logs_dir or LOGS_DIR
    if repair is not None:
        repair_session(make_console(), folder, repair)
        return
    if session_id is None:
        if job is not None:
            raise StudioError(
                "--job is of one session.", remedy="Name it: llm-tool sessions SESSION --job JOB."
            )
        _list(folder, as_json, status=status, category=category, mode=mode, data=data)
        return
    given = {"--status": status, "--mode": mode, "--data": data}
    for flag in (flag for flag, value in given.items() if value is not None):
        raise StudioError(f"{flag} is for the list of sessions.", remedy="Leave it out.")
    _open(folder, session_id, as_json, category=category, job=job)


def _list(logs_dir: str, as_json: bool, **filters: str | None) -> None:
    from llm_tool.logs.overview import list_sessions, select_sessions
    from llm_tool.studio.sessions import show_sessions
    from llm_tool.studio.theme import make_console

    every = list_sessions(logs_dir)
    chosen = select_sessions(every, **filters)
    if as_json:
        from llm_tool.studio.session_json import overview_line

        sys.stdout.writelines(map(overview_line, chosen))
    else:
        show_sessions(make_console(), logs_dir, chosen, len(every), filters["category"])


def _open(
    logs_dir: str, session_id: str, as_json: bool, *, category: str | None, job: str | None
) -> None:
    from llm_tool.logs.salvage import open_session
    from llm_tool.studio.session_view import select, show_session
    from llm_tool.studio.theme import make_console

    archive, notes = open_session(logs_dir, session_id)
    if as_json:
        from llm_tool.studio.session_json import session_line

        sys.stdout.write(session_line(archive, notes, select(archive, category, job)))
    else:
        show_session(make_console(), archive, notes, category=category, job=job)
