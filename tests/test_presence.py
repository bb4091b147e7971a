"""Whether a run's process is there: running, interrupted, and a heartbeat in between."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llm_tool.errors import StudioError
from llm_tool.logs import Session, presence
from llm_tool.logs.overview import list_sessions
from llm_tool.logs.presence import is_alive, own_process, status_of, whole_status
from llm_tool.stopping import Detached, detachable
from tests.test_session import NOON, facts_of, new_job
from tests.test_session import run as run_jobs


def test_this_process_is_alive_and_one_that_ended_is_not() -> None:
    program = (
        "import json; from llm_tool.logs.presence import own_process; "
        "print(json.dumps(own_process()))"
    )
    gone = json.loads(subprocess.check_output([sys.executable, "-c", program]))

    assert is_alive({"process": own_process()})
    assert not is_alive({"process": gone, "heartbeat": time.time()})


def test_another_process_with_the_same_number_is_not_taken_for_it() -> None:
    process = own_process()
    assert not is_alive({"process": process | {"started": process["started"] - 1000}})


def test_a_killed_process_that_nobody_waited_for_is_gone() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    import psutil

    process = own_process() | {"pid": child.pid}
    process["started"] = psutil.Process(child.pid).create_time()
    assert is_alive({"process": process})
    child.kill()
    while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    assert not is_alive({"process": process})
    child.communicate()


@pytest.mark.parametrize(("silence", "alive"), [(10, True), (100, True), (150, False)])
def test_on_another_machine_the_heartbeat_tells(silence: float, alive: bool) -> None:
    elsewhere = own_process() | {"machine": "another-one"}
    assert is_alive({"process": elsewhere, "heartbeat": time.time() - silence}) == alive


def test_a_session_stands_as_its_most_pressing_run() -> None:
    gone = {"status": "running", "process": own_process() | {"pid": 2**30}}
    here = {"status": "running", "process": own_process()}
    done, failed, stopped = ({"status": s} for s in ("done", "failed", "interrupted"))

    assert status_of(gone) == "interrupted"
    assert whole_status([done, done]) == "done"
    assert whole_status([done, failed]) == "failed"
    assert whole_status([failed, stopped, done]) == "interrupted"
    assert whole_status([failed, gone, done]) == "interrupted"
    assert whole_status([stopped, here]) == "running"


def test_a_running_session_has_a_heartbeat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "BEAT", 0.05)
    session = Session(tmp_path)
    with session.run([new_job()], {}, {}):
        first = facts_of(session)["runs"][0]["heartbeat"]
        assert abs(first - time.time()) < 60
        deadline = time.monotonic() + 20
        while facts_of(session)["runs"][0]["heartbeat"] == first:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    ended = facts_of(session)["runs"][0]["heartbeat"]
    time.sleep(0.2)
    assert facts_of(session)["runs"][0]["heartbeat"] == ended  # it stops with the run


def test_a_heartbeat_that_cannot_be_written_is_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "BEAT", 0.02)
    session = Session(tmp_path)
    with session.run([new_job()], {}, {}):
        hidden = session.folder.with_name("hidden")
        session.folder.rename(hidden)
        time.sleep(0.2)
        assert not session.folder.exists()  # and nothing was made in its place
        hidden.rename(session.folder)
    assert facts_of(session)["status"] == "done"


def take_over(session: Session) -> None:
    """Write what another process does that opens the run again."""
    facts = facts_of(session)
    facts["runs"][0] |= {"process": facts["runs"][0]["process"] | {"attempt": "another"}}
    (session.folder / "session.json").write_text(json.dumps(facts), "utf-8")


def test_who_stood_still_until_another_took_the_run_over_leaves_it_alone(tmp_path: Path) -> None:
    session = Session(tmp_path)
    with session.run([new_job()], {}, {}):
        take_over(session)
        before = facts_of(session)
    assert facts_of(session) == before


def test_who_follows_jobs_that_another_process_follows_by_now_detaches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "BEAT", 0.02)
    session = Session(tmp_path)
    with pytest.raises(Detached), session.run([new_job()], {}, {}), detachable():  # noqa: PT012
        take_over(session)
        time.sleep(20)
    assert facts_of(session)["runs"][0]["status"] == "running"


_KILLED = """
import os, signal, sys
from llm_tool.logs import Session
from tests.test_events import made_epoch
from tests.test_session import new_job
session = Session(sys.argv[1], "20260102_120000")
with session.run([new_job(), new_job("topic")], {"mode": "quick"}, {"name": "a.csv"}) as jobs:
    session.record(made_epoch(jobs[0]))
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def killed(tmp_path: Path) -> Session:
    """Return a session whose process was killed after one epoch of its first job."""
    folder = Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    subprocess.run([sys.executable, "-c", _KILLED, tmp_path], env=environment, check=False)
    return Session(tmp_path, NOON)


def test_a_session_whose_process_was_killed_is_shown_as_interrupted(
    killed: Session, tmp_path: Path
) -> None:
    assert facts_of(killed)["status"] == "running"  # nobody was there to write another word

    (found,) = list_sessions(tmp_path)
    assert (found.id, found.status, found.done, found.jobs) == (NOON, "interrupted", 0, 2)
    assert (found.modes, found.data) == (("quick",), ("a.csv",))
    assert found.is_unfinished


def test_repairing_writes_the_csvs_anew_clears_up_and_says_how_the_session_stands(
    killed: Session,
) -> None:
    category = killed.folder / "sentiment"
    before = (category / "training.csv").read_bytes()
    (category / "training.csv").write_bytes(before[:-30])
    (category / "best.csv").unlink()
    leftover = category / ".best.csv.12345.tmp"
    leftover.write_text("half")

    assert killed.repair() == ["sentiment"]
    assert (category / "training.csv").read_bytes() == before
    assert (category / "best.csv").exists()
    assert not leftover.exists()
    facts = facts_of(killed)
    assert (facts["status"], facts["runs"][0]["status"]) == ("interrupted", "interrupted")
    assert killed.repair() == []


def test_a_run_is_not_opened_again_while_its_process_is_there(tmp_path: Path) -> None:
    session = Session(tmp_path, NOON)
    with session.run([new_job()], {}, {}):
        with pytest.raises(StudioError, match="still being trained") as caught:
            session_again(tmp_path)
        assert str(os.getpid()) in caught.value.what
    run_jobs(session, new_job())
    assert facts_of(session)["status"] == "done"


def session_again(folder: Path) -> None:
    with Session(folder, NOON).rerun(0):
        pytest.fail("two processes at one job")


def test_a_damaged_session_is_listed_as_such_and_the_others_too(
    killed: Session, tmp_path: Path
) -> None:
    other = Session(tmp_path, "20260103_120000")
    run_jobs(other, new_job())
    (other.folder / "session.json").write_text("{")

    found = [(one.id, one.status) for one in list_sessions(tmp_path)]
    assert found == [("20260103_120000", "damaged"), (NOON, "interrupted")]
