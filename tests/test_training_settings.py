"""What each setting of a training does to the real optimiser, and what stops a training."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from llm_tool.config import TrainingSettings
from llm_tool.data.tokens import Examples
from llm_tool.errors import StudioError
from llm_tool.events import BatchEnded, EpochEnded, Event, JobStarted
from tests.test_bert_base import Trainer, watched


@pytest.fixture
def trainer(tiny_bert: Path, tmp_path: Path) -> Iterator[Trainer]:
    with watched(tiny_bert, tmp_path) as made:
        yield made


@pytest.mark.parametrize(
    ("warmup", "shares"),
    [
        (0.0, [1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8]),
        (0.5, [0, 1 / 4, 2 / 4, 3 / 4, 1, 3 / 4, 2 / 4, 1 / 4]),
    ],
)
def test_the_rate_rises_in_the_warm_up_and_falls_to_zero(
    trainer: Trainer, warmup: float, shares: list[float]
) -> None:
    trainer.train(epochs=2, batch_size=8, learning_rate=1e-3, warmup_share=warmup)

    assert trainer.rates == pytest.approx([1e-3 * share for share in shares])
    assert trainer.table()["learning_rate"].tolist() == pytest.approx(
        [1e-3 * shares[3], 1e-3 * shares[7]]
    )


def test_a_higher_rate_moves_the_weights_further(trainer: Trainer) -> None:
    def moved(rate: float) -> float:
        model = trainer.model()
        before = model.classifier.weight.detach().clone()
        trainer.train(model, epochs=1, learning_rate=rate)
        return float((model.classifier.weight.detach() - before).norm())

    assert moved(1e-2) > 3 * moved(1e-3) > 0


def test_weights_decay_and_biases_and_norms_do_not(trainer: Trainer) -> None:
    trainer.train(epochs=1, weight_decay=0.3)

    assert {decay for ndim, decay in trainer.decays if ndim > 1} == {0.3}
    assert {decay for ndim, decay in trainer.decays if ndim <= 1} == {0.0}
    assert len(trainer.decays) == len(list(trainer.model().parameters()))


@pytest.mark.parametrize("limit", [1e-3, 1e-2])
def test_gradients_are_clipped_to_the_norm(trainer: Trainer, limit: float) -> None:
    trainer.train(trainer.model(sure=True), epochs=1, max_grad_norm=limit)

    assert trainer.norms == pytest.approx([limit] * len(trainer.norms), rel=1e-3)


def test_gradients_under_the_norm_stay_as_they_are(trainer: Trainer) -> None:
    trainer.train(trainer.model(sure=True), epochs=1, max_grad_norm=1e9)

    assert all(0.05 < norm < 1e6 for norm in trainer.norms)


@pytest.mark.parametrize(("size", "steps"), [(32, 1), (10, 4), (1, 32), (1000, 1)])
def test_a_step_is_one_batch_and_an_epoch_every_row_once(
    trainer: Trainer, size: int, steps: int
) -> None:
    trainer.train(epochs=2, batch_size=size)

    batches = [event for event in trainer.told if isinstance(event, BatchEnded)]
    assert [(b.epoch, b.batch, b.batches) for b in batches] == [
        (epoch, number, steps) for epoch in (1, 2) for number in range(1, steps + 1)
    ]
    assert len(trainer.rates) == 2 * steps
    tokens = sum(trainer.data().train.lengths)
    assert [b.tokens for b in batches if b.batch == steps] == [tokens, tokens]


def test_the_seed_of_a_job_orders_its_rows(trainer: Trainer) -> None:
    for seed in (1, 1, 2):
        trainer.train(trainer.model(dropout=False), seed=seed, epochs=1, batch_size=4)

    first, again, other = (epoch.train_loss for epoch in trainer.epochs)
    assert first == again != other


@pytest.mark.parametrize("threads", [1, 2])
def test_a_job_runs_on_the_threads_it_was_given(trainer: Trainer, threads: int) -> None:
    seen = set()
    trainer.train(epochs=1, threads=threads, on_event=lambda _: seen.add(torch.get_num_threads()))

    assert threads in seen
    assert torch.get_num_threads() == threads


def test_what_is_not_set_is_derived_and_told(trainer: Trainer) -> None:
    trainer.train(epochs=None)

    started = trainer.told[0]
    assert isinstance(started, JobStarted)
    derived = TrainingSettings().resolved(train_rows=32, hidden_size=16)
    assert (started.epochs, started.batch_size, started.learning_rate) == (
        derived.epochs,
        derived.batch_size,
        derived.learning_rate,
    )
    assert len(trainer.epochs) == started.epochs
    assert len([event for event in trainer.told if isinstance(event, BatchEnded)]) == (
        started.epochs * math.ceil(32 / started.batch_size)
    )


def test_without_test_rows_there_is_a_model_and_no_test_score(trainer: Trainer) -> None:
    result = trainer.train(data=trainer.data(test=range(0)))

    assert (result.test, result.f1_macro_low, result.f1_macro_high) == (None, None, None)
    row = trainer.table("best.csv").iloc[0]
    assert row[["f1_macro_low", "f1_macro_high", "test_f1_macro", "test_accuracy"]].isna().all()
    assert (Path(result.saved_model_path) / "model.safetensors").is_file()


@pytest.mark.parametrize("part", ["train", "validation"])
def test_a_job_without_rows_is_refused_and_leaves_nothing(trainer: Trainer, part: str) -> None:
    with pytest.raises(StudioError, match="no rows to train on or to validate with"):
        trainer.train(data=trainer.data(**{part: range(0)}))

    assert list(trainer.folder.iterdir()) == []


def test_a_row_is_recorded_before_a_display_is_told(trainer: Trainer) -> None:
    rows_when_told = []

    def show(event: Event) -> None:
        if isinstance(event, EpochEnded):
            rows_when_told.append(trainer.table()["epoch"].tolist())

    trainer.train(epochs=3, on_event=show)

    assert rows_when_told == [[1], [1, 2], [1, 2, 3]]


def test_a_display_that_crashes_costs_no_row(trainer: Trainer) -> None:
    def show(event: Event) -> None:
        raise RuntimeError("the window was closed")

    result = trainer.train(epochs=3, on_event=show)

    assert trainer.table()["epoch"].tolist() == [1, 2, 3]
    assert Path(result.saved_model_path).is_dir()


def test_a_training_loss_that_is_not_finite_stops_the_job(trainer: Trainer) -> None:
    model = trainer.model()
    model.classifier.bias.data[0] = math.nan

    with pytest.raises(StudioError, match=r"not finite any more \(epoch 1, batch 1\)") as caught:
        trainer.train(model)

    assert "--learning-rate" in caught.value.remedy
    assert not (trainer.folder / "models").exists()


def test_a_validation_loss_that_is_not_finite_stops_the_job(trainer: Trainer) -> None:
    # A word that only validation rows hold: training goes well, and validation cannot.
    data = trainer.data(train=range(8), validation=range(20, 28))

    def words(rows: Examples) -> set[int]:
        return {int(i) for ids in rows.token_ids for i in ids}

    own = words(data.validation) - words(data.train)
    assert own
    model = trainer.model()
    model.bert.embeddings.word_embeddings.weight.data[sorted(own)] = math.nan

    with pytest.raises(StudioError, match=r"not finite any more \(epoch 1, validation\)"):
        trainer.train(model, epochs=3, data=data)

    assert not list(trainer.category.glob("*.csv"))
    assert not (trainer.folder / "models").exists()


def test_bfloat16_rounds_in_training_and_scores_stay_in_float32(trainer: Trainer) -> None:
    losses = {}
    for precision in ("float32", "bfloat16"):
        trainer.told.clear()
        result = trainer.train(epochs=1, learning_rate=1e-8, precision=precision)
        started = next(event for event in trainer.told if isinstance(event, JobStarted))
        assert started.precision == precision
        losses[precision] = result.best
    one, other = losses["float32"], losses["bfloat16"]
    assert one.train_loss != other.train_loss
    assert one.train_loss == pytest.approx(other.train_loss, abs=0.01)
    assert one.val_loss == pytest.approx(other.val_loss, abs=1e-6)
