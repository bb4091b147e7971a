"""Learning curves on the terminal: their points, and whether more labels would pay."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from llm_tool.errors import StudioError
from llm_tool.studio.theme import GOOD, QUIET, Column, print_table, rule, show_error

if TYPE_CHECKING:
    from llm_tool.analysis.learning_curve import Curve
    from llm_tool.events import RunStarted
    from llm_tool.logs.archive import Training

_IN_FULL = 3  # curves with a table and a sentence of their own
_SAID = {"yes": "probably", "no": "hardly", "unknown": "cannot be told"}


def show_run_curves(console: Console, run: RunStarted) -> None:
    """Print the learning curves of a run, if it has any, from what it recorded."""
    if not any(job.is_partial for job in run.jobs):
        return
    from llm_tool.logs.archive import read_session

    own = {job.id for job in run.jobs}
    try:
        archive = read_session(Path(run.logs_folder).parent, run.session_id)
    except StudioError as error:
        show_error(console, error)
        return
    show_curves_of(console, [one for one in archive.trainings if one.job.id in own])


def show_curves_of(console: Console, trainings: Sequence[Training]) -> None:
    """Print the learning curves that trainings make, if they make any."""
    if not any(one.job.is_partial for one in trainings):
        return
    from llm_tool.analysis.learning_curve import learning_curves

    try:
        show_curves(console, learning_curves(trainings))
    except StudioError as error:
        show_error(console, error)


def show_curves(console: Console, curves: Sequence[Curve]) -> None:
    """Print a few learning curves in full, many as one table."""
    if len(curves) <= _IN_FULL:
        for curve in curves:
            show_curve(console, curve)
        return
    shares = sorted({point.share for curve in curves for point in curve.points})
    rule(console, f"Learning curves · {curves[0].part} macro F1")
    columns = [
        Column("category", flexible=True),
        Column("model", flexible=True),
        Column("scope"),
        *(Column(f"{100 * share:.0f} %", "right") for share in shares),
        Column("more labels pay"),
    ]
    rows = []
    for curve in curves:
        scores = {point.share: f"{point.score:.3f}" for point in curve.points}
        row = [curve.category, curve.model_name, curve.language or "–"]
        row += [scores.get(share, "–") for share in shares]
        rows.append([*row, _SAID[curve.verdict]])
    marks = [GOOD if curve.verdict == "yes" else "" for curve in curves]
    print_table(console, columns, rows, marks)
    said = "By what the last doubling of the rows brought, with its 95 % interval on the same rows."
    console.print(Text(said, style=QUIET))
    console.print()


def show_curve(console: Console, curve: Curve) -> None:
    """Print the points of a learning curve, and what they say."""
    from llm_tool.analysis.learning_curve import describe

    words = ("Learning curve", curve.category, curve.model_name, curve.language)
    rule(console, " · ".join(filter(None, words)))
    seeds = curve.seeds > 1
    columns = [
        Column("share", "right"),
        Column("rows", "right"),
        Column("val macro F1", "right"),
        Column(f"{curve.part} macro F1 [95 %]", "right"),
        *([Column("± over seeds", "right")] if seeds else []),
    ]
    rows = [
        [
            f"{100 * point.share:.0f} %",
            f"{point.rows:,}",
            f"{point.val:.3f}",
            f"{point.score:.3f} [{point.low:.2f}, {point.high:.2f}]",
            *([f"{point.spread or 0:.3f}"] if seeds else []),
        ]
        for point in curve.points
    ]
    print_table(console, columns, rows)
    console.print(Text(describe(curve), style=GOOD if curve.verdict == "yes" else ""))
    console.print()
