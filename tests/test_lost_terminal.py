"""Terminals that go away, keys that stop, and the way back: real processes and terminals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from llm_tool.logs import read_metrics
from tests.terminal import CTRL_C, DOWN, UP, Terminal

TOOL = [sys.executable, "-m", "llm_tool"]
SESSION = "20260101_000000"
Train = Callable[..., Terminal]


@pytest.fixture
def train(tmp_path: Path, tweets: Path, tiny_bert: Path) -> Iterator[Train]:
    """Return a function that starts a training of hundreds of epochs in a terminal."""
    opened: list[Terminal] = []

    def start(*before: str, epochs: int = 1000) -> Terminal:
        words = [*TOOL, "train", "quick", "tweets.csv", "-l", "sentiment", "-m", str(tiny_bert)]
        words += ["--epochs", str(epochs), "--threads", "1", "--session-id", SESSION]
        opened.append(Terminal([*before, *words], folder=tmp_path))
        return opened[-1]

    yield start
    for terminal in opened:
        terminal.close()


def facts(folder: Path) -> dict[str, object]:
    path = folder / "training_logs" / SESSION / "session.json"
    found: dict[str, object] = json.loads(path.read_text("utf-8"))
    return found


def epochs(folder: Path) -> list[int]:
    table = read_metrics(folder / "training_logs" / SESSION / "sentiment" / "training.csv")
    return [int(epoch) for epoch in table["epoch"]]


def resume(folder: Path) -> subprocess.CompletedProcess[str]:
    words = [*TOOL, "resume", SESSION]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)


def test_a_terminal_that_is_lost_in_mid_epoch_stops_the_run_and_loses_nothing(
    train: Train, tmp_path: Path
) -> None:
    terminal = train(epochs=200)  # some seconds more than a busy machine's test may lag
    terminal.wait_for("\n    4  ", 60)

    terminal.hang_up()
    assert terminal.process.wait(60) == 130

    kept = epochs(tmp_path)
    assert kept == [*range(1, len(kept) + 1)]
    assert 3 <= len(kept) < 200
    assert facts(tmp_path)["status"] == "interrupted"
    done = resume(tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"goes on after epoch {len(kept)} of an earlier attempt" in done.stderr
    assert epochs(tmp_path) == [*range(1, 201)]


def test_with_nohup_a_lost_terminal_is_no_reason_to_stop(train: Train, tmp_path: Path) -> None:
    terminal = train("sh", "-c", 'trap "" HUP; exec "$@"', "sh", epochs=30)
    terminal.wait_for("\n    2  ", 60)

    terminal.hang_up()
    terminal.process.wait(120)

    assert epochs(tmp_path) == [*range(1, 31)]
    assert facts(tmp_path)["status"] == "done"


def test_ctrl_c_keeps_everything_and_says_how_to_go_on(train: Train, tmp_path: Path) -> None:
    terminal = train()
    terminal.wait_for("\n    4  ", 60)

    terminal.press(CTRL_C)
    assert terminal.exit_code() == 130

    text = terminal.text()
    assert f"go on   llm-tool resume {SESSION}" in text
    assert "0 of 1 jobs done" in text
    kept = epochs(tmp_path)
    assert kept == [*range(1, len(kept) + 1)]
    assert facts(tmp_path)["status"] == "interrupted"


def test_a_second_ctrl_c_tears_no_file(train: Train, tmp_path: Path) -> None:
    terminal = train()
    terminal.wait_for("\n    3  ", 60)

    os.kill(terminal.process.pid, signal.SIGINT)
    time.sleep(0.005)
    os.kill(terminal.process.pid, signal.SIGINT)
    assert terminal.exit_code() == 130

    kept = epochs(tmp_path)
    assert kept == [*range(1, len(kept) + 1)]
    listed = subprocess.run(
        [*TOOL, "sessions"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert f"{SESSION}  interrupted     0 of 1" in listed.stdout


def test_the_studio_goes_on_with_a_session_that_was_killed(
    train: Train, tmp_path: Path, tiny_bert: Path
) -> None:
    killed = train(epochs=12)
    killed.wait_for("\n    3  ", 60)
    killed.process.kill()
    killed.process.wait()
    kept = len(epochs(tmp_path))

    studio = Terminal([*TOOL, "studio"], folder=tmp_path)
    try:
        studio.answer("What would you like to do?", *[DOWN] * 6)  # below the modes
        studio.wait_for(f"{SESSION}  interrupted, 0 of 1 jobs done  quick, tweets.csv")
        studio.answer("Which session?")
        studio.wait_for("1 of 1 jobs done", 90)
        assert f"goes on after epoch {kept} of an earlier attempt" in studio.text().replace(
            "\n", " "
        )
        studio.answer("What would you like to do?", *[DOWN] * 6)
        studio.wait_for("No session in training_logs/ is unfinished.")
        studio.answer("What would you like to do?", UP)
        assert studio.exit_code() == 0
    finally:
        studio.close()
    assert epochs(tmp_path) == [*range(1, 13)]
    assert facts(tmp_path)["status"] == "done"
