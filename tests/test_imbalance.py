"""Rare classes: how often their rows are drawn, how much they weigh, and that the plan says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console
from torch.nn.functional import cross_entropy
from torch.optim.optimizer import register_optimizer_step_pre_hook

from llm_tool.config import RunConfig, TrainingSettings, make_config
from llm_tool.data.dataset import Dataset
from llm_tool.data.tokens import Examples, draw_rows
from llm_tool.events import BatchEnded, WeakClass
from llm_tool.execution.estimate import job_seconds
from llm_tool.modes.planning import prepare
from llm_tool.plan import Job, Plan, Task
from llm_tool.studio.panels import show_plan
from llm_tool.trainers.imbalance import Effect, drawn_share, effects, row_draws, row_weights
from llm_tool.trainers.reinforcement import class_shares, normal_course, reinforced_course
from tests.test_bert_base import CLASSES, TASK, Trainer, watched
from tests.test_estimate import PARTS, PROBE

MOOD = Job(Task("mood", "", ("bad", "fine", "good"), ()), "m", "m")


@pytest.fixture
def trainer(tiny_bert: Path, tmp_path: Path) -> Iterator[Trainer]:
    with watched(tiny_bert, tmp_path) as made:
        yield made


def settings(**chosen: Any) -> TrainingSettings:  # noqa: ANN401
    return TrainingSettings(epochs=2, **chosen).resolved(100, 16)


DRAWN = settings(oversample="balanced")
BOTH = settings(oversample="balanced", class_weights="balanced")


def rows(labels: Sequence[Any]) -> Examples:
    ids = [np.ones(3, dtype=np.int32)] * len(labels)
    return Examples(
        ids, np.array(labels), [""] * len(labels), range(len(labels)), [""] * len(labels)
    )


def test_rows_are_drawn_until_their_class_is_as_frequent_as_the_most_frequent_one() -> None:
    labels = np.array([0] * 12 + [1] * 5 + [2] * 4)

    draws = row_draws(labels, DRAWN)

    assert np.bincount(labels, weights=draws).tolist() == pytest.approx([12, 12, 12])
    assert draws[labels == 0].tolist() == [1] * 12
    times = [np.bincount(labels[draw_rows(draws, np.random.default_rng(i))]) for i in range(5)]
    assert [list(own) for own in times] == [[12, 12, 12]] * 5
    assert row_draws(labels, settings()).tolist() == [1] * 21


def test_no_row_is_drawn_more_than_ten_times_in_an_epoch() -> None:
    labels = np.array([0] * 30 + [1])

    assert row_draws(labels, DRAWN).tolist() == [1] * 30 + [10]


def test_a_class_of_which_there_is_no_training_row_does_not_matter() -> None:
    assert row_draws(np.array([0, 0, 2]), DRAWN).tolist() == [1, 1, 2]
    assert row_weights(np.array([0, 0, 2]), settings(class_weights="balanced")).tolist() == (
        pytest.approx([0.75, 0.75, 1.5])
    )


def test_a_row_with_several_labels_is_drawn_as_often_as_the_rarest_asks_for() -> None:
    labels = np.array([[1, 0, 0]] * 6 + [[1, 1, 0], [1, 1, 1]] + [[0, 0, 0]])

    # Eight rows have the first label, two the second, one the third.
    assert row_draws(labels, DRAWN).tolist() == [1] * 6 + [4, 8] + [1]


def test_what_drawing_evens_out_is_not_evened_out_again_by_weights() -> None:
    labels = np.array([0] * 12 + [1] * 4)
    assert row_weights(labels, BOTH).tolist() == pytest.approx([1.0] * 16)

    capped = np.array([0] * 40 + [1] * 2)  # drawn ten times each: 20 against 40
    weights, draws = row_weights(capped, BOTH), row_draws(capped, BOTH)
    assert weights[[0, 41]].tolist() == pytest.approx([0.75, 1.5])
    sums = np.bincount(capped, weights=weights * draws)
    assert sums[0] == pytest.approx(sums[1])
    assert np.average(weights, weights=draws) == pytest.approx(1)


def test_weak_classes_are_drawn_more_often_on_top_of_that() -> None:
    train, weak = rows([0, 0, 0, 0, 2]), (WeakClass("good", 0.1, 9),)

    assert normal_course(train, DRAWN).draws.tolist() == [1, 1, 1, 1, 4]
    assert reinforced_course(MOOD, weak, train, DRAWN, 3).draws.tolist() == [1, 1, 1, 1, 8]


def test_a_new_head_starts_from_the_shares_as_they_are_drawn() -> None:
    train, law = rows([0] * 9 + [1] * 3), Job(Task("areas", "law", ("not_law", "law")), "m", "m")

    assert class_shares(law, train, settings()).tolist() == [0.75, 0.25]
    for even in (DRAWN, BOTH, settings(class_weights="balanced")):
        assert class_shares(law, train, even).tolist() == pytest.approx([0.5, 0.5])


def is_rare(row: int) -> int:
    return int(row % 8 == 0)


def test_only_training_rows_are_drawn_more_often(trainer: Trainer) -> None:
    data = trainer.data(is_rare)  # 4 of 32 training rows, 1 of 8 in each other part
    result = trainer.train(data=data, epochs=2, batch_size=8, oversample="balanced")

    ends = [event for event in trainer.heard(BatchEnded) if event.batch == event.batches]
    assert [event.batches for event in ends] == [7, 7]  # 28 + 7 * 4 rows in batches of eight
    lengths, rare = data.train.lengths, data.train.labels == 1
    tokens = int(lengths[~rare].sum() + 7 * lengths[rare].sum())
    assert [event.tokens for event in ends] == [tokens, tokens]
    assert [c.support for c in result.best.scores.classes] == [7, 1]
    assert result.test is not None
    assert [c.support for c in result.test.classes] == [7, 1]
    recorded = pd.read_parquet(trainer.category / "runs" / "j0001" / "predictions.parquet")
    assert recorded["row"].tolist() == list(range(32, 48))
    split = pd.read_parquet(trainer.category / "runs" / "j0001" / "split.parquet")
    assert split["row"].tolist() == list(range(48))


def test_drawing_rare_rows_more_often_makes_a_model_say_their_class_more(trainer: Trainer) -> None:
    shares = {}
    for how in ("none", "balanced"):
        trainer.train(
            trainer.model(dropout=False),
            data=trainer.data(is_rare),
            epochs=1,
            batch_size=4,
            learning_rate=2e-2,
            precision="float32",
            oversample=how,
            session_id=f"20260102_12000{len(shares)}",
        )
        path = trainer.folder / "logs" / f"20260102_12000{len(shares)}" / "sentiment"
        recorded = pd.read_parquet(path / "runs" / "j0001" / "predictions.parquet")
        shares[how] = recorded[f"probability_{CLASSES[1]}"].mean()

    assert shares["balanced"] > shares["none"] + 0.1


def test_a_rare_class_weighs_more_also_where_a_batch_is_one_text(trainer: Trainer) -> None:
    data, seen = trainer.data(is_rare), []
    model = trainer.model(dropout=False)
    model.config.hidden_dropout_prob = 0.0
    before = {n: p.detach().clone() for n, p in model.named_parameters()}

    def keep(*_: object) -> None:
        seen.append(model.classifier.bias.grad.clone())
        for name, parameter in model.named_parameters():
            parameter.data.copy_(before[name])

    handle = register_optimizer_step_pre_hook(keep)
    options: dict[str, Any] = {"epochs": 1, "batch_size": 1, "learning_rate": 1e-12,
                               "max_grad_norm": 1e9, "weight_decay": 0.0, "data": data,
                               "precision": "float32"}  # fmt: skip
    trainer.train(model, **options)
    plain, seen = seen, []
    trainer.train(model, class_weights="balanced", **options)
    handle.remove()

    ratios = {round(float(w[0] / p[0]), 3) for p, w in zip(plain, seen, strict=True)}
    assert ratios == {round(32 / 2 / 28, 3), round(32 / 2 / 4, 3)}


def test_the_mean_of_all_batches_is_the_weighted_loss_of_all_rows() -> None:
    labels = np.array([0] * 12 + [1] * 4)
    course = normal_course(rows(labels), settings(class_weights="balanced"))
    logits, truth = torch.randn(16, 2), torch.from_numpy(labels)
    each = cross_entropy(logits, truth, reduction="none").numpy() * course.weights

    for size in (1, 2, 4, 16):
        batches = np.random.default_rng(size).permutation(16).reshape(-1, size)
        mean = np.mean([each[batch].sum() / course.weight_of(batch) for batch in batches])
        assert mean == pytest.approx(each.mean(), rel=1e-5)
    none = normal_course(rows(labels), settings())
    assert none.weight_of(np.arange(5)) == np.float32(5)


def test_an_estimate_counts_rows_as_often_as_they_are_drawn() -> None:
    config = make_config({"epochs": 1, "batch_size": 16})
    once, thrice = (job_seconds(PROBE, PARTS, config, drawn=times) for times in (1.0, 3.0))

    training = 5 * 0.5 + 800 * 0.01
    assert thrice - once == pytest.approx(2 * training * 1.01, rel=0.01)


@pytest.fixture
def planned(tmp_path: Path, tiny_bert: Path) -> Callable[..., tuple[RunConfig, Dataset, Plan]]:
    """Return a function that plans on 200 rows, of which 20 are fine, and 7 are good."""

    def make(**chosen: object) -> tuple[RunConfig, Dataset, Plan]:
        moods = ["bad"] * 173 + ["fine"] * 20 + ["good"] * 7
        areas = [("law", "vote", "law;vote", "")[i % 4] if i % 5 else "sea" for i in range(200)]
        table = pd.DataFrame({"mood": moods, "areas": areas})
        table["text"] = [f"text number {i}" for i in range(200)]
        path = tmp_path / "speeches.csv"
        table.to_csv(path, index=False)
        config = make_config(
            {"data": str(path), "label": "mood", "model": str(tiny_bert), "epochs": 1, **chosen}
        )
        return config, *prepare(config)

    return make


def said(config: RunConfig, dataset: Dataset, plan: Plan) -> str:
    console = Console(file=StringIO(), width=300)
    show_plan(console, plan, config, dataset)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_the_plan_says_how_often_rows_are_drawn_and_how_many_texts_that_makes(
    planned: Callable[..., Any],
) -> None:
    config, dataset, plan = planned(oversample="balanced")
    train = plan.parts[0].train
    counts = {name: sum(dataset.keys["mood"].values[row] == (name,) for row in train)
              for name in ("bad", "fine", "good")}  # fmt: skip
    drawn = {name: min(10.0, counts["bad"] / number) for name, number in counts.items()}
    assert drawn["good"] == 10 > drawn["fine"] > 5

    assert effects(plan.jobs[0], dataset, train, config) == tuple(
        Effect(name, pytest.approx(drawn[name]), 1.0) for name in counts
    )
    texts = round(sum(drawn[name] * counts[name] for name in counts))
    assert drawn_share(plan.jobs[0], dataset, train, config) * len(train) == pytest.approx(texts)
    text = said(config, dataset, plan)
    assert (
        f"Rows of rare classes are drawn more often: good 10 times (the most), "
        f"fine {drawn['fine']:.3g} times. An epoch is {texts} texts in place of {len(train)}.\n"
    ) in text
    assert "weigh more" not in text


def test_the_plan_says_what_rare_classes_weigh(planned: Callable[..., Any]) -> None:
    config, dataset, plan = planned(class_weights="balanced")
    found = {e.name: e.weight for e in effects(plan.jobs[0], dataset, plan.parts[0].train, config)}

    assert found["good"] > found["fine"] > 1 > found["bad"]
    assert (
        f"Rare classes weigh more in the loss (1 on average): good {found['good']:.3g}, "
        f"fine {found['fine']:.3g}.\n"
    ) in said(config, dataset, plan)


def test_a_plan_that_draws_every_row_once_says_nothing_of_it(planned: Callable[..., Any]) -> None:
    text = said(*planned())

    assert "rare" not in text.lower()


def test_of_many_classes_the_plan_names_the_rarest_and_of_which_job(
    planned: Callable[..., Any],
) -> None:
    config, dataset, plan = planned(
        label=["mood", "areas"], mode="distributed", oversample="balanced", small_classes="drop"
    )
    (line,) = [one for one in said(config, dataset, plan).splitlines() if "drawn more" in one]

    assert len(plan.jobs) > 4
    assert line.startswith("Rows of rare classes are drawn more often: good 10 times (the most), ")
    assert " more less. An epoch of all jobs is " in line
    assert "bad not_bad" in line  # of the job that tells the frequent class from all others
    whole = sum(len(parts.train) for parts in plan.parts)
    assert line.endswith(f"in place of {whole:,}.")


def test_a_shared_encoder_is_told_of_by_its_labels(planned: Callable[..., Any]) -> None:
    config, dataset, plan = planned(
        label="areas", mode="distributed", shared_encoder=True, oversample="balanced"
    )
    (job,) = plan.jobs

    found = effects(job, dataset, plan.parts[0].train, config)

    assert [effect.name for effect in found] == list(job.task.classes)
    assert max(effect.draws for effect in found) > 1
    assert "Rows of rare classes are drawn more often: " in said(config, dataset, plan)


def test_a_job_of_a_task_without_rare_classes_draws_each_row_once() -> None:
    job = replace(MOOD, task=replace(TASK, label_key="mood"))
    values = tuple((CLASSES[i % 2],) for i in range(10))
    key = type("Key", (), {"values": values})()
    dataset: Any = type("Data", (), {"keys": {"mood": key}})()

    assert drawn_share(job, dataset, range(10), DRAWN) == 1.0
    assert {e.draws for e in effects(job, dataset, range(10), DRAWN)} == {1.0}
