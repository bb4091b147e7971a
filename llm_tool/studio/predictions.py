"""A prediction, shown: what begins, how far it is, and what came of it."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from llm_tool.logs.summary import duration
from llm_tool.studio.runs import reading, status
from llm_tool.studio.theme import GOOD, QUIET, WARN, Column, print_table, rule
from llm_tool.text import plural, shell_word, visible

if TYPE_CHECKING:
    from llm_tool.inference.facts import (
        CostMeasured,
        PredictionEnded,
        PredictionEvent,
        PredictionStarted,
        RowsPredicted,
    )
    from llm_tool.inference.request import Request

T = TypeVar("T")
_REDRAWN_EVERY = 1 / 8  # seconds
_SAID_EVERY = 60.0  # seconds between two plain lines where there is no terminal
_LABELS_SHOWN = 20  # of a category


def run_prediction(request: Request, *, talk: Console, out: Console, as_json: bool = False) -> bool:
    """Predict and show it; return whether it came to its end, ``False`` when it was stopped.

    Args:
        request: What to predict.
        talk: The console for progress.
        out: The console for the result.
        as_json: Write one JSON object an event to standard output, in place of the result;
            progress is left out.

    Raises:
        StudioError: See ``predict``.
    """
    with status(talk, "Loading"):
        from llm_tool.inference.facts import RowsPredicted, to_json
        from llm_tool.inference.prediction import predict

    shown = _Display(talk, out, quiet_result=as_json)

    def on_event(event: PredictionEvent) -> None:
        shown(event)
        if as_json and not isinstance(event, RowsPredicted):
            sys.stdout.write(to_json(event) + "\n")
            sys.stdout.flush()

    with shown.closing():
        try:
            with reading(talk) as on_progress:
                predict(request, on_event, on_progress)
        except KeyboardInterrupt:
            shown.stop()
            talk.print()
            talk.print(Text(f"Stopped. {shown.kept_said}"))
            talk.print(Text(f"  {request.command()}"), soft_wrap=True)
            return False
    return True


class _Display:
    """An observer that prints what happens: on a terminal with a line that moves."""

    def __init__(self, talk: Console, out: Console, *, quiet_result: bool) -> None:
        self._talk, self._out, self._quiet_result = talk, out, quiet_result
        self._progress: Progress | None = None
        self._drawn = self._said = time.monotonic()
        self._kept = 0

    def __call__(self, event: PredictionEvent) -> None:
        """Show an event."""
        match event.event:
            case "prediction_started":
                self._started(event)
            case "cost_measured":
                self._cost(event)
            case "rows_predicted":
                self._predicted(event)
            case "prediction_ended":
                self.stop()
                if not self._quiet_result:
                    show_result(self._out, event)

    @property
    def kept_said(self) -> str:
        """What is kept, and what the same command, shown below, does."""
        if not self._kept:
            return "No rows are finished yet. The same command starts again:"
        are = "is" if self._kept == 1 else "are"
        return f"{plural(self._kept, 'finished row')} {are} kept. The same command goes on:"

    @contextmanager
    def closing(self) -> Iterator[None]:
        """Take the moving line away at the end, whatever happens."""
        try:
            yield
        finally:
            self.stop()

    def stop(self) -> None:
        """Take the moving line away."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _started(self, event: PredictionStarted) -> None:
        self._kept = event.done
        if self._talk.is_terminal:
            rule(self._talk, "Prediction")
        self._line(f"{visible(event.data)}: {plural(event.rows, 'row')} ({event.how})")
        where = "" if event.device == "cpu" else f", on {event.device}"
        self._line(f"text column {visible(event.text_column)}{_language_said(event)}{where}")
        rows = [[f"{one.columns}_…", ", ".join(map(_short, one.models))] for one in event.filled]
        columns = [Column("new columns", flexible=True), Column("by", flexible=True)]
        print_table(self._talk, columns, rows)
        for note in event.notes:
            self._line(visible(note), WARN)
        if event.done:
            self._line(
                f"{plural(event.done, 'row')} {'is' if event.done == 1 else 'are'} finished from "
                f"before: going on with row {event.done + 1:,}.",
                GOOD,
            )

    def _line(self, text: str, style: str = "") -> None:
        self._talk.print(Text(text, style=style), soft_wrap=not self._talk.is_terminal)

    def _cost(self, event: CostMeasured) -> None:
        scores = ""
        if event.f1_macro is not None:
            exact, rounded = event.f1_macro
            scores = f"; macro F1 on {event.judged:,} of them {rounded:.3f}, was {exact:.3f}"
        self._line(
            f"8 bits, {visible(event.category)} by {visible(event.model)}: "
            f"{100 * event.same:.1f} % of {plural(event.texts, 'label')} as in float32, "
            f"probabilities differ by {event.difference:.3f} at most{scores}.",
            WARN,
        )

    def _predicted(self, event: RowsPredicted) -> None:
        self._kept = event.kept
        now = time.monotonic()
        if self._talk.is_terminal:
            if self._progress is None:
                self._progress = _progress(self._talk)
                self._progress.add_task("", total=event.of, about="")
                self._progress.start()
            whole = event.kept == event.rows
            if whole or now - self._drawn >= _REDRAWN_EVERY:
                self._drawn = now
                self._progress.update(
                    self._progress.task_ids[0], completed=event.rows, about=_about(event)
                )
                self._progress.refresh()
        elif now - self._said >= _SAID_EVERY:
            self._said = now
            self._line(_about(event))


def _short(folder: str) -> str:
    """Return the end of a model's path: its category and its name."""
    return "/".join(Path(folder).parts[-2:])


def _language_said(event: PredictionStarted) -> str:
    column = event.language_column
    if not column:
        return ""
    return ", languages detected" if column == "detect" else f", language column {visible(column)}"


def _progress(console: Console) -> Progress:
    return Progress(
        BarColumn(bar_width=max(8, console.width // 4)),
        TextColumn("{task.fields[about]}", markup=False),
        console=console,
        transient=True,
        auto_refresh=False,
    )


def _about(event: RowsPredicted) -> str:
    fresh = event.rows - event.before
    speed = fresh / max(event.seconds, 1e-9)
    left = duration((event.of - event.rows) / speed) if fresh > 0 else "?"
    return f"row {event.rows:,.0f}/{event.of:,}  {speed:,.0f} texts/s  {left} left"


def show_result(out: Console, event: PredictionEnded) -> None:
    """Print the labels of each category, what has none, and where the output is."""
    tally = event.tally
    rows = [
        [name if not i else "", label, f"{count:,}", _share(count, counts)]
        for name, counts in tally.labels.items()
        for i, (label, count) in enumerate(counts.most_common(_LABELS_SHOWN))
    ]
    columns = [
        Column("category", flexible=True),
        Column("label", flexible=True),
        Column("rows", "right"),
        Column("share", "right"),
    ]
    print_table(out, columns, rows)
    for name, counts in tally.labels.items():
        if len(counts) > _LABELS_SHOWN:
            rest = len(counts) - _LABELS_SHOWN
            out.print(Text(f"{visible(name)} has {plural(rest, 'label')} more.", style=QUIET))
    for line in _without(event):
        out.print(Text(line, style=WARN))
    speed = f", {event.texts_per_second:,.0f} texts/s" if event.texts_per_second else ""
    done = f"{plural(tally.rows, 'row')} in {duration(event.seconds)}{speed}"
    out.print(Text.assemble(("✓ ", GOOD), done))
    out.print(Text(f"  output  {shell_word(event.out)}"), soft_wrap=True)


def _share(count: int, counts: Counter[str]) -> str:
    return f"{100 * count / max(1, sum(counts.values())):.1f} %"


def _without(event: PredictionEnded) -> Iterator[str]:
    """Yield what is to be known of rows without a label, and of texts that were cut."""
    tally = event.tally
    if tally.empty:
        yield f"{plural(tally.empty, 'row')} without a text: empty cells."
    for counts, names in _alike(tally.unrouted.items()):
        which = ", ".join(
            f"{visible(language) or 'unknown'} {count:,}"
            for language, count in counts.most_common(8)
        )
        yield (
            f"{names}: {plural(sum(counts.values()), 'row')} in a language that no model is for "
            f"({which}): empty cells."
        )
    for count, names in _alike(tally.excluded.items()):
        yield f"{names}: {plural(count, 'text')} too long, left out as in training."
    for count, names in _alike(tally.cut.items()):
        yield f"{names}: {plural(count, 'text')} too long, cut as in training."


def _alike(items: Iterable[tuple[str, T]]) -> Iterator[tuple[T, str]]:
    """Yield what is said of categories, with the names of all that it is said of."""
    own = list(items)
    told = [what for i, (_, what) in enumerate(own) if what not in [w for _, w in own[:i]]]
    for what in told:
        yield what, ", ".join(visible(name) for name, other in own if other == what)
