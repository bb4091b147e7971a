"""Leaving a run on a cluster running: a key, a lost terminal, SIGTERM; and what is left of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from llm_tool.config import make_config
from llm_tool.events import Event, RunEnded
from llm_tool.execution import local
from llm_tool.logs.archive import read_session
from llm_tool.logs.overview import list_sessions, select_sessions
from llm_tool.logs.presence import status_of, whole_status
from llm_tool.logs.session import Session
from llm_tool.modes.planning import prepare
from llm_tool.modes.resume import unfinished
from llm_tool.stopping import Detached, detachable, finishing, leave, stoppable
from llm_tool.studio.keys import can_read_keys, leaving_on_q
from llm_tool.studio.session_view import show_session
from llm_tool.studio.sessions import show_sessions
from tests.terminal import CTRL_C, Terminal
from tests.test_events import made_epoch
from tests.test_session import new_job

ROOT = Path(__file__).parents[1]
SESSION = "20260101_000000"
SLURM = {"mode": "quick", "executor": "slurm"}

_READER = """
import sys, termios, time
from llm_tool.stopping import Detached, detachable, stoppable
from llm_tool.studio.keys import leaving_on_q
before = termios.tcgetattr(0)
try:
    with stoppable(), leaving_on_q() as keys, detachable():
        print("keys", keys, flush=True)
        time.sleep(600)
except Detached as left:
    print("left", "by a key" if left.by_key else "by a signal")
except KeyboardInterrupt:
    print("stopped")
print("as before", termios.tcgetattr(0) == before)
"""
# The command line, with a cluster that trains for ever.
PROGRAM = """
import time
from llm_tool.events import ClusterSeen, RunningJob
from llm_tool.execution import local
from llm_tool.stopping import detachable

def results(trainings, dataset, config, session, show):
    with detachable():
        show(ClusterSeen(0, (RunningJob(trainings[0][0], "node1"),), 0, 0))
        time.sleep(600)
    yield

local._results = results
from llm_tool.cli.app import main
main()
"""


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """Return a function that runs a program in a terminal."""
    terminals: list[Terminal] = []

    def start(program: str, *words: str) -> Terminal:
        command = [sys.executable, "-c", program, *words]
        environment = {"PYTHONPATH": str(ROOT)}
        terminals.append(Terminal(command, folder=tmp_path, environment=environment))
        return terminals[-1]

    yield start
    for terminal in terminals:
        terminal.close()


@pytest.mark.parametrize(
    ("press", "said"),
    [
        ("q", "left by a key"),
        ("xyQ", "left by a key"),
        (CTRL_C, "stopped"),
        ("SIGTERM", "left by a signal"),
        ("SIGHUP", "left by a signal"),
        ("SIGUSR1", "left by a key"),
    ],
)
def test_a_key_or_a_signal_leaves_at_once_and_the_terminal_is_as_before(
    opened: Callable[..., Terminal], press: str, said: str
) -> None:
    terminal = opened(_READER)
    terminal.wait_for("keys True", 20)
    started = time.monotonic()
    if press.startswith("SIG"):
        os.kill(terminal.process.pid, getattr(signal, press))
    else:
        terminal.press(*press)
    terminal.wait_for("as before True", 10)

    assert time.monotonic() - started < 2
    assert said in terminal.text()
    assert terminal.text().split() == f"keys True {said} as before True".split()  # nothing echoed


def test_where_there_is_no_terminal_no_key_is_read() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from llm_tool.studio.keys import *\nprint(can_read_keys())"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    assert done.stdout == "False\n"
    with leaving_on_q() as keys:
        assert keys == can_read_keys()


def test_requests_to_leave_wait_for_the_end_of_a_write_and_ctrl_c_is_the_stronger_one() -> None:
    done = []

    def write(*signals: signal.Signals) -> None:
        with finishing():
            for number in signals:
                os.kill(os.getpid(), number)
            done.append(signals)

    with stoppable(), detachable(), pytest.raises(Detached) as left:
        write(signal.SIGTERM)
    assert not left.value.by_key
    with stoppable(), detachable(), pytest.raises(KeyboardInterrupt):
        write(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), stoppable(), detachable():
        write(signal.SIGINT, signal.SIGTERM)
    assert done == [(signal.SIGTERM,), (signal.SIGINT,)]


def test_a_second_run_can_be_left_like_the_first_and_outside_of_one_nothing_can() -> None:
    before = [signal.getsignal(name) for name in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)]
    written = []

    def follow(run: int) -> None:
        with detachable():
            with finishing():
                threading.Thread(target=leave).start()
                time.sleep(0.1)
                written.append(run)
            time.sleep(60)

    with stoppable():
        for run in range(2):
            with pytest.raises(Detached):
                follow(run)
        leave()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
    assert written == [0, 1]
    after = [signal.getsignal(name) for name in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)]
    assert after == before


def test_nohup_keeps_a_run_from_being_left() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stoppable(), detachable():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def facts_of(folder: Path, session: str = SESSION) -> dict[str, object]:
    facts: dict[str, object] = json.loads((folder / session / "session.json").read_text("utf-8"))
    return facts


def leave_session(folder: Path) -> Path:
    """Detach from a run after an epoch; return what a job on a node is just writing."""
    session = Session(folder, SESSION)
    with suppress(Detached), session.run([new_job()], SLURM, {"name": "a.csv"}) as jobs:
        session.record(made_epoch(jobs[0]))
        half = session.run_folder(jobs[0]) / ".checkpoint.1.tmp"
        half.write_text("half")
        raise Detached
    return half


def test_a_run_that_is_left_is_detached_has_no_end_and_can_be_followed(tmp_path: Path) -> None:
    half = leave_session(tmp_path)

    facts = facts_of(tmp_path)
    assert (facts["status"], facts["ended"]) == ("detached", None)
    assert (facts["runs"][0]["status"], facts["runs"][0]["ended"]) == ("detached", None)
    (found,) = list_sessions(tmp_path)
    assert (found.status, found.is_unfinished) == ("detached", True)
    assert select_sessions([found], status="detached") == [found]
    archive = read_session(tmp_path, SESSION)
    console = Console(file=StringIO(), width=80)
    show_session(console, archive)
    show_sessions(console, str(tmp_path), [found], 1)
    lines = [line.split() for line in console.file.getvalue().splitlines()]
    assert ["detached,", "0", "of", "1", "jobs", "done"] in lines
    assert ["follow", "llm-tool", "resume", SESSION, "--logs-dir", str(tmp_path)] in lines
    assert [SESSION, "detached", "0", "of", "1"] in [line[:5] for line in lines]
    assert unfinished(Session(tmp_path, SESSION)) == [0]

    with Session(tmp_path, SESSION).rerun(0):
        assert facts_of(tmp_path)["status"] == "running"
        assert half.exists()
    assert facts_of(tmp_path)["status"] == "done"
    Session(tmp_path, SESSION).repair()
    assert not half.exists()


def test_a_run_on_a_cluster_whose_owner_was_killed_counts_as_detached() -> None:
    gone = {"status": "running", "process": {"pid": 2**30, "machine": "x"}, "heartbeat": 0.0}
    here, there = gone | {"config": {"executor": "local"}}, gone | {"config": SLURM}
    assert [status_of(run) for run in (gone, here, there)] == [
        "interrupted", "interrupted", "detached",
    ]  # fmt: skip
    assert whole_status([here, there, {"status": "failed"}, {"status": "done"}]) == "detached"
    assert status_of(there | {"status": "done"}) == "done"


@pytest.mark.parametrize("where", ["within", "between"])
@pytest.mark.parametrize("stop", [Detached, KeyboardInterrupt])
def test_what_hands_jobs_over_learns_why_it_ends_and_the_run_tells_how(
    tweets: Path, tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    stop: type[BaseException], where: str,
) -> None:  # fmt: skip
    learned: list[type[BaseException]] = []

    def results(trainings: list, *_: object) -> Iterator[object]:
        try:
            if where == "within":
                raise stop
            yield "a result"
        except BaseException as error:
            learned.append(type(error))
            raise

    def keep(*_: object) -> None:
        raise stop

    monkeypatch.setattr(local, "_results", results)
    monkeypatch.setattr(local._Run, "_keep", keep)
    folders = {"logs_dir": str(tmp_path / "logs"), "models_dir": str(tmp_path)}
    about = {"data": str(tweets), "label": "sentiment", "model": str(tiny_bert)}
    config = make_config(SLURM, about, folders)
    dataset, plan = prepare(config)
    seen: list[Event] = []
    with pytest.raises(stop):
        local.run_plan(plan, dataset, config, Session(config.logs_dir, SESSION), seen.append)

    assert learned == [stop]
    how = "detached" if stop is Detached else "interrupted"
    assert isinstance(seen[-1], RunEnded)
    assert (seen[-1].status, seen[-1].resume) == (
        how, f"llm-tool resume {SESSION} --logs-dir {config.logs_dir}",
    )  # fmt: skip
    assert facts_of(tmp_path / "logs")["status"] == how


def start_training(opened: Callable[..., Terminal], tweets: Path, model: Path) -> Terminal:
    words = ["train", "quick", tweets.name, "-l", "sentiment", "--executor", "slurm"]
    terminal = opened(PROGRAM, *words, "-m", str(model), "--session-id", SESSION)
    terminal.wait_for("q: leave it running, Ctrl-C: stop the jobs")
    return terminal


def test_q_leaves_a_run_of_the_command_line_with_exit_code_0_and_says_how_to_follow_it(
    opened: Callable[..., Terminal], tweets: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    terminal = start_training(opened, tweets, tiny_bert)
    assert "1 job: 0 queued, 1 running, 0 done, 0 failed" in terminal.text()
    terminal.press("q")
    assert terminal.exit_code(10) == 0

    lines = [line for line in terminal.text().split("\n") if line]
    assert lines[-1] == f"Left running on the cluster. llm-tool resume {SESSION} follows it."
    assert "q: leave it running" not in terminal.text()
    assert facts_of(tmp_path / "training_logs")["status"] == "detached"


def test_a_lost_terminal_leaves_a_run_running(
    opened: Callable[..., Terminal], tweets: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    terminal = start_training(opened, tweets, tiny_bert)
    terminal.hang_up()
    assert terminal.process.wait(20) == 0
    assert facts_of(tmp_path / "training_logs")["status"] == "detached"
