"""The folder of a session: its id, its categories, its record of runs, and who may write to it."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from llm_tool import __version__
from llm_tool.errors import StudioError
from llm_tool.events import JobFailed
from llm_tool.logs import Session, journal, read_metrics
from llm_tool.logs.facts import fingerprint
from llm_tool.plan import Job, Task
from tests.test_events import made_end, made_epoch, made_job

NOON = "20260102_120000"


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    return tmp_path / "logs"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Stop the clock at noon; calling it sets another time."""

    def set_to(moment: str) -> None:
        monkeypatch.setattr("llm_tool.logs.session.timestamp", lambda: moment)

    set_to(NOON)
    return set_to


def facts_of(session: Session) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((session.folder / "session.json").read_text("utf-8"))
    return facts


def new_job(key: str = "sentiment", value: str = "", **changes: object) -> Job:
    return made_job(task=Task(key, value, ("yes", "no"), ("EN",)), **{"id": "", **changes})


def run(session: Session, *jobs: Job) -> tuple[Job, ...]:
    """Run jobs of one epoch each through a session."""
    with session.run(jobs, {}, {}) as named:
        for job in named:
            session.record(made_epoch(job))
            session.record(made_end(made_epoch(job)))
    return named


@pytest.mark.usefixtures("clock")
def test_two_launches_in_one_second_have_folders_of_their_own(logs: Path) -> None:
    launches = [Session(logs) for _ in range(3)]
    for session in launches:
        run(session, new_job())

    assert [session.id for session in launches] == [NOON, f"{NOON}_2", f"{NOON}_3"]
    assert Session(logs).id == f"{NOON}_4"
    assert sorted(p.name for p in logs.iterdir()) == [s.id for s in launches]
    for session in launches:
        assert facts_of(session)["id"] == session.id
        assert len(read_metrics(session.folder / "sentiment" / "training.csv")) == 1


def test_a_session_that_starts_no_run_leaves_nothing(logs: Path) -> None:
    Session(logs)
    Session(logs, NOON)

    assert not logs.exists()


@pytest.mark.parametrize("given", ["", "x", "..", "../20260102_120000", "20260102", f"{NOON}\n"])
def test_an_id_of_another_form_is_refused(logs: Path, given: str) -> None:
    with pytest.raises(StudioError, match="is not a session id"):
        Session(logs, given)


def test_joining_adds_to_the_same_files_and_goes_on_with_the_job_ids(
    logs: Path, clock: Callable[[str], None]
) -> None:
    first = Session(logs)
    ids = [job.id for job in run(first, new_job(), new_job("topic"))]
    clock("20260102_130000")
    for session in (first, Session(logs, first.id), Session(logs, NOON)):
        ids += [job.id for job in run(session, new_job())]

    assert ids == ["j0001", "j0002", "j0003", "j0004", "j0005"]
    lines = (first.folder / "jobs.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["id"] for line in lines] == ids
    jobs = [run["jobs"] for run in facts_of(first)["runs"]]
    assert jobs == [["j0001", "j0002"], ["j0003"], ["j0004"], ["j0005"]]
    table = read_metrics(first.folder / "sentiment" / "training.csv")
    assert table["model_identifier"].tolist() == ["j0001", "j0003", "j0004", "j0005"]
    assert os.listdir(logs) == [NOON]  # noqa: PTH208 - hidden files count


def test_a_torn_line_of_the_plan_gives_no_job_another_ones_id(logs: Path) -> None:
    session = Session(logs)
    run(session, new_job(), new_job())
    path = session.folder / "jobs.jsonl"
    path.write_bytes(path.read_bytes()[:-20])

    ids = [job.id for _ in range(2) for job in run(Session(logs, session.id), new_job())]
    assert ids == ["j0003", "j0004"]


def test_session_json_says_what_ran_where_with_what_and_how_it_ended(
    logs: Path, clock: Callable[[str], None]
) -> None:
    session = Session(logs)
    data = {"name": "tweets.csv", "sha256": "ab12"}
    with session.run([new_job("a b", "é")], {"epochs": 3}, data):
        clock("20260102_120500")
        assert facts_of(session)["status"] == "running"
        assert facts_of(session)["ended"] is None

    facts = facts_of(session)
    versions, git = facts.pop("versions"), facts.pop("git")
    (entered,) = facts["runs"]
    process, heartbeat = entered.pop("process"), entered.pop("heartbeat")
    assert (process["pid"], abs(time.time() - heartbeat) < 60) == (os.getpid(), True)
    assert entered.pop("fingerprint") == fingerprint({"config": {"epochs": 3}, "dataset": data})
    assert facts == {
        "id": NOON,
        "status": "done",
        "started": NOON,
        "ended": "20260102_120500",
        "host": platform.node(),
        "categories": [{"label_key": "a b", "label_value": "é", "folder": "é"}],
        "runs": [
            {
                "status": "done",
                "started": NOON,
                "ended": "20260102_120500",
                "folder": str(Path.cwd()),
                "config": {"epochs": 3},
                "dataset": data,
                "jobs": ["j0001"],
            }
        ],
    }
    own = {"llm-tool": __version__, "python": platform.python_version()}
    assert own.items() <= versions.items()
    assert git is None or (len(git["commit"]) == 40 and git["clean"] in {True, False})


@pytest.mark.parametrize(
    ("error", "status"),
    [(None, "done"), (KeyboardInterrupt, "interrupted"), (RuntimeError, "failed")],
)
def test_how_a_run_was_left_is_its_status(
    logs: Path, error: type[BaseException] | None, status: str
) -> None:
    session = Session(logs)

    def leave() -> None:
        with session.run([new_job()], {}, {}) as jobs:
            session.record(made_epoch(jobs[0]))
            if error:
                raise error

    with pytest.raises(error) if error else nullcontext():
        leave()

    assert facts_of(session)["status"] == status
    assert [run["status"] for run in facts_of(session)["runs"]] == [status]
    assert len(read_metrics(session.folder / "sentiment" / "training.csv")) == 1


def test_a_failed_job_makes_its_own_run_a_failed_one_and_no_later_one(logs: Path) -> None:
    session = Session(logs)
    with session.run([new_job(), new_job()], {}, {}) as jobs:
        session.record(JobFailed(jobs[0], "It broke."))
        session.record(made_epoch(jobs[1]))
    run(session, new_job())

    assert [run["status"] for run in facts_of(session)["runs"]] == ["failed", "done"]


def test_a_row_that_ctrl_c_kept_out_of_the_files_is_there_after_the_next_run(logs: Path) -> None:
    session = Session(logs)

    def interrupted() -> None:
        with session.run([new_job()], {}, {}) as (job,):
            session.record(made_epoch(job))
            journal.append(session.run_folder(job), made_epoch(job, 2))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    run(session, new_job())

    assert read_metrics(session.folder / "sentiment" / "training.csv")["epoch"].tolist() == [
        1,
        2,
        1,
    ]


HOSTILE = (
    *("..", ".", "../../up", "/etc/passwd", "C:\\x", "~", "con", "nul.txt", "a\0b", "x" * 300),
    *("session.json", "jobs.jsonl", ".lock", "SESSION.JSON", "runs", "training.csv", " ", "\u202e"),
)


def test_no_name_leaves_the_session_or_takes_the_place_of_its_files(
    logs: Path, tmp_path: Path
) -> None:
    session = Session(logs)
    named = run(session, *(new_job(name) for name in HOSTILE))

    assert [*tmp_path.iterdir(), *logs.iterdir()] == [logs, session.folder]
    for job in named:
        folder = session.category_folder(job.task)
        assert folder.resolve().parent == session.folder.resolve()
        row = read_metrics(folder / "training.csv").iloc[0]
        assert row["label_key"] == job.task.label_key.replace("\0", "\\x00")
    entries = {p.name for p in session.folder.iterdir()} - {".lock"}
    assert len(entries) == len(HOSTILE) + 2  # and the session's two files
    assert [c["label_key"] for c in facts_of(session)["categories"]] == list(HOSTILE)


def test_a_logs_folder_that_cannot_be_made_is_an_error_that_says_so(logs: Path) -> None:
    logs.write_text("a file")

    with pytest.raises(StudioError, match="Making the session's folder failed"):
        run(Session(logs), new_job())
