"""The browser of sessions in the studio: real key presses in a real terminal."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.benchmarks.sessions import write_sessions
from tests.conftest import FINISHED
from tests.terminal import DOWN, ENTER, ESC, UP, Terminal

SESSIONS = 1000


@pytest.fixture(scope="module")
def folder(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a thousand sessions: one real, and others of its plain facts."""
    folder = tmp_path_factory.mktemp("browser")
    logs = folder / "training_logs"
    shutil.copytree(finished / "training_logs", logs)
    (plain,) = write_sessions(logs, 1)
    for number in range(1, SESSIONS - 1):
        copy = logs / f"20260101_{number:06}"
        copy.mkdir()
        for name in ("session.json", "jobs.jsonl"):
            shutil.copy(logs / plain / name, copy / name)
    return folder


@pytest.fixture
def studio(folder: Path) -> Iterator[Terminal]:
    terminal = Terminal([sys.executable, "-m", "llm_tool", "studio"], folder=folder)
    yield terminal
    terminal.close()


def test_a_session_is_found_among_a_thousand_and_looked_into_level_by_level(
    studio: Terminal,
) -> None:
    studio.answer("What would you like to do?", *[DOWN] * 7)
    studio.wait_for_question("Open which session?", seconds=10)
    studio.press(*"_03040")
    studio.wait_for(f"› {FINISHED}")
    studio.press(ENTER)

    studio.wait_for_question("Which category?")
    text = studio.text()
    assert "done, 8 of 8 jobs done" in text
    assert "settings  epochs=3" in text
    assert f"llm-tool sessions {FINISHED}" in text
    studio.press(DOWN, ENTER)
    studio.wait_for_question("Look at which model?")
    assert " topic ─" in studio.text()
    assert "validation macro F1" in studio.text()
    studio.press(ENTER)
    studio.wait_for("true class (test)")

    studio.wait_for_question("Look at which model?")
    studio.press(ESC)
    studio.wait_for_question("Which category?")
    studio.press(ESC)
    studio.wait_for_question("Open which session?")
    studio.press(ESC)
    studio.answer("What would you like to do?", UP)
    assert studio.exit_code() == 0


def test_without_a_session_the_browser_says_so(tmp_path: Path) -> None:
    terminal = Terminal([sys.executable, "-m", "llm_tool", "studio"], folder=tmp_path)
    terminal.answer("What would you like to do?", *[DOWN] * 7)
    terminal.wait_for("No sessions in training_logs/.")
    terminal.answer("What would you like to do?", UP)
    assert terminal.exit_code() == 0
    assert not (tmp_path / "training_logs").exists()
    terminal.close()
