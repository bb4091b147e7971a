"""The studio: one session id, a menu, and back to the menu after every run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from llm_tool import __version__
from llm_tool.analysis.ranking import Ranking, by_scope, rank, winners
from llm_tool.errors import StoppedError, StudioError
from llm_tool.logs.session import Session
from llm_tool.modes import MODES
from llm_tool.modes.scopes import parse_model
from llm_tool.stopping import Detached
from llm_tool.studio.machine import describe_machine
from llm_tool.studio.runs import Warmup, execute, resume_session
from llm_tool.studio.theme import QUIET, STRONG, show_error
from llm_tool.studio.wizard import BACK, Asker
from llm_tool.text import visible
from llm_tool.trainers.model_sources import model_name

if TYPE_CHECKING:
    from llm_tool.execution.local import Outcome
    from llm_tool.studio.setup import Ready

_QUIT = "quit"
# What the menu offers beside the run modes.
_TOOLS = {
    "resume": "an interrupted session, or one left on a cluster",
    "sessions": "what was trained, and how well",
    "compare": "sessions and models",
    "predict": "label a corpus with a trained model",
    "report": "tables and figures for a paper",
    "recode": "rows that are probably coded wrongly",
}
# What needs no model, and so no torch, which takes seconds to be there.
_LIGHT = ("sessions", "compare", "report")


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
    studio = _Studio(console, Asker(numbered=numbered), Session(logs_dir), models_dir, Warmup())
    _banner(console, studio.session)
    while True:
        chosen = studio.asker.choose("What would you like to do?", _options(), default="quick")
        if chosen in (_QUIT, BACK):
            return studio.all_done
        if chosen not in _LIGHT:
            studio.warmup.start()
        if chosen in _TOOLS:
            studio.open(chosen)
        else:
            studio.run({"mode": chosen, "logs_dir": logs_dir, "models_dir": models_dir})


@dataclass
class _Studio:
    """What lasts from the launch to the end: one session, and whether all went well."""

    console: Console
    asker: Asker
    session: Session
    models_dir: str
    warmup: Warmup
    all_done: bool = True

    def run(self, settings: dict[str, Any]) -> None:
        """Set up a run by questions and train it; after a benchmark, maybe go on with a model."""
        from llm_tool.studio.draft import Draft
        from llm_tool.studio.setup import set_up

        draft = Draft(self.asker, self.console, self.warmup, settings)
        outcome = self._train(set_up(draft))
        if outcome and outcome.done and draft.settings["mode"] == "benchmark":
            models = self._choose_winner(outcome)
            if not models:
                return
            from llm_tool.studio.ask_data import ask_labels

            repeats = ("seeds", "folds", "learning_curve")  # they were for choosing
            kept = {k: v for k, v in draft.settings.items() if k not in repeats}
            draft.settings = {**kept, "mode": "hybrid", "model": models}
            self._train(set_up(draft, ask_labels))

    def open(self, tool: str) -> None:
        """Open one of the tools that the menu offers beside the run modes."""
        tools = {
            "resume": self.resume,
            "sessions": self.look_into_sessions,
            "compare": self.compare,
            "predict": self.predict,
            "report": self.report,
            "recode": self.recode,
        }
        tools[tool]()

    def resume(self) -> None:
        """Ask for an interrupted session and go on with it."""
        from llm_tool.logs.overview import list_sessions
        from llm_tool.studio.choose_session import choose_session

        logs = self.session.logs_dir
        sessions = [one for one in list_sessions(logs) if one.is_unfinished]
        none = f"No session in {visible(str(logs))}/ is unfinished."
        chosen = choose_session(self.asker, self.console, "Which session?", sessions, none)
        if chosen is None:
            return
        try:
            done = resume_session(
                Session(logs, chosen), talk=self.console, out=self.console, warmup=self.warmup
            )
        except Detached as left:
            self._left(left)
            return
        except StoppedError:
            raise
        except StudioError as error:  # it cannot be resumed as it is; nothing was done
            show_error(self.console, error)
            return
        self.all_done = self.all_done and done
        self.console.print()

    def look_into_sessions(self) -> None:
        """Show sessions, as the user chooses them."""
        from llm_tool.studio.browse import Browser

        Browser(self.console, self.asker, self.session.logs_dir, self.warmup).run()

    def compare(self) -> None:
        """Ask for sessions and compare their models."""
        from llm_tool.studio.compare import ask_and_compare

        ask_and_compare(self.asker, self.console, self.session.logs_dir)

    def predict(self) -> None:
        """Label a table with saved models."""
        from llm_tool.studio.predict import predict

        predict(self.console, self.asker, self.warmup, self.models_dir)

    def report(self) -> None:
        """Write a report of a session."""
        from llm_tool.studio.report import write_a_report

        write_a_report(self.asker, self.console, self.session.logs_dir)

    def recode(self) -> None:
        """Look for rows of a session that are probably coded wrongly."""
        from llm_tool.studio.label_errors import ask_label_errors

        self.warmup.wait_for_tables()
        ask_label_errors(self.console, self.asker, self.session.logs_dir)

    def _train(self, ready: Ready | None) -> Outcome | None:
        if ready is None:
            return None
        config, dataset, plan = ready
        try:
            outcome = execute(
                plan,
                dataset,
                config,
                self.session,
                talk=self.console,
                out=self.console,
                warmup=self.warmup,
            )
        except Detached as left:
            self._left(left)
            return None
        except StudioError as error:
            if config.executor == "local" or isinstance(error, StoppedError):
                raise
            show_error(self.console, error)  # the cluster refuses the jobs; there is other work
            self.console.print()
            self.all_done = False
            return None
        self.all_done = self.all_done and not outcome.failed
        self.console.print()
        return outcome

    def _left(self, left: Detached) -> None:
        """Go on with the menu after ``q``; end where the process was asked to."""
        if not left.by_key:
            raise left
        self.console.print()

    def _choose_winner(self, outcome: Outcome) -> tuple[str, ...]:
        """Ask which model to go on with: the winner, another one, or none (an empty answer)."""
        rankings = rank(outcome.done)
        best = winners(rankings)
        answer = self.asker.choose(
            "Go on with a model?",
            [
                (f"use the winner: {', '.join(map(_shown, best))}", "winner"),
                ("pick by hand", "pick"),
                ("stop: back to the menu", "stop"),
            ],
            default="winner",
        )
        if answer == "winner":
            return best
        return self._pick(rankings) if answer == "pick" else ()

    def _pick(self, rankings: Sequence[Ranking]) -> tuple[str, ...]:
        """Ask for the model of each language scope, the best first."""
        deciding = {ranking.language: ranking for ranking in rankings}
        picked = {}
        for language, ranking in deciding.items():
            titles = [
                (f"{visible(s.model_name)}  val {s.val:.3f}", s.model) for s in ranking.standings
            ]
            scope = f" for {visible(language)}" if len(deciding) > 1 else ""
            answer = self.asker.choose(f"Which model{scope}?", titles, default=titles[0][1])
            if answer is BACK:
                return ()
            picked[language] = answer
        return by_scope(picked)


def _shown(model: str) -> str:
    language, name = parse_model(model)
    return visible(" ".join(filter(None, (model_name(name), language))))


def _banner(console: Console, session: Session) -> None:
    console.print(Text.assemble(("llm-tool studio", STRONG), f"  {__version__}"))
    logs = visible(str(session.logs_dir))
    console.print(Text(f"Session {session.id}   {describe_machine()}   logs in {logs}/"))
    console.print(Text("Enter accepts, Esc goes back, Ctrl-C stops.", style=QUIET))
    console.print()


def _options() -> list[tuple[str, str] | None]:
    modes, tools = (
        [(f"{name.capitalize():11} {summary}", name) for name, summary in table.items()]
        for table in (MODES, _TOOLS)
    )
    return [*modes, None, *tools, ("Quit", _QUIT)]
