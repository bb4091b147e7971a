"""The command that trains one job of a plan: by hand, or as a cluster's scheduler starts it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llm_tool.cli.exits import SOME_FAILED
from llm_tool.errors import StudioError
from llm_tool.stopping import PAUSED, PAUSES, pause_on, pause_signal

if TYPE_CHECKING:
    from llm_tool.config import RunConfig
    from llm_tool.logs.job_session import JobSession
    from llm_tool.plan import Job

app = typer.Typer(help="Train single jobs of a plan, as a cluster does.", no_args_is_help=True)
_TIME_IS_UP = ("SIGUSR1", "SIGUSR2")


@app.callback()
def job() -> None:
    """Train single jobs of a plan, as a cluster does."""


@app.command()
def run(
    plan: Annotated[Path, typer.Argument(help="training_logs/SESSION/jobs.jsonl.")],
    index: Annotated[int, typer.Option(help="Which of its lines, counted from 0.")],
) -> None:
    """Train one job of a session that was prepared for a cluster.

    Exit codes: 0 done, now or before; 1 it failed; 2 there is no such job, or it was not prepared;
    75 it paused and goes on when it is started again.
    """
    from llm_tool.execution.job import find_job, is_over, prepared_for

    session, own = find_job(plan, index)
    if is_over(session, own):
        _say(f"{own.id} is done already.")
        return
    from llm_tool.config import make_config

    folder, manifest = prepared_for(session, own)
    _go_to(session, own)
    _start_together(session, own, make_config(dict(manifest.config)))
    from llm_tool.execution.launch import leave

    code = 0
    with pause_on(*PAUSES):  # before the libraries are loaded, which takes seconds
        from llm_tool.execution.job import train_prepared
        from llm_tool.logs.summary import PlainSummary

        end = train_prepared(session, own, folder, manifest, PlainSummary())
        if end == "replaced":
            _say(f"{own.id} is trained by another process now; this one ends.")
        elif end in ("paused", "paused at once"):
            _paused(own, got_further=end == "paused")
            code = PAUSED
        elif end == "failed":
            code = SOME_FAILED
    if code := leave(code, all_end=end == "done before"):
        raise typer.Exit(code)


def _go_to(session: JobSession, own: Job) -> None:
    """Go to the folder that the run was started in: relative paths of its settings mean that."""
    from llm_tool.logs.facts import read_facts
    from llm_tool.text import visible

    runs = read_facts(session.folder)["runs"]
    folder = next(str(run["folder"]) for run in runs if own.id in run["jobs"])
    try:
        os.chdir(folder)
    except OSError as error:
        raise StudioError(
            f"The folder that the run was started in is not on this node: {error.strerror}.",
            where=visible(folder),
            remedy="Start runs in a folder on a disk that all nodes share.",
        ) from error


def _start_together(session: JobSession, own: Job, config: RunConfig) -> None:
    """Start several processes where these are to train the job together, and end with them."""
    from llm_tool.execution.launch import is_launched, launcher, run_together
    from llm_tool.execution.prepared import job_command

    if not is_launched() and launcher(config):
        raise typer.Exit(run_together(job_command(session, own.id), config))


def _paused(own: Job, *, got_further: bool) -> None:
    from llm_tool.execution.job import requeue
    from llm_tool.execution.launch import is_first

    if not is_first():
        return
    signal, in_slurm = pause_signal(), "SLURM_JOB_ID" in os.environ
    _say(f"{own.id} pauses after {signal or 'a signal'}; what it has is kept.")
    if signal not in _TIME_IS_UP or not in_slurm:
        return
    if not got_further:
        _say(f"{own.id} got no further in its time, so it does not go back to the queue.")
    elif problem := requeue():
        _say(f"{own.id} could not go back to the queue: {problem}")


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
