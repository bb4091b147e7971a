"""Runs on this machine whose jobs are trained by several processes each.

What the processes do among themselves is tested with the team; here a made job stands for them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from llm_tool.config import RunConfig
from llm_tool.events import EpochEnded, Event, JobFailed, RunEnded
from llm_tool.execution import together
from llm_tool.execution.local import Outcome, run_plan
from llm_tool.logs import Session
from llm_tool.modes.planning import prepare
from tests.jobs_by_hand import settings, tables

COPY = """
import pathlib, shutil, sys
for path in pathlib.Path(sys.argv[1]).glob("*/runs/*"):
    shutil.copytree(path, pathlib.Path(sys.argv[2]) / path.relative_to(sys.argv[1]))
"""
WAIT = """
import pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[2])
signal.signal(signal.SIGTERM, lambda *_: ((folder / "paused").touch(), sys.exit(75)))
(folder / "waiting").touch()
time.sleep(60)
"""


def train(config: RunConfig, show: Callable[[Event], None]) -> Outcome:
    dataset, plan = prepare(config)
    return run_plan(plan, dataset, config, Session(config.logs_dir, config.session_id), show)


@pytest.fixture
def config(
    tweets: Path, tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> RunConfig:
    monkeypatch.chdir(tmp_path)
    return settings(tweets, tiny_bert, logs_dir="together", processes=2)


def made_job(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    """Have a program stand for the command of a job."""

    def command(session: Session, _: str) -> list[str]:
        return [sys.executable, "-c", program, f"alone/{session.id}", str(session.folder)]

    monkeypatch.setattr(together, "job_command", command)


def test_what_several_processes_record_is_what_the_run_gives(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, told = [], []
    expected = train(config.model_copy(update={"processes": 1, "logs_dir": "alone"}), alone.append)
    made_job(monkeypatch, COPY)

    outcome = train(config, told.append)

    assert outcome == expected
    assert outcome.done
    epochs = [event for event in alone if isinstance(event, EpochEnded)]
    assert [event for event in told if isinstance(event, EpochEnded)] == epochs
    session = Path(config.session_id or "")
    assert tables("together" / session) == tables("alone" / session)


def test_processes_that_end_without_a_result_fail_their_job_alone(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_job(monkeypatch, "import sys; print('no room'); sys.exit(3)")

    told: list[Event] = []
    outcome = train(config, told.append)

    (failed,) = outcome.failed
    assert failed.what == "The processes of the job ended without a result, with code 3.\nno room"
    assert [event for event in told if isinstance(event, JobFailed)] == [failed]
    assert isinstance(told[-1], RunEnded)
    assert told[-1].status == "failed"


def test_stopped_the_run_has_its_job_pause_and_waits_for_it(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_job(monkeypatch, WAIT)
    folder = Path("together", config.session_id or "")
    collect = together.Collector.collect

    def interrupted(*words: object) -> object:
        if (folder / "waiting").exists():
            raise KeyboardInterrupt
        return collect(*words)  # type: ignore[arg-type]

    monkeypatch.setattr(together.Collector, "collect", interrupted)
    told: list[Event] = []
    with pytest.raises(KeyboardInterrupt):
        train(config, told.append)

    assert (folder / "paused").exists()
    assert isinstance(told[-1], RunEnded)
    assert told[-1].status == "interrupted"
