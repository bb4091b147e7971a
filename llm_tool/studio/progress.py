"""The lines at the bottom of a running terminal: one a job, and one for all with the time left."""

from __future__ import annotations

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Column as RichColumn
from rich.text import Text

from llm_tool.events import (
    BatchEnded,
    Event,
    JobEnded,
    JobFailed,
    Preparing,
    RunEnded,
    RunStarted,
)
from llm_tool.logs.cluster_summary import preparing_line
from llm_tool.logs.summary import duration
from llm_tool.plan import Job, told_apart
from llm_tool.text import shorten, visible

_REDRAWN_EVERY = 1 / 8  # seconds


class ProgressLines:
    """An observer that moves the lines. A line belongs to a job for as long as it runs.

    It draws in the thread that tells it the events, which also prints the rows above. Rich reads
    how many lines to erase, and writes, in two steps: a thread of its own that draws one line more
    or less between them makes the next print erase a row.
    """

    def __init__(self, console: Console, run: RunStarted) -> None:
        """Show a line for each of the run's workers, and one for the run."""
        self._progress = _progress(console)
        self._jobs = len(run.jobs)
        self._apart = told_apart(run.jobs)
        self._before = self._finished = len(run.done)
        self._shares: dict[str, float] = {}  # of each running job: how much of it is done
        self._lines: dict[str, TaskID] = {}
        self._free = [
            self._progress.add_task("", total=1.0, about="", visible=False)
            for _ in range(run.workers)
        ]
        self._session = self._progress.add_task("session", total=1.0, about="")
        self._started = self._drawn = time.monotonic()
        self._progress.start()

    def __call__(self, event: Event) -> None:
        """Move the lines of an event, and take them away when the run is over."""
        match event:
            case Preparing():
                self._progress.update(self._session, about=preparing_line(event))
                self._draw(at_once=event.share is None)
            case BatchEnded():
                self._batch_ended(event)
                self._draw(at_once=event.batch == event.batches)  # what follows may take long
            case JobEnded() | JobFailed():
                self._job_over(event.job)
                self._draw(at_once=True)
            case RunEnded():
                self._progress.stop()

    def _draw(self, *, at_once: bool) -> None:
        now = time.monotonic()
        if at_once or now - self._drawn >= _REDRAWN_EVERY:
            self._drawn = now
            self._progress.refresh()

    def _batch_ended(self, event: BatchEnded) -> None:
        share = (event.epoch - 1 + event.batch / event.batches) / event.epochs
        speed = event.tokens / max(event.seconds, 1e-9)
        left = (
            event.seconds
            / event.batch
            * (event.batches - event.batch + event.batches * (event.epochs - event.epoch))
        )
        if event.job.id not in self._lines and self._free:
            self._lines[event.job.id] = self._free.pop(0)
        self._shares[event.job.id] = share
        if event.job.id in self._lines:
            self._progress.update(
                self._lines[event.job.id],
                visible=True,
                completed=share,
                description=visible(
                    (event.job.title + self._apart.get(event.job.id, "")).replace(" · ", " ")
                ),
                about=f"epoch {event.epoch}/{event.epochs}  {speed:,.0f} tok/s  "
                f"{duration(left)} left",
            )
        self._move_session()

    def _job_over(self, job: Job) -> None:
        self._finished += 1
        self._shares.pop(job.id, None)
        line = self._lines.pop(job.id, None)
        if line is not None:
            self._progress.update(line, visible=False)
            self._free.insert(0, line)
        self._move_session()

    def _move_session(self) -> None:
        overall = (self._finished + sum(self._shares.values())) / self._jobs
        gained = overall - self._before / self._jobs  # in this attempt
        rest = (time.monotonic() - self._started) * (1 - overall) / max(gained, 1e-9)
        now = min(self._finished + max(1, len(self._shares)), self._jobs)
        self._progress.update(
            self._session,
            completed=overall,
            about=f"job {now}/{self._jobs}  {duration(rest)} left",
        )


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
        redirect_stdout=sys.stdout.isatty(),  # what is piped elsewhere stays there
        auto_refresh=False,
    )
