"""The browser of sessions: choose one, then a category, then a model; Esc goes back a level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.text import Text

from llm_tool.errors import StudioError
from llm_tool.logs.archive import Archive, Training
from llm_tool.logs.overview import list_sessions
from llm_tool.logs.salvage import open_session
from llm_tool.logs.session import command_line
from llm_tool.studio.choose_session import choose_session
from llm_tool.studio.runs import Warmup
from llm_tool.studio.session_view import best_of, show_category, show_configured, show_training
from llm_tool.studio.theme import QUIET, WARN, show_error
from llm_tool.studio.wizard import BACK, Asker
from llm_tool.text import visible


@dataclass
class Browser:
    """Looks into the sessions of a logs folder; changes nothing."""

    console: Console
    asker: Asker
    logs_dir: Path
    warmup: Warmup

    def run(self) -> None:
        """Ask which session to open, until the user goes back."""
        sessions = list_sessions(self.logs_dir)
        none = f"No sessions in {visible(str(self.logs_dir))}/."
        ask = partial(choose_session, self.asker, self.console, "Open which session?")
        chosen = ask(sessions, none)
        while chosen is not None:
            self._open(chosen)
            chosen = ask(sessions, none, chosen)

    def _open(self, session_id: str) -> None:
        try:
            archive, notes = open_session(self.logs_dir, session_id)
        except StudioError as error:
            show_error(self.console, error)
            return
        show_configured(self.console, archive)
        for note in notes:
            self.console.print(Text(f"! {visible(note)}", style=WARN))
        self._say_command(archive)
        categories = archive.by_category()
        chosen: object = None
        while True:
            options = [(_category_title(name, own), name) for name, own in categories.items()]
            chosen = self.asker.choose("Which category?", options, default=chosen)
            if not isinstance(chosen, str):
                return
            show_category(self.console, chosen, categories[chosen])
            self._choose_training(categories[chosen])

    def _choose_training(self, trainings: Sequence[Training]) -> None:
        best = best_of(trainings)
        number = 0 if best is None else trainings.index(best)
        while True:
            options = [(_training_title(one), place) for place, one in enumerate(trainings)]
            answer = self.asker.choose("Look at which model?", options, default=number)
            if answer is BACK:
                return
            number = answer
            self.warmup.settle()  # the confusion matrix needs what may still be loading
            show_training(self.console, trainings[number])

    def _say_command(self, archive: Archive) -> None:
        same = command_line("sessions", archive.id, logs_dir=self.logs_dir)
        said = f"Same thing without questions: {same}"
        self.console.print(Text(said, style=QUIET), soft_wrap=True)


def _category_title(name: str, trainings: Sequence[Training]) -> str:
    best = best_of(trainings)
    if best is None or best.ended is None:
        return visible(name)
    score = best.ended.best.scores.f1_macro
    return visible(f"{name}  best {best.job.model_name} {score:.3f} on validation")


def _training_title(training: Training) -> str:
    job, ended = training.job, training.ended
    fold = f"fold {job.fold}" if job.fold else ""
    share = f"{100 * job.share:.0f} % of the rows" if job.is_partial else ""
    score = f"{ended.best.scores.f1_macro:.3f} on validation" if ended else "no result"
    about = (job.id, job.model_name, job.language, f"seed {job.seed}", fold, share, score)
    return visible("  ".join(filter(None, about)))
