"""Label errors on the terminal and in the menu: how many, the worst of them, and where they are."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from llm_tool.errors import StudioError
from llm_tool.studio.runs import status
from llm_tool.studio.theme import GOOD, QUIET, Column, print_table, rule, show_error
from llm_tool.text import plural, shorten, visible

if TYPE_CHECKING:
    from llm_tool.analysis.label_errors import LabelErrors, Suspect
    from llm_tool.studio.wizard import Asker

_EXAMPLES = 3
_LONGEST = 200  # characters of an example


def search(
    talk: Console,
    logs_dir: str | Path,
    session_id: str,
    out: Path,
    categories: Collection[str] = (),
    model: str | None = None,
) -> tuple[LabelErrors, ...]:
    """Return the likely label errors of a session, written to a CSV for recoding.

    Args:
        talk: The console that says, on a terminal, what the user waits for.
        logs_dir: Folder of the logs.
        session_id: The session.
        out: The CSV to write.
        categories: Only these. Default: all.
        model: Only what this model says. Default: the mean of all.

    Raises:
        StudioError: See ``read_session``, ``label_errors`` and ``write_for_recoding``.
    """
    with status(talk, "Looking for label errors"):
        from llm_tool.analysis.label_errors import check_free, label_errors, write_for_recoding
        from llm_tool.logs.archive import read_session

        check_free(out)
        found = label_errors(read_session(logs_dir, session_id), categories, model)
        write_for_recoding(out, found)
    return found


def show_label_errors(console: Console, found: Sequence[LabelErrors], out: Path) -> None:
    """Print how many rows are probably coded wrongly, by whom that is judged, and the worst."""
    rule(console, "Label errors")
    columns = [
        Column("category", flexible=True),
        Column("judged by", flexible=True, spare=1),
        Column("looked at", "right"),
        Column("agrees", "right"),
        Column("likely errors", "right"),
        Column("noise", "right"),
    ]
    rows = [
        [
            one.category,
            ", ".join(one.models),
            f"{one.looked_at:,} of {one.rows:,}",
            f"{100 * one.agreed:.1f} %",
            f"{len(one.suspects):,}",
            f"{100 * one.noise:.1f} %",
        ]
        for one in found
    ]
    print_table(console, columns, rows)
    for line in _reading(found):
        console.print(Text(line), style=QUIET)
    for category, suspect in _worst(found):
        _show_suspect(console, category, suspect)
    total = sum(len(one.suspects) for one in found)
    said = f"✓ {plural(total, 'row')} to look at again, the worst first: {visible(str(out))}"
    console.print(Text(said, style=GOOD), soft_wrap=True)
    if total:
        console.print(Text("  Write the right label, or the same again, into new_label."))


def _reading(found: Sequence[LabelErrors]) -> list[str]:
    """Return how to read the table: what was looked at, what that rests on, what is missing."""
    lines = []
    if any(one.validation for one in found):
        lines.append(
            "Only rows that no model learned from could be looked at: the test rows, and the "
            "validation rows, which chose the epoch. After a run with --folds 5 it is all of them."
        )
    elif any(one.looked_at < one.rows for one in found):
        lines.append("Some folds are not done: their test rows could not be looked at.")
    repeats = max(one.trainings / max(1, one.folds) for one in found)
    judged = "the mean of the trainings" if repeats > 1 else "the training"
    lines.append(
        f"A row is judged by {judged} that did not learn from it. Noise, the share of wrong labels "
        "by confident learning, comes out too large where models are weak: trust the order more "
        "than the number."
    )
    if not all(one.has_texts for one in found):
        lines.append("The data file is not there as it was: the texts could not be added.")
    return lines


def _worst(found: Sequence[LabelErrors]) -> list[tuple[str, Suspect]]:
    every = [(one.category, suspect) for one in found for suspect in one.suspects]
    return sorted(every, key=lambda own: own[1].quality)[:_EXAMPLES]


def _show_suspect(console: Console, category: str, suspect: Suspect) -> None:
    where = f"row {suspect.name}" if suspect.name else suspect.id
    said = f"{category}, {where}: coded {suspect.given}, probably {suspect.suggested}"
    console.print(Text(f"{shorten(visible(said), _LONGEST)} ({suspect.probability:.2f})"))
    if suspect.text:
        text = shorten(visible(suspect.text), min(_LONGEST, console.width - 2))
        console.print(Text(f"  {text}"), style=QUIET)


def summary(found: Sequence[LabelErrors]) -> list[dict[str, object]]:
    """Return what was found, JSON-ready: a dictionary a category, with the number of errors."""
    return [
        {name: value for name, value in vars(one).items() if name != "suspects"}
        | {"likely_errors": len(one.suspects)}
        for one in found
    ]


def ask_label_errors(console: Console, asker: Asker, logs_dir: str | Path) -> None:
    """Ask for a session and a file name; look for label errors, show them and write them there."""
    from llm_tool.logs.overview import list_sessions
    from llm_tool.studio.choose_session import choose_session
    from llm_tool.studio.wizard import BACK

    sessions = [one for one in list_sessions(logs_dir) if one.done]
    none = f"No session in {visible(str(logs_dir))}/ has a result yet."
    chosen = choose_session(asker, console, "Label errors of which session?", sessions, none)
    if chosen is None:
        return
    name = asker.text("Name of the file:", f"label-errors_{chosen}.csv", _is_free)
    if name is BACK:
        return
    try:
        found = search(console, logs_dir, chosen, Path(name))
    except StudioError as error:  # the menu goes on
        show_error(console, error)
        return
    show_label_errors(console, found, Path(name))
    console.print()


def _is_free(name: str) -> bool | str:
    if not name.strip():
        return "Type a name."
    return "There is a file of this name." if Path(name).exists() else True
