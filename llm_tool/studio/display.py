"""Show a run's events on a terminal: what was printed stays, only the bottom lines move."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from llm_tool.errors import StudioError
from llm_tool.events import (
    EpochEnded,
    Event,
    JobEnded,
    JobFailed,
    JobRetried,
    JobStarted,
    Observer,
    Reinforcement,
    ReinforcementEnded,
    ReinforcementSkipped,
    ReinforcementStarted,
    RunEnded,
    RunStarted,
)
from llm_tool.logs.journal import job_number
from llm_tool.logs.summary import (
    describe_reinforcement,
    done_before,
    long_texts,
    resumed_from,
)
from llm_tool.plan import Job, told_apart
from llm_tool.stopping import finishing
from llm_tool.studio.epochs import EpochTable
from llm_tool.studio.panels import show_classes
from llm_tool.studio.progress import ProgressLines
from llm_tool.studio.results import show_result
from llm_tool.studio.theme import BAD, GOOD, QUIET, WARN, rule, show_error
from llm_tool.text import visible


class RunDisplay:
    """An observer that prints epoch tables, with progress lines below on a terminal.

    A job on its own has a table of its own; jobs that are trained at the same time share one.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress: Observer | None = None
        self._run: RunStarted | None = None
        self._table: EpochTable | None = None
        self._apart: dict[str, str] = {}
        self._finished = 0

    @property
    def _together(self) -> bool:
        return self._run is not None and self._run.workers > 1

    def __call__(self, event: Event) -> None:
        """Show an event; a first request to stop waits until it is shown.

        Raises:
            KeyboardInterrupt: The request came meanwhile.
        """
        # Stopped between counting the lines below and writing them, Rich would erase a row later.
        with finishing():
            if self._progress is not None:
                self._progress(event)
            self._show(event)

    def _show(self, event: Event) -> None:
        match event:
            case RunStarted():
                self._run_started(event)
            case JobStarted():
                self._job_started(event)
            case JobRetried():
                self._job_retried(event)
            case EpochEnded():
                self._epoch_ended(event)
            case ReinforcementStarted() | ReinforcementSkipped() | ReinforcementEnded():
                self._reinforcement(event)
            case JobEnded():
                self._job_ended(event)
            case JobFailed():
                self._job_failed(event)

    def _run_started(self, event: RunStarted) -> None:
        self._run = event
        self._finished = len(event.done)
        self._apart = told_apart(event.jobs)
        if event.done:
            self._console.print(Text(done_before(event)))
        if self._together:
            rule(self._console, self._heading(event))
            self._start_table(EpochTable(None, self._console.width, self._apart))
        if self._console.is_terminal:
            self._progress = self._bottom(event)

    def _heading(self, event: RunStarted) -> str:
        return f"{len(event.jobs)} jobs, {event.workers} at a time"

    def _bottom(self, event: RunStarted) -> Observer:
        return ProgressLines(self._console, event)

    def _title(self, job: Job) -> str:
        return job.title + self._apart.get(job.id, "")

    def _start_table(self, table: EpochTable) -> None:
        self._table = table
        for line in table.header():
            self._print_line(line, QUIET)

    def _job_started(self, event: JobStarted) -> None:
        if self._together:
            return
        number = self._finished + 1
        jobs = len(self._run.jobs) if self._run else number
        rule(self._console, f"{event.job.title} · job {number} of {jobs}")
        long = event.cut or event.excluded or event.chunked
        cut = f", {long_texts(event)}" if long else ""
        self._console.print(
            Text(
                f"{event.parameters / 1e6:.1f} M parameters, {event.device} {event.precision}, "
                f"batch {event.batch_size}, learning rate {event.learning_rate:g}, best "
                f"{event.monitor}{cut}{resumed_from(event)}",
                style=QUIET,
            )
        )
        self._start_table(EpochTable(event.job, self._console.width))

    def _job_retried(self, event: JobRetried) -> None:
        whose = f"{self._title(event.job)}: " if self._together else ""
        self._console.print(Text(visible(f"{whose}{event.why} {event.how}"), style=WARN))

    def _epoch_ended(self, event: EpochEnded) -> None:
        if self._table is not None:
            self._print_line(self._table.row(event), GOOD if event.is_best else "")

    def _reinforcement(self, event: Reinforcement) -> None:
        whose = f"{visible(self._title(event.job))}: " if self._together else ""
        better = isinstance(event, ReinforcementEnded) and event.kept
        style = GOOD if better else QUIET if isinstance(event, ReinforcementSkipped) else ""
        self._console.print(Text(f"{whose}{describe_reinforcement(event)}", style=style))

    def _print_line(self, line: str, style: str) -> None:
        self._console.print(Text(line, style=style), no_wrap=True, crop=True)

    def _job_ended(self, event: JobEnded) -> None:
        self._finished += 1
        if self._together:
            return
        self._console.print()
        part = "test rows" if event.test else "validation rows"
        if event.test and event.threshold is not None:
            part += f", yes from {event.threshold:.2f}"
        show_classes(self._console, event.test or event.best.scores, part)

    def _job_failed(self, event: JobFailed) -> None:
        self._finished += 1
        self._console.print(Text(f"✗ {visible(event.job.title)} failed", style=BAD))
        error = StudioError(event.what, where=event.where, remedy=event.remedy)
        show_error(self._console, error)
        self._console.print()


class ResultDisplay:
    """An observer that prints only the result, when the run is over."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self._run: RunStarted | None = None
        self._done: list[JobEnded] = []
        self._failed: list[JobFailed] = []

    def __call__(self, event: Event) -> None:
        """Take in an event."""
        if isinstance(event, RunStarted):
            self._run, self._done, self._failed = event, list(event.done), []
        elif isinstance(event, JobEnded):
            self._done.append(event)
        elif isinstance(event, JobFailed):
            self._failed.append(event)
        elif isinstance(event, RunEnded) and self._run is not None:
            done = sorted(self._done, key=lambda result: job_number(result.job.id))
            show_result(self._out, self._run, done, self._failed, event)
