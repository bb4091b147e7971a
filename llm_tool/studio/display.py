"""Show a run's events on a terminal: what was printed stays, only the bottom lines move."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Column as RichColumn
from rich.text import Text

from llm_tool.errors import StudioError
from llm_tool.events import (
    BatchEnded,
    EpochEnded,
    Event,
    JobEnded,
    JobFailed,
    JobStarted,
    RunEnded,
    RunStarted,
)
from llm_tool.logs.summary import duration
from llm_tool.studio.epochs import EpochTable
from llm_tool.studio.panels import show_classes, show_result
from llm_tool.studio.theme import BAD, GOOD, QUIET, rule, show_error
from llm_tool.text import plural, shorten, visible


class RunDisplay:
    """An observer that prints a table a job, with two progress lines below on a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress: Progress | None = None
        self._lines: dict[str, TaskID] = {}
        self._run: RunStarted | None = None
        self._table: EpochTable | None = None
        self._finished = 0
        self._started = 0.0

    def __call__(self, event: Event) -> None:
        """Show an event."""
        match event:
            case RunStarted():
                self._run_started(event)
            case JobStarted():
                self._job_started(event)
            case BatchEnded():
                self._batch_ended(event)
            case EpochEnded():
                self._epoch_ended(event)
            case JobEnded():
                self._job_ended(event)
            case JobFailed():
                self._job_failed(event)
            case RunEnded():
                self._run_ended()

    def _run_started(self, event: RunStarted) -> None:
        self._run, self._started = event, time.monotonic()
        if self._console.is_terminal:
            self._progress = _progress(self._console)
            for line, title in (("job", ""), ("session", "session")):
                self._lines[line] = self._progress.add_task(title, total=1.0, about="")
            self._progress.start()

    def _job_started(self, event: JobStarted) -> None:
        number = self._finished + 1
        jobs = len(self._run.jobs) if self._run else number
        rule(self._console, f"{event.job.title} · job {number} of {jobs}")
        cut = f", {plural(event.cut, 'text')} over {event.max_length:,} tokens cut" * bool(
            event.cut
        )
        self._console.print(
            Text(
                f"{event.parameters / 1e6:.1f} M parameters, {event.device} {event.precision}, "
                f"batch {event.batch_size}, learning rate {event.learning_rate:g}, best "
                f"{event.monitor}{cut}",
                style=QUIET,
            )
        )
        self._table = EpochTable(event.job, self._console.width)
        for line in self._table.header():
            self._print_line(line, QUIET)

    def _epoch_ended(self, event: EpochEnded) -> None:
        if self._table is not None:
            self._print_line(self._table.row(event), GOOD if event.is_best else "")

    def _print_line(self, line: str, style: str) -> None:
        self._console.print(Text(line, style=style), no_wrap=True, crop=True)

    def _job_ended(self, event: JobEnded) -> None:
        self._finished += 1
        self._console.print()
        part = "test rows" if event.test else "validation rows"
        show_classes(self._console, event.test or event.best.scores, part)

    def _job_failed(self, event: JobFailed) -> None:
        self._finished += 1
        self._console.print(Text(f"✗ {visible(event.job.title)} failed", style=BAD))
        error = StudioError(event.what, where=event.where, remedy=event.remedy)
        show_error(self._console, error)
        self._console.print()

    def _run_ended(self) -> None:
        if self._progress is not None:
            self._progress.stop()

    def _batch_ended(self, event: BatchEnded) -> None:
        if self._progress is None or self._run is None:
            return
        share = (event.epoch - 1 + event.batch / event.batches) / event.epochs
        speed = event.tokens / max(event.seconds, 1e-9)
        left = (
            event.seconds
            / event.batch
            * (event.batches - event.batch + event.batches * (event.epochs - event.epoch))
        )
        self._progress.update(
            self._lines["job"],
            completed=share,
            description=visible(event.job.title.replace(" · ", " ")),
            about=f"epoch {event.epoch}/{event.epochs}  {speed:,.0f} tok/s  {duration(left)} left",
        )
        overall = (self._finished + share) / len(self._run.jobs)
        rest = (time.monotonic() - self._started) * (1 - overall) / overall
        self._progress.update(
            self._lines["session"],
            completed=overall,
            about=f"job {self._finished + 1}/{len(self._run.jobs)}  {duration(rest)} left",
        )


class ResultDisplay:
    """An observer that prints only the result, when the run is over."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self._run: RunStarted | None = None
        self._done: list[JobEnded] = []

    def __call__(self, event: Event) -> None:
        """Take in an event."""
        if isinstance(event, RunStarted):
            self._run = event
        elif isinstance(event, JobEnded):
            self._done.append(event)
        elif isinstance(event, RunEnded) and self._run is not None:
            show_result(self._out, self._run, self._done, event)


class _ShortTitle(TextColumn):
    """A title that shortens in the middle to a third of the terminal."""

    def __init__(self, width: int) -> None:
        super().__init__("", table_column=RichColumn(width=width, no_wrap=True))
        self._width = width

    def render(self, task: object) -> Text:
        """Return the title in its width."""
        return Text(shorten(getattr(task, "description", ""), self._width))


def _progress(console: Console) -> Progress:
    return Progress(
        _ShortTitle(max(10, console.width // 3)),
        BarColumn(bar_width=max(8, console.width // 5)),
        TextColumn("{task.fields[about]}", markup=False, table_column=RichColumn(no_wrap=True)),
        console=console,
        transient=True,
        refresh_per_second=8,
    )
