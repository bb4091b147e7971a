"""What commands say that are stopped, what they are called, and what doctor finds."""

from __future__ import annotations

from importlib import metadata
from io import StringIO
from typing import NoReturn

import pytest
from rich.console import Console
from typer.testing import CliRunner

from llm_tool.cli.app import app
from llm_tool.cli.doctor import examine


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["compare", "20260101_000000"], "\nStopped.\n"),
        (["report", "20260101_000000"], "\nStopped. No file is left half written.\n"),
        (
            ["resume", "20260101_000000"],
            "\nStopped. What was recorded up to the last epoch is kept.\n",
        ),
        (
            ["job", "run", "jobs.jsonl", "--index", "0"],
            "\nStopped. What was recorded up to the last epoch is kept.\n",
        ),
    ],
)
def test_ctrl_c_says_what_is_true_of_the_command(
    words: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr("llm_tool.logs.archive.read_session", stop)
    monkeypatch.setattr("llm_tool.studio.runs.resume_session", stop)
    monkeypatch.setattr("llm_tool.execution.job.find_job", stop)
    done = CliRunner().invoke(app, words)
    assert (done.exit_code, done.stdout, done.stderr) == (130, "", said)


def test_the_help_says_of_each_command_what_it_does_in_one_line() -> None:
    done = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "80"})
    commands = done.stdout.split("Commands:\n")[1].splitlines()
    assert len(commands) == len(app.registered_commands) + len(app.registered_groups)
    assert not [line for line in commands if "..." in line]


def test_doctor_names_the_extra_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    known = metadata.version

    def version(package: str) -> str:
        if package == "alembic":
            raise metadata.PackageNotFoundError
        return known(package)

    monkeypatch.setattr(metadata, "version", version)
    console = Console(file=StringIO(), width=80)
    assert examine(console, [])  # training works without it
    lines = console.file.getvalue().splitlines()
    assert 'missing extra mlflow        --tracker mlflow: pip install "llm-tool[mlflow]"' in lines
