"""The command that writes what is needed to train elsewhere: scripts for SLURM."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llm_tool.cli.exits import SOME_FAILED
from llm_tool.cli.flags import Assignments, ConfigFile
from llm_tool.errors import StudioError


def export(
    sbatch: Annotated[
        bool, typer.Option("--sbatch", help="Scripts for SLURM's sbatch; they need no submitit.")
    ] = False,
    config: ConfigFile = None,
    assignments: Assignments = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the scripts. Default: in the session's folder.")
    ] = None,
) -> None:
    """Prepare a run, and write the scripts that train it on a SLURM cluster."""
    from rich.text import Text

    from llm_tool.cli.training import read_layers
    from llm_tool.config import make_config
    from llm_tool.execution.export import export_scripts
    from llm_tool.logs.session import Session
    from llm_tool.modes.planning import prepare
    from llm_tool.studio.panels import show_plan
    from llm_tool.studio.runs import preparing, reading
    from llm_tool.studio.theme import make_console, show_error
    from llm_tool.text import plural, visible

    if not sbatch:
        raise StudioError("There is one kind of scripts so far.", remedy="Add --sbatch.")
    talk, stdout = make_console(stderr=True), make_console()
    settings = make_config(read_layers(config, assignments) | {"executor": "slurm"})
    with reading(talk) as on_progress:
        dataset, plan = prepare(settings, on_progress)
    show_plan(talk, plan, settings, dataset)
    session = Session(settings.logs_dir, settings.session_id)
    with preparing(talk) as show:
        exported = export_scripts(plan, dataset, settings, session, out, show)
    for failure in exported.failed:
        talk.print(Text(f"{visible(failure.job.title)} cannot be trained."))
        show_error(talk, StudioError(failure.what, where=failure.where, remedy=failure.remedy))
    if exported.scripts:
        count = plural(len(exported.scripts), "script")
        talk.print(Text(f"Prepared session {session.id}, with {count}. Submit, then follow:"))
        for command in (*exported.commands, session.resume_command):
            stdout.print(Text(f"  {command}"), soft_wrap=True)
    if exported.failed:
        raise typer.Exit(SOME_FAILED)
