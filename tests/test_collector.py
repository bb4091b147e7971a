"""Collecting journals that others write: events whole and in order, rows once, nothing lost."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from llm_tool.errors import DiskError
from llm_tool.events import (
    EpochEnded,
    Event,
    JobEnded,
    JobEvent,
    JobFailed,
    JobStarted,
)
from llm_tool.execution.collector import Collector, JobState
from llm_tool.logs import Session, category_rows, journal, read_metrics
from llm_tool.logs.labels import per_category
from llm_tool.logs.metrics_csv import CategoryCsv
from llm_tool.plan import Job
from tests.benchmarks.cluster_scale import Troubles, simulate
from tests.benchmarks.collector import polls, read_all
from tests.benchmarks.journals import add, events_of, line
from tests.test_events import SHARED, made_end, made_epoch, made_job
from tests.test_local_run import Runner
from tests.test_metrics_csv import OTHER, files, from_journals, started

JOBS = [made_job(n, id="") for n in (1, 2)] + [replace(OTHER, id="")]


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return Session(tmp_path / "logs")


@contextmanager
def opened(session: Session, *jobs: Job) -> Iterator[tuple[Job, ...]]:
    """Open a run of some jobs; by default three of one category, the last with other classes."""
    with session.run(jobs or JOBS, {}, {}) as named:
        yield named


def write(session: Session, *events: JobEvent) -> None:
    """Write events as the jobs do, without any lock."""
    for event in events:
        for own in per_category(event):
            add(session.run_folder(own.job) / journal.JOURNAL, own)


def history(jobs: Sequence[Job]) -> list[JobEvent]:
    """Return what three jobs of one category do in turns, with attempts that begin anew."""
    one, two, other = jobs
    best = made_epoch(one, 2, f1=0.75, is_best=True)
    return [
        started(two),
        made_epoch(two),
        started(one),
        made_epoch(one),
        started(other),
        made_epoch(two, 2),
        made_epoch(other, is_best=False),
        best,
        replace(started(two), resumed_from=1),
        made_epoch(two, 2, f1=0.8, is_best=True),
        made_end(best),
        JobFailed(other, "The node died."),
        replace(started(one), timestamp="later"),
        started(other),
        made_epoch(one),
        made_end(made_epoch(one)),
    ]


def test_events_come_once_and_in_order_and_rows_with_them(session: Session) -> None:
    with opened(session) as jobs:
        collector = Collector(session, jobs)
        told: list[JobEvent] = []
        for event in history(jobs):
            write(session, event)
            new = collector.collect(jobs)
            assert new == [event]
            told += new
        assert collector.collect(jobs) == []
        collector.finish()
        folder = session.category_folder(jobs[0].task)
        assert told == history(jobs)
        assert files(folder) == from_journals(folder)
        before = files(folder)
        assert not CategoryCsv(folder).rebuild()
        assert files(folder) == before


def test_only_the_jobs_that_are_asked_for_are_read(session: Session) -> None:
    with opened(session) as jobs:
        collector = Collector(session)
        write(session, *(made_epoch(job) for job in jobs))

        assert collector.collect(jobs[1:2]) == [made_epoch(jobs[1])]
        assert collector.collect(jobs) == [made_epoch(jobs[0]), made_epoch(jobs[2])]


def test_rows_come_to_the_file_in_the_order_they_come_and_end_in_that_of_the_plan(
    session: Session,
) -> None:
    with opened(session, *JOBS[:2]) as jobs:
        path = session.category_folder(jobs[0].task) / "training.csv"
        collector = Collector(session, jobs)

        def rows() -> list[tuple[str, int]]:
            table = read_metrics(path)
            return list(zip(table["model_identifier"], table["epoch"], strict=True))

        for number, epoch in ((1, 1), (2, 1), (1, 2)):
            write(session, made_epoch(jobs[number - 1], epoch))
            collector.collect(jobs)
        assert rows() == [("j0001", 1), ("j0002", 1), ("j0001", 2)]
        collector.finish()
        assert rows() == [("j0001", 1), ("j0001", 2), ("j0002", 1)]


@pytest.mark.parametrize("prefix", range(len(history(JOBS))))
def test_a_new_collector_goes_on_from_wherever_one_died(session: Session, prefix: int) -> None:
    with opened(session) as jobs:
        collector = Collector(session, jobs)
        for event in history(jobs)[:prefix]:
            write(session, event)
            collector.collect(jobs)
        if prefix % 2:  # it died before it saw what came last
            write(session, history(jobs)[prefix])

    anew = Session(session.logs_dir, session.id)
    with anew.rerun(0) as jobs:
        collector = Collector(anew, jobs)
        first = collector.collect(jobs)
        assert {event.job.id for event in first} <= {job.id for job in jobs}
        write(anew, *history(jobs)[prefix + prefix % 2 :])
        told = first + collector.collect(jobs)
        collector.finish()
    for job in jobs:
        assert [e for e in told if e.job == job] == [e for e in history(jobs) if e.job == job]
    folder = anew.category_folder(jobs[0].task)
    assert files(folder) == from_journals(folder)


def test_half_a_line_waits_for_its_rest(session: Session) -> None:
    with opened(session) as (job, *_):
        collector = Collector(session, [job])
        write(session, made_epoch(job))
        collector.collect([job])
        whole = line(made_epoch(job, 2))
        for part in (whole[:100], whole[100:-1]):
            with session.journals(job)[0].open("ab") as file:
                file.write(part)
            assert collector.collect([job]) == []
        with session.journals(job)[0].open("ab") as file:
            file.write(b"\n")
        assert collector.collect([job]) == [made_epoch(job, 2)]


def test_a_line_that_a_crash_tore_costs_only_itself(session: Session) -> None:
    with opened(session) as (job, *_):
        collector = Collector(session, [job])
        path = session.journals(job)[0]
        write(session, made_epoch(job))
        with path.open("ab") as file:
            file.write(line(made_epoch(job, 2))[:-30])
        assert collector.collect([job]) == [made_epoch(job)]
        journal.append(path.parent, started(job))  # a new attempt closes it off
        assert collector.collect([job]) == [started(job)]


def test_bytes_that_are_still_on_their_way_are_waited_for(session: Session) -> None:
    with opened(session) as (job, *_):
        collector = Collector(session, [job])
        path = session.journals(job)[0]
        write(session, made_epoch(job))
        whole = path.read_bytes() + line(made_epoch(job, 2))
        holes = bytes(0 if path.stat().st_size <= i < len(whole) - 9 else b
                      for i, b in enumerate(whole))  # fmt: skip
        path.write_bytes(holes)
        assert collector.collect([job]) == [made_epoch(job)]
        path.write_bytes(whole)
        assert collector.collect([job]) == [made_epoch(job, 2)]


@pytest.mark.parametrize("epochs", [1, 2, 5])
def test_a_journal_that_was_replaced_is_read_anew(session: Session, epochs: int) -> None:
    with opened(session) as (job, other, _):
        collector = Collector(session)
        write(session, made_epoch(job), made_epoch(job, 2), made_epoch(other))
        collector.collect([job, other])
        others = [made_epoch(job, n, f1=0.25, seconds=n / 7) for n in range(1, epochs + 1)]
        session.journals(job)[0].write_bytes(b"".join(map(line, others)))

        assert collector.collect([job, other]) == others
        assert collector.state(job).epoch == epochs
        folder = session.category_folder(job.task)
        assert files(folder) == from_journals(folder)


def test_the_state_of_a_job_is_that_of_its_last_attempt(session: Session) -> None:
    with opened(session) as (job, *_):
        collector = Collector(session, [job])
        assert collector.state(job) == JobState()
        write(session, started(job), made_epoch(job), JobFailed(job, "No."))
        collector.collect([job])
        state = collector.state(job)
        assert (state.epoch, state.epochs, state.f1_macro) == (1, 2, 0.5)
        assert state.failed == JobFailed(job, "No.")

        write(session, replace(started(job), resumed_from=1))
        collector.collect([job])
        assert (state.epoch, state.epochs, state.failed) == (1, 2, None)
        write(session, made_epoch(job, 2), made_end(made_epoch(job)))
        collector.collect([job])
        assert collector.state(job).ended == made_end(made_epoch(job))


def test_a_shared_encoder_is_told_as_its_own_process_shows_it(
    tmp_path: Path, tweets: Path, tiny_bert: Path
) -> None:
    shown = Runner(tmp_path, tweets, (str(tiny_bert),))
    shown.run(mode="distributed", label=("areas",), workers=1, shared_encoder=True,
              reinforced=True, reinforced_epochs=1)  # fmt: skip
    (name,) = (path.name for path in (tmp_path / "logs").iterdir())
    session = Session(tmp_path / "logs", name)
    with session.rerun(0) as jobs:
        assert jobs[0].labels
        told = Collector(session).collect(jobs)

    events = [event for event in shown.told if isinstance(event, JobEvent)]
    assert [event.event for event in told] == [event.event for event in events]
    assert told == events
    assert session.result(jobs[0]) == events[-1]


def test_an_event_that_not_every_label_has_is_no_event(session: Session) -> None:
    """A killed attempt may have written to the first label only; the next one takes it back."""
    with opened(session, replace(SHARED, id="")) as (job,):
        first, last = session.journals(job)
        collector = Collector(session)

        def epoch(number: int) -> EpochEnded:
            labels = tuple(made_epoch(job.of(task), number) for task in job.labels)
            return made_epoch(job, number, labels=labels)

        write(session, started(job), epoch(1))
        add(first, *epoch(2).labels[:1])
        told = collector.collect([job])
        assert [event.event for event in told] == ["job_started", "epoch_ended"]
        again = replace(started(job), timestamp="later", resumed_from=1)
        add(first, replace(again, timestamp="meanwhile"))
        write(session, again, epoch(2))
        told = collector.collect([job])
        assert told[0] == again
        assert isinstance(told[1], EpochEnded)
        assert told[1].labels == epoch(2).labels
        assert collector.state(job).epoch == 2
        add(first, epoch(3).labels[0])
        assert collector.collect([job]) == []
        add(last, epoch(3).labels[1])
        assert [getattr(event, "epoch", 0) for event in collector.collect([job])] == [3]


def test_a_full_disk_is_a_disk_error_and_the_same_events_come_again(session: Session) -> None:
    with opened(session) as (job, *_):
        collector = Collector(session)
        folder = session.category_folder(job.task)
        write(session, *(made_epoch(job, n) for n in (1, 2, 3)))
        collector.collect([job])
        write(session, made_epoch(job, 4))
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        size = (folder / "training.csv").stat().st_size + 9
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
        try:
            with pytest.raises(DiskError):
                collector.collect([job])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

        assert collector.collect([job]) == [made_epoch(job, 4)]
        assert files(folder) == from_journals(folder)


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def test_best_csv_is_written_anew_in_a_twentieth_of_the_time(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, written = Clock(), []
    catch_up = CategoryCsv.catch_up

    def slow(csv: CategoryCsv) -> None:
        catch_up(csv)
        written.append(clock.now)
        clock.now += 3  # seconds that it takes

    monkeypatch.setattr(CategoryCsv, "catch_up", slow)
    with opened(session) as (job, *_):
        collector = Collector(session, clock=clock)
        folder = session.category_folder(job.task)
        for number in range(1, 100):
            write(session, made_epoch(job, number, is_best=True, timestamp="t"))
            collector.collect([job])
            assert len(read_metrics(folder / "training.csv")) == number
            clock.now += 5
        assert 0.04 * clock.now < 3 * len(written) < 0.05 * clock.now + 4  # seconds at the start
        monkeypatch.undo()
        collector.finish()
        assert files(folder) == from_journals(folder)


def test_what_another_process_records_in_the_category_is_not_lost(session: Session) -> None:
    with opened(session, *JOBS[:2]) as (job, other):
        collector = Collector(session)
        write(session, made_epoch(job))
        collector.collect([job])
        Session(session.logs_dir, session.id).record(made_epoch(other))
        write(session, made_epoch(job, 2))
        collector.collect([job])

        folder = session.category_folder(job.task)
        assert files(folder) == from_journals(folder)
        assert len(read_metrics(folder / "training.csv")) == 3


def test_a_poll_opens_what_it_was_asked_for_and_makes_only_new_rows(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    opens: list[Path] = []
    rows: list[Event] = []
    read, row = Path.open, category_rows._epoch_row

    def counted_open(path: Path, *words: object, **named: object) -> object:
        opens.append(path)
        return read(path, *words, **named)  # type: ignore[call-overload]

    def counted_row(event: EpochEnded) -> category_rows.Row:
        rows.append(event)
        return row(event)

    with opened(session, *(made_job(n, id="") for n in range(1, 31))) as jobs:
        collector = Collector(session, jobs)
        for done in (0, 10, 27):  # jobs that were collected before
            write(session, *(e for job in jobs[:done] for e in events_of(job, 3)))
            collector.collect(jobs)
            write(session, made_epoch(jobs[28], done + 1, timestamp="t"))
            with monkeypatch.context() as patched:
                opens.clear()
                rows.clear()
                patched.setattr(Path, "open", counted_open)
                patched.setattr(category_rows, "_epoch_row", counted_row)
                (event,) = collector.collect(jobs[27:29])
            assert [path for path in opens if path.name == journal.JOURNAL] == [
                session.journals(job)[0] for job in jobs[27:29]
            ]
            assert rows == [event]


def test_the_benchmark_reads_all_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    took = read_all(2, 6, 3)
    assert took.read > 6 * 5 * 500
    assert len(polls(2, 4, 2, repeats=3, running=5)) == 3


def test_a_simulated_cluster_loses_nodes_and_jobs_but_no_row() -> None:
    troubles = Troubles(limit=300, deaths=300, kills=300)
    report = simulate(60, 6, categories=3, epochs=4, troubles=troubles)
    happened = report.cluster.happened
    assert min(happened[what] for what in ("time limits", "nodes that died", "jobs killed")) > 2
    assert report.again == happened["jobs killed"]
    assert report.cluster.calls["squeue"] == len(report.polls.opened) + 1
    assert report.polls.opened[0] == 60  # all that earlier attempts left, once
    assert max(report.polls.opened[1:]) <= 12  # those that run, and those that did


KILLED = """
import sys
from llm_tool.execution.collector import Collector
from llm_tool.logs import Session
session = Session(sys.argv[1], sys.argv[2])
with session.rerun(0) as jobs:
    collector = Collector(session, jobs)
    print("collecting", flush=True)
    while True:
        collector.collect(jobs)
"""


def test_a_collector_that_is_killed_in_mid_work_costs_nothing(session: Session) -> None:
    with opened(session) as jobs:
        folder = session.category_folder(jobs[0].task)
    command = [sys.executable, "-c", KILLED, str(session.logs_dir), session.id]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "collecting\n"
        for number in range(1, 150):
            write(session, *(made_epoch(job, number, is_best=True) for job in jobs))
            while not (folder / "training.csv").exists():  # it is at it from now on
                assert process.poll() is None
                time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL

    anew = Session(session.logs_dir, session.id)
    with anew.rerun(0) as jobs:
        collector = Collector(anew, jobs)
        told = collector.collect(jobs)
        collector.finish()
    assert [event for event in told if event.job == jobs[0]] == [
        made_epoch(jobs[0], number, is_best=True) for number in range(1, 150)
    ]
    assert files(folder) == from_journals(folder)
    assert not list(folder.glob(".*.tmp"))


def test_what_is_done_is_known_from_the_last_lines_alone(session: Session) -> None:
    with opened(session, *JOBS[:2]) as (job, other):
        write(session, *events_of(job, 3), started(other), made_epoch(other))
        path = session.journals(job)[0]
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join([b"{}\n" * 3, *lines[-1:]]))

        assert [session.is_finished(each) for each in (job, other)] == [True, False]
        result = session.result(job)
        assert isinstance(result, JobEnded)
        assert result == events_of(job, 3)[-1]
        assert session.result(other) is None
        write(session, replace(started(job), timestamp="later"))
        assert session.result(job) is None
        assert not session.is_finished(job)
        assert isinstance(events_of(job, 3)[0], JobStarted)
