"""From a plan to a finished run, shown: what the studio and the command line share."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from llm_tool.events import BatchEnded, ClusterSeen, Event, Observer, Preparing, to_json
from llm_tool.logs.cluster_summary import preparing_line
from llm_tool.logs.summary import PlainSummary
from llm_tool.studio.display import ResultDisplay, RunDisplay
from llm_tool.studio.theme import QUIET, WARN
from llm_tool.text import visible
from llm_tool.trackers import look_commands, make_trackers

if TYPE_CHECKING:
    from rich.status import Status

    from llm_tool.config import RunConfig
    from llm_tool.data.dataset import Dataset
    from llm_tool.data.readers.rows import Progress
    from llm_tool.events import RunEstimated
    from llm_tool.execution.local import Outcome
    from llm_tool.logs.session import Session
    from llm_tool.plan import Plan


class Warmup:
    """Loads the heavy libraries in the background while the user answers questions.

    Whoever needs one of them waits first: two threads must not import the same one at once.
    """

    def __init__(self) -> None:
        self._tables, self._hub = threading.Event(), threading.Event()
        self._hub_answers = False
        self._thread = threading.Thread(target=self._load, daemon=True)

    def start(self) -> None:
        """Begin to load, unless that was done before."""
        if self._thread.ident is None:
            self._thread.start()

    def _load(self) -> None:
        try:
            import pandas  # noqa: F401 - loaded for its effect
        finally:
            self._tables.set()
        try:
            from llm_tool.trainers.model_sources import hub_reachable

            self._hub_answers = hub_reachable()
        finally:
            self._hub.set()
        import llm_tool.execution.local  # noqa: F401

    def wait_for_tables(self) -> None:
        """Return when tables can be read."""
        self.start()
        self._tables.wait()

    def hub_answers(self) -> bool:
        """Tell whether models can be downloaded; waits for the hub's answer."""
        self.start()
        self._hub.wait()
        return self._hub_answers

    def settle(self) -> None:
        """Return when nothing is being loaded; what has not begun does not begin."""
        if self._thread.ident is not None:
            self._thread.join()

    def wait(self) -> None:
        """Return when models can be trained."""
        self.start()
        self._thread.join()


def measure(
    plan: Plan,
    dataset: Dataset,
    config: RunConfig,
    *,
    talk: Console,
    warmup: Warmup | None = None,
) -> RunEstimated:
    """Return what a run will take, by a moment of training; see ``estimate``.

    What it takes on a cluster, or with several processes a job, is not measured.

    Args:
        plan: What would be trained.
        dataset: The rows.
        config: The settings.
        talk: The console that says, on a terminal, what the user waits for.
        warmup: What loads the heavy libraries, if that has begun.
    """
    # This machine would say nothing of a cluster's nodes, nor one process of several.
    if config.executor == "slurm" or config.processes > 1:
        from llm_tool.events import RunEstimated

        return RunEstimated(None, None, None, "", (None,) * len(plan.jobs))
    with status(talk, "Measuring how long it takes"):
        if warmup is not None:
            warmup.wait()
        from llm_tool.execution.estimate import estimate

        return estimate(plan, dataset, config)


def status(talk: Console, what: str) -> AbstractContextManager[object]:
    """Say what the user waits for, on a terminal and until it is over."""
    return talk.status(Text(what, style=QUIET)) if talk.is_terminal else nullcontext()


@contextmanager
def reading(talk: Console) -> Iterator[Progress | None]:
    """Show how far a table was read, on a terminal and once that takes longer than a second.

    Yields:
        What the reader tells the bytes it has read; ``None`` where there is no terminal.
    """
    if not talk.is_terminal:
        yield None
        return
    started = time.monotonic()
    with ExitStack() as stack:
        shown: list[Status] = []

        def show(done: int, total: int) -> None:
            if time.monotonic() - started < 1:
                return
            text = Text(f"Reading the table: {done / max(1, total):.0%}", style=QUIET)
            if shown:
                shown[0].update(text)
            else:
                shown.append(stack.enter_context(talk.status(text)))

        yield show


@contextmanager
def preparing(talk: Console) -> Iterator[Observer]:
    """Show on a terminal what is prepared for jobs, and how far that is.

    Yields:
        What ``prepare_jobs`` tells.
    """
    if not talk.is_terminal:
        yield lambda _: None
        return
    with talk.status(Text("Preparing the jobs", style=QUIET)) as shown:

        def show(event: Event) -> None:
            if isinstance(event, Preparing):
                shown.update(Text(preparing_line(event), style=QUIET))

        yield show


def execute(
    plan: Plan,
    dataset: Dataset,
    config: RunConfig,
    session: Session,
    *,
    talk: Console,
    out: Console,
    as_json: bool = False,
    warmup: Warmup | None = None,
    resume: int | None = None,
) -> Outcome:
    """Run a plan and show it: tables and progress on a terminal, plain lines elsewhere.

    Args:
        plan: What to train.
        dataset: The rows.
        config: The settings.
        session: Where to record.
        talk: The console for progress.
        out: The console for the result.
        as_json: Write one JSON object an event to standard output, in place of the result;
            progress within an epoch is left out.
        warmup: What loads the heavy libraries, if that has begun.
        resume: Go on with this run of the session instead of a new one.

    Raises:
        Detached: The run was left running on a cluster, and that was said.
    """
    with status(talk, "Loading torch"):
        if warmup is not None:
            warmup.wait()
        from llm_tool.execution.local import run_plan
    last: Observer = JsonLines() if as_json else ResultDisplay(out)
    with ExitStack() as stack:
        display = _display(talk, config, stack)
        observers = [display, last, *make_trackers(config, session)]
        outcome = run_plan(plan, dataset, config, session, *observers, resume=resume)
    if not as_json:
        for name, look in look_commands(config, session).items():
            out.print(Text(f"  {name:11}  {visible(look)}"), soft_wrap=True)
    return outcome


def resume_session(
    session: Session,
    *,
    talk: Console,
    out: Console,
    as_json: bool = False,
    warmup: Warmup | None = None,
    changes: Mapping[str, Any] | None = None,
) -> bool:
    """Go on with every run of a session that is not done; return whether all jobs are done now.

    Args:
        session: The session.
        talk: The console for progress.
        out: The console for the result.
        as_json: See ``execute``.
        warmup: See ``execute``.
        changes: See ``restore``.

    Raises:
        StudioError: There is no such session, or its data or settings were changed.
    """
    if warmup is not None:
        warmup.wait_for_tables()
    from llm_tool.modes.resume import restore, unfinished

    numbers = unfinished(session)
    if not numbers:
        talk.print(Text(f"Session {session.id} is done: there is nothing to resume."))
    failed = 0
    for number in numbers:
        with reading(talk) as on_progress:
            run = restore(session, number, on_progress, changes)
        for note in run.notes:
            talk.print(Text(visible(note), style=WARN))
        outcome = execute(
            run.plan, run.dataset, run.config, session,
            talk=talk, out=out, as_json=as_json, warmup=warmup, resume=number,
        )  # fmt: skip
        failed += len(outcome.failed)
    return not failed


def _display(talk: Console, config: RunConfig, stack: ExitStack) -> Observer:
    """Return what shows a run; ``stack`` ends what it needs."""
    if not talk.is_terminal:
        return PlainSummary()
    if config.executor == "local":
        return RunDisplay(talk)
    from llm_tool.studio.cluster import ClusterDisplay
    from llm_tool.studio.keys import leaving_on_q

    return ClusterDisplay(talk, keys=stack.enter_context(leaving_on_q()))


class JsonLines:
    """An observer that writes events to standard output, one JSON object a line.

    Progress within an epoch is left out, and how a cluster stands when it stands as before.
    """

    def __init__(self) -> None:
        self._seen = ""

    def __call__(self, event: Event) -> None:
        """Write an event."""
        if isinstance(event, BatchEnded | Preparing):
            return
        line = to_json(event)
        if isinstance(event, ClusterSeen):
            if line == self._seen:
                return
            self._seen = line
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
