"""What the owner of a run on a cluster spends on collecting.

    python -m tests.benchmarks.collector --jobs 10000 --epochs 20

Journals are written in the real format, for many categories and for the worst case of one. First
one collector reads all of them from nothing. Then 500 jobs run, of which each fifth has a new epoch
at each poll, after none, a tenth or all of the others were collected before; polls are five seconds
apart by the collector's clock. What goes into writing best.csv anew, a twentieth of the time at
most, is counted for itself. Medians; the folder of temporary files should be on a local disk.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from statistics import fmean, median
from unittest.mock import patch

from llm_tool.events import EpochEnded
from llm_tool.execution.collector import Collector
from llm_tool.logs.metrics_csv import CategoryCsv
from llm_tool.logs.session import Session
from llm_tool.plan import Job
from tests.benchmarks.journals import add, more_epochs, plan_of, write_journal

RUNNING = 500
INTERVAL = 5.0  # seconds between two polls


@dataclass(frozen=True)
class FromNothing:
    """What reading every journal took: seconds, peak memory of the process, bytes read."""

    collecting: float
    finishing: float
    again: float
    peak_gb: float
    read: int


@dataclass(frozen=True)
class Poll:
    """Seconds of a poll, and those of writing files anew."""

    own: float
    anew: float


@dataclass
class Clock:
    """Time that goes on by itself, and can be put forward."""

    ahead: float = 0.0

    def __call__(self) -> float:
        return time.perf_counter() + self.ahead


def read_all(categories: int, jobs: int, epochs: int) -> FromNothing:
    """Collect journals that are all there, and leave the files whole; open the run once more."""
    with tempfile.TemporaryDirectory() as name:
        session = Session(name)
        with session.run(plan_of(categories, jobs // categories), {}, {}) as named:
            size = sum(write_journal(session, job, epochs) for job in named)
            collector = Collector(session, named)
            started = time.perf_counter()
            events = collector.collect(named)
            collected = time.perf_counter()
            collector.finish()
            finished = time.perf_counter()
            assert len(events) == len(named) * (epochs + 2)
        again = Session(name, session.id)
        reopened = time.perf_counter()
        assert all(map(again.is_finished, named))
        with again.rerun(0) as named:
            assert all(map(again.result, named))
        reopened = time.perf_counter() - reopened
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return FromNothing(collected - started, finished - collected, reopened, peak, size)


def polls(
    categories: int, before: int, epochs: int, *, repeats: int, running: int = RUNNING
) -> list[Poll]:
    """Return what each poll took with jobs running, after others had been collected."""
    with tempfile.TemporaryDirectory() as name:
        session = Session(name)
        each = -(-(before + running) // categories)
        with session.run(plan_of(categories, each), {}, {}) as named:
            done = [job for place, job in enumerate(named) if place % (before + running) >= running]
            done = done[:before]
            others = [job for job in named if job not in set(done)][:running]
            for job in done:
                write_journal(session, job, epochs)
            clock = Clock()
            collector = Collector(session, named, clock)
            collector.collect([*done, *others])
            collector.finish()
            return list(islice(_each_poll(session, collector, others, clock), repeats))


def _each_poll(
    session: Session, collector: Collector, jobs: Sequence[Job], clock: Clock
) -> Iterator[Poll]:
    training: dict[str, Iterator[EpochEnded]] = {job.id: more_epochs(job) for job in jobs}
    number = 0
    while True:
        number += 1
        for job in jobs[number % 5 :: 5]:
            add(session.journals(job)[0], next(training[job.id]))
        clock.ahead += INTERVAL
        with _timed(CategoryCsv.catch_up, "catch_up") as anew:
            started = time.perf_counter()
            collector.collect(jobs)
            taken = time.perf_counter() - started
        if number > 5:  # until then files are made
            yield Poll(taken - sum(anew), sum(anew))


@contextmanager
def _timed(method: Callable[[CategoryCsv], None], name: str) -> Iterator[list[float]]:
    seconds: list[float] = []

    def timed(csv: CategoryCsv) -> None:
        started = time.perf_counter()
        method(csv)
        seconds.append(time.perf_counter() - started)

    with patch.object(CategoryCsv, name, timed):
        yield seconds


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=20)
    options = parser.parse_args()
    shapes = (250, 1)
    spawn = multiprocessing.get_context("spawn")  # a process each, for its peak memory
    print(f"{options.jobs:,} journals of {options.epochs} epochs, read from nothing\n")
    print("| categories | MB | collect, s | finish, s | open again, s | peak, GB |")
    print("| --- | --- | --- | --- | --- | --- |")
    for categories in shapes:
        with spawn.Pool(1) as pool:
            took = pool.apply(read_all, (categories, options.jobs, options.epochs))
        print(
            f"| {categories} | {took.read / 1e6:.0f} | {took.collecting:.1f} | "
            f"{took.finishing:.1f} | {took.again:.1f} | {took.peak_gb:.2f} |",
            flush=True,
        )
    print(f"\nA poll with {RUNNING} running jobs, a fifth of them with news\n")
    print("| categories | collected before | poll, ms | besides, files written anew, ms |")
    print("| --- | --- | --- | --- |")
    for categories in shapes:
        for share in (0, 0.1, 1):
            before = int(share * options.jobs)
            each = polls(categories, before, options.epochs, repeats=options.repeats)
            own = 1e3 * median(poll.own for poll in each)
            anew = 1e3 * fmean(poll.anew for poll in each)
            print(f"| {categories} | {before:,} | {own:.0f} | {anew:.0f} |", flush=True)


if __name__ == "__main__":
    main()
