"""``llm-tool resume`` and ``llm-tool sessions`` as a user runs them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from llm_tool.logs import read_metrics
from tests.conftest import Run, runner, tweets_csv

FIRST = "20260101_000000"


@pytest.fixture(scope="module")
def failed(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a session of two jobs, of which one failed for a torn model."""
    folder = tmp_path_factory.mktemp("failed")
    (folder / "tweets.csv").write_text(tweets_csv(), "utf-8")
    broken = shutil.copytree(tiny_bert, folder / "broken")
    (broken / "model.safetensors").write_bytes(b"torn")
    words = ["train", "benchmark", "tweets.csv", "-l", "sentiment", "--epochs", "1"]
    models = ["-m", str(tiny_bert), "-m", "./broken"]
    done = runner(folder)(*words, *models, "--session-id", FIRST)
    assert done.returncode == 1, done.stderr
    assert "✗ j0002 sentiment · broken · MULTI: " in done.stdout
    assert f"retry   llm-tool resume {FIRST}\n" in done.stdout
    assert f"go on with: llm-tool resume {FIRST}\n" in done.stderr
    return folder


def test_sessions_are_listed_with_how_they_stand_and_how_to_go_on(failed: Path) -> None:
    listed = runner(failed)("sessions")

    assert listed.returncode == 0
    title, row, hint = listed.stdout.splitlines()
    about, best = (
        ["session", "status", "jobs", "done", "modes", "data"],
        ["best", "val", "macro", "F1"],
    )
    assert title.split() == [*about, *best]
    *words, score = row.split()
    assert words == [FIRST, "failed", "1", "of", "2", "benchmark", "tweets.csv", "sentiment"]
    assert 0 < float(score) <= 1
    assert hint == f"Go on with one: llm-tool resume {FIRST}"


def test_a_session_is_opened_by_its_id(failed: Path) -> None:
    opened = runner(failed)("sessions", FIRST)

    assert opened.returncode == 0, opened.stderr
    assert f" Session {FIRST} " in opened.stdout
    assert "j0001 ★" in opened.stdout
    assert "✗ j0002: " in opened.stdout
    assert "Confusion matrix" in opened.stdout
    assert "\x1b" not in opened.stdout


def test_without_sessions_that_is_said(run: Run) -> None:
    assert run("sessions").stdout == "No sessions in training_logs/.\n"


def test_repairing_says_what_it_wrote(failed: Path) -> None:
    run, category = runner(failed), failed / "training_logs" / FIRST / "sentiment"
    before = (category / "training.csv").read_bytes()
    (category / "training.csv").unlink()

    repaired = run("sessions", "--repair", FIRST)

    assert repaired.stdout == "sentiment: training.csv and best.csv written anew.\n"
    assert (category / "training.csv").read_bytes() == before
    again = run("sessions", "--repair", FIRST)
    assert again.stdout == "Every training.csv and best.csv was as its journals say.\n"


@pytest.mark.parametrize("words", ["resume", "sessions --repair", "sessions"])
def test_a_session_that_is_not_there_is_an_error_and_makes_no_folder(
    run: Run, tmp_path: Path, words: str
) -> None:
    done = run(*words.split(), FIRST)

    assert done.returncode == 2
    assert "There is no such session." in done.stderr
    assert f"in training_logs/{FIRST}" in done.stderr
    assert not (tmp_path / "training_logs").exists()


def test_a_resumed_session_tells_its_events_as_json(failed: Path) -> None:
    done = runner(failed)("resume", FIRST, "--json")

    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["event"] for event in events] == ["run_started", "job_failed", "run_ended"]
    assert [result["job"]["id"] for result in events[0]["done"]] == ["j0001"]
    assert events[-1]["resume"] == f"llm-tool resume {FIRST}"


def test_the_plan_shows_the_space_that_the_run_takes(
    run: Run, tweets: Path, tiny_bert: Path
) -> None:
    plan = run("train", "quick", "tweets.csv", "-l", "topic", "-m", str(tiny_bert), "--dry-run")

    (line,) = (line for line in plan.stdout.splitlines() if line.startswith("Disk: "))
    assert line.startswith("Disk: up to 1 MB while it runs, 1 MB after it; ")
    assert line.endswith(" free.")


# The last one: it mends the session that the tests above look at.
def test_what_failed_is_retried_by_the_command_that_the_result_names(
    failed: Path, tiny_bert: Path
) -> None:
    run = runner(failed)
    shutil.copy(tiny_bert / "model.safetensors", failed / "broken" / "model.safetensors")
    mended = run("resume", FIRST)

    assert mended.returncode == 0, mended.stderr
    assert "Resumed: 1 of 2 jobs done before." in mended.stderr
    assert mended.stderr.count(": epoch 1") == 1
    assert "✓ 2 of 2 jobs done" in mended.stdout
    assert "Ranking" in mended.stdout  # of both models, also of the one that was done before
    table = read_metrics(failed / "training_logs" / FIRST / "sentiment" / "training.csv")
    assert table["model_name"].tolist() == ["tiny-bert", "broken"]
    nothing = run("resume", FIRST)
    assert (nothing.returncode, nothing.stdout) == (0, "")
    assert nothing.stderr == f"Session {FIRST} is done: there is nothing to resume.\n"
