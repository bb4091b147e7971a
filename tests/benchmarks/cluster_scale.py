"""A run of 10,000 jobs on 500 nodes, followed by its real owner from its first poll to its last.

    python -m tests.benchmarks.cluster_scale --jobs 10000 --nodes 500

Only time, the cluster and the numbers in the journals are made up. Journals are really written,
line by line as the simulated time goes on, and ``train_on_cluster`` really follows them: it decides
when to poll, and its pauses are what moves the time. Jobs take 20 epochs of two minutes in the
middle, some three times as long. Time limits end before that, so that jobs pause within an epoch
and are requeued; nodes die, come back after an hour, and SLURM requeues what ran there; and some
jobs are killed without a word, which their owner finds out, and submits them again.

Where a real cluster of two nodes can be started, four small jobs count the files of each job.
"""

from __future__ import annotations

import argparse
import heapq
import os
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median
from unittest.mock import patch

import numpy as np

from llm_tool.config import RunConfig, make_config
from llm_tool.events import EpochEnded, Event, JobEnded, JobEvent, JobStarted
from llm_tool.execution import remote
from llm_tool.execution.cluster import Place
from llm_tool.execution.collector import Collector
from llm_tool.logs.metrics_csv import BEST, TRAINING, CategoryCsv
from llm_tool.logs.session import Session
from llm_tool.plan import Job, Parts
from tests.benchmarks.collector import Clock
from tests.benchmarks.journals import add, events_of, plan_of

MAX_ARRAY = 1000  # tasks of a job array: MaxArraySize is 1001 where nobody changed it
HOUR = 3600.0  # seconds
EPOCH = 120.0
LOADING = 30.0


@dataclass(frozen=True)
class Troubles:
    """What happens to jobs: seconds of their time limit, nodes that die in a day, jobs killed."""

    limit: float = HOUR
    deaths: int = 24
    kills: int = 200


@dataclass
class MadeCluster:
    """A scheduler with simulated nodes: one job each, which writes its journal as time goes on."""

    session: Session
    jobs: Mapping[str, Job]
    nodes: int
    epochs: int
    troubles: Troubles
    now: float = 0.0
    calls: Counter[str] = field(default_factory=Counter)
    happened: Counter[str] = field(default_factory=Counter)
    written: int = 0  # bytes
    _queue: deque[str] = field(default_factory=deque)
    _places: dict[str, Place] = field(default_factory=dict)
    _handed: Counter[str] = field(default_factory=Counter)
    _free: list[int] = field(default_factory=list)
    _next: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _order: Iterator[int] = field(default_factory=count)
    _on: dict[int, tuple[str, int]] = field(default_factory=dict)  # job and attempt, by node
    _done: dict[str, float] = field(default_factory=dict)  # epochs, those begun as well

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(0)
        self._free = list(range(self.nodes))
        self._plan(self.troubles.deaths, self._die)
        self._plan(self.troubles.kills, self._kill)

    def submit(self, job_ids: Sequence[str]) -> None:
        """Queue jobs, in arrays."""
        self.calls["sbatch"] += -(-len(job_ids) // MAX_ARRAY)
        for job_id in job_ids:
            self._handed[job_id] += 1
            self._wait(job_id)

    def look(self) -> Mapping[str, Place]:
        """Return what squeue would say."""
        self.calls["squeue"] += 1
        return dict(self._places)

    def submissions(self, job_id: str) -> int:
        """Return how many times a job was handed over."""
        return self._handed[job_id]

    def output(self, job_id: str) -> str:
        """Return where the output of a job would be."""
        return f".cluster/{job_id}.out"

    def why_lost(self, _: str) -> str:
        """Return why a job was lost, as sacct would say."""
        self.calls["sacct"] += 1
        return "memory ran out"

    def cancel(self, job_ids: Sequence[str]) -> None:
        """Refuse: nobody stops this run."""
        raise NotImplementedError

    def go_on(self, seconds: float) -> None:
        """Let the cluster work for some time."""
        until = self.now + seconds
        self._start()
        while self._next[0][0] <= until:
            self.now, _, happen = heapq.heappop(self._next)
            happen()
            self._start()
        self.now = until

    def _at(self, moment: float, happen: Callable[[], None]) -> None:
        # What was planned first comes first of two at the same moment.
        heapq.heappush(self._next, (moment, next(self._order), happen))

    def _plan(self, in_a_day: int, happen: Callable[[], None]) -> None:
        if in_a_day:
            self._at(self.now + float(self._rng.exponential(24 * HOUR / in_a_day)), happen)

    def _wait(self, job_id: str) -> None:
        self._queue.append(job_id)
        self._places[job_id] = Place("queued", reason="Resources")

    def _start(self) -> None:
        while self._free and self._queue:
            node, job_id = self._free.pop(), self._queue.popleft()
            self._places[job_id] = Place("running", f"node{node:03d}")
            attempt = self._on[node] = job_id, next(self._order)
            rng = np.random.default_rng(int(job_id[1:]))
            lasts = EPOCH * float(rng.lognormal(0, 0.5))
            begins = self.now + LOADING
            started, *events = events_of(self.jobs[job_id], self.epochs, begins, lasts)
            assert isinstance(started, JobStarted)
            before = self._done.get(job_id, 0.0)
            resumed = replace(started, resumed_from=int(before))
            self._at(begins, partial(self._write, node, attempt, resumed))
            for place, event in enumerate(events[int(before) :], int(before) + 1):
                moment = begins + (min(place, self.epochs) - before) * lasts
                self._at(moment, partial(self._write, node, attempt, event))
            over = before + (self.troubles.limit - LOADING) / lasts
            self._at(self.now + self.troubles.limit, partial(self._time_up, node, attempt, over))

    def _write(self, node: int, attempt: tuple[str, int], event: JobEvent) -> None:
        if self._on.get(node) != attempt:
            return  # it is over
        job_id, _ = attempt
        self.written += add(self.session.journals(self.jobs[job_id])[0], event)
        if isinstance(event, EpochEnded):
            self._done[job_id] = event.epoch
        elif isinstance(event, JobEnded):
            self._leave(node)
            self._free.append(node)

    def _time_up(self, node: int, attempt: tuple[str, int], epochs: float) -> None:
        """Pause a job where it is, within an epoch, and put it back into the queue."""
        if self._on.get(node) != attempt:
            return
        self.happened["time limits"] += 1
        job_id = self._leave(node)
        self._done[job_id] = epochs
        self._free.append(node)
        self._wait(job_id)

    def _leave(self, node: int) -> str:
        job_id, _ = self._on.pop(node)
        del self._places[job_id]
        return job_id

    def _die(self) -> None:
        node = int(self._rng.integers(self.nodes))
        if node in self._on:
            self.happened["nodes that died"] += 1
            self._wait(self._leave(node))
            self._at(self.now + HOUR, partial(self._free.append, node))
        self._plan(self.troubles.deaths, self._die)

    def _kill(self) -> None:
        node = int(self._rng.integers(self.nodes))
        if node in self._on:
            self.happened["jobs killed"] += 1
            self._leave(node)
            self._free.append(node)
        self._plan(self.troubles.kills, self._kill)


@dataclass
class Polls:
    """Measures the owner between its pauses: seconds and journals of each poll, seconds of CPU."""

    cluster: MadeCluster
    clock: Clock
    seconds: list[float] = field(default_factory=list)
    opened: list[int] = field(default_factory=list)
    cpu: float = 0.0
    _now: int = 0

    def __post_init__(self) -> None:
        self._began = time.perf_counter(), time.process_time()

    def pause(self, seconds: float) -> None:
        """Let time go on, which does not count."""
        wall, cpu = self._began
        self.seconds.append(time.perf_counter() - wall)
        self.cpu += time.process_time() - cpu
        self.opened.append(self._now)
        self._now = 0
        self.clock.ahead += seconds
        self.cluster.go_on(seconds)
        self._began = time.perf_counter(), time.process_time()

    def collector(self, session: Session, jobs: Sequence[Job]) -> Collector:
        """Return a collector on the simulated clock whose journals are counted."""
        collector = Collector(session, jobs, self.clock)
        collect = collector.collect

        def counting(some: Sequence[Job]) -> list[JobEvent]:
            self._now += len(some)
            return collect(some)

        collector.collect = counting  # type: ignore[method-assign, assignment]
        return collector


@dataclass(frozen=True)
class Report:
    """What a simulated run took."""

    hours: float
    polls: Polls
    again: int  # jobs that their owner submitted again
    files: int
    sizes: Mapping[str, int]

    @property
    def cluster(self) -> MadeCluster:
        """The cluster, with what it counted."""
        return self.polls.cluster


def simulate(jobs: int, nodes: int, *, categories: int, epochs: int, troubles: Troubles) -> Report:
    """Play a whole run; see that every row of every job is in the files at its end."""
    with tempfile.TemporaryDirectory() as name:
        session, clock = Session(name), Clock()
        with session.run(plan_of(categories, jobs // categories), {}, {}) as named:
            own = {job.id: job for job in named}
            cluster = MadeCluster(session, own, nodes, epochs, troubles)
            polls = Polls(cluster, clock)
            told = _follow(named, session, polls)
        assert told == len(named)
        folders = {session.category_folder(job.task) for job in named}
        sizes = {kind: sum((folder / kind).stat().st_size for folder in folders)
                 for kind in (TRAINING, BEST)}  # fmt: skip
        rows = sum(_rows(folder / TRAINING) for folder in folders)
        assert rows == len(named) * epochs
        assert sum(_rows(folder / BEST) for folder in folders) == len(named)
        assert not any(CategoryCsv(folder).rebuild() for folder in folders)
        files = sum(path.is_file() for path in session.folder.rglob("*"))
    again = sum(map(cluster.submissions, own)) - len(own)
    return Report(cluster.now / HOUR, polls, again, files, sizes)


def _follow(jobs: Sequence[Job], session: Session, polls: Polls) -> int:
    """Follow a run to its end as its owner does; return how many jobs are done."""
    nothing = Parts((), (), ())
    config: RunConfig = make_config({"executor": "slurm", "threads": 1})
    prepared = partial(_prepared, jobs)
    with (
        patch.object(remote, "prepare_jobs", prepared),
        patch.object(remote, "Collector", polls.collector),
    ):
        results = remote.train_on_cluster(
            [(job, nothing) for job in jobs], None, config, session, lambda _: None,  # type: ignore[arg-type]
            polls.cluster, polls.pause,
        )  # fmt: skip
        every = list(results)
    failed = [result for result in every if not isinstance(result, JobEnded)]
    assert not failed, failed[0]
    return len(every)


def _prepared(jobs: Sequence[Job], *_: object) -> tuple[list[tuple[Job, Parts]], list[JobEvent]]:
    return [(job, Parts((), (), ())) for job in jobs], []


def _rows(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for _ in file) - 5  # comments and header


def files_of_jobs() -> dict[str, tuple[float, float]]:
    """Train four small jobs on a real cluster; return files a job before its run ends, and after.

    Empty where no cluster can be started.
    """
    from tests.slurm_cluster import missing, running_cluster

    if missing():
        return {}
    with ExitStack() as stack:
        base = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(running_cluster(base / "cluster"))
        work = base / "work"
        work.mkdir()
        stack.callback(os.chdir, Path.cwd())
        os.chdir(work)
        return _files_of_jobs()


def _files_of_jobs() -> dict[str, tuple[float, float]]:
    from llm_tool.events import ClusterSeen
    from llm_tool.execution.local import run_plan
    from llm_tool.modes.planning import prepare
    from tests.conftest import tweets_csv

    Path("tweets.csv").write_text(tweets_csv(), "utf-8")
    keys = {"mode": "benchmark", "data": "tweets.csv", "label": ["sentiment", "topic"], "epochs": 2,
            "model": ["embedded"], "seeds": [1, 2], "languages": "multilingual", "threads": 1,
            "executor": "slurm"}  # fmt: skip
    config = make_config(keys)
    dataset, plan = prepare(config)
    session = Session()
    at_the_end: dict[str, float] = {}

    def look(event: Event) -> None:
        if isinstance(event, ClusterSeen) and event.done == len(plan.jobs):
            at_the_end.update(_count(session, len(plan.jobs)))

    outcome = run_plan(plan, dataset, config, session, look)
    assert len(outcome.done) == len(plan.jobs) == 4
    after = _count(session, len(plan.jobs))
    return {kind: (at_the_end[kind], after.get(kind, 0.0)) for kind in at_the_end}


def _count(session: Session, jobs: int) -> dict[str, float]:
    """Return how many files there are of each kind: of jobs each has its own, by job."""

    def files(folder: Path, pattern: str = "**/*") -> int:
        return sum(path.is_file() or path.is_symlink() for path in folder.glob(pattern))

    submitted = sum(1 for _ in session.cluster_folder.glob("jobs/*"))
    own = {
        "run folder, a job": files(session.folder, "*/runs/**/*") / jobs,
        "saved model, a job": files(Path("models")) / jobs,
        ".cluster/jobs, a job": (
            files(session.cluster_folder, "jobs/*/[0-9]*") - submitted
        ) / jobs,
        ".cluster, a run": files(session.cluster_folder, "*") + files(session.cluster_folder,
                                                                    "run-*/*"),
    }  # fmt: skip
    return {kind: float(number) for kind, number in own.items()}


def main() -> None:
    """Print what the run took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--nodes", type=int, default=500)
    parser.add_argument("--categories", type=int, default=250)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--limit", type=float, default=HOUR, help="seconds of each job's time")
    parser.add_argument("--deaths", type=int, default=24, help="nodes that die in a day")
    parser.add_argument("--kills", type=int, default=200, help="jobs that are killed in a day")
    given = vars(parser.parse_args())
    troubles = Troubles(*(given.pop(name) for name in ("limit", "deaths", "kills")))
    _print(simulate(**given, troubles=troubles))
    for kind, (during, after) in files_of_jobs().items():
        print(f"| files: {kind} | {during:g} when all are done, {after:g} after the run |")


def _print(report: Report) -> None:
    cluster, polls, minutes = report.cluster, report.polls, 60 * report.hours
    print("| what | |\n| --- | --- |")
    print(f"| simulated time | {report.hours:.1f} h, {len(polls.seconds):,} polls |")
    for what, number in cluster.happened.items():
        print(f"| {what} | {number:,} |")
    print(f"| submitted again by the owner | {report.again:,} |")
    for call, number in cluster.calls.items():
        print(f"| calls of {call} | {number:,}, {number / minutes:.2f} a minute |")
    print(f"| journals opened | {sum(polls.opened) / len(polls.opened):.0f} a poll |")
    sizes = " and ".join(f"{size / 1e6:.0f} MB" for size in report.sizes.values())
    print(f"| bytes of journals | {cluster.written / 1e6:.0f} MB |")
    print(f"| training.csv and best.csv | {sizes} |")
    print(f"| files in the simulated session | {report.files:,} |")
    # The long end of a run, with few jobs left, has most of the polls and no work.
    busy = [pair for pair in zip(polls.opened, polls.seconds, strict=True)
            if pair[0] >= 0.9 * cluster.nodes]  # fmt: skip
    quarter = max(1, len(busy) // 4)
    for part, own in (("first", busy[1 : quarter + 1]), ("last", busy[-quarter:])):
        spent = [1e3 * seconds for _, seconds in own]
        opened = sum(opened for opened, _ in own) / len(own)
        print(f"| a poll, {part} quarter of those on full nodes, {opened:.0f} journals | "
              f"{median(spent):.0f} ms, {max(spent):.0f} ms at most |")  # fmt: skip
    print(f"| the first poll, with all that is handed over | {polls.seconds[0]:.1f} s |")
    print(f"| the owner's CPU | {polls.cpu:.0f} s, {polls.cpu / (36 * report.hours):.2f} % |")


if __name__ == "__main__":
    main()
