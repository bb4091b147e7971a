"""A plan run in this process: what fails, what is interrupted, and what is kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd
import pytest

from llm_tool.config import make_config
from llm_tool.data.dataset import Dataset
from llm_tool.errors import StoppedError
from llm_tool.events import (
    BatchEnded,
    EpochEnded,
    Event,
    JobEnded,
    JobFailed,
    JobStarted,
    RunEnded,
    RunStarted,
)
from llm_tool.execution.local import Outcome, run_plan
from llm_tool.logs import Session, read_metrics
from llm_tool.logs.journal import read_events
from llm_tool.modes.planning import prepare

UNREPEATABLE = ["timestamp", "seconds", "tokens_per_second", "saved_model_path"]


@dataclass
class Runner:
    """Runs the tweets with a model a language; keeps what observers were told."""

    folder: Path
    tweets: Path
    models: tuple[str, ...]
    told: list[Event] = field(default_factory=list)

    def run(
        self,
        *observers: Callable[[Event], None],
        change: Callable[[Dataset], Dataset] = lambda dataset: dataset,
        **keys: object,
    ) -> Outcome:
        config = make_config(
            {
                "data": str(self.tweets),
                "label": ("sentiment",),
                "model": self.models,
                "epochs": 2,
                "threads": 1,
                "logs_dir": str(self.folder / "logs"),
                "models_dir": str(self.folder / "models"),
                **keys,
            }
        )
        dataset, plan = prepare(config)
        session = Session(config.logs_dir, config.session_id)
        return run_plan(plan, change(dataset), config, session, *observers, self.told.append)

    @property
    def session(self) -> Path:
        return next((self.folder / "logs").iterdir())

    def status(self) -> str:
        return str(json.loads((self.session / "session.json").read_text("utf-8"))["status"])

    def table(self, name: str = "training.csv", category: str = "sentiment") -> pd.DataFrame:
        return read_metrics(self.session / category / name)

    def kinds(self) -> list[type[Event]]:
        return [type(event) for event in self.told if not isinstance(event, BatchEnded)]


@pytest.fixture
def runner(tmp_path: Path, tweets: Path, tiny_bert: Path) -> Runner:
    return Runner(tmp_path, tweets, (f"EN={tiny_bert}", f"FR={tiny_bert}"))


ONE_JOB = [JobStarted, EpochEnded, EpochEnded, JobEnded]


def test_every_job_of_a_plan_is_trained_recorded_and_saved(runner: Runner) -> None:
    outcome = runner.run()

    assert runner.kinds() == [RunStarted, *ONE_JOB, *ONE_JOB, RunEnded]
    assert [ended.job.language for ended in outcome.done] == ["EN", "FR"]
    assert outcome.failed == ()
    assert runner.status() == "done"
    assert runner.table()["language"].tolist() == ["EN", "EN", "FR", "FR"]
    assert runner.table("best.csv")["saved_model_path"].tolist() == [
        ended.saved_model_path for ended in outcome.done
    ]
    ended = runner.told[-1]
    assert isinstance(ended, RunEnded)
    assert (ended.status, ended.done, ended.failed) == ("done", 2, 0)
    journal = read_events(runner.session / "sentiment" / "runs" / "j0002" / "journal.jsonl")
    events = [type(event) for event in journal]
    assert events == ONE_JOB


def test_the_same_configuration_gives_the_same_files_again(runner: Runner) -> None:
    for _ in range(2):
        runner.run(learning_rate=1e-2)

    for name in ("training.csv", "best.csv"):
        first, second = (
            read_metrics(folder / "sentiment" / name).drop(columns=UNREPEATABLE, errors="ignore")
            for folder in sorted((runner.folder / "logs").iterdir())
        )
        pd.testing.assert_frame_equal(first, second)


@pytest.mark.parametrize(("limit", "cut"), [(8, 60), (9, 0), (None, 0)])
def test_texts_are_cut_at_the_length_asked_for_and_counted(
    runner: Runner, limit: int | None, cut: int
) -> None:
    runner.run(max_length=limit, long_documents="truncate", epochs=1)

    started = [event for event in runner.told if isinstance(event, JobStarted)]
    assert [event.max_length for event in started] == [limit or 64] * 2
    assert sum(event.cut for event in started) == cut


def with_long_texts(dataset: Dataset) -> Dataset:
    """Return the dataset with every fifth text longer than the others by nine tokens."""
    return replace(
        dataset,
        texts=tuple(text + " good" * 9 * (i % 5 == 0) for i, text in enumerate(dataset.texts)),
    )


def test_texts_over_the_limit_can_be_left_out_which_is_counted(runner: Runner) -> None:
    runner.run(change=with_long_texts, max_length=10, long_documents="exclude", epochs=1)

    started = [event for event in runner.told if isinstance(event, JobStarted)]
    assert [(event.cut, event.excluded) for event in started] == [(0, 6), (0, 6)]
    rows = [event.train_rows + event.validation_rows + event.test_rows for event in started]
    assert rows == [24, 24]
    for event in started:
        folder = runner.session / "sentiment" / "runs" / event.job.id
        split = pd.read_parquet(folder / "split.parquet")
        assert len(split) == 24
        assert not (split["row"] % 5 == 0).any()


def test_a_job_of_which_every_text_is_left_out_fails_and_says_so(runner: Runner) -> None:
    outcome = runner.run(max_length=8, long_documents="exclude")

    assert (len(outcome.done), len(outcome.failed)) == (0, 2)
    for failed in outcome.failed:
        assert failed.what.endswith("has no rows to train on or to validate with.")


def spoil_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])  # as an interrupted copy leaves it


def spoil_config(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "surprise"}')


def spoil_size(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"hidden_size": "wide"}))


def spoil_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text('{"added_tokens": []}')


@pytest.mark.parametrize("spoil", [spoil_weights, spoil_config, spoil_size, spoil_tokenizer])
def test_a_job_with_a_broken_model_is_reported_and_the_others_go_on(
    runner: Runner, tiny_bert: Path, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    broken = shutil.copytree(tiny_bert, tmp_path / "broken")
    spoil(broken)
    runner.models = (f"EN={broken}", f"FR={tiny_bert}")

    outcome = runner.run()

    assert runner.kinds() == [RunStarted, JobFailed, *ONE_JOB, RunEnded]
    (failed,) = outcome.failed
    assert failed.job.language == "EN"
    assert "cannot be loaded" in failed.what
    assert failed.where == str(broken)
    assert failed.remedy
    assert runner.status() == "failed"
    assert runner.table()["language"].tolist() == ["FR", "FR"]
    folder = runner.session / "sentiment" / "runs" / "j0001"
    assert [path.name for path in folder.iterdir()] == ["journal.jsonl"]
    assert list(read_events(folder / "journal.jsonl")) == [failed]
    ended = runner.told[-1]
    assert isinstance(ended, RunEnded)
    assert (ended.status, ended.done, ended.failed) == ("failed", 1, 1)


def test_an_unexpected_exception_fails_its_job_and_leaves_its_traceback(runner: Runner) -> None:
    outcome = runner.run(change=lambda dataset: replace(dataset, keys={}))

    assert outcome.done == ()
    assert [failed.what for failed in outcome.failed] == ["KeyError: 'sentiment'"] * 2
    for failed in outcome.failed:
        path = runner.session / "sentiment" / "runs" / failed.job.id / "error.txt"
        text = path.read_text("utf-8")
        assert text.startswith("Traceback (most recent call last):")
        assert text.endswith("KeyError: 'sentiment'\n")
        assert str(path) in failed.remedy
    assert runner.status() == "failed"


def test_ctrl_c_keeps_every_row_up_to_the_last_epoch(runner: Runner) -> None:
    def press(event: Event) -> None:
        if isinstance(event, EpochEnded) and (event.job.id, event.epoch) == ("j0002", 1):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runner.run(press)

    assert runner.status() == "interrupted"
    table = runner.table()
    assert list(zip(table["model_identifier"], table["epoch"], strict=True)) == [
        ("j0001", 1),
        ("j0001", 2),
        ("j0002", 1),
    ]
    best = runner.table("best.csv")
    assert best["saved_model_path"].tolist() == [str(saved(runner)), ""]
    assert [path.name for path in saved(runner).parent.iterdir()] == ["tiny-bert-EN"]
    ended = runner.told[-1]
    assert isinstance(ended, RunEnded)
    assert (ended.status, ended.done, ended.failed) == ("interrupted", 1, 0)


def saved(runner: Runner) -> Path:
    return runner.folder / "models" / runner.session.name / "sentiment" / "tiny-bert-EN"


def test_a_run_after_an_interrupted_one_adds_to_its_session(runner: Runner) -> None:
    def press(event: Event) -> None:
        if isinstance(event, EpochEnded):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runner.run(press)
    runner.run(session_id=runner.session.name)

    assert runner.table()["model_identifier"].tolist() == [
        *("j0001", "j0003", "j0003", "j0004", "j0004"),
    ]


def test_a_display_that_crashes_is_left_out_and_the_run_goes_on(runner: Runner) -> None:
    def crash(event: Event) -> None:
        raise ValueError("no colours")

    outcome = runner.run(crash)

    assert len(outcome.done) == 2
    assert len(runner.table()) == 4
    assert runner.kinds() == [RunStarted, *ONE_JOB, *ONE_JOB, RunEnded]


def test_logs_that_cannot_be_written_any_more_stop_the_run(runner: Runner) -> None:
    def take_away(event: Event) -> None:
        if isinstance(event, JobStarted):
            shutil.rmtree(runner.session)
            (runner.folder / "logs").rmdir()
            (runner.folder / "logs").write_text("in the way")

    with pytest.raises(StoppedError, match="failed: Not a directory") as caught:
        runner.run(take_away)

    assert str(runner.folder / "logs") in caught.value.where
    assert "llm-tool resume" in caught.value.remedy
    assert not [event for event in runner.told if isinstance(event, EpochEnded)]
    ended = runner.told[-1]
    assert isinstance(ended, RunEnded)
    assert ended.status == "interrupted"
