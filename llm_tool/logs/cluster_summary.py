"""How the jobs of a run stand on a cluster, in plain lines: the counts, and when they are news."""

from __future__ import annotations

from collections.abc import Iterator

from llm_tool.events import ClusterSeen, Preparing
from llm_tool.text import plural, visible

# Why SLURM lets jobs wait, in words where its own say little to those who do not know it.
_REASONS = {
    "Resources": "no node is free",
    "Priority": "others come first",
    "BeginTime": "it begins soon",
    "Dependency": "another array comes first",
    "JobArrayTaskLimit": "as many run as may",
}
_STEPS = 20  # lines of counts that a run writes as its jobs end, about


def cluster_counts(seen: ClusterSeen) -> str:
    """Return how many jobs are where, with the scheduler's reason while none of them runs."""
    running = len(seen.running)
    jobs = seen.queued + running + seen.done + seen.failed
    counts = f"{seen.queued:,} queued, {running:,} running, {seen.done:,} done"
    reason = _REASONS.get(seen.waiting, seen.waiting)
    why = f"; waiting: {visible(reason)}" if reason and not running else ""
    return f"{plural(jobs, 'job')}: {counts}, {seen.failed:,} failed{why}"


def preparing_line(event: Preparing) -> str:
    """Return what is being made ready, and how far that is."""
    share = "" if event.share is None else f": {event.share:.0%}"
    return f"Preparing the jobs: {visible(event.what)}{share}"


class ClusterSummary:
    """Says what is new: counts when they changed noticeably, and whatever happened to jobs."""

    def __init__(self) -> None:
        self._said: ClusterSeen | None = None

    def lines(self, seen: ClusterSeen) -> Iterator[str]:
        """Yield the lines that there are to write."""
        yield from map(visible, seen.news)
        if self._said is None or _is_noticeable(self._said, seen):
            self._said = seen
            yield cluster_counts(seen)


def _is_noticeable(before: ClusterSeen, now: ClusterSeen) -> bool:
    """Tell whether jobs began or ceased to run, one failed, or a good part of them came to an end.

    Every job's own start and end is a line of its own already.
    """
    ended = now.done + now.failed
    rest = now.queued + len(now.running)
    step = max(1, (ended + rest) // _STEPS)
    idle = not now.running
    return (
        now.failed != before.failed
        or idle != (not before.running)
        or (idle and now.waiting != before.waiting)
        or ended - before.done - before.failed >= step
    )
