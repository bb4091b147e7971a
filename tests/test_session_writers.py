"""Several processes in one session: they wait for each other, and no row is lost."""

from __future__ import annotations

import errno
import multiprocessing
import os
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from filelock import FileLock

from llm_tool.logs import Session, read_metrics
from llm_tool.plan import Task
from tests.test_events import made_end, made_epoch
from tests.test_metrics_csv import epochs_of, files, from_journals
from tests.test_session import NOON, facts_of, new_job


def test_who_records_waits_for_who_holds_the_session(tmp_path: Path) -> None:
    session = Session(tmp_path)
    with session.run([new_job()], {}, {}) as (job,):
        writer = Thread(target=session.record, args=(made_epoch(job),))
        with FileLock(session.folder / ".lock"):
            writer.start()
            writer.join(0.3)
            assert writer.is_alive()
            assert not session.run_folder(job).exists()
        writer.join(30)
        assert len(epochs_of(session.category_folder(job.task), job.id)) == 1


@pytest.mark.parametrize("refusal", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_disk_that_has_no_locks_takes_a_session(
    tmp_path: Path, refusal: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fcntl = pytest.importorskip("fcntl", reason="Windows has other locks")

    def refuse(*_: object) -> None:
        raise OSError(refusal, os.strerror(refusal))

    monkeypatch.setattr(fcntl, "flock", refuse)
    session = Session(tmp_path)
    with session.run([new_job()], {}, {}) as (job,):
        session.record(made_epoch(job))
    assert len(read_metrics(session.category_folder(job.task) / "training.csv")) == 1
    assert facts_of(session)["status"] == "done"


def work(logs: str, barrier: Any) -> None:  # noqa: ANN401 - its class is a detail of the platform
    session = Session(logs, NOON)
    barrier.wait(60)
    with session.run([new_job(), new_job()], {}, {}) as jobs:
        for epoch in range(1, 11):
            for job in jobs:
                session.record(made_epoch(job, epoch))


def test_two_processes_in_one_session_lose_no_row(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(2)
    workers = [spawn.Process(target=work, args=(str(tmp_path), barrier)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)

    assert [worker.exitcode for worker in workers] == [0, 0]
    folder = tmp_path / NOON / "sentiment"
    table = read_metrics(folder / "training.csv")
    rows = list(table[["model_identifier", "epoch"]].itertuples(index=False, name=None))
    assert rows == [(f"j000{n}", epoch) for n in (1, 2, 3, 4) for epoch in range(1, 11)]
    assert files(folder) == from_journals(folder)
    facts = facts_of(Session(tmp_path, NOON))
    assert [facts["status"], *(run["status"] for run in facts["runs"])] == ["done"] * 3


def write(logs: str) -> None:
    session = Session(logs, NOON)
    classes = [("yes", f"no {number}") for number in range(1, 5)]
    jobs = [replace(new_job(), task=Task("sentiment", "", own, ("EN",))) for own in classes]
    with session.run(jobs, {}, {}) as named:
        for job in named:  # each with a class of its own: the files are written anew in between
            for epoch in range(1, 26):
                session.record(made_epoch(job, epoch))


def test_a_reader_meanwhile_sees_whole_rows_and_never_fewer_than_before(tmp_path: Path) -> None:
    writer = multiprocessing.get_context("spawn").Process(target=write, args=(str(tmp_path),))
    writer.start()
    counts, bests = [0], [0]
    while writer.is_alive():
        folder = tmp_path / NOON / "sentiment"
        if (folder / "best.csv").exists():
            table, best = read_metrics(folder / "training.csv"), read_metrics(folder / "best.csv")
            assert table["f1_macro"].notna().all()
            assert table["seed"].notna().all()  # the last column: no row is cut
            counts.append(len(table))
            bests.append(len(best))
    writer.join()

    assert writer.exitcode == 0
    assert counts == sorted(counts)
    assert bests == sorted(bests)
    assert len(set(counts)) > 5  # it did look in between


def launch(logs: str, barrier: Any, done: Any) -> None:  # noqa: ANN401 - see work
    session = Session(logs)
    barrier.wait(60)  # both have named their session by the same second
    with session.run([new_job()], {}, {}) as (job,):
        for epoch in range(1, 11):
            session.record(made_epoch(job, epoch))
    done.put(session.id)


def test_what_one_writes_to_best_csv_alone_is_there_after_another_has_written(
    tmp_path: Path,
) -> None:
    first = Session(tmp_path, NOON)
    with first.run([new_job(), new_job()], {}, {}) as (one, two):
        second = Session(tmp_path, NOON)
        first.record(made_epoch(one))
        second.record(made_epoch(two))
        first.record(made_end(made_epoch(one)))  # training.csv stays as the second left it
        second.record(made_end(made_epoch(two)))
    folder = first.category_folder(one.task)
    assert files(folder) == from_journals(folder)
    assert read_metrics(folder / "best.csv")["test_accuracy"].notna().all()


def test_two_studios_on_one_logs_folder_have_a_session_each(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    barrier, done = spawn.Barrier(4), spawn.Queue()
    studios = [spawn.Process(target=launch, args=(str(tmp_path), barrier, done)) for _ in range(4)]
    for studio in studios:
        studio.start()
    ids = {done.get(timeout=60) for _ in studios}
    for studio in studios:
        studio.join(60)

    assert len(ids) == 4
    assert {path.name for path in tmp_path.iterdir()} == ids
    for session_id in ids:
        table = read_metrics(tmp_path / session_id / "sentiment" / "training.csv")
        assert table["epoch"].tolist() == [*range(1, 11)]
        assert facts_of(Session(tmp_path, session_id))["status"] == "done"
