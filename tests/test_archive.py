from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from llm_tool.errors import StudioError
from llm_tool.events import EpochEnded, JobFailed, JobStarted
from llm_tool.logs.archive import read_session
from llm_tool.logs.journal import read_events
from llm_tool.logs.session import Session
from tests.conftest import FINISHED


def test_a_session_is_read_back_with_every_training_and_what_came_of_it(finished: Path) -> None:
    archive = read_session(finished / "training_logs", FINISHED)

    assert archive.status == "done"
    assert list(archive.by_category()) == ["sentiment", "topic"]
    assert archive.done == archive.trainings
    assert [(t.category, t.job.model_name, t.job.seed) for t in archive.trainings] == [
        (category, model, seed)
        for category in ("sentiment", "topic")
        for model in ("tiny-bert", "other-bert")
        for seed in (1, 2)
    ]
    for training in archive.trainings:
        events = list(read_events(training.folder / "journal.jsonl"))
        assert training.epochs == tuple(e for e in events if isinstance(e, EpochEnded))
        assert training.started == events[0]
        assert training.ended == events[-1]
        assert training.run["config"]["mode"] == "benchmark"


def test_predictions_and_split_of_a_training_are_read_back(finished: Path) -> None:
    training = read_session(finished / "training_logs", FINISHED).trainings[0]

    assert training.started
    assert training.ended
    assert training.ended.test
    predictions, split = training.predictions(), training.split()
    test = predictions[predictions["part"] == "test"]
    assert len(test) == training.started.test_rows
    assert (test["true"] == test["predicted"]).mean() == pytest.approx(training.ended.test.accuracy)
    assert split["part"].value_counts()["train"] == training.started.train_rows


def test_predictions_that_are_gone_or_damaged_are_an_error_that_names_the_file(
    finished: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished / "training_logs", tmp_path / "logs")
    first, second, *_ = read_session(tmp_path / "logs", FINISHED).trainings
    (first.folder / "predictions.parquet").unlink()
    (second.folder / "predictions.parquet").write_bytes(b"PAR1 no more")

    for training in (first, second):
        with pytest.raises(StudioError, match="cannot be read") as caught:
            training.predictions()
        assert caught.value.where == str(training.folder / "predictions.parquet")


def test_a_training_that_failed_or_has_not_begun_is_there_without_a_result(
    finished: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished / "training_logs", tmp_path / "logs")
    session = Session(tmp_path / "logs", FINISHED)
    first, second, *_ = read_session(tmp_path / "logs", FINISHED).trainings
    assert first.started
    (first.folder / "journal.jsonl").unlink()
    session.record(first.started)
    session.record(JobFailed(first.job, "the disk burnt"))
    (second.folder / "journal.jsonl").unlink()

    failed, waiting, *_ = read_session(tmp_path / "logs", FINISHED).trainings

    assert isinstance(failed.started, JobStarted)
    assert failed.failed == JobFailed(first.job, "the disk burnt")
    assert (failed.ended, failed.epochs) == (None, ())
    assert (waiting.started, waiting.failed, waiting.ended) == (None, None, None)


def test_a_session_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StudioError, match="no such session"):
        read_session(tmp_path, "20260101_000000")
