"""Trainings that are broken off and gone on with: the same rows and weights as without a break."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from llm_tool.errors import DiskError, StudioError
from llm_tool.events import (
    EpochEnded,
    Event,
    JobEnded,
    JobRetried,
    JobStarted,
    ReinforcementEnded,
    ReinforcementStarted,
)
from llm_tool.logs import Session, read_metrics
from llm_tool.logs.journal import read_events
from llm_tool.plan import Task
from llm_tool.trainers.checkpoint import CHECKPOINT, Checkpoint
from tests.test_bert_base import TASK, UNREPEATABLE, Trainer, watched

LABELS = tuple(Task("areas", v, (f"not_{v}", v), ("EN", "FR")) for v in ("law", "health"))
WHOLE = Task("areas", "", ("law", "health"), ("EN", "FR"))
Stop = Callable[[Event], bool]


@pytest.fixture
def trainer(tiny_bert: Path, tmp_path: Path) -> Iterator[Trainer]:
    with watched(tiny_bert, tmp_path) as made:
        yield made


@dataclass
class Attempts:
    """Attempts at one job, in a session of its own for each name."""

    trainer: Trainer
    options: dict[str, Any]

    def __post_init__(self) -> None:
        self.base = self.trainer.folder

    def go(
        self,
        name: str,
        stop: Stop = lambda _: False,
        **changes: Any,  # noqa: ANN401 - settings and parts of a training
    ) -> JobEnded | None:
        """Go on with the job, or begin it; ``None`` when it was stopped at an event."""
        trainer, options = self.trainer, {**self.options, **changes}
        trainer.folder = self.base / name
        shared = options.pop("shared", False)
        if shared:
            options["data"] = trainer.data(lambda row: (row % 2, int(row % 3 == 0)))
        session = Session(trainer.folder / "logs", "20260101_000000")

        def observe(event: Event) -> None:
            trainer.told.append(event)
            if stop(event):
                raise KeyboardInterrupt

        begun = session.folder.exists()
        job = trainer.job(task=WHOLE, labels=LABELS) if shared else trainer.job()
        entered = session.rerun(0) if begun else session.run([job], {}, {})
        try:
            with entered as (named,):
                return trainer.train(job=named, session=session, on_event=observe, **options)
        except KeyboardInterrupt:
            return None

    def left(self) -> dict[str, Any]:
        """Return all that the session of the last attempt left, times apart."""
        logs = self.trainer.folder / "logs" / "20260101_000000"
        found: dict[str, Any] = {}
        for path in sorted(logs.glob("*/*.csv")):
            table = read_metrics(path)
            table = table.drop(columns=[*UNREPEATABLE, "saved_model_path"], errors="ignore")
            found[f"{path.parent.name}/{path.name}"] = table
        for path in sorted(logs.glob("*/runs/*/predictions.parquet")):
            found[f"predictions of {path.parents[2].name}"] = pd.read_parquet(path)
        return found

    def checkpoint(self) -> Path:
        return next((self.trainer.folder / "logs").glob("*/*/runs/*")) / CHECKPOINT


KINDS = {
    "normal": {"epochs": 4},
    "patience": {"epochs": 9, "patience": 2},
    "weighted": {"epochs": 3, "class_weights": "balanced", "monitor": "val_loss"},
    "reinforced": {
        "epochs": 2, "reinforced": True, "reinforced_threshold": 1.0, "reinforced_epochs": 3,
        "reinforced_oversampling": 1.5,
    },
    "shared": {"shared": True, "epochs": 3, "reinforced": True, "reinforced_threshold": 1.0},
    "bfloat16": {"epochs": 3, "precision": "bfloat16"},
}  # fmt: skip


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(one[name].equals(other[name]) for name in one)


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_broken_off_after_each_epoch_ends_as_one_that_never_was(
    trainer: Trainer, kind: str
) -> None:
    attempts = Attempts(trainer, {"learning_rate": 1e-2, "batch_size": 8, **KINDS[kind]})
    whole = attempts.go("whole")
    assert whole is not None
    expected, weights = attempts.left(), load_file(f"{whole.saved_model_path}/model.safetensors")
    epochs = len(trainer.epochs)

    trainer.told.clear()
    result = None
    while result is None:  # every attempt is stopped at its first epoch
        result = attempts.go("broken", lambda event: isinstance(event, EpochEnded))

    assert len(trainer.epochs) == epochs  # each was trained once and told once
    assert [event.resumed_from for event in trainer.heard(JobStarted)] == [*range(epochs + 1)]
    assert same(attempts.left(), expected)
    again = load_file(f"{result.saved_model_path}/model.safetensors")
    assert all(torch.equal(again[name], weights[name]) for name in weights)
    assert Path(result.saved_model_path).name == Path(whole.saved_model_path).name
    assert not attempts.checkpoint().exists()


@pytest.mark.parametrize("kind", [ReinforcementStarted, ReinforcementEnded, JobEnded])
def test_a_training_broken_off_between_its_phases_and_at_its_end_goes_on_there(
    trainer: Trainer, kind: type[Event]
) -> None:
    attempts = Attempts(trainer, {"learning_rate": 1e-2, **KINDS["reinforced"]})
    attempts.go("whole")
    expected = attempts.left()

    assert attempts.go("broken", lambda event: isinstance(event, kind)) is None
    done = len(trainer.epochs)
    result = attempts.go("broken")

    assert result is not None
    assert same(attempts.left(), expected)
    assert len(trainer.epochs) == done + (3 if kind is ReinforcementStarted else 0)
    models = Path(result.saved_model_path).parent
    assert [path.name for path in models.iterdir()] == [Path(result.saved_model_path).name]


def test_an_epoch_in_the_checkpoint_that_no_journal_has_is_told_when_going_on(
    trainer: Trainer,
) -> None:
    attempts = Attempts(trainer, {"epochs": 4, "learning_rate": 1e-2})
    attempts.go("whole")
    expected = attempts.left()
    attempts.go("broken", lambda event: isinstance(event, EpochEnded) and event.epoch == 2)
    journal = attempts.checkpoint().with_name("journal.jsonl")
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:-1]) + lines[-1][:100])  # torn, as by a power failure

    trainer.told.clear()
    attempts.go("broken")

    assert trainer.heard(JobStarted)[0].resumed_from == 1
    assert [epoch.epoch for epoch in trainer.epochs] == [2, 3, 4]
    assert same(attempts.left(), expected)
    epochs = [e.epoch for e in read_events(journal) if isinstance(e, EpochEnded)]
    assert epochs == [1, 2, 3, 4]


def only_after(monkeypatch: pytest.MonkeyPatch, *saved: int) -> None:
    """Let a checkpoint be due only after some epochs, as if saving one took long."""
    epochs: list[int] = []

    def is_due(_: Checkpoint, __: object) -> bool:
        epochs.append(len(epochs) + 1)
        return epochs[-1] in saved

    monkeypatch.setattr(Checkpoint, "is_due", is_due)


@pytest.mark.parametrize(("saved", "resumed"), [((1,), 1), ((), 0)])
def test_epochs_after_the_last_checkpoint_are_taken_back_and_trained_again(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch, saved: tuple[int, ...], resumed: int
) -> None:
    attempts = Attempts(trainer, {"epochs": 4, "learning_rate": 1e-2})
    attempts.go("whole")
    expected = attempts.left()
    only_after(monkeypatch, *saved)
    attempts.go("broken", lambda event: isinstance(event, EpochEnded) and event.epoch == 3)
    rows = len(read_metrics(next(attempts.trainer.folder.glob("logs/*/*/training.csv"))))

    trainer.told.clear()
    attempts.go("broken")

    assert rows == 3  # what was recorded stays until it is trained again
    assert [event.resumed_from for event in trainer.heard(JobStarted)] == [resumed]
    assert [epoch.epoch for epoch in trainer.epochs] == [*range(resumed + 1, 5)]
    assert same(attempts.left(), expected)


@pytest.mark.parametrize(("saved", "where"), [((1,), "after epoch 1"), ((), "anew")])
def test_a_retry_in_full_precision_takes_back_what_came_after_the_last_checkpoint(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch, saved: tuple[int, ...], where: str
) -> None:
    only_after(monkeypatch, *saved)
    model = trainer.model()

    def overflow(_: object, __: object, output: Any) -> None:  # noqa: ANN401 - its own class
        if len(trainer.norms) >= 2 * 4 and torch.is_autocast_enabled("cpu"):
            output.logits = output.logits * torch.inf

    model.register_forward_hook(overflow)
    trainer.train(model, precision="bfloat16", epochs=4, batch_size=8)

    (retried,) = trainer.heard(JobRetried)
    assert retried.how == f"Goes on {where} in full precision (float32)."
    assert [event.precision for event in trainer.heard(JobStarted)] == ["bfloat16", "float32"]
    assert trainer.table()["epoch"].tolist() == [1, 2, 3, 4]  # in the file each of them once
    assert len(trainer.table("best.csv")) == 1


def test_a_checkpoint_is_due_when_it_takes_a_hundredth_of_the_time_since_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("llm_tool.trainers.checkpoint.time.perf_counter", lambda: now[0])
    checkpoint = Checkpoint(tmp_path / "checkpoint", "mark")
    small, large = torch.nn.Linear(8, 8), torch.nn.Linear(5000, 5000)  # four times 100 MB

    assert checkpoint.is_due(small)
    assert not checkpoint.is_due(large)
    now[0] += 39
    assert not checkpoint.is_due(large)
    now[0] += 2
    assert checkpoint.is_due(large)


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "checkpoint.json").write_text('{"fingerprint": '),
        lambda folder: (folder / "checkpoint.json").unlink(),
        lambda folder: next(folder.glob("best-*")).write_bytes(b"torn"),
        lambda folder: next(folder.glob("best-*")).unlink(),
    ],
)
def test_without_a_usable_checkpoint_a_job_begins_again_and_its_old_rows_go(
    trainer: Trainer, damage: Callable[[Path], object]
) -> None:
    attempts = Attempts(trainer, {"epochs": 3, "learning_rate": 1e-2})
    attempts.go("whole")
    expected = attempts.left()
    attempts.go("broken", lambda event: isinstance(event, EpochEnded) and event.epoch == 2)
    damage(attempts.checkpoint())
    table = read_metrics(trainer.category / "training.csv")
    assert table["epoch"].tolist() == [1, 2]

    counted: list[int] = []

    def count(event: Event) -> bool:
        if isinstance(event, JobStarted):
            counted.append(len(read_metrics(trainer.category / "training.csv")))
        return False

    attempts.go("broken", count)
    assert counted == [0]  # what a new beginning takes back is gone before its first epoch
    assert same(attempts.left(), expected)


def test_a_checkpoint_without_its_last_state_says_what_to_do(trainer: Trainer) -> None:
    attempts = Attempts(trainer, {"epochs": 3})
    attempts.go("broken", lambda event: isinstance(event, EpochEnded) and event.epoch == 2)
    next(attempts.checkpoint().glob("state-*")).unlink()

    with pytest.raises(StudioError, match="damaged") as caught:
        attempts.go("broken")
    assert "Delete the folder" in caught.value.remedy


@pytest.mark.parametrize("change", [{"learning_rate": 1e-3}, {"epochs": 5}, {"batch_size": 4}])
def test_a_checkpoint_of_other_settings_is_refused(
    trainer: Trainer, change: dict[str, Any]
) -> None:
    attempts = Attempts(trainer, {"epochs": 3})
    attempts.go("broken", lambda event: isinstance(event, EpochEnded))
    before = attempts.left()

    with pytest.raises(StudioError, match="other data or settings"):
        attempts.go("broken", **change)
    assert same(attempts.left(), before)


def test_a_checkpoint_of_other_rows_is_refused(trainer: Trainer) -> None:
    attempts = Attempts(trainer, {"epochs": 3})
    attempts.go("broken", lambda event: isinstance(event, EpochEnded))

    with pytest.raises(StudioError, match="other data or settings"):
        attempts.go("broken", data=trainer.data(train=range(1, 32)))


def test_the_best_weights_outlive_worse_epochs_and_no_other_file_does(trainer: Trainer) -> None:
    names: list[set[str]] = []

    def look(event: Event) -> bool:
        if isinstance(event, EpochEnded):
            names.append({path.name for path in attempts.checkpoint().iterdir()})
        return False

    attempts = Attempts(trainer, {"epochs": 3, "learning_rate": 1e-2})
    trainer_model = trainer.model(sure=True)  # its F1 stays equal: the first epoch is the best
    attempts.go("whole", look, model=trainer_model)

    index = "checkpoint.json"
    assert names == [
        {index, "best-1.safetensors", "state-1.safetensors"},
        {index, "best-1.safetensors", "state-2.safetensors"},
        {index, "best-1.safetensors"},  # after the last epoch only the best counts
    ]


def test_a_checkpoint_holds_numbers_and_text_only(trainer: Trainer) -> None:
    attempts = Attempts(trainer, {"epochs": 3})
    attempts.go("broken", lambda event: isinstance(event, EpochEnded))

    index = json.loads((attempts.checkpoint() / "checkpoint.json").read_text("utf-8"))
    best = load_file(attempts.checkpoint() / index["files"]["best"])
    state = load_file(attempts.checkpoint() / index["files"]["state"])
    assert best["logits"].numpy().dtype == np.float32
    assert "random.cpu" in state
    parameters = {name for name, _ in trainer.model().named_parameters()}
    assert {f"model.{name}" for name in parameters} <= best.keys()
    moments = [name for name in state if name.startswith("optimizer.")]
    assert len(moments) == 3 * len(parameters)  # step, mean and variance of each


def test_a_checkpoint_that_cannot_be_written_stops_before_the_epoch_is_recorded(
    trainer: Trainer,
) -> None:
    attempts = Attempts(trainer, {"epochs": 3})

    def in_the_way(event: Event) -> bool:
        if isinstance(event, JobStarted):
            attempts.checkpoint().write_text("a file")
        return False

    with pytest.raises(DiskError, match="Saving the checkpoint failed") as caught:
        attempts.go("broken", in_the_way)
    assert CHECKPOINT in caught.value.where
    assert not trainer.epochs
    assert TASK.category == trainer.category.name
