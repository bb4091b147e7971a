"""Set up a run by questions: file, columns, model, epochs; then show the plan and start.

Each step takes the draft and returns ``BACK``, ``SKIP`` (nothing to ask) or ``None`` (answered).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from llm_tool.config import DEMO_DATA, RunConfig, make_config
from llm_tool.data.columns import Columns, guess_columns, is_missing, profile
from llm_tool.data.dataset import open_table
from llm_tool.data.loaders import FORMATS, Table
from llm_tool.errors import StudioError
from llm_tool.modes.planning import prepare
from llm_tool.studio.panels import show_columns, show_plan, show_table
from llm_tool.studio.runs import Warmup
from llm_tool.studio.theme import show_error
from llm_tool.studio.wizard import BACK, Answer, Asker, Back, Option
from llm_tool.text import shorten, visible
from llm_tool.trainers.model_sources import (
    EMBEDDED,
    cached_models,
    catalogue,
    embedded_installed,
)

if TYPE_CHECKING:
    from llm_tool.data.dataset import Dataset
    from llm_tool.plan import Plan

    Ready = tuple[RunConfig, Dataset, Plan]

SKIP = object()
_NONE, _OTHER = "none", object()
_FILES_SHOWN = 30
_LANGUAGES_ASKED = 20  # with more, the column is hardly one of languages


@dataclass
class Draft:
    """The answers so far, as settings, and what is known of the file."""

    asker: Asker
    console: Console
    warmup: Warmup
    settings: dict[str, Any]
    table: Table | None = None
    guess: Columns | None = None
    languages: list[str] = field(default_factory=list)

    @property
    def config(self) -> RunConfig:
        """The configuration that the answers make."""
        return make_config(self.settings)

    def file(self) -> tuple[Table, Columns]:
        """Return the table that was chosen and the guess of its columns."""
        if self.table is None or self.guess is None:
            raise StudioError("No file was chosen.")
        return self.table, self.guess


Step = Callable[[Draft], object]


def set_up(draft: Draft) -> Ready | None:
    """Ask for everything that a run needs; ``None`` when the user goes back to the menu."""
    position, direction = 0, 1
    while position >= 0:
        if position < len(STEPS):
            outcome = STEPS[position](draft)
            if outcome is BACK:
                direction = -1
            elif outcome is not SKIP:
                direction = 1
            position += direction
            continue
        ready = _confirm(draft)
        if not isinstance(ready, Back):
            return ready
        position, direction = len(STEPS) - 1, -1
    return None


def _ask_file(draft: Draft) -> object:
    found = _found_files()
    titles = [(shorten(visible(str(path)), 50), str(path)) for path in found]
    options = [*titles, ("demo: 600 texts on parliament and press, EN and FR", DEMO_DATA)]
    answer = draft.asker.choose(
        "Which file?",
        [*options, ("another file: type its path", _OTHER)],
        default=draft.settings.get("data", options[0][1]),
    )
    if answer is _OTHER:
        answer = draft.asker.path("Path of the file (Tab completes):")
        if answer is BACK:
            return _ask_file(draft)
    if answer is BACK:
        return BACK
    return _take_file(draft, str(Path(answer).expanduser()) if answer != DEMO_DATA else answer)


def _take_file(draft: Draft, data: str) -> object:
    draft.warmup.wait_for_tables()
    try:
        table = open_table(make_config(draft.settings, {"data": data}))
        guess = guess_columns(table)
    except StudioError as error:
        show_error(draft.console, error)
        return _ask_file(draft)
    if draft.settings.get("data") != data:
        kept = {k: v for k, v in draft.settings.items() if not k.endswith("_column")}
        draft.settings = {k: v for k, v in kept.items() if k not in {"label", "model", "languages"}}
    draft.settings["data"] = data
    draft.table, draft.guess = table, guess
    show_table(draft.console, table)
    show_columns(draft.console, guess)
    return None


def _found_files() -> list[Path]:
    """Return tables in the working folder and one level below, the newest first."""
    here = Path()
    candidates = [
        path
        for pattern in ("*", "*/*")
        for path in here.glob(pattern)
        if path.suffix.lower() in FORMATS
        and path.suffix.lower() != ".txt"
        and not path.parts[0].startswith(".")
        and path.is_file()
    ]
    return sorted(candidates, key=lambda path: -path.stat().st_mtime)[:_FILES_SHOWN]


def _ask_text(draft: Draft) -> object:
    table, guess = draft.file()
    names = [str(name) for name in table.frame.columns]
    options = [(_described(table, name), name) for name in names]
    default = draft.settings.get("text_column", guess.text)
    answer = draft.asker.choose("Which column holds the texts?", options, default)
    return _keep(draft, "text_column", answer, unless=guess.text)


def _ask_labels(draft: Draft) -> object:
    table, guess = draft.file()
    text = draft.settings.get("text_column", guess.text)
    names = [str(name) for name in table.frame.columns if name != text]
    options = [(_described(table, name), name) for name in names]
    single = [name for name in guess.labels if not profile(table.frame[name].tolist()).multi]
    chosen = draft.settings.get("label", [name for name in single if name != text])
    answer = draft.asker.choose_several("Which columns hold labels to learn?", options, chosen)
    return _keep(draft, "label", answer if answer is BACK else tuple(answer))


def _ask_language(draft: Draft) -> object:
    return _ask_role(draft, "language", "Which column holds the language?", "no language column")


def _ask_split(draft: Draft) -> object:
    _, guess = draft.file()
    if guess.split is None:
        return SKIP
    question = "Which column divides training, validation and test?"
    return _ask_role(draft, "split", question, "none: divide at random, stratified")


def _ask_id(draft: Draft) -> object:
    _, guess = draft.file()
    if guess.id is None:
        return SKIP
    return _ask_role(draft, "id", "Which column holds row ids?", "none: number the rows")


def _ask_role(draft: Draft, role: str, question: str, without: str) -> object:
    table, guess = draft.file()
    taken = {draft.settings.get("text_column", guess.text), *draft.settings.get("label", ())}
    names = [str(name) for name in table.frame.columns if name not in taken]
    guessed = getattr(guess, role)
    default = draft.settings.get(f"{role}_column", guessed or _NONE)
    options = [(without, _NONE), *((_described(table, name), name) for name in names)]
    answer = draft.asker.choose(question, options, default)
    outcome = _keep(draft, f"{role}_column", answer, unless=guessed or _NONE)
    if role == "language" and outcome is not BACK:
        cells = [] if answer == _NONE else list(table.frame[str(answer)])
        spoken = {str(cell).strip().upper() for cell in cells if not is_missing(cell)}
        draft.languages = sorted(spoken)[:_LANGUAGES_ASKED]
    return outcome


def _ask_scope(draft: Draft) -> object:
    if len(draft.languages) < 2:
        return SKIP
    shown = ", ".join(map(visible, draft.languages))
    answer = draft.asker.choose(
        f"Languages: {shown}. One model for all, or one for each?",
        [
            ("one multilingual model, scored in each language", "multilingual"),
            ("one model per language, each on its own rows", "per-language"),
        ],
        default=draft.settings.get("languages", "multilingual"),
    )
    if answer != draft.settings.get("languages", "multilingual"):
        draft.settings.pop("model", None)
    return _keep(draft, "languages", answer, unless="multilingual")


def _ask_model(draft: Draft) -> object:
    if draft.settings.get("languages") != "per-language":
        answer = _choose_model(draft, "Which model?", draft.languages)
        return _keep(draft, "model", answer if answer is BACK else (answer,))
    models: list[str] = []
    while len(models) < len(draft.languages):
        language = draft.languages[len(models)]
        answer = _choose_model(draft, f"Which model for {visible(language)}?", [language])
        if answer is not BACK:
            models.append(f"{language}={answer}")
        elif models:
            models.pop()
        else:
            return BACK
    return _keep(draft, "model", tuple(models))


def _choose_model(draft: Draft, question: str, languages: Sequence[str]) -> Answer:
    """Ask for a model; those that know the languages first, any other by its name."""
    options = _model_options(languages, hub_answers=draft.warmup.hub_answers())
    usable = [option[1] for option in options if len(option) == 2]
    before = draft.settings.get("model", ())
    if len(before) == 1 and before[0] not in usable:
        options.insert(0, (visible(before[0]), before[0]))
    default = before[0] if len(before) == 1 else next(iter(usable), None)
    answer = draft.asker.choose(
        question, [*options, ("another: a hub id or a folder", _OTHER)], default=default
    )
    if answer is not _OTHER:
        return answer
    typed = draft.asker.text("Hub id or folder of the model:", "", _not_empty)
    return _choose_model(draft, question, languages) if typed is BACK else typed.strip()


def _model_options(languages: Sequence[str], *, hub_answers: bool) -> list[Option]:
    """Return the known models that know the languages, then those on this machine that may not.

    What would have to be downloaded cannot be chosen while the hub is out of reach.
    """
    here = {*cached_models(), *([EMBEDDED] if embedded_installed() else [])}
    known = [m for m in catalogue() if all(map(m.knows, languages))]
    known += [m for m in catalogue() if m.id in here and m not in known]
    options: list[Option] = []
    for entry in known:
        if entry.id == EMBEDDED and EMBEDDED not in here:
            continue
        name = entry.name or entry.id
        spoken = "many" if "*" in entry.languages else ", ".join(entry.languages)
        title = f"{name:45} {entry.parameters:>3.0f} M  {spoken}"
        if entry.id in here:
            options.append((f"{title}, here", entry.id))
        elif hub_answers:
            options.append((title, entry.id))
        else:
            options.append((title, entry.id, "no hub"))
    others = sorted(here - {EMBEDDED} - {entry.id for entry in known})
    return options + [(f"{visible(model):45} on this machine", model) for model in others]


def _not_empty(text: str) -> bool | str:
    return bool(text.strip()) or "Type a hub id, as org/name, or a folder."


def _ask_epochs(draft: Draft) -> object:
    default = str(draft.settings.get("epochs", ""))
    answer = draft.asker.text(
        "How many epochs? (empty: 3, or 5 under 1,000 training texts)", default, _epochs_fit
    )
    if answer is BACK:
        return BACK
    if answer.strip():
        draft.settings["epochs"] = int(answer)
    else:
        draft.settings.pop("epochs", None)
    return None


def _epochs_fit(text: str) -> bool | str:
    good = not text.strip() or (text.strip().isdecimal() and int(text) >= 1)
    return good or "Type a whole number from 1, or nothing."


STEPS: tuple[Step, ...] = (
    _ask_file,
    _ask_text,
    _ask_labels,
    _ask_language,
    _ask_split,
    _ask_id,
    _ask_scope,
    _ask_model,
    _ask_epochs,
)


def _confirm(draft: Draft) -> Ready | Back | None:
    """Show the plan and ask whether to start; returns what to run, ``None`` or ``BACK``."""
    try:
        config = draft.config
        dataset, plan = prepare(config)
    except StudioError as error:
        show_error(draft.console, error)
        if error.fix and draft.asker.choose(
            "What now?", [("do that", True), ("go back and change something", BACK)], True
        ) not in (BACK, None):
            draft.settings.update(error.fix)
            return _confirm(draft)
        return BACK
    show_plan(draft.console, plan, config, dataset)
    answer = draft.asker.choose(
        "Start?",
        [("start training", "start"), ("go back and change something", BACK), ("menu", "menu")],
        default="start",
    )
    if answer == "start":
        return config, dataset, plan
    return None if answer == "menu" else BACK


def _keep(draft: Draft, key: str, answer: object, unless: object = None) -> object:
    """Keep an answer in the draft, unless it is what would be guessed anyway."""
    if answer is BACK:
        return BACK
    if answer == unless:
        draft.settings.pop(key, None)
    else:
        draft.settings[key] = answer
    return None


def _described(table: Table, name: str) -> str:
    """Return a column's name with what is in it."""
    found = profile(table.frame[name].tolist())
    kind = "several values a row, " if found.multi else ""
    about = f"{kind}{len(found.distinct):,} different"
    if found.length > 30 and not found.multi:
        about = f"{found.length:.0f} characters on average"
    return f"{shorten(visible(name), 30)}  ({about})"
