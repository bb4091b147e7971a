"""Scores held against scikit-learn, and the interval against resampling row by row."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score, precision_recall_fscore_support

from llm_tool.trainers.metrics import f1_macro_interval, score

Labels = NDArray[np.int64]


def drawn(rows: int, classes: int, right: float, seed: int = 0) -> tuple[Labels, Labels]:
    """Return true and predicted classes; a share of about ``right`` of the rows agree."""
    rng = np.random.default_rng(seed)
    true = rng.choice(classes, rows, p=np.arange(1, classes + 1) / sum(range(1, classes + 1)))
    return true, np.where(rng.random(rows) < right, true, rng.integers(0, classes, rows))


@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("right", [0.0, 0.6, 1.0])
def test_every_score_is_the_one_of_scikit_learn(classes: int, right: float) -> None:
    true, predicted = drawn(60, classes, right)
    names = [f"class {i}" for i in range(classes)]

    scores = score(true, predicted, names)

    assert scores.accuracy == pytest.approx(accuracy_score(true, predicted))
    macro = precision_recall_fscore_support(true, predicted, average="macro", zero_division=0)
    assert (scores.precision_macro, scores.recall_macro, scores.f1_macro) == pytest.approx(
        macro[:3]
    )
    assert scores.f1_weighted == pytest.approx(f1_score(true, predicted, average="weighted"))
    each = precision_recall_fscore_support(
        true, predicted, labels=list(range(classes)), zero_division=0
    )
    for i, one in enumerate(scores.classes):
        assert one.name == names[i]
        assert (one.precision, one.recall, one.f1) == pytest.approx([each[k][i] for k in range(3)])
        assert one.support == each[3][i]


def test_a_class_that_neither_occurs_nor_is_predicted_has_no_score_and_no_weight() -> None:
    true, predicted = np.array([0, 0, 2, 2]), np.array([0, 2, 2, 2])

    scores = score(true, predicted, ["a", "absent", "b"])

    absent = scores.classes[1]
    assert (absent.precision, absent.recall, absent.f1, absent.support) == (None, None, None, 0)
    assert scores.f1_macro == pytest.approx(f1_score(true, predicted, average="macro"))
    assert scores.weakest == scores.classes[0]


def test_a_class_that_is_never_predicted_has_precision_zero() -> None:
    scores = score(np.array([0, 0, 1]), np.array([0, 0, 0]), ["a", "b"])

    missed = scores.classes[1]
    assert (missed.precision, missed.recall, missed.f1, missed.support) == (0.0, 0.0, 0.0, 1)
    assert scores.f1_macro == pytest.approx(0.4)


def test_a_class_that_is_predicted_but_does_not_occur_counts_as_wrong() -> None:
    scores = score(np.array([0, 0]), np.array([0, 1]), ["a", "b"])

    extra = scores.classes[1]
    assert (extra.precision, extra.recall, extra.f1, extra.support) == (0.0, 0.0, 0.0, 0)
    assert scores.f1_macro == pytest.approx(1 / 3)


def test_each_language_is_scored_on_its_own_rows() -> None:
    true, predicted = drawn(90, 3, 0.5)
    languages = [("EN", "FR", "")[i % 3] for i in range(90)]

    scores = score(true, predicted, ["a", "b", "c"], ["FR", "DE", "EN"], languages)

    assert [one.language for one in scores.languages] == ["FR", "DE", "EN"]
    for one in scores.languages:
        own = np.array([language == one.language for language in languages])
        assert one.support == own.sum()
        if one.language == "DE":
            assert (one.accuracy, one.f1_macro) == (None, None)
        else:
            assert one.accuracy == pytest.approx(accuracy_score(true[own], predicted[own]))
            assert one.f1_macro == pytest.approx(
                f1_score(true[own], predicted[own], average="macro")
            )


def row_by_row(true: Labels, predicted: Labels) -> float:
    """Return the standard error of the plain way: draw rows within each true class, score."""
    rng = np.random.default_rng(2)
    strata = [np.flatnonzero(true == c) for c in np.unique(true)]
    macros = []
    for _ in range(1500):
        rows = np.concatenate([rng.choice(stratum, len(stratum)) for stratum in strata])
        pairs = np.zeros((4, 4))
        np.add.at(pairs, (true[rows], predicted[rows]), 1)
        both = pairs.sum(axis=0) + pairs.sum(axis=1)
        macros.append((2 * np.diag(pairs)[both > 0] / both[both > 0]).mean())
    return float(np.std(macros))


@pytest.mark.parametrize(("rows", "classes", "right"), [(60, 2, 0.8), (90, 3, 0.5), (300, 4, 0.7)])
def test_the_interval_reaches_twice_the_error_of_resampling_row_by_row(
    rows: int, classes: int, right: float
) -> None:
    true, predicted = drawn(rows, classes, right)

    low, high = f1_macro_interval(true, predicted, seed=1)

    assert low < f1_score(true, predicted, average="macro") < high
    assert high - low == pytest.approx(2 * 1.96 * row_by_row(true, predicted), rel=0.1)


def test_the_same_seed_gives_the_same_interval_and_another_one_nearly() -> None:
    true, predicted = drawn(100, 3, 0.6)

    first = f1_macro_interval(true, predicted, seed=1)

    assert f1_macro_interval(true, predicted, seed=1) == first
    other = f1_macro_interval(true, predicted, seed=2)
    assert other != first
    assert other == pytest.approx(first, abs=0.02)


def test_fewer_rows_make_the_interval_wider() -> None:
    true, predicted = drawn(800, 3, 0.7)

    def width(rows: int) -> float:
        low, high = f1_macro_interval(true[:rows], predicted[:rows], seed=1)
        return high - low

    assert width(50) > 1.5 * width(200) > 2.25 * width(800)


@pytest.mark.parametrize("right", [True, False])
def test_predictions_without_any_error_are_as_sure_as_their_number(right: bool) -> None:
    true = np.array([0, 1] * 20)

    interval = f1_macro_interval(true, true if right else 1 - true, seed=1)

    # Of 40 items none was wrong (or right): Clopper and Pearson's bound is 1 - 0.025 ** (1 / 40).
    assert interval == pytest.approx((0.9119, 1) if right else (0, 0.0881), abs=1e-4)
