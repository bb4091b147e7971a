"""How one training did, as tables: by class, by language, and which class it took for which."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from llm_tool.errors import StudioError
from llm_tool.events import ClassScore, LanguageScore
from llm_tool.logs.archive import Training
from llm_tool.studio.theme import QUIET, WARN, Column, print_table
from llm_tool.text import plural, visible

_MATRIX = 8  # classes up to which the matrix is shown whole
_CONFUSIONS = 10  # of the largest ones, where there are more


def show_classes(console: Console, classes: Sequence[ClassScore], part: str) -> None:
    """Print precision, recall, F1 and support of each class on a part of the data."""
    columns = [
        Column(f"class ({part})", flexible=True),
        *(Column(title, "right") for title in ("precision", "recall", "F1", "support")),
    ]
    rows = [
        [one.name, *map(_score, (one.precision, one.recall, one.f1)), f"{one.support:,}"]
        for one in classes
    ]
    console.print()
    print_table(console, columns, rows)


def show_languages(console: Console, languages: Sequence[LanguageScore], part: str) -> None:
    """Print accuracy and macro F1 in each language that has rows in a part of the data."""
    languages = [one for one in languages if one.support]
    if not languages:
        return
    columns = [
        Column(f"language ({part})", flexible=True),
        *(Column(title, "right") for title in ("accuracy", "macro F1", "support")),
    ]
    rows = [
        [one.language or "–", *map(_score, (one.accuracy, one.f1_macro)), f"{one.support:,}"]
        for one in languages
    ]
    console.print()
    print_table(console, columns, rows)


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def show_confusion(console: Console, training: Training, part: str) -> None:
    """Print how many rows of each class were taken for each, or why that cannot be known.

    Of more than eight classes the most frequent confusions, as a list.
    """
    from llm_tool.analysis.confusion import confusion

    console.print()
    try:
        counts = confusion(training, part)
    except (StudioError, LookupError) as error:
        what = error.what if isinstance(error, StudioError) else "predictions.parquet is damaged."
        console.print(Text(f"! No confusion matrix: {visible(what)}", style=WARN))
        return
    classes = training.job.task.classes
    if len(classes) <= _MATRIX:
        _show_matrix(console, classes, counts, part)
    else:
        _show_largest(console, classes, counts, part)


def _show_matrix(
    console: Console, classes: Sequence[str], counts: Sequence[Sequence[int]], part: str
) -> None:
    cells = [[f"{count:,}" for count in row] for row in counts]
    title = f"true class ({part})"
    taken = [visible(name) for name in classes]
    first = max(cell_len(name) for name in (title, *taken))
    if first + sum(2 + max(5, cell_len(name)) for name in taken) > console.width:
        # Too wide with names on both sides: a number stands for each.
        classes = [f"{place} {name}" for place, name in enumerate(classes, start=1)]
        taken = [str(place) for place in range(1, len(classes) + 1)]
    console.print(Text("Confusion matrix: rows are true classes, columns what they were taken for"))
    columns = [Column(title, flexible=True), *(Column(name, "right") for name in taken)]
    rows = [[name, *row] for name, row in zip(classes, cells, strict=True)]
    print_table(console, columns, rows)


def _show_largest(
    console: Console, classes: Sequence[str], counts: Sequence[Sequence[int]], part: str
) -> None:
    wrong = [
        (count, sum(row), classes[i], classes[j])
        for i, row in enumerate(counts)
        for j, count in enumerate(row)
        if i != j and count
    ]
    if not wrong:
        console.print(Text(f"No row of {part} was taken for another class."))
        return
    wrong.sort(key=lambda one: -one[0])  # stable: in the order of the classes where equal
    shown = wrong[:_CONFUSIONS]
    console.print(Text("Most frequent confusions"))
    columns = [
        Column(f"true class ({part})", flexible=True),
        Column("taken for", flexible=True),
        Column("rows", "right"),
        Column("of its rows", "right"),
    ]
    rows = [
        [true, taken, f"{count:,}", f"{count / total:.0%}"] for count, total, true, taken in shown
    ]
    print_table(console, columns, rows)
    if len(wrong) > len(shown):
        rest = sum(count for count, *_ in wrong[_CONFUSIONS:])
        pairs = plural(len(wrong) - len(shown), "other pair")
        console.print(Text(f"and {plural(rest, 'row')} in {pairs} of classes"), style=QUIET)
