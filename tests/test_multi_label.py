"""Yes-or-no labels: what rows are taught as, two outputs for one, and the threshold of a yes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from llm_tool.data.columns import Columns
from llm_tool.data.dataset import Dataset, LabelKey
from llm_tool.plan import Job, Task
from llm_tool.trainers.multi_label_trainer import (
    Labels,
    Logits,
    best_threshold,
    each_task,
    label_array,
    predict,
    probabilities,
)
from tests.test_bert_base import PARTS, Trainer, watched

GOOD = Task("mood", "good", ("not_good", "good"), ("EN", "FR"))
AREAS = tuple(Task("areas", value, (f"not_{value}", value)) for value in ("law", "health", "vote"))
SHARED = Job(Task("areas", "", ("law", "health", "vote")), "m", "m", labels=AREAS)


@pytest.fixture
def trainer(tiny_bert: Path, tmp_path: Path) -> Iterator[Trainer]:
    with watched(tiny_bert, tmp_path) as made:
        yield made


@pytest.fixture
def dataset() -> Dataset:
    """Return five rows: with several areas, with one, and one without."""
    areas = (("law", "vote"), (), ("vote",), ("health",), ("lawyer",))
    moods = (("good",), ("bad",), ("fine",), ("good",), ("bad",))
    nothing = ("",) * 5
    return Dataset(
        name="table",
        sha256="",
        columns=Columns(text="text", labels=("areas", "mood")),
        texts=("a", "b", "c", "d", "e"),
        ids=nothing,
        languages=nothing,
        groups=nothing,
        parts=nothing,
        keys={
            "areas": LabelKey("areas", multi=True, values=areas),
            "mood": LabelKey("mood", multi=False, values=moods),
        },
    )


def test_a_row_is_a_yes_only_where_it_has_the_value_and_without_any_a_real_no(
    dataset: Dataset,
) -> None:
    every = [label_array(SHARED.of(task), dataset, range(5)).tolist() for task in AREAS]

    assert every == [[1, 0, 0, 0, 0], [0, 0, 0, 1, 0], [1, 0, 1, 0, 0]]


def test_a_class_is_its_position_in_the_task(dataset: Dataset) -> None:
    job = replace(SHARED, task=Task("mood", "", ("fine", "good", "bad")), labels=())

    assert label_array(job, dataset, [4, 0, 2]).tolist() == [2, 1, 0]


def test_a_shared_encoder_is_taught_all_labels_of_a_row_at_once(dataset: Dataset) -> None:
    taught = label_array(SHARED, dataset, [2, 0, 1])

    assert taught.tolist() == [[0, 0, 1], [1, 0, 1], [0, 0, 0]]
    assert taught.dtype == np.int64
    assert label_array(SHARED, dataset, []).shape == (0, 3)


outputs = st.floats(-60, 60, width=32)


@settings(deadline=None)  # the first call of torch takes its time
@given(st.lists(st.tuples(outputs, st.booleans()), min_size=1, max_size=20))
def test_one_output_and_two_outputs_of_a_label_say_the_same(rows: list[tuple[float, bool]]) -> None:
    single = np.array([[z] * 3 for z, _ in rows], dtype=np.float32)
    labels = np.array([[yes] * 3 for _, yes in rows], dtype=np.int64)

    seen = list(each_task(SHARED, single, labels))

    assert [task for task, _, _ in seen] == list(AREAS)
    for _, pair, own in seen:
        z, y = torch.from_numpy(single[:, 0]), torch.from_numpy(own)
        torch.testing.assert_close(
            cross_entropy(torch.from_numpy(pair), y),
            binary_cross_entropy_with_logits(z, y.float()),
        )
        shares = torch.from_numpy(probabilities(pair))
        torch.testing.assert_close(shares[:, 1], torch.sigmoid(z))
        torch.testing.assert_close(shares.sum(dim=1), torch.ones(len(rows)))


def test_each_label_of_a_shared_encoder_has_its_own_outputs_and_rows() -> None:
    logits = np.array([[1.0, -2.0, 3.0], [-4.0, 5.0, -6.0]], dtype=np.float32)
    labels = np.array([[1, 0, 0], [0, 1, 1]])

    seen = [(pair.tolist(), own.tolist()) for _, pair, own in each_task(SHARED, logits, labels)]

    assert seen == [
        ([[0, 1], [0, -4]], [1, 0]),
        ([[0, -2], [0, 5]], [0, 1]),
        ([[0, 3], [0, -6]], [0, 1]),
    ]


def test_a_job_of_one_task_keeps_its_outputs() -> None:
    logits, labels = np.zeros((2, 5), dtype=np.float32), np.array([3, 4])
    job = replace(SHARED, labels=())

    ((task, own_logits, own_labels),) = each_task(job, logits, labels)

    assert task is job.task
    assert own_logits is logits
    assert own_labels is labels


def outputs_of(yes: list[float]) -> Logits:
    """Return outputs whose probabilities of a yes are as given."""
    return np.array([[0.0, np.log(p / (1 - p))] for p in yes], dtype=np.float32)


def test_a_threshold_says_from_which_probability_on_it_is_a_yes() -> None:
    logits = outputs_of([0.2, 0.4, 0.6, 0.8])

    assert predict(logits).tolist() == [0, 0, 1, 1]
    assert predict(logits, 0.3).tolist() == [0, 1, 1, 1]
    assert predict(logits, 0.7).tolist() == [0, 0, 0, 1]
    level = float(probabilities(logits)[1, 1])
    assert predict(logits, level).tolist() == [0, 1, 1, 1]
    assert predict(logits, np.nextafter(level, 1)).tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("yes", "labels", "threshold"),
    [
        ([0.1, 0.2, 0.3, 0.4], [0, 0, 1, 1], 0.25),  # halfway between what it separates
        ([0.6, 0.7, 0.8, 0.9], [0, 0, 1, 1], 0.75),
        ([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1], 0.5),
        ([0.1, 0.2, 0.7, 0.9], [0, 0, 1, 1], 0.5),  # not 0.45: even odds do as well
        ([0.1, 0.1, 0.1, 0.1], [0, 1, 0, 1], 0.5),  # nothing to separate
        ([0.1, 0.3, 0.3, 0.4], [0, 0, 1, 1], 0.35),  # 0.2 is as good, and further from even
    ],
)
def test_the_threshold_is_the_one_that_a_reader_would_draw(
    yes: list[float], labels: list[int], threshold: float
) -> None:
    assert best_threshold(outputs_of(yes), np.array(labels)) == pytest.approx(threshold, abs=1e-6)


def macro_f1(logits: Logits, labels: Labels, threshold: float) -> float:
    called = predict(logits, threshold)
    return float(f1_score(labels, called, labels=[0, 1], average="macro", zero_division=0))


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(-8, 8), st.integers(0, 1)), min_size=1, max_size=14).map(
        lambda rows: ([z / 2 for z, _ in rows], [label for _, label in rows])
    )
)
@example(([-1.0, -0.5], [0, 1]))
def test_no_cut_between_two_rows_is_better_than_the_threshold(
    rows: tuple[list[float], list[int]],
) -> None:
    logits = np.array([[0.0, z] for z in rows[0]], dtype=np.float32)
    labels = np.array(rows[1])
    levels = sorted(set(probabilities(logits)[:, 1].tolist()))
    cuts = {(a + b) / 2: macro_f1(logits, labels, (a + b) / 2) for a, b in pairwise(levels)}
    even = macro_f1(logits, labels, 0.5)

    threshold = best_threshold(logits, labels)

    best = max([even, *cuts.values()])
    assert macro_f1(logits, labels, threshold) == pytest.approx(best, abs=1e-9)
    if even > best - 1e-9:
        assert threshold == 0.5
    else:
        as_good = [cut for cut, value in cuts.items() if value > best - 1e-9]
        assert threshold == pytest.approx(min(as_good, key=lambda cut: abs(cut - 0.5)))


def test_a_threshold_separates_even_the_two_nearest_probabilities() -> None:
    steps = np.float32(-0.8) + np.arange(64, dtype=np.float32) * np.float32(2**-24)
    logits = np.stack([np.zeros_like(steps), steps], axis=1)
    levels = probabilities(logits)[:, 1].tolist()
    # Single precision has nothing between two neighbours: halfway would become one of them.
    neighbours = [
        i for i, (a, b) in enumerate(pairwise(levels)) if a < b and np.float32((a + b) / 2) == a
    ]
    assert neighbours
    for i in neighbours:
        pair, labels = logits[[i, i + 1]], np.array([0, 1])
        assert predict(pair, best_threshold(pair, labels)).tolist() == [0, 1]


def is_good(row: int) -> int:
    return int(row % 4 == 0)


def reluctant(trainer: Trainer) -> Any:  # noqa: ANN401
    """Return a model that says no to every row, to some more than to others."""
    model = trainer.model(sure=True, classes=GOOD.classes)
    model.classifier.weight.data *= 10
    return model


def test_the_threshold_is_chosen_on_validation_and_kept_with_the_model(trainer: Trainer) -> None:
    data = trainer.data(is_good)
    result = trainer.train(
        reluctant(trainer), task=GOOD, data=data, learning_rate=1e-4, precision="float32"
    )

    threshold = result.threshold
    assert threshold is not None
    assert threshold < 0.5  # at even odds, the model says no to everything
    folder = Path(result.saved_model_path)
    facts = json.loads((folder / "training.json").read_text("utf-8"))
    assert facts["thresholds"] == {"good": threshold}
    card = (folder / "README.md").read_text("utf-8")
    (row,) = (line for line in card.splitlines() if line.startswith("| good |"))
    assert row.split(" | ")[4] == f"{threshold:.4f}"

    recorded = pd.read_parquet(trainer.category / "runs" / "j0001" / "predictions.parquet")
    yes = recorded["probability_good"] >= threshold
    assert 0 < yes.sum() < len(yes)
    assert recorded["predicted"].tolist() == yes.map({True: "good", False: "not_good"}).tolist()
    own = recorded[recorded["part"] == "validation"]
    logits, labels = outputs_of(own["probability_good"].tolist()), own["true"] == "good"
    assert best_threshold(logits, labels.to_numpy(dtype=int)) == pytest.approx(threshold, abs=1e-6)


def test_test_scores_use_the_threshold_and_those_of_epochs_even_odds(trainer: Trainer) -> None:
    data = trainer.data(is_good)
    result = trainer.train(
        reluctant(trainer), task=GOOD, data=data, learning_rate=1e-4, precision="float32"
    )

    recorded = pd.read_parquet(trainer.category / "runs" / "j0001" / "predictions.parquet")
    test = recorded[recorded["part"] == "test"]
    assert (test["probability_good"] < 0.5).all()
    assert 0 < (test["predicted"] == "good").sum() < len(test)
    assert result.test is not None
    assert result.test.f1_macro == pytest.approx(
        f1_score(test["true"], test["predicted"], average="macro")
    )
    assert result.test.accuracy == accuracy_score(test["true"], test["predicted"])
    best = trainer.table("best.csv").iloc[0]
    assert best["test_f1_macro"] == pytest.approx(result.test.f1_macro, rel=1e-5)
    assert best["test_accuracy"] == pytest.approx(result.test.accuracy, rel=1e-5)
    assert best["f1_macro_low"] <= best["test_f1_macro"] <= best["f1_macro_high"]
    validation = recorded[recorded["part"] == "validation"]
    called = np.where(validation["probability_good"] > 0.5, "good", "not_good")
    assert best["f1_macro"] == pytest.approx(
        f1_score(validation["true"], called, average="macro"), rel=1e-5
    )
    assert called.tolist() != validation["predicted"].tolist()


def test_what_the_test_rows_are_labelled_does_not_move_the_threshold(trainer: Trainer) -> None:
    def turned(row: int) -> int:
        return 1 - is_good(row) if row in PARTS["test"] else is_good(row)

    def other(row: int) -> int:
        return 1 - is_good(row) if row in PARTS["validation"] else is_good(row)

    results = [
        trainer.train(
            reluctant(trainer),
            task=GOOD,
            data=trainer.data(label),
            learning_rate=1e-4,
            precision="float32",
        )
        for label in (is_good, turned, other)
    ]

    first, second, third = (result.threshold for result in results)
    assert first == second != third
    scores = [result.test for result in results]
    assert scores[0] != scores[1]


def test_a_model_of_classes_has_no_threshold(trainer: Trainer) -> None:
    result = trainer.train()

    assert result.threshold is None
    folder = Path(result.saved_model_path)
    assert json.loads((folder / "training.json").read_text("utf-8"))["thresholds"] == {}
    assert "probability" not in (folder / "README.md").read_text("utf-8")
