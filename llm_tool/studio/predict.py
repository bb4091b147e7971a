"""Predict in the studio: which models, which table, which columns; the command; and it runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from llm_tool.data.languages import DETECT
from llm_tool.errors import StudioError
from llm_tool.inference.request import Request, default_output
from llm_tool.plan import MULTILINGUAL
from llm_tool.studio.ask_data import found_files
from llm_tool.studio.draft import SKIP, described
from llm_tool.studio.predictions import run_prediction
from llm_tool.studio.runs import Warmup, reading
from llm_tool.studio.theme import QUIET, show_error
from llm_tool.studio.wizard import BACK, Asker
from llm_tool.text import shorten, visible

if TYPE_CHECKING:
    from llm_tool.data.columns import Columns
    from llm_tool.data.streams import TableStream

_OTHER = object()
_FACTS = "training.json"
_SESSIONS_SHOWN = 50


@dataclass
class _Draft:
    """The answers so far, as settings of a request."""

    console: Console
    asker: Asker
    warmup: Warmup
    models_dir: Path
    settings: dict[str, Any] = field(default_factory=dict)
    session: Path | None = None
    table: TableStream | None = None
    roles: Columns | None = None
    several_languages: bool = False

    def request(self) -> Request:
        """Return what the answers make."""
        return Request(**self.settings)


def predict(console: Console, asker: Asker, warmup: Warmup, models_dir: str) -> None:
    """Ask for models and a table, and label it; Esc goes back, from the first question to the menu.

    Args:
        console: The terminal.
        asker: Who asks.
        warmup: What loads the heavy libraries.
        models_dir: Folder of the saved models.
    """
    draft = _Draft(console, asker, warmup, Path(models_dir))
    position, direction = 0, 1
    while position >= 0:
        if position == len(_STEPS):
            if _start(draft):
                return
            position, direction = position - 1, -1
            continue
        outcome = _STEPS[position](draft)
        if outcome is BACK:
            direction = -1
        elif outcome is not SKIP:
            direction = 1
        position += direction


def saved_models(folder: Path) -> list[Path]:
    """Return the model folders of a session, category by category."""
    return sorted(path.parent for path in folder.glob(f"*/*/{_FACTS}"))


def _ask_session(draft: _Draft) -> object:
    """Ask whose models; skipped where there is no choice."""
    folders = [path for path in draft.models_dir.glob("*") if path.is_dir() and saved_models(path)]
    folders.sort(key=lambda path: path.name, reverse=True)
    if not folders:
        where = visible(str(draft.models_dir))
        draft.console.print(Text(f"No model in {where}/ yet: train one first."))
        return BACK
    options: list[tuple[str, Any]] = [
        (f"{visible(path.name)}  {_categories(path)}", path) for path in folders[:_SESSIONS_SHOWN]
    ]
    answer = draft.asker.choose("Models of which session?", options, default=folders[0])
    if answer is BACK:
        return BACK
    if answer != draft.session:
        draft.settings.pop("models", None)
    draft.session = answer
    return None


def _categories(folder: Path) -> str:
    names = dict.fromkeys(path.parent.name for path in saved_models(folder))
    return shorten(visible(", ".join(names)), 40)


def _ask_models(draft: _Draft) -> object:
    """Ask for one or several models of the session."""
    if draft.session is None:
        return BACK
    folders = saved_models(draft.session)
    options = [(_about(path), str(path)) for path in folders]
    chosen = draft.settings.get("models", tuple(map(str, proposed(folders))))
    answer = draft.asker.choose_several("Which models?", options, chosen)
    if answer is BACK:
        return BACK
    from llm_tool.inference.columns import group_models
    from llm_tool.inference.models import read_saved_model

    try:
        groups = group_models([read_saved_model(folder) for folder in answer])
    except StudioError as error:
        show_error(draft.console, error)
        return _ask_models(draft)
    draft.several_languages = any(group.routes for group in groups)
    draft.settings["models"] = tuple(answer)
    return None


def proposed(folders: Sequence[Path]) -> list[Path]:
    """Return the best model of the first category, or the best of each language if it is of one.

    The best is that with the highest validation macro F1, the first of equals.
    """
    own = [path for path in folders if path.parent == folders[0].parent]
    best: dict[str, tuple[float, Path]] = {}
    for path in own:
        language, score = "", -1.0
        with suppress(OSError, ValueError, KeyError, TypeError):
            result = _result(path)
            language = str(result["job"]["language"])
            score = float(result["best"]["scores"]["f1_macro"])
        if language not in best or score > best[language][0]:
            best[language] = score, path
    first = max(best, key=lambda language: best[language][0])
    if first in ("", MULTILINGUAL):
        return [best[first][1]]
    return sorted(
        path for language, (_, path) in best.items() if language not in ("", MULTILINGUAL)
    )


def _result(folder: Path) -> Any:  # noqa: ANN401 - what a file says, whatever that is
    return json.loads((folder / _FACTS).read_text("utf-8"))["result"]


def _about(folder: Path) -> str:
    """Return a model's category and name, with its seed or fold, and how good it is."""
    name = shorten(visible(f"{folder.parent.name}/{folder.name}"), 40)
    try:
        result = _result(folder)
        part = "test" if result["test"] else "validation"
        scores = result["test"] or result["best"]["scores"]
        job = result["job"]
        which = f"fold {int(job['fold'])}" if job["fold"] else f"seed {int(job['seed'])}"
        return f"{name}  {which}  {part} macro F1 {float(scores['f1_macro']):.3f}"
    except (OSError, ValueError, KeyError, TypeError):
        return name


def _ask_table(draft: _Draft) -> object:
    """Ask which table to label, and look at it."""
    titles = [(shorten(visible(str(path)), 50), str(path)) for path in found_files()]
    options: list[tuple[str, Any]] = [*titles, ("another file: type its path", _OTHER)]
    default = draft.settings.get("data", options[0][1])
    answer = draft.asker.choose("Which file holds the texts?", options, default)
    if answer is _OTHER:
        answer = draft.asker.path("Path of the file (Tab completes):")
        if answer is BACK:
            return _ask_table(draft)
    if answer is BACK:
        return BACK
    data = str(Path(answer).expanduser())
    draft.warmup.wait_for_tables()
    from llm_tool.data.columns import guess_columns
    from llm_tool.data.streams import open_stream

    try:
        with reading(draft.console) as on_progress:
            table = open_stream(data, on_progress=on_progress)
        draft.roles = guess_columns(table.head)
    except StudioError as error:
        show_error(draft.console, error)
        return _ask_table(draft)
    if data != draft.settings.get("data"):
        for name in ("text_column", "language_column", "out"):
            draft.settings.pop(name, None)
    draft.table = table
    draft.settings["data"] = data
    draft.console.print(Text(f"{table.count:,} rows ({table.how})"), style=QUIET)
    return None


def _ask_text(draft: _Draft) -> object:
    """Ask which column holds the texts."""
    if draft.table is None or draft.roles is None:
        return BACK
    options = [(described(draft.table.head, name), name) for name in draft.table.names]
    default = draft.settings.get("text_column", draft.roles.text)
    return _keep(draft, "text_column", "Which column holds the texts?", options, default)


def _ask_language(draft: _Draft) -> object:
    """Ask where the language of a row is found, if there are models of several."""
    if not draft.several_languages or draft.table is None or draft.roles is None:
        draft.settings.pop("language_column", None)
        return SKIP
    names = [name for name in draft.table.names if name != draft.settings.get("text_column")]
    columns = [(described(draft.table.head, name), name) for name in names]
    options = [("detect it in the texts", DETECT), *columns]
    default = draft.settings.get("language_column", draft.roles.language or DETECT)
    return _keep(draft, "language_column", "Which column holds the language?", options, default)


def _keep(
    draft: _Draft, key: str, question: str, options: list[tuple[str, str]], default: object
) -> object:
    answer = draft.asker.choose(question, options, default)
    if answer is BACK:
        return BACK
    draft.settings[key] = answer
    return None


def _ask_columns(draft: _Draft) -> object:
    """Ask how much is written of each category."""
    options = [
        ("label and probability", False),
        ("also the probability of every class", True),
    ]
    default = draft.settings.get("probabilities", False)
    answer = draft.asker.choose("What is written of each text?", options, default)
    if answer is BACK:
        return BACK
    draft.settings["probabilities"] = answer
    return None


def _ask_output(draft: _Draft) -> object:
    """Ask for the name of the output."""
    default = draft.settings.get("out", default_output(draft.settings["data"]))
    answer = draft.asker.text("Name of the output (.csv, .jsonl, .parquet):", default, _writable)
    if answer is BACK:
        return BACK
    draft.settings["out"] = answer.strip()
    draft.settings.pop("overwrite", None)
    if Path(answer.strip()).expanduser().exists():
        options = [("no: another name", False), ("yes: replace it", True)]
        replace = draft.asker.choose("The output is there already. Replace it?", options, False)
        if replace is not True:
            return _ask_output(draft)
        draft.settings["overwrite"] = True
    return None


def _writable(name: str) -> bool | str:
    """Tell whether a name is one of an output, or what is wrong with it."""
    from llm_tool.inference.files import format_for

    try:
        return bool(format_for(Path(name.strip())))
    except StudioError as error:
        return f"{error.what} {error.remedy}"


def _start(draft: _Draft) -> bool:
    """Show the command and predict; ``False`` goes back to the last question."""
    request = draft.request()
    draft.console.print(Text("Same thing without questions:", style=QUIET))
    draft.console.print(Text(f"  {request.command()}"), soft_wrap=True)
    options = [("start", True), ("go back and change something", False)]
    if draft.asker.choose("Start?", options, True) is not True:
        return False
    draft.warmup.wait()
    try:
        finished = run_prediction(request, talk=draft.console, out=draft.console)
    except StudioError as error:
        show_error(draft.console, error)
        return False
    if not finished:
        raise KeyboardInterrupt
    draft.console.print()
    return True


_STEPS: tuple[Callable[[_Draft], object], ...] = (
    _ask_session,
    _ask_models,
    _ask_table,
    _ask_text,
    _ask_language,
    _ask_columns,
    _ask_output,
)
