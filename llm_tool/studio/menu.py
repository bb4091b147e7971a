"""The studio: one session id, a menu, and back to the menu after every run."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from llm_tool import __version__
from llm_tool.logs.session import Session
from llm_tool.modes import MODES
from llm_tool.studio.machine import describe_machine
from llm_tool.studio.runs import Warmup, execute
from llm_tool.studio.theme import QUIET, STRONG
from llm_tool.studio.wizard import BACK, Asker
from llm_tool.text import visible

_QUIT = "quit"


def run_studio(console: Console, *, logs_dir: str, models_dir: str, numbered: bool = False) -> bool:
    """Show the menu until the user quits; return whether every job of every run was done.

    Args:
        console: The terminal.
        logs_dir: Folder of the logs.
        models_dir: Folder of the saved models.
        numbered: Choose by typing numbers instead of moving a cursor.

    Raises:
        StudioError: There is no terminal, or the logs folder cannot be written.
        KeyboardInterrupt: The user pressed Ctrl-C.
    """
    asker = Asker(numbered=numbered)
    session, warmup, all_done = Session(logs_dir), Warmup(), True
    _banner(console, session)
    while True:
        mode = asker.choose("What would you like to do?", _options(), default="quick")
        if mode in (_QUIT, BACK):
            return all_done
        warmup.start()
        from llm_tool.studio.setup import Draft, set_up

        settings = {"mode": mode, "logs_dir": logs_dir, "models_dir": models_dir}
        ready = set_up(Draft(asker, console, warmup, settings))
        if ready is None:
            continue
        config, dataset, plan = ready
        outcome = execute(plan, dataset, config, session, talk=console, out=console, warmup=warmup)
        all_done = all_done and not outcome.failed
        console.print()


def _banner(console: Console, session: Session) -> None:
    console.print(Text.assemble(("llm-tool studio", STRONG), f"  {__version__}"))
    logs = visible(str(session.logs_dir))
    console.print(Text(f"Session {session.id}   {describe_machine()}   logs in {logs}/"))
    console.print(Text("Enter accepts, Esc goes back, Ctrl-C stops.", style=QUIET))
    console.print()


def _options() -> list[tuple[str, str] | tuple[str, str, str] | None]:
    modes: list[tuple[str, str] | tuple[str, str, str] | None] = []
    for mode in MODES:
        title = f"{mode.name.capitalize():11} {mode.summary}"
        modes.append((title, mode.name) if mode.built else (title, mode.name, "not yet"))
    return [*modes, None, ("Quit", _QUIT)]
