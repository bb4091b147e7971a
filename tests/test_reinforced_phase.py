"""The reinforced phase as it runs: told, recorded, kept only when it is better."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from llm_tool.config import TrainingSettings
from llm_tool.events import (
    BatchEnded,
    EpochEnded,
    Event,
    JobEnded,
    JobStarted,
    ReinforcementEnded,
    ReinforcementSkipped,
    ReinforcementStarted,
    RunEnded,
    RunStarted,
    WeakClass,
)
from llm_tool.logs.journal import read_events
from llm_tool.logs.summary import describe
from llm_tool.trainers.forward import predict_logits
from llm_tool.trainers.pretrained import load_tokenizer
from llm_tool.trainers.reinforcement import (
    Course,
)
from tests.test_bert_base import CLASSES, PARTS, TEXTS, Trainer, watched
from tests.test_local_run import Runner


@pytest.fixture
def trainer(tiny_bert: Path, tmp_path: Path) -> Iterator[Trainer]:
    with watched(tiny_bert, tmp_path) as made:
        yield made


def validation_logits(result: JobEnded) -> torch.Tensor:
    """Return what plain transformers make of the validation texts with the saved folder."""
    tokenizer = AutoTokenizer.from_pretrained(result.saved_model_path)
    model = AutoModelForSequenceClassification.from_pretrained(result.saved_model_path)
    texts = [TEXTS[row] for row in PARTS["validation"]]
    with torch.inference_mode():
        logits: torch.Tensor = model(**tokenizer(texts, padding=True, return_tensors="pt")).logits
    return logits


def test_class_weights_change_what_is_learned(trainer: Trainer) -> None:
    likely = {}
    for how in ("none", "balanced"):
        data = trainer.data(lambda row: int(row % 4 == 0))
        options = {
            "precision": "float32",
            "epochs": 1,
            "batch_size": 4,
            "learning_rate": 2e-2,
            "class_weights": how,
        }
        result = trainer.train(trainer.model(dropout=False), data=data, **options)
        likely[how] = float(torch.softmax(validation_logits(result), dim=1)[:, 1].mean())

    assert likely["none"] < 0.4
    assert likely["balanced"] > likely["none"] + 0.1  # the rare class is likelier


# From here on with a model that says "bad, not good" to everything, so that "good" is weak.
BASE: dict[str, Any] = {
    "reinforced": True,
    "epochs": 2,
    "learning_rate": 1e-6,
    "batch_size": 8,
    "warmup_share": 0.0,
    "precision": "float32",
    "reinforced_learning_rate": 1e-5,
}


LEARNS: dict[str, Any] = {
    "batch_size": 4,
    "reinforced_learning_rate": 1e-2,
    "reinforced_epochs": 8,
}


def reinforce(trainer: Trainer, **settings: Any) -> JobEnded:  # noqa: ANN401
    return trainer.train(trainer.model(sure=True, dropout=False), **{**BASE, **settings})


def started(trainer: Trainer) -> ReinforcementStarted:
    (event,) = trainer.heard(ReinforcementStarted)
    return event


def ended(trainer: Trainer) -> ReinforcementEnded:
    (event,) = trainer.heard(ReinforcementEnded)
    return event


def test_the_phase_is_told_and_recorded_in_order(trainer: Trainer) -> None:
    reinforce(trainer, reinforced_epochs=3)

    told = [event for event in trainer.told if not isinstance(event, BatchEnded)]
    assert [type(event) for event in told] == [
        JobStarted,
        *[EpochEnded] * 2,
        ReinforcementStarted,
        *[EpochEnded] * 3,
        ReinforcementEnded,
        JobEnded,
    ]
    journal = read_events(trainer.category / "runs" / "j0001" / "journal.jsonl")
    assert list(journal) == told
    assert started(trainer) == ReinforcementStarted(
        job=started(trainer).job,
        threshold=0.6,
        weak=(WeakClass("good", 0.0, 4),),
        from_epoch=1,
        epochs=3,
        learning_rate=1e-5,
        oversampling=2.0,
        class_weight=2.0,
    )
    table = trainer.table()
    assert table["epoch"].tolist() == [1, 2, 3, 4, 5]
    assert table["training_phase"].tolist() == ["normal"] * 2 + ["reinforced"] * 3
    assert [(b.epoch, b.epochs) for b in trainer.heard(BatchEnded) if b.batch == 1] == [
        *((1, 2), (2, 2), (3, 5), (4, 5), (5, 5))
    ]


def test_without_the_switch_there_is_no_such_phase(trainer: Trainer) -> None:
    reinforce(trainer, reinforced=False)

    assert [type(e) for e in trainer.told if not isinstance(e, BatchEnded)] == [
        *(JobStarted, EpochEnded, EpochEnded, JobEnded)
    ]
    assert trainer.table()["training_phase"].tolist() == ["normal", "normal"]


def test_the_rate_of_the_phase_is_its_own_and_falls_to_zero(trainer: Trainer) -> None:
    reinforce(trainer, learning_rate=1e-6, reinforced_learning_rate=1e-4, batch_size=48)

    # One step an epoch; the weak rows are drawn twice, which still fits into one batch.
    assert trainer.rates == pytest.approx([1e-6, 5e-7, 1e-4, 5e-5])
    assert trainer.table()["learning_rate"].tolist() == pytest.approx(trainer.rates)


@pytest.mark.parametrize("factor", [1.0, 3.0, 2.5])
def test_the_rows_of_the_weak_class_are_drawn_as_often_as_asked(
    trainer: Trainer, factor: float
) -> None:
    reinforce(trainer, reinforced_oversampling=factor, reinforced_epochs=3)

    train = trainer.data().train
    weak = train.labels == 1
    lengths = train.lengths
    drawn = round(weak.sum() * factor) + (~weak).sum()
    last = {b.epoch: b for b in trainer.heard(BatchEnded)}
    assert [last[e].batches for e in (1, 2)] == [4, 4]
    assert [last[e].batches for e in (3, 4, 5)] == [-(-drawn // 8)] * 3
    assert [last[e].tokens for e in (1, 2)] == [lengths.sum()] * 2
    tokens = [last[e].tokens for e in (3, 4, 5)]
    if factor == int(factor):
        assert tokens == [lengths[~weak].sum() + factor * lengths[weak].sum()] * 3
    else:  # half of them three times: others in each epoch
        assert min(tokens) > lengths[~weak].sum() + 2 * lengths[weak].sum()
        assert max(tokens) < lengths[~weak].sum() + 3 * lengths[weak].sum()


def test_the_loss_of_the_phase_is_weighted_by_draws_and_class(trainer: Trainer) -> None:
    model, data = trainer.model(sure=True, dropout=False), trainer.data()
    logits = torch.from_numpy(predict_logits(model, load_tokenizer(trainer.source)[0], data.train))
    losses = cross_entropy(logits, torch.from_numpy(data.train.labels), reduction="none").numpy()

    trainer.train(
        model,
        **{**BASE, "learning_rate": 1e-9, "reinforced_learning_rate": 1e-9},
        reinforced_oversampling=3.0,
        reinforced_class_weight=5.0,
    )

    losses_told = [epoch.train_loss for epoch in trainer.epochs]
    weights = np.where(data.train.labels == 1, 15.0, 1.0)
    assert losses_told[:2] == pytest.approx([losses.mean()] * 2, abs=1e-5)
    assert losses_told[2:] == pytest.approx([np.average(losses, weights=weights)] * 2, abs=1e-5)
    assert losses_told[2] > losses_told[0] + 0.1


def test_epochs_go_on_counting_after_early_stopping_which_the_phase_has_too(
    trainer: Trainer,
) -> None:
    reinforce(trainer, epochs=9, patience=2, reinforced_epochs=9, reinforced_learning_rate=1e-6)

    # Nothing changes: the first epoch is the best of each course, and two more are waited for.
    table = trainer.table()
    assert table["epoch"].tolist() == [1, 2, 3, 4, 5, 6]
    assert table["training_phase"].tolist() == ["normal"] * 3 + ["reinforced"] * 3
    assert started(trainer).from_epoch == 1
    assert started(trainer).epochs == 9


def saved_loss(result: JobEnded) -> float:
    labels = torch.tensor([row % 2 for row in PARTS["validation"]])
    return float(cross_entropy(validation_logits(result), labels))


@pytest.mark.parametrize("monitor", ["f1_macro", "val_loss"])
def test_a_phase_that_is_better_is_kept(trainer: Trainer, monitor: str) -> None:
    result = reinforce(trainer, monitor=monitor, **LEARNS)

    over = ended(trainer)
    assert over.kept
    assert result.best.training_phase == "reinforced"
    assert result.best.is_best
    normal, reinforced = trainer.epochs[:2], trainer.epochs[2:]
    better = min if monitor == "val_loss" else max
    assert over.before == better(epoch.selection_value for epoch in normal)
    assert over.after == better(epoch.selection_value for epoch in reinforced)
    assert over.after == result.best.selection_value != over.before
    best = trainer.table("best.csv").iloc[0]
    assert best["training_phase"] == "reinforced"
    assert best["epoch"] == result.best.epoch > 2
    assert best["saved_model_path"] == result.saved_model_path
    assert saved_loss(result) == pytest.approx(result.best.val_loss, abs=1e-5)


def test_a_phase_that_is_no_better_is_not_kept(trainer: Trainer) -> None:
    result = reinforce(trainer, reinforced_learning_rate=1.0)  # which ruins every weight

    over = ended(trainer)
    assert not over.kept
    assert over.after <= over.before
    losses = [epoch.val_loss for epoch in trainer.epochs]
    assert min(losses[2:]) > losses[0] + 0.1
    assert [epoch.is_best for epoch in trainer.epochs] == [True, False, False, False]
    assert (result.best.epoch, result.best.training_phase) == (1, "normal")
    best = trainer.table("best.csv").iloc[0]
    assert (best["epoch"], best["training_phase"]) == (1, "normal")
    assert saved_loss(result) == pytest.approx(losses[0], abs=1e-5)
    recorded = pd.read_parquet(trainer.category / "runs" / "j0001" / "predictions.parquet")
    validation = recorded[recorded["part"] == "validation"]
    shares = torch.softmax(validation_logits(result), dim=1).numpy()
    columns = [f"probability_{name}" for name in CLASSES]
    np.testing.assert_allclose(validation[columns].to_numpy(), shares, atol=1e-5)


def test_a_phase_whose_loss_is_not_finite_breaks_off_and_costs_nothing(trainer: Trainer) -> None:
    result = reinforce(trainer, unchecked={"reinforced_learning_rate": 1e30})

    over = ended(trainer)
    assert not over.kept
    assert math.isnan(over.after)
    assert "loss was not finite; the model before it is kept" in describe(over)
    assert {epoch.training_phase for epoch in trainer.epochs} == {"normal"}
    best = min(trainer.epochs, key=lambda epoch: epoch.selection_value * -1)
    assert result.best.epoch == best.epoch
    assert saved_loss(result) == pytest.approx(result.best.val_loss, abs=1e-5)


def test_what_was_gained_is_told_class_by_class(trainer: Trainer) -> None:
    reinforce(trainer, **LEARNS)

    over = ended(trainer)
    before = trainer.epochs[0].scores.classes
    after = max(trainer.epochs[2:], key=lambda epoch: epoch.selection_value).scores.classes
    assert [(g.name, g.before, g.after, g.weak) for g in over.gains] == [
        (CLASSES[0], before[0].f1, after[0].f1, False),
        (CLASSES[1], 0.0, after[1].f1, True),
    ]


def test_where_no_class_is_weak_the_phase_is_left_out_and_that_is_told(trainer: Trainer) -> None:
    settings = {**BASE, "learning_rate": 5e-3, "batch_size": 4, "epochs": 6}
    result = trainer.train(trainer.model(dropout=False), **settings)

    assert min(c.f1 or 0.0 for c in result.best.scores.classes) > 0.6
    (skipped,) = trainer.heard(ReinforcementSkipped)
    assert skipped == ReinforcementSkipped(skipped.job, 0.6)
    assert not trainer.heard(ReinforcementStarted)
    assert trainer.table()["training_phase"].tolist() == ["normal"] * 6


SETTINGS = {
    "reinforced_threshold": 0.7,  # the F1 of "bad, not good" is two thirds
    "reinforced_epochs": 3,
    "reinforced_learning_rate": 1e-4,
    "reinforced_oversampling": 3.0,
    "reinforced_class_weight": 5.0,
}


def test_all_settings_of_the_phase_are_tried_here() -> None:
    fields = {name for name in TrainingSettings.model_fields if name.startswith("reinforced_")}
    assert fields == SETTINGS.keys()


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_of_the_phase_is_used(trainer: Trainer, name: str) -> None:
    reinforce(trainer)
    usual, epochs = started(trainer), trainer.epochs
    trainer.told.clear()
    reinforce(trainer, **{name: SETTINGS[name]})

    told = {name.removeprefix("reinforced_"): value for name, value in SETTINGS.items()}
    asked = name.removeprefix("reinforced_")
    assert getattr(started(trainer), asked) == told[asked] != getattr(usual, asked)
    now = trainer.epochs
    assert [e.train_loss for e in now[:2]] == [e.train_loss for e in epochs[:2]]
    assert [e.train_loss for e in now[2:]] != [e.train_loss for e in epochs[2:]]
    assert [e.val_loss for e in now[2:]] != [e.val_loss for e in epochs[2:]]
    same = {"threshold", "epochs", "learning_rate", "oversampling", "class_weight"} - {asked}
    assert all(getattr(started(trainer), other) == getattr(usual, other) for other in same)
    weak = [w.name for w in started(trainer).weak]
    assert weak == (["good", CLASSES[0]] if asked == "threshold" else ["good"])


def test_the_phase_starts_from_the_best_weights(trainer: Trainer) -> None:
    # Each epoch of this rate ruins the model; the phase, which changes nothing, shows where it is.
    reinforce(
        trainer, learning_rate=0.5, epochs=3, reinforced_learning_rate=1e-9, monitor="val_loss",
        reinforced_threshold=1.0,
    )  # fmt: skip

    losses = [epoch.val_loss for epoch in trainer.epochs]
    best = min(losses[:3])
    assert sorted(losses[:3])[1] > best + 0.01
    assert losses[3:] == pytest.approx([best, best], abs=1e-4)
    assert started(trainer).from_epoch == losses.index(best) + 1


def test_a_reinforced_training_repeats_with_its_seed(trainer: Trainer) -> None:
    for seed in (1, 1, 2):
        model = trainer.model(sure=True)
        torch.rand(len(trainer.told) + 1)
        trainer.train(model, seed=seed, **{**BASE, "reinforced_oversampling": 2.5})

    losses = [epoch.train_loss for epoch in trainer.epochs]
    assert losses[:4] == losses[4:8]
    assert not set(losses[:4]) & set(losses[8:])


@pytest.mark.parametrize(
    "how", [{"mode": "reinforced"}, {"mode": "quick", "reinforced": True}], ids=str
)
def test_the_mode_and_the_switch_do_the_same(
    tmp_path: Path, tweets: Path, tiny_bert: Path, how: dict[str, Any]
) -> None:
    runner = Runner(tmp_path, tweets, (str(tiny_bert),))
    runner.run(**how, learning_rate=1e-6, epochs=1, reinforced_epochs=1, reinforced_threshold=0.99)

    kinds: list[type[Event]] = [RunStarted, JobStarted, EpochEnded]
    kinds += [ReinforcementStarted, EpochEnded, ReinforcementEnded, JobEnded, RunEnded]
    assert runner.kinds() == kinds
    assert runner.table()["training_phase"].tolist() == ["normal", "reinforced"]
    assert runner.table()["epoch"].tolist() == [1, 2]


def test_a_course_knows_its_last_epoch() -> None:
    nothing = np.ones(1)
    assert Course("reinforced", 4, 2, 1e-3, nothing, nothing.astype(np.float32)).last_epoch == 5
