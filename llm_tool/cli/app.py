"""The command line. Thin commands; the one place where errors are caught and become exit codes.

Exit codes: 0 done; 1 some jobs failed; 2 bad usage, configuration or data; 130 interrupted.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from llm_tool import __version__
from llm_tool.cli import job, training
from llm_tool.cli.compare import compare
from llm_tool.cli.exits import BAD_INPUT, INTERRUPTED, SOME_FAILED
from llm_tool.cli.export import export
from llm_tool.cli.flags import DryRun, Json, LogsDir, ModelsDir
from llm_tool.cli.label_errors import label_errors
from llm_tool.cli.predict import predict
from llm_tool.cli.report import report
from llm_tool.cli.sessions import sessions
from llm_tool.errors import StoppedError, StudioError
from llm_tool.stopping import Detached, stoppable

_TRAINED = "What was recorded up to the last epoch is kept."
_WHOLE = "No file is left half written."
# What remains of a command that was stopped; of the others there was nothing to keep.
_KEPT = {
    "studio": "What was recorded is kept.",
    **dict.fromkeys(("demo", "train", "resume", "job"), _TRAINED),
    "predict": "The same command goes on with the rows that are finished.",
    **dict.fromkeys(("check", "export", "report", "label-errors"), _WHOLE),
}


class _Group(TyperGroup):
    """Turns what a command raises into a message and an exit code."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - typer's own signature
        """Run the command."""
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort, typer.TyperException):
            raise
        except Detached as left:  # its jobs go on; that was said with the result
            raise typer.Exit from left
        except (KeyboardInterrupt, EOFError) as stop:
            kept = _KEPT.get(ctx.invoked_subcommand or "studio", "")
            with suppress(OSError):  # the terminal may be what was lost
                sys.stderr.write(f"\n{f'Stopped. {kept}'.rstrip()}\n")
                sys.stderr.flush()
            raise typer.Exit(INTERRUPTED) from stop
        except Exception as error:
            if ctx.params.get("debug"):
                raise
            raise typer.Exit(_report(error)) from error


def _report(error: Exception) -> int:
    """Print an error and return its exit code; one that nobody foresaw is our mistake."""
    from llm_tool.studio.theme import make_console, show_error

    if isinstance(error, StudioError):
        shown = error
        code = SOME_FAILED if isinstance(error, StoppedError) else BAD_INPUT
    else:
        code = SOME_FAILED
        shown = StudioError(
            f"Something unforeseen happened: {type(error).__name__}: {error}",
            remedy="Run the same with llm-tool --debug … and report what it prints.",
        )
    show_error(make_console(stderr=True), shown)
    return code


app = typer.Typer(
    cls=_Group,
    name="llm-tool",
    help="Train text classifiers on your own labelled texts, from a terminal, without code.",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)


@app.callback(invoke_without_command=True)
def start(
    ctx: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
    debug: Annotated[  # noqa: ARG001 - read by _Group
        bool, typer.Option("--debug", help="Show the traceback of an error.")
    ] = False,
) -> None:
    """Open the studio on a terminal; elsewhere show the help."""
    if version:
        sys.stdout.write(f"llm-tool {__version__}\n")
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        if sys.stdin.isatty() and sys.stdout.isatty():
            studio()
        else:
            sys.stdout.write(ctx.get_help() + "\n")


@app.command()
def studio(
    logs_dir: LogsDir = None,
    models_dir: ModelsDir = None,
    numbered: Annotated[
        bool, typer.Option("--numbered", help="Choose by numbers, as for a screen reader.")
    ] = False,
) -> None:
    """Open the interactive studio."""
    from llm_tool.studio.menu import run_studio
    from llm_tool.studio.theme import make_console

    all_done = run_studio(
        make_console(),
        logs_dir=logs_dir or "training_logs",
        models_dir=models_dir or "models",
        numbered=numbered,
    )
    if not all_done:
        raise typer.Exit(SOME_FAILED)


@app.command(short_help="Train on the embedded data and model.")
def demo(
    logs_dir: LogsDir = None,
    models_dir: ModelsDir = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Do the main job on the embedded data and model, with no questions."""
    settings = {"mode": "quick", "epochs": 2, "logs_dir": logs_dir, "models_dir": models_dir}
    training.run({key: value for key, value in settings.items() if value}, dry_run, as_json)


app.command()(training.train)
app.command(short_help="Look at data before training: what is odd about them.")(training.check)


@app.command(short_help="Go on with a session that was interrupted.")
def resume(
    session_id: Annotated[str, typer.Argument(metavar="SESSION", help="The session's id.")],
    logs_dir: LogsDir = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", help="What jobs ask of the cluster now, as slurm_memory=32G."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Go on with a session that was interrupted or left running; try again what failed in it."""
    from llm_tool.logs.session import LOGS_DIR, Session
    from llm_tool.studio.runs import resume_session
    from llm_tool.studio.theme import make_console

    session = Session(logs_dir or LOGS_DIR, session_id)
    talk, out = make_console(stderr=True), make_console()
    changes = training.read_layers(None, assignments)
    if not resume_session(session, talk=talk, out=out, as_json=as_json, changes=changes):
        raise typer.Exit(SOME_FAILED)


app.add_typer(job.app, name="job")
app.command()(sessions)
app.command(short_help="Compare models: who is better, and how sure that is.")(compare)
app.command()(predict)
app.command(short_help="Report a session: tables, curves and methods.")(report)
app.command(short_help="Write scripts for a SLURM cluster, to submit by hand.")(export)
app.command(short_help="Find rows that are probably coded wrongly.")(label_errors)


@app.command(short_help="Check the installation.")
def doctor(logs_dir: LogsDir = None, models_dir: ModelsDir = None) -> None:
    """Check the installation: versions, device, embedded model, hub, folders."""
    from llm_tool.cli.doctor import examine
    from llm_tool.studio.theme import make_console

    sound = examine(make_console(), [logs_dir or "training_logs", models_dir or "models"])
    if not sound:
        raise typer.Exit(SOME_FAILED)


def main() -> None:
    """Run the command line."""
    try:
        with stoppable():
            app()
    except KeyboardInterrupt:  # before there was a command, or after it
        sys.exit(INTERRUPTED)
