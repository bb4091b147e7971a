"""The list of sessions: what it says, what it reads for that, and which ones are wanted."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from llm_tool.cli.sessions import sessions as command
from llm_tool.errors import StudioError
from llm_tool.events import JobFailed, JobStarted, to_json
from llm_tool.logs import Session, journal, read_metrics
from llm_tool.logs.overview import Overview, list_sessions, select_sessions
from llm_tool.plan import Job, Task
from llm_tool.studio.sessions import show_sessions
from tests.benchmarks.sessions import write_sessions
from tests.conftest import FINISHED
from tests.test_events import made_end, made_epoch
from tests.test_session import new_job
from tests.test_session import run as run_jobs

_opened: list[str] | None = None


def _note(event: str, arguments: tuple[object, ...]) -> None:
    if _opened is not None and event == "open":
        _opened.append(str(arguments[0]))


@pytest.fixture(scope="module")
def opened() -> Callable[[Callable[[], object]], list[str]]:
    """Return a function that returns the files that another one opens."""
    sys.addaudithook(_note)  # there to the end of the process, silent but for this

    def during(work: Callable[[], object]) -> list[str]:
        global _opened
        _opened = []
        try:
            work()
            return _opened
        finally:
            _opened = None

    return during


@pytest.fixture(scope="module")
def logs(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a logs folder with four sessions: done, interrupted, failed and damaged."""
    logs = tmp_path_factory.mktemp("sessions") / "training_logs"
    shutil.copytree(finished / "training_logs", logs)
    (interrupted,) = write_sessions(logs, 1, unfinished=True)
    shutil.move(logs / interrupted, logs / "20260103_000000")
    failed = Session(logs, "20260104_000000")
    with failed.run([new_job()], {"mode": "quick"}, {"name": "other.csv"}) as jobs:
        failed.record(JobFailed(jobs[0], "the disk burnt"))
    shutil.copytree(logs / "20260104_000000", logs / "20260105_000000")
    (logs / "20260105_000000" / "session.json").write_text('{"runs": 3}')
    return logs


def listed(logs: Path, width: int = 80, **options: str) -> str:
    console = Console(file=StringIO(), width=width)
    every = list_sessions(logs)
    show_sessions(console, str(logs), select_sessions(every, **options), len(every))
    return console.file.getvalue()


def test_every_session_is_listed_the_newest_first_with_how_it_stands(logs: Path) -> None:
    found = [(one.id, one.status, one.done, one.jobs) for one in list_sessions(logs)]

    assert found == [
        ("20260105_000000", "damaged", 0, 0),
        ("20260104_000000", "failed", 0, 1),
        ("20260103_000000", "interrupted", 4, 8),
        (FINISHED, "done", 8, 8),
    ]


def test_the_best_model_of_a_category_is_that_of_its_best_csv(logs: Path) -> None:
    done = list_sessions(logs)[-1]

    assert [one.name for one in done.categories] == ["sentiment", "topic"]
    for category in done.categories:
        table = read_metrics(logs / FINISHED / category.folder / "best.csv")
        row = table.loc[table["f1_macro"].idxmax()]
        best = category.best
        assert best
        assert (best.job, best.model_name, best.seed) == (
            row["model_identifier"],
            row["model_name"],
            row["seed"],
        )
        assert (best.f1_macro, best.test_f1_macro) == (row["f1_macro"], row["test_f1_macro"])


def test_of_a_finished_session_nothing_is_opened_but_its_facts_and_best_csvs(
    tmp_path: Path, opened: Callable[[Callable[[], object]], list[str]]
) -> None:
    ids = write_sessions(tmp_path, 3)

    files = [Path(name).relative_to(tmp_path) for name in opened(lambda: list_sessions(tmp_path))
             if name.startswith(str(tmp_path))]  # fmt: skip

    wanted = ("session.json", "sentiment/best.csv", "topic/best.csv")
    assert sorted(map(str, files)) == sorted(f"{one}/{name}" for one in ids for name in wanted)


def test_of_an_unfinished_session_no_journal_is_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_sessions(tmp_path, 1, unfinished=True)
    monkeypatch.setattr(journal, "read_events", lambda path: pytest.fail(f"read {path}"))

    (found,) = list_sessions(tmp_path)

    assert (found.status, found.done, found.jobs) == ("interrupted", 4, 8)


def _ends(job: Job) -> Iterator[tuple[str, bool]]:
    started = JobStarted(
        job, "20260102_030405", 1, 1, 1, 1, 1, 0.1, 8, 0, "f1_macro", "cpu", "float32", 1
    )  # fmt: skip
    epoch = to_json(made_epoch(job)) + "\n"
    end = to_json(made_end(made_epoch(job))) + "\n"
    yield to_json(started) + "\n", False
    yield epoch, False
    yield epoch + end, True
    yield epoch + end + to_json(started) + "\n", False
    yield epoch + end + end[:50], True
    yield epoch + end[:-2], False
    yield epoch + to_json(JobFailed(job, '"event":"job_ended"}')) + "\n", False
    yield end + to_json(JobFailed(job, "what came after")) + "\n", True
    yield "", False


def test_the_end_of_a_journal_tells_what_the_whole_of_it_says(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    for text, ended in _ends(new_job(id="j0001")):
        path.write_text(text, "utf-8")
        record = journal.read_attempts(path)
        assert journal.is_ended(path) is bool(record and record.ended) is ended, text


def test_a_shared_encoder_is_done_when_all_of_its_labels_are(tmp_path: Path) -> None:
    labels = tuple(Task("areas", value, ("no", "yes"), ("EN",)) for value in ("law", "vote"))
    task = Task("areas", "", ("law", "vote"), ("EN",))
    session = Session(tmp_path, "20260101_000000")
    job = replace(new_job(), task=task, labels=labels)
    with suppress(KeyboardInterrupt), session.run([job], {}, {}) as (job,):
        epoch = replace(made_epoch(job), labels=tuple(made_epoch(job.of(one)) for one in labels))
        session.record(epoch)
        session.record(replace(made_end(epoch), labels=tuple(map(made_end, epoch.labels))))
        raise KeyboardInterrupt
    (found,) = list_sessions(tmp_path)
    assert (found.done, found.jobs) == (1, 1)
    path = session.run_folder(job.of(labels[1])) / "journal.jsonl"
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    (found,) = list_sessions(tmp_path)
    assert (found.done, found.jobs) == (0, 1)


def test_the_tenth_session_of_a_second_is_newer_than_the_second(tmp_path: Path) -> None:
    for session_id in ("20260101_000000", "20260101_000000_2", "20260101_000000_10"):
        run_jobs(Session(tmp_path, session_id), new_job())

    numbers = [one.id[15:] for one in list_sessions(tmp_path)]
    assert numbers == ["_10", "_2", ""]


@pytest.mark.parametrize(
    ("wish", "found"),
    [
        ({"status": "interrupted"}, ["20260103_000000"]),
        ({"category": "topic"}, ["20260103_000000", FINISHED]),
        ({"mode": "quick"}, ["20260104_000000"]),
        ({"data": "TWEETS"}, ["20260103_000000", FINISHED]),
        ({"data": "tweets", "status": "done"}, [FINISHED]),
        ({"category": "no such"}, []),
    ],
)
def test_sessions_are_chosen_by_what_they_are(
    logs: Path, wish: dict[str, str], found: list[str]
) -> None:
    assert [one.id for one in select_sessions(list_sessions(logs), **wish)] == found


def test_an_unknown_status_names_those_there_are() -> None:
    with pytest.raises(StudioError, match="no status 'finished'") as caught:
        select_sessions([], status="finished")
    assert "done, running, detached, interrupted, failed, damaged" in caught.value.remedy


def test_what_is_missing_of_a_session_is_said_and_the_rest_listed(
    finished: Path, tmp_path: Path
) -> None:
    logs = tmp_path / "training_logs"
    shutil.copytree(finished / "training_logs", logs)
    (logs / FINISHED / "topic" / "best.csv").unlink()
    whole = (logs / FINISHED / "sentiment" / "best.csv").read_bytes()
    (logs / FINISHED / "sentiment" / "best.csv").write_bytes(
        whole[: whole.rfind(b"\n", 0, -1) + 20]
    )

    (found,) = list_sessions(logs)
    assert (found.status, found.done) == ("done", 8)
    assert found.missing == ("sentiment/best.csv", "topic/best.csv")
    assert f"! {FINISHED} lacks sentiment/best.csv, topic/best.csv." in listed(logs)
    (logs / FINISHED / "session.json").unlink()
    (found,) = list_sessions(logs)
    assert (found.status, found.missing) == ("damaged", ("session.json",))


def test_the_best_scores_stand_where_there_is_room_for_them(logs: Path) -> None:
    narrow, wide = listed(logs, 64), listed(logs, 120)

    assert "best val macro F1" not in narrow
    assert max(map(len, narrow.splitlines()[:-2])) <= 64
    row = next(line for line in wide.splitlines() if line.startswith("20260103"))
    assert row.endswith(
        "interrupted     4 of 8  benchmark  tweets.csv  sentiment 0.500, topic 0.500"
    )


def test_names_from_files_reach_the_terminal_as_text(tmp_path: Path) -> None:
    name = "=1+1 [red]a\x1b[31mb\u202e\n"
    session = Session(tmp_path, "20260101_000000")
    about = {"mode": name}, {"name": name}
    with session.run([new_job(name)], *about) as (job,):
        session.record(made_epoch(job))
        session.record(made_end(made_epoch(job)))

    (found,) = list_sessions(tmp_path)
    assert (found.categories[0].name, found.modes, found.data) == (name, (name,), (name,))
    said = listed(tmp_path, 160)
    assert r"=1+1 [red]a\x1b[31mb\u202e\n 0.500" in said
    assert "\x1b" not in said


def test_the_command_writes_one_json_object_a_session(
    logs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command(logs_dir=str(logs), as_json=True)

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["status"] for one in lines] == ["damaged", "failed", "interrupted", "done"]
    done = lines[-1]
    assert (done["jobs"], done["done"], done["modes"]) == (8, 8, ["benchmark"])
    assert {"name", "folder", "best"} == set(done["categories"][0])
    assert done["categories"][1]["best"]["test_f1_macro"] > 0


def test_the_command_says_when_no_session_is_like_that(
    logs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command(logs_dir=str(logs), mode="hybrid")
    said = " ".join(capsys.readouterr().out.split())  # long paths are on several lines
    assert said == f"None of the 4 sessions in {logs}/ is like that."


@pytest.mark.parametrize("words", [{"job": "j0001"}, {"session_id": FINISHED, "status": "done"}])
def test_options_of_the_list_and_of_one_session_are_not_mixed(
    logs: Path, words: dict[str, str]
) -> None:
    with pytest.raises(StudioError, match=r"of one session|for the list"):
        command(logs_dir=str(logs), **words)


def test_an_overview_without_a_word_of_its_jobs_shows_none() -> None:
    console = Console(file=StringIO(), width=80)
    show_sessions(console, "logs", [Overview("20260101_000000", "damaged")], 1)
    assert console.file.getvalue().splitlines()[1].split() == ["20260101_000000", "damaged", *"––"]
