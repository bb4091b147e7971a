"""One session opened: what was configured, its models, their curves and tables, what is missing."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from llm_tool.analysis.confusion import confusion
from llm_tool.cli.sessions import sessions as command
from llm_tool.errors import StudioError
from llm_tool.events import EpochEnded, JobFailed, LanguageScore
from llm_tool.logs import Session
from llm_tool.logs.archive import Archive, Training, read_session
from llm_tool.logs.salvage import open_session
from llm_tool.plan import Task
from llm_tool.studio.score_tables import show_classes, show_confusion, show_languages
from llm_tool.studio.session_view import best_of, configured, show_session, show_training
from tests.conftest import FINISHED
from tests.test_events import made_end, made_epoch, made_job, made_scores


@pytest.fixture(scope="module")
def archive(finished: Path) -> Archive:
    return read_session(finished / "training_logs", FINISHED)


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """Return a copy of the logs that a test may damage."""
    return shutil.copytree(finished / "training_logs", tmp_path / "logs")


def shown(archive: Archive, notes: Sequence[str] = (), width: int = 80, **options: str) -> str:
    console = Console(file=StringIO(), width=width, markup=False, highlight=False)
    show_session(console, archive, notes, **options)
    return console.file.getvalue()


def of_training(training: Training, width: int = 80) -> str:
    console = Console(file=StringIO(), width=width, markup=False, highlight=False)
    show_training(console, training)
    return console.file.getvalue()


def made(*epochs: EpochEnded, ended: bool = True, folder: Path = Path("gone")) -> Training:
    job = epochs[0].job if epochs else made_job()
    end = made_end(epochs[0]) if ended else None
    return Training("20260101_000000", "c", folder, job, {}, None, epochs, end)


def test_what_was_configured_is_what_differs_from_the_defaults(archive: Archive) -> None:
    chosen = configured(archive.facts["runs"][0])

    assert chosen["mode"] == "benchmark"
    assert (chosen["label"], chosen["seeds"], chosen["epochs"]) == ("sentiment,topic", "1,2", "3")
    assert "patience" not in chosen
    assert configured({"config": {"mode": "quick", "of_another_version": 3, "seed": 42}}) == {
        "mode": "quick",
        "of_another_version": "3",
    }


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_session_is_shown_whole(archive: Archive, width: int) -> None:
    text = shown(archive, width=width)

    assert f" Session {FINISHED} " in text
    assert "done, 8 of 8 jobs done" in text
    assert archive.facts["runs"][0]["dataset"]["sha256"][:40] in text
    assert "versions  llm-tool " in text
    for word in ("epochs=3", "label=sentiment,topic", "batch_size=8"):
        assert word in text
    for heading in (" sentiment ", " topic "):
        assert heading in text
    assert text.count("★ best epoch") == 2  # of each category's best model
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= width


def test_the_table_of_a_category_has_every_model_and_marks_the_best(archive: Archive) -> None:
    text = shown(archive, category="topic")

    trainings = archive.by_category()["topic"]
    best = best_of(trainings)
    assert best
    assert best.ended
    assert best.ended.best.scores.f1_macro == max(
        one.ended.best.scores.f1_macro for one in trainings if one.ended
    )
    rows = [line for line in text.splitlines() if line.startswith("j000")]
    assert [row.split()[0] for row in rows] == [one.job.id for one in trainings]
    assert [row for row in rows if "★" in row] == [
        row for row in rows if row.startswith(best.job.id)
    ]
    assert "sentiment" not in text
    assert f"{best.job.id} · topic" in text
    drawn = [line.split()[:2] for line in text.splitlines() if line.startswith("  ")]
    for mark in "•×+o":  # whose line is whose
        assert [job for first, *job in drawn if first == mark and job[0].startswith("j")]


def test_one_job_is_shown_with_its_scores_by_class_and_language(archive: Archive) -> None:
    training = archive.trainings[1]
    text = shown(archive, job=training.job.id)

    assert "Session" not in text
    assert training.ended
    assert training.ended.test
    cells = [line.split() for line in text.splitlines()]
    for one in training.ended.test.classes:
        scores = [f"{value:.3f}" for value in (one.precision, one.recall, one.f1)]
        assert [one.name, *scores, str(one.support)] in cells
    for lang in training.ended.test.languages:
        scores = [f"{value:.3f}" for value in (lang.accuracy, lang.f1_macro)]
        assert [lang.language, *scores, str(lang.support)] in cells
    for name, row in zip(training.job.task.classes, confusion(training), strict=True):
        assert [name, *map(str, row)] in cells


@pytest.mark.parametrize(
    ("wish", "what", "remedy"),
    [
        ({"category": "sentimnt"}, "no category 'sentimnt'", "Did you mean sentiment?"),
        ({"job": "j0099"}, "no job 'j0099'", "Did you mean j000"),
        ({"category": "topic", "job": "j0001"}, "no job 'j0001' there", "Did you mean"),
    ],
)
def test_what_a_session_has_not_is_an_error_that_names_what_it_has(
    archive: Archive, wish: dict[str, str], what: str, remedy: str
) -> None:
    with pytest.raises(StudioError, match=what) as caught:
        shown(archive, **wish)
    assert remedy in caught.value.remedy


def test_a_loss_that_is_no_number_is_said(tmp_path: Path) -> None:
    job = made_job()
    epochs = [made_epoch(job, number, train_loss=math.nan) for number in (1, 2)]

    text = of_training(made(*epochs))
    assert "no train loss in epoch 1, 2: no finite number" in text
    assert "no validation loss" not in text
    assert "! No confusion matrix: predictions.parquet of j0001 cannot be read" in text


def test_a_training_that_is_under_way_shows_how_far_it_is() -> None:
    job = made_job()
    text = of_training(made(made_epoch(job), made_epoch(job, 2, is_best=False), ended=False))

    assert "★ best epoch 1: validation macro F1 0.500\n" in text
    assert "class (validation)" in text
    assert "onfusion" not in text
    assert "No epoch is recorded: not begun." in of_training(made(ended=False))


def test_the_epochs_of_the_reinforced_phase_are_named() -> None:
    job = made_job()
    epochs = made_epoch(job), made_epoch(job, 2, is_best=False, training_phase="reinforced")
    assert "reinforced phase from epoch 2" in of_training(made(*epochs))


def _with_predictions(folder: Path, classes: tuple[str, ...], wrong: int) -> Training:
    """Return a training whose test rows of class ``i`` are ``i + 1``, ``wrong`` of the last."""
    true = [name for i, name in enumerate(classes) for _ in range(i + 1)]
    predicted = true[: len(true) - wrong] + [classes[0]] * wrong
    table = {"part": "test", "true": true, "predicted": predicted}
    pd.DataFrame(table).to_parquet(folder / "predictions.parquet")
    job = made_job(task=Task("key", "", classes, ("EN",)))
    epoch = replace(made_epoch(job), scores=made_scores(job))
    return made(epoch, folder=folder)


def matrix_of(training: Training, width: int = 80) -> list[str]:
    console = Console(file=StringIO(), width=width, markup=False)
    show_confusion(console, training, "test")
    return console.file.getvalue().splitlines()[1:]


def test_a_matrix_too_wide_for_names_has_numbers_for_them(tmp_path: Path) -> None:
    classes = tuple(f"a rather long class {letter}" for letter in "abcdefgh")
    lines = matrix_of(_with_predictions(tmp_path, classes, wrong=3))

    assert lines[1].split() == ["true", "class", "(test)", *"12345678"]
    assert lines[-1].split()[-8:] == ["3", *"000000", "5"]
    assert lines[-1].startswith("8 a rather long class h")
    assert max(map(len, lines)) <= 80


def test_of_many_classes_the_most_frequent_confusions_are_listed(tmp_path: Path) -> None:
    classes = tuple(f"c{number:02}" for number in range(1, 21))
    lines = matrix_of(_with_predictions(tmp_path, classes, wrong=30))

    assert lines[0] == "Most frequent confusions"
    assert lines[2].split() == ["c20", "c01", "20", "100%"]
    assert lines[3].split() == ["c19", "c01", "10", "53%"]
    assert len(lines) == 4


def test_without_a_confusion_among_many_classes_that_is_said(tmp_path: Path) -> None:
    training = _with_predictions(tmp_path, tuple("abcdefghi"), wrong=0)
    assert matrix_of(training) == ["No row of test was taken for another class."]


def test_of_more_confusions_than_fit_the_rest_is_counted(tmp_path: Path) -> None:
    classes = tuple("abcdefghijkl")
    table = {"part": "test", "true": list(classes), "predicted": list(classes[1:] + classes[:1])}
    training = _with_predictions(tmp_path, classes, wrong=0)
    pd.DataFrame(table).to_parquet(tmp_path / "predictions.parquet")
    assert matrix_of(training)[-1] == "and 2 rows in 2 other pairs of classes"


def test_hostile_names_are_shown_as_text(tmp_path: Path) -> None:
    name = "[bold]x\x1b]0;t\x07\u202e"
    training = _with_predictions(tmp_path, (name, "b"), wrong=1)
    training = replace(training, job=replace(training.job, model_name=name))

    text = of_training(training)
    assert r"[bold]x\x1b]0;t\x07\u202e" in text
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_wide_characters_keep_the_columns_in_line() -> None:
    console = Console(file=StringIO(), width=60)
    classes = made_scores(made_job(task=Task("k", "", ("日本語", "b"), ()))).classes
    show_classes(console, classes, "test")
    _, _, wide, plain = console.file.getvalue().splitlines()
    assert wide.index("0.010") + 3 == plain.index("0.110")


# What is missing.


def test_a_language_without_rows_is_no_row_of_the_table() -> None:
    console = Console(file=StringIO(), width=80, highlight=False)
    scores = [LanguageScore("EN", 0.5, 0.4, 19), LanguageScore("FR", None, None, 0)]
    show_languages(console, scores, "test")
    assert "EN" in console.file.getvalue()
    assert "FR" not in console.file.getvalue()


def test_without_session_json_the_journals_are_read(copied: Path, archive: Archive) -> None:
    (copied / FINISHED / "session.json").write_text("{")

    opened, notes = open_session(copied, FINISHED)
    assert (opened.status, opened.facts) == ("damaged", {})
    found = [(one.category, one.job, one.epochs, one.ended) for one in opened.trainings]
    assert found == [(one.category, one.job, one.epochs, one.ended) for one in archive.trainings]
    assert "session.json is missing or damaged: what was configured is not known." in notes[0]
    text = shown(opened, notes)
    assert "damaged, 8 of 8 jobs done" in text
    assert "! session.json is missing or damaged" in text


def test_without_the_plan_the_journals_are_read(copied: Path) -> None:
    (copied / FINISHED / "jobs.jsonl").unlink()

    opened, notes = open_session(copied, FINISHED)
    assert (opened.status, len(opened.trainings)) == ("done", 8)
    assert notes[0].startswith("jobs.jsonl is missing or damaged: the plan is not known.")
    assert "epochs=3" in shown(opened, notes)


def test_a_torn_plan_and_a_torn_journal_are_said(copied: Path, archive: Archive) -> None:
    plan = copied / FINISHED / "jobs.jsonl"
    plan.write_bytes(plan.read_bytes()[:-20])
    path = copied / FINISHED / "sentiment" / "runs" / "j0002" / "journal.jsonl"
    path.write_bytes(path.read_bytes()[:-20])

    opened, notes = open_session(copied, FINISHED)
    assert notes == (
        "jobs.jsonl is torn: j0008 cannot be read.",
        "There is no result of j0002: its journal is missing or torn.",
    )
    assert opened.trainings[1].epochs == archive.trainings[1].epochs
    assert "no result" in shown(opened, notes, category="sentiment")


def test_without_anything_to_read_it_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StudioError, match="no such session"):
        open_session(tmp_path, FINISHED)
    (tmp_path / FINISHED).mkdir()
    (tmp_path / FINISHED / "session.json").write_text("[]")
    with pytest.raises(StudioError, match="files are damaged"):
        open_session(tmp_path, FINISHED)


def test_what_failed_is_shown_with_its_reason(tmp_path: Path) -> None:
    session = Session(tmp_path, FINISHED)
    with session.run([made_job(id="", identifier="")], {}, {}) as (job,):
        session.record(JobFailed(job, "the [red]disk burnt\x1b[0m", "in /tmp"))

    text = shown(*open_session(tmp_path, FINISHED))
    assert r"✗ j0001: the [red]disk burnt\x1b[0m in /tmp" in text
    assert "failed, 0 of 1 jobs done" in text
    command = f"llm-tool resume {FINISHED} --logs-dir {tmp_path}"
    assert f"go on     {command}\n" in text  # in one line, to be copied


def test_an_opened_session_is_one_line_of_json(
    finished: Path, archive: Archive, capsys: pytest.CaptureFixture[str]
) -> None:
    command(FINISHED, category="topic", logs_dir=str(finished / "training_logs"), as_json=True)

    (line,) = capsys.readouterr().out.splitlines()
    whole = json.loads(line)
    assert (whole["id"], whole["status"], whole["missing"]) == (FINISHED, "done", [])
    (category,) = whole["categories"]
    assert category["category"] == "topic"
    first = archive.by_category()["topic"][0]
    told = category["trainings"][0]
    assert first.ended
    assert first.ended.test
    assert told["id"] == first.job.id
    assert told["test"]["f1_macro"] == pytest.approx(first.ended.test.f1_macro)
    assert [one["train_loss"] for one in told["epochs"]] == pytest.approx(
        [one.train_loss for one in first.epochs]
    )
    assert told["confusion"]["counts"] == [list(row) for row in confusion(first)]


def test_in_json_a_number_that_is_none_is_null(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    session = Session(tmp_path, FINISHED)
    with session.run([made_job(id="", identifier="")], {}, {}) as (job,):
        session.record(made_epoch(job, train_loss=math.nan))

    command(FINISHED, logs_dir=str(tmp_path), as_json=True)
    whole = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    (training,) = whole["categories"][0]["trainings"]
    assert training["epochs"][0]["train_loss"] is None
    assert training["test"] is None
