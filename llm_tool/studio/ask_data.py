"""Questions about the data: file, texts, labels, language, split, ids."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from llm_tool.config import DEMO_DATA, RunConfig, make_config
from llm_tool.data.columns import guess_columns, is_missing, profile
from llm_tool.data.dataset import load_dataset, open_table
from llm_tool.data.languages import DETECT, with_detected_languages
from llm_tool.data.loaders import format_of
from llm_tool.data.schemes import Arranged, arrange
from llm_tool.errors import StudioError
from llm_tool.studio.draft import SKIP, Draft, described, keep
from llm_tool.studio.panels import show_columns, show_labels, show_scheme, show_table
from llm_tool.studio.runs import reading
from llm_tool.studio.theme import QUIET, show_error
from llm_tool.studio.wizard import BACK
from llm_tool.text import shorten, visible

if TYPE_CHECKING:
    from llm_tool.data.loaders import Table

_NONE, _OTHER = "none", object()
_AS_IT_IS = "columns"
_OF_ONE_FILE = {"label", "model", "languages", "scheme"}  # settings that another file ends
_FILES_SHOWN = 30
_LANGUAGES_ASKED = 20  # with more, the column is hardly one of languages
# What a mode proposes to learn: columns with one value a row, with several, or all.
_PROPOSED = {"quick": False, "reinforced": False, "distributed": True}


def ask_file(draft: Draft) -> object:
    """Ask which table to work on, and read it."""
    found = found_files()
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
            return ask_file(draft)
    if answer is BACK:
        return BACK
    return _take_file(draft, str(Path(answer).expanduser()) if answer != DEMO_DATA else answer)


def _take_file(draft: Draft, data: str) -> object:
    draft.warmup.wait_for_tables()
    kept = draft.settings
    if kept.get("data") != data:
        kept = {
            k: v for k, v in kept.items() if not k.endswith("_column") and k not in _OF_ONE_FILE
        }
    try:
        with reading(draft.console) as on_progress:
            table = open_table(make_config(kept, {"data": data}), on_progress)
        arranged = _arranged(draft, table)
        guess = guess_columns(arranged.table)
    except StudioError as error:
        show_error(draft.console, error)
        return ask_file(draft)
    draft.settings = {**kept, "data": data}
    draft.read, draft.table, draft.guess = table, arranged.table, guess
    show_table(draft.console, table)
    if not arranged.changes:
        show_columns(draft.console, guess)
        show_labels(draft.console, table, guess)
    return None


def _arranged(draft: Draft, table: Table) -> Arranged:
    """Return a table in the scheme that is recognised; as it is, if its rows contradict that."""
    try:
        return arrange(table, RunConfig())
    except StudioError as error:
        show_error(draft.console, error)
        return Arranged(table)


def ask_scheme(draft: Draft) -> object:
    """Ask whether labels are to be read as recognised, where that changes the table."""
    if draft.read is None:
        return SKIP
    arranged = _arranged(draft, draft.read)
    if not arranged.changes:
        return SKIP
    show_scheme(draft.console, arranged)
    answer = draft.asker.choose(
        "Read the labels so?",
        [("yes", True), ("no: keep the columns of the file", False)],
        default=draft.settings.get("scheme") != _AS_IT_IS,
    )
    if answer is BACK:
        return BACK
    table = arranged.table if answer else draft.read
    try:
        guess = guess_columns(table)
    except StudioError as error:
        show_error(draft.console, error)
        return ask_scheme(draft)
    if table is not draft.table:
        for name in ("label", "text_column", "language_column", "id_column", "split_column"):
            draft.settings.pop(name, None)
    draft.table, draft.guess = table, guess
    show_columns(draft.console, guess)
    show_labels(draft.console, table, guess)
    return keep(draft, "scheme", "auto" if answer else _AS_IT_IS, unless="auto")


def found_files() -> list[Path]:
    """Return tables in the working folder and one level below, the newest first."""
    here = Path()
    candidates = [
        path
        for pattern in ("*", "*/*")
        for path in here.glob(pattern)
        if format_of(path)
        and path.suffix.lower() != ".txt"
        and not path.parts[0].startswith(".")
        and path.is_file()
    ]
    return sorted(candidates, key=lambda path: -path.stat().st_mtime)[:_FILES_SHOWN]


def ask_text(draft: Draft) -> object:
    """Ask which column holds the texts."""
    table, guess = draft.file()
    names = [str(name) for name in table.frame.columns]
    options = [(described(table, name), name) for name in names]
    default = draft.settings.get("text_column", guess.text)
    answer = draft.asker.choose("Which column holds the texts?", options, default)
    return keep(draft, "text_column", answer, unless=guess.text)


def ask_labels(draft: Draft) -> object:
    """Ask which columns hold labels to learn."""
    table, guess = draft.file()
    text = draft.settings.get("text_column", guess.text)
    names = [str(name) for name in table.frame.columns if name != text]
    options = [(described(table, name), name) for name in names]
    chosen = draft.settings.get("label", _proposed_labels(draft, text))
    answer = draft.asker.choose_several("Which columns hold labels to learn?", options, chosen)
    return keep(draft, "label", answer if answer is BACK else tuple(answer))


def _proposed_labels(draft: Draft, text: str) -> list[str]:
    """Return the columns that look like labels of the kind that the mode learns."""
    table, guess = draft.file()
    names = [name for name in guess.labels if name != text]
    wanted = _PROPOSED.get(draft.settings["mode"])
    fitting = [n for n in names if profile(table.frame[n].tolist()).multi == wanted]
    return fitting or names


def ask_language(draft: Draft) -> object:
    """Ask where the language of each row is to be found."""
    return _ask_role(draft, "language", "Which column holds the language?", "no language column")


def ask_split(draft: Draft) -> object:
    """Ask whether a column that divides the rows is to be used."""
    _, guess = draft.file()
    if guess.split is None:
        return SKIP
    question = "Which column divides training, validation and test?"
    return _ask_role(draft, "split", question, "none: divide at random, stratified")


def ask_id(draft: Draft) -> object:
    """Ask whether a column that names the rows is to be used."""
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
    options = [(without, _NONE), *((described(table, name), name) for name in names)]
    if role == "language" and DETECT not in names:
        options.insert(1, ("detect it in the texts", DETECT))
    answer = draft.asker.choose(question, options, default)
    outcome = keep(draft, f"{role}_column", answer, unless=guessed or _NONE)
    if role == "language" and outcome is not BACK:
        draft.languages = _languages(draft, str(answer))[:_LANGUAGES_ASKED]
    return outcome


def _languages(draft: Draft, column: str) -> list[str]:
    """Return the languages of a column, or those of the texts; what was detected is printed."""
    table, _ = draft.file()
    if column == DETECT and DETECT not in table.frame.columns:
        dataset = load_dataset(draft.config)
        detected = with_detected_languages(dataset)
        for note in detected.notes[len(dataset.notes) :]:
            draft.console.print(Text(note), style=QUIET)
        return list(detected.language_list)
    cells = [] if column == _NONE else list(table.frame[column])
    return sorted({str(cell).strip().upper() for cell in cells if not is_missing(cell)})
