"""The studio and a cluster: asked for in the questions, left with a key, back in the menu."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.terminal import DOWN, Terminal
from tests.test_detach import PROGRAM, ROOT, facts_of
from tests.test_six_modes import quick, shown_command

SLURM = {"sbatch": "echo 22.05.8", "sinfo": "echo 'short*'; echo gpu"}


@pytest.fixture
def terminal(tmp_path: Path, tweets: Path, tiny_bert: Path) -> Iterator[Terminal]:
    (tmp_path / "tiny").symlink_to(tiny_bert)
    for name, line in SLURM.items():
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\n{line}\n")
        program.chmod(0o755)
    environment = {"PYTHONPATH": str(ROOT), "PATH": f"{tmp_path}/bin:/usr/bin:/bin"}
    opened = Terminal([sys.executable, "-c", PROGRAM, "studio"], folder=tmp_path,
                      environment=environment, lines=60)  # fmt: skip
    yield opened
    opened.close()


def test_a_run_on_a_cluster_from_the_first_question_to_the_menu_after_it_was_left(
    terminal: Terminal, tmp_path: Path
) -> None:
    quick(terminal)
    terminal.answer("Where to train?", DOWN)
    terminal.answer("Which partition?", DOWN)
    terminal.answer("Time limit of a job?", "4h", seconds=5)
    terminal.wait_for("slurm_time: '4h' is no time limit.", 5)
    terminal.press("\x7f", ":00:00")
    terminal.press("\r")
    for question in ("Memory of a job?", "CPUs of a job?", "GPUs of a job?", "Anything else"):
        terminal.answer(question)
    terminal.wait_for_question("Start?")
    text = terminal.text()
    assert "Each job asks for partition gpu, a time limit of 4:00:00." in text
    words = shown_command(text)
    assert words[words.index("--executor") :][:6] == [
        "--executor", "slurm", "--set", "slurm_partition=gpu", "--set", "slurm_time=4:00:00",
    ]  # fmt: skip

    terminal.answer("Start?")
    terminal.wait_for("q: leave it running, Ctrl-C: stop the jobs")
    terminal.press("q")
    terminal.wait_for_question("What would you like to do?", 10)
    (session,) = (tmp_path / "training_logs").iterdir()
    said = f"Left running on the cluster. llm-tool resume {session.name} follows it."
    assert said in terminal.text()
    assert facts_of(tmp_path / "training_logs", session.name)["status"] == "detached"

    terminal.answer("What would you like to do?", *[DOWN] * 6)
    terminal.wait_for_question("Which session?")
    assert f"{session.name}  detached, 0 of 2 jobs done" in terminal.text()
