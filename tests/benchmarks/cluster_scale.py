"""A run of 10,000 jobs on 500 nodes, followed from its first poll to its last.

    python -m tests.benchmarks.cluster_scale --jobs 10000 --nodes 500

Only time, the cluster and the numbers in the journals are made up. Journals are really written,
line by line as the simulated time goes on; the owner's collector really reads them and writes the
CSVs. Jobs take 20 epochs of two minutes in the middle, some three times as long; nodes die at
random and come back after an hour, and what ran there is submitted again. ``follow`` is the owner:
it asks the scheduler once a poll, and opens the journals of jobs that run or left the queue.
"""

from __future__ import annotations

import argparse
import heapq
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median

import numpy as np

from llm_tool.events import EpochEnded, JobEnded, JobEvent, JobStarted
from llm_tool.execution.cluster import Place
from llm_tool.execution.collector import Collector
from llm_tool.logs.metrics_csv import BEST, TRAINING, CategoryCsv
from llm_tool.logs.session import Session
from llm_tool.plan import Job
from tests.benchmarks.collector import Clock
from tests.benchmarks.journals import add, events_of, plan_of

MAX_ARRAY = 1000  # tasks of a job array: MaxArraySize is 1001 where nobody changed it
RESUBMIT = 3
HOUR = 3600.0  # seconds
EPOCH = 120.0
LOADING = 30.0


@dataclass
class MadeCluster:
    """A scheduler with simulated nodes: one job each, which writes its journal as time goes on."""

    session: Session
    jobs: Mapping[str, Job]
    nodes: int
    epochs: int
    deaths: int  # among all nodes, in a day
    now: float = 0.0
    calls: Counter[str] = field(default_factory=Counter)
    written: int = 0  # bytes
    died: int = 0
    _queue: deque[str] = field(default_factory=deque)
    _places: dict[str, Place] = field(default_factory=dict)
    _handed: Counter[str] = field(default_factory=Counter)
    _free: list[int] = field(default_factory=list)
    _next: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _order: Iterator[int] = field(default_factory=count)
    _on: dict[int, tuple[str, int]] = field(default_factory=dict)
    _done: Counter[str] = field(default_factory=Counter)  # epochs

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(0)
        self._free = list(range(self.nodes))
        self._plan_death()

    def submit(self, job_ids: Sequence[str]) -> None:
        """Queue jobs, in arrays."""
        self.calls["sbatch"] += -(-len(job_ids) // MAX_ARRAY)
        for job_id in job_ids:
            self._handed[job_id] += 1
            self._queue.append(job_id)
            self._places[job_id] = Place("queued", reason="Resources")

    def look(self) -> Mapping[str, Place]:
        """Return what squeue would say."""
        self.calls["squeue"] += 1
        return self._places

    def submissions(self, job_id: str) -> int:
        """Return how many times a job was handed over."""
        return self._handed[job_id]

    def output(self, job_id: str) -> str:
        """Return where the output of a job would be."""
        return f".cluster/{job_id}.out"

    def cancel(self) -> None:
        """Take everything out of the queue."""
        self._queue.clear()
        self._places.clear()

    def go_on(self, until: float) -> None:
        """Let the cluster work until a moment, in seconds."""
        self._start()
        while self._next[0][0] <= until:
            self.now, _, happen = heapq.heappop(self._next)
            happen()
            self._start()
        self.now = until

    def _at(self, moment: float, happen: Callable[[], None]) -> None:
        # What was planned first comes first of two at the same moment.
        heapq.heappush(self._next, (moment, next(self._order), happen))

    def _start(self) -> None:
        while self._free and self._queue:
            node, job_id = self._free.pop(), self._queue.popleft()
            self._places[job_id] = Place("running", f"node{node:03d}")
            attempt = self._on[node] = job_id, self._handed[job_id]
            lasts = EPOCH * float(self._rng.lognormal(0, 0.5))
            begins = self.now + LOADING
            started, *events = events_of(self.jobs[job_id], self.epochs, begins, lasts)
            assert isinstance(started, JobStarted)
            before = self._done[job_id]
            resumed = replace(started, resumed_from=before)
            self._at(begins, partial(self._write, node, attempt, resumed))
            for place, event in enumerate(events[before:], 1):
                epoch = min(place, self.epochs - before)
                self._at(begins + epoch * lasts, partial(self._write, node, attempt, event))

    def _write(self, node: int, attempt: tuple[str, int], event: JobEvent) -> None:
        if self._on.get(node) != attempt:
            return  # the node died
        job_id, _ = attempt
        self.written += add(self.session.journals(self.jobs[job_id])[0], event)
        if isinstance(event, EpochEnded):
            self._done[job_id] = event.epoch
        elif isinstance(event, JobEnded):
            self._leave(node)
            self._free.append(node)

    def _leave(self, node: int) -> None:
        job_id, _ = self._on.pop(node)
        del self._places[job_id]

    def _die(self) -> None:
        node = int(self._rng.integers(self.nodes))
        if node in self._on:
            self.died += 1
            self._leave(node)
            self._at(self.now + HOUR, partial(self._free.append, node))
        self._plan_death()

    def _plan_death(self) -> None:
        self._at(self.now + float(self._rng.exponential(24 * HOUR / self.deaths)), self._die)


@dataclass(frozen=True)
class Poll:
    """One poll of the owner: seconds that it took, journals that it opened."""

    seconds: float
    opened: int


def follow(
    jobs: Sequence[Job], cluster: MadeCluster, collector: Collector, clock: Clock, interval: float
) -> Iterator[Poll]:
    """Hand jobs over and poll until all have an end; give what is lost to the cluster again."""
    cluster.submit([job.id for job in jobs])
    left = {job.id: job for job in jobs}
    while left:
        clock.ahead += interval
        cluster.go_on(cluster.now + interval)
        started = time.perf_counter()
        places = cluster.look()
        now = {job_id for job_id, place in places.items() if place.state == "running"}
        gone = {job_id for job_id in left if job_id not in places}
        asked = [left[job_id] for job_id in sorted(now | gone)]
        collector.collect(asked)
        lost = []
        for job_id in sorted(gone):
            if collector.state(left[job_id]).ended:
                del left[job_id]
            elif cluster.submissions(job_id) <= RESUBMIT:
                lost.append(job_id)
            else:
                raise RuntimeError(f"{job_id} was lost too often")
        if lost:
            cluster.submit(lost)
        yield Poll(time.perf_counter() - started, len(asked))
    collector.finish()


@dataclass(frozen=True)
class Report:
    """What a simulated run took."""

    hours: float
    polls: list[Poll]
    calls: Mapping[str, int]
    died: int
    written: int
    files: int
    sizes: Mapping[str, int]


def simulate(jobs: int, nodes: int, *, categories: int, epochs: int, interval: float,
             deaths: int) -> Report:  # fmt: skip
    """Play a whole run; see that every row of every job is in the files at its end."""
    with tempfile.TemporaryDirectory() as name:
        session, clock = Session(name), Clock()
        with session.run(plan_of(categories, jobs // categories), {}, {}) as named:
            own = {job.id: job for job in named}
            cluster = MadeCluster(session, own, nodes, epochs, deaths)
            collector = Collector(session, named, clock)
            polls = list(follow(named, cluster, collector, clock, interval))
        folders = {session.category_folder(job.task) for job in named}
        sizes = {kind: sum((folder / kind).stat().st_size for folder in folders)
                 for kind in (TRAINING, BEST)}  # fmt: skip
        rows = sum(_rows(folder / TRAINING) for folder in folders)
        assert rows == len(named) * epochs
        assert sum(_rows(folder / BEST) for folder in folders) == len(named)
        assert not any(CategoryCsv(folder).rebuild() for folder in folders)
        files = sum(path.is_file() for path in session.folder.rglob("*"))
    return Report(
        cluster.now / HOUR, polls, cluster.calls, cluster.died, cluster.written, files, sizes
    )


def _rows(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for _ in file) - 5  # comments and header


def main() -> None:
    """Print what the run took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--nodes", type=int, default=500)
    parser.add_argument("--categories", type=int, default=250)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--interval", type=float, default=30.0, help="seconds between two polls")
    parser.add_argument("--deaths", type=int, default=24, help="nodes that die in a day")
    options = parser.parse_args()
    report = simulate(**vars(options))
    minutes = 60 * report.hours
    quarter = len(report.polls) // 4
    print("| what | |\n| --- | --- |")
    print(f"| simulated time | {report.hours:.1f} h, {len(report.polls):,} polls |")
    print(f"| nodes that died under a job | {report.died} |")
    for call in ("squeue", "sbatch"):
        number = report.calls[call]
        print(f"| calls of {call} | {number:,}, {number / minutes:.2f} a minute |")
    opened = sum(poll.opened for poll in report.polls)
    print(f"| journals opened | {opened / len(report.polls):.0f} a poll |")
    print(f"| bytes of journals | {report.written / 1e6:.0f} MB |")
    sizes = " and ".join(f"{size / 1e6:.0f} MB" for size in report.sizes.values())
    print(f"| training.csv and best.csv | {sizes} |")
    print(f"| files | {report.files:,} |")
    for part, place in (("first", 0), ("third", 2)):  # in the last one few jobs run any more
        own = [1e3 * poll.seconds for poll in report.polls[place * quarter : (place + 1) * quarter]]
        print(f"| a poll, {part} quarter | {median(own):.0f} ms, {max(own):.0f} ms at most |")
    busy = sum(poll.seconds for poll in report.polls)
    print(f"| the owner's load | {busy:.0f} s, {busy / (36 * report.hours):.2f} % of a core |")


if __name__ == "__main__":
    main()
