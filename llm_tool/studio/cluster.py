"""Show a run on a cluster: its epochs as they come in, and below where its jobs are."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from rich.cells import cell_len
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from llm_tool.events import (
    ClusterSeen,
    Event,
    JobFailed,
    Preparing,
    RunEnded,
    RunningJob,
    RunStarted,
)
from llm_tool.logs.cluster_summary import cluster_counts, preparing_line
from llm_tool.logs.journal import job_number
from llm_tool.plan import told_apart
from llm_tool.studio.display import RunDisplay
from llm_tool.studio.theme import BAD, QUIET, WARN, fit
from llm_tool.text import plural, shorten, visible

_ROWS_ABOVE = 8  # lines of the terminal that are left to what was printed
_LONGEST_NODE = 16
_SHORTEST_TITLE = 12


class ClusterDisplay(RunDisplay):
    """An observer that prints the epochs of all jobs in one table, and what happens to jobs."""

    def __init__(self, console: Console, *, keys: bool = False) -> None:
        """Print to a console; with ``keys`` the user is told which there are."""
        super().__init__(console)
        self._keys = keys

    @property
    def _together(self) -> bool:
        return True

    def _heading(self, event: RunStarted) -> str:
        return f"{plural(len(event.jobs), 'job')} on the cluster"

    def _bottom(self, event: RunStarted) -> ClusterLines:
        return ClusterLines(self._console, told_apart(event.jobs), keys=self._keys)

    def _show(self, event: Event) -> None:
        super()._show(event)
        if isinstance(event, ClusterSeen):
            for news in event.news:
                self._console.print(Text(visible(news), style=WARN))

    def _job_failed(self, event: JobFailed) -> None:
        """Show what went wrong; behind its first line, what the job wrote last."""
        what, *output = event.what.splitlines() or [""]
        where = f" (in {visible(event.where)})" if event.where else ""
        self._finished += 1
        self._console.print(Text(f"✗ {visible(self._title(event.job))} failed", style=BAD))
        self._console.print(Text(f"  {visible(what)}{where}"))
        for line in output:
            said = shorten(visible(line.expandtabs()), max(20, self._console.width - 4))
            self._console.print(Text(f"  | {said}", style=QUIET))
        if event.remedy:
            self._console.print(Text(f"  {visible(event.remedy)}"))


class ClusterLines:
    """An observer that moves the lines at the bottom: counts, running jobs, and the keys.

    Like ``ProgressLines`` it draws in the thread that tells it the events.
    """

    def __init__(self, console: Console, apart: Mapping[str, str], *, keys: bool) -> None:
        self._console = console
        self._apart = apart
        self._keys = keys
        self._live = Live(
            Text("Preparing the jobs", style=QUIET),
            console=console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=sys.stdout.isatty(),  # what is piped elsewhere stays there
        )
        self._live.start(refresh=True)

    def __call__(self, event: Event) -> None:
        """Move the lines, and take them away when the run is over."""
        if isinstance(event, ClusterSeen):
            width, height = self._console.size
            lines = live_lines(event, width, height - _ROWS_ABOVE, self._apart)
            if self._keys:
                lines.append("q: leave it running, Ctrl-C: stop the jobs")
            shown = [Text(fit(line, width - 1).rstrip(), no_wrap=True) for line in lines]
            if self._keys:
                shown[-1].stylize(QUIET)
            self._live.update(Group(*shown), refresh=True)
        elif isinstance(event, Preparing):
            self._live.update(Text(preparing_line(event), style=QUIET, no_wrap=True), refresh=True)
        elif isinstance(event, RunEnded):
            self._live.stop()


def live_lines(
    seen: ClusterSeen, width: int, height: int, apart: Mapping[str, str] | None = None
) -> list[str]:
    """Return the counts, and a line for each running job as far as they fit into the height."""
    counts = cluster_counts(seen)
    if cell_len(counts) >= width:
        counts = counts.partition(": ")[2]  # the numbers matter more than their sum
    running = sorted(seen.running, key=lambda one: job_number(one.job.id))
    room = max(1, height - 2)  # without the counts and the keys
    shown = running if len(running) <= room else running[: max(1, room - 1)]
    lines = [counts, *_rows(shown, width - 1, apart or {})]
    if len(shown) < len(running):
        lines.append(f"  and {len(running) - len(shown):,} more")
    return lines


def _rows(running: Sequence[RunningJob], width: int, apart: Mapping[str, str]) -> list[str]:
    """Return a line for each running job, without what there is no width for."""
    if not running:
        return []
    nodes = [_node(one.node) for one in running]
    epochs = [_epoch(one) for one in running]
    scores = [f"macro F1 {one.f1_macro:.3f}" if one.epoch else "" for one in running]
    columns = [nodes, epochs, scores]
    while True:
        widths = [max(map(cell_len, cells)) for cells in columns]
        rest = width - 2 - sum(widths) - 2 * len(widths)
        if rest >= _SHORTEST_TITLE or len(columns) == 1:
            break
        columns.remove(nodes if nodes in columns else scores)
    jobs = [one.job.title + apart.get(one.job.id, "") for one in running]
    jobs = [visible(job.replace(" · ", " ")) for job in jobs]
    widths = [max(1, min(rest, max(map(cell_len, jobs)))), *widths]
    lines = []
    for row in zip(jobs, *columns, strict=True):
        cells = [fit(cell, size) for cell, size in zip(row, widths, strict=True)]
        lines.append("  ".join(["", *cells]).rstrip())
    return lines


def _epoch(job: RunningJob) -> str:
    if not job.epoch:
        return "begins"
    of = f"/{job.epochs}" if job.epochs else ""
    return f"epoch {job.epoch:>{max(1, len(of) - 1)}}{of}"


def _node(name: str) -> str:
    """Return a node's name without its domain, which all share."""
    host = name.partition(".")[0]
    return shorten(visible(name if host.isdecimal() else host), _LONGEST_NODE)
