"""Intervals and tests held against scipy, statsmodels and scikit-learn, and against the truth."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import f1_score
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

from llm_tool.analysis.statistics import holm, items_needed, mcnemar_p
from llm_tool.trainers.resampling import Estimate, f1_macro_estimates, mean_of
from tests.benchmarks.coverage import Counts, Setting, simulate

Labels = NDArray[np.int64]


def made(items: int, classes: int, models: int, right: float = 0.7) -> tuple[Labels, Labels]:
    """Return true classes, as many items of each, and predictions of some models."""
    rng = np.random.default_rng(items + classes)
    true = np.repeat(np.arange(classes), items // classes)
    wrong = rng.integers(0, classes, (models, len(true)))
    return true, np.where(rng.random((models, len(true))) < right, true, wrong)


def estimates(true: Labels, predicted: Labels, repetitions: int = 4000) -> list[Estimate]:
    return f1_macro_estimates(true, predicted, repetitions, np.random.default_rng(1))


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_the_score_of_every_model_is_the_one_of_scikit_learn(classes: int) -> None:
    true, predicted = made(84, classes, 3)
    predicted[0][true == classes - 1] = 0  # the last class is hardly predicted
    values = [estimate.value for estimate in estimates(true, predicted, 10)]
    assert values == pytest.approx([f1_score(true, own, average="macro") for own in predicted])


def of_drawn(*samples: NDArray[np.int64]) -> float:
    """Return macro F1 of what scipy drew: of each class, codes of two models' predictions."""
    true = np.concatenate([np.full(len(own), name) for name, own in enumerate(samples)])
    first, second = np.divmod(np.concatenate(samples), 10)
    return plain_f1(true, first) - (plain_f1(true, second) if _PAIRED else 0)


_PAIRED = False


def plain_f1(true: Labels, predicted: Labels) -> float:
    pairs = np.zeros((10, 10))
    np.add.at(pairs, (true, predicted), 1)
    both = pairs.sum(axis=0) + pairs.sum(axis=1)
    return float((2 * np.diag(pairs)[both > 0] / both[both > 0]).mean())


@pytest.mark.parametrize(("items", "classes"), [(60, 2), (90, 3), (140, 7)])
@pytest.mark.parametrize("paired", [False, True])
def test_the_standard_error_is_the_one_of_scipys_bootstrap_within_classes(
    monkeypatch: pytest.MonkeyPatch, items: int, classes: int, paired: bool
) -> None:
    monkeypatch.setitem(globals(), "_PAIRED", paired)
    true, predicted = made(items, classes, 2)
    samples = [predicted[0][true == c] * 10 + predicted[1][true == c] for c in range(classes)]
    reference = stats.bootstrap(
        samples, of_drawn, n_resamples=3000, method="percentile", vectorized=False, rng=2
    )
    # scipy draws all of a class, for which the variance is too small by one part in its size.
    unbiased = reference.standard_error * np.sqrt(items / (items - classes))

    first, second = estimates(true, predicted)

    own = first - second if paired else first
    assert own.standard_error == pytest.approx(unbiased, rel=0.06)


def test_the_standard_error_is_the_one_that_the_items_influences_add_up_to() -> None:
    true, predicted = made(600, 3, 2)
    first, second = estimates(true, predicted)
    for estimate in (first, second, first - second, mean_of([first, second])):
        assert np.sqrt((estimate.influence**2).sum()) == pytest.approx(
            estimate.standard_error, rel=0.05
        )


def test_influence_is_how_much_the_score_changes_with_the_weight_of_an_item() -> None:
    true, predicted = made(42, 3, 1)
    (estimate,) = estimates(true, predicted, 10)

    def weighted(weights: NDArray[np.float64]) -> float:
        return float(f1_score(true, predicted[0], average="macro", sample_weight=weights))

    ones, step = np.ones(len(true)), 1e-5
    moved = [(weighted(ones + step * own) - weighted(ones)) / step for own in np.eye(len(true))]
    centred = np.array(moved)
    for name in range(3):
        centred[true == name] -= centred[true == name].mean()
    assert estimate.influence == pytest.approx(centred, abs=1e-5)


def test_intervals_and_p_values_are_those_of_students_t() -> None:
    influence = np.array([0.1, -0.1, 0.1, 0.0, 0.0])
    draws = np.random.default_rng(1).normal(0.2, 0.05, 4000)
    difference = Estimate(0.2, draws, influence, 5)
    assert difference.freedom == pytest.approx(6)  # twice the number of equal parts
    t = stats.t(6, loc=0.2, scale=draws.std(ddof=1))

    own = difference.difference_interval()

    assert (own.value, own.low, own.high) == pytest.approx((0.2, *t.interval(0.95)))
    assert difference.p_value == pytest.approx(2 * t.cdf(0))
    share = difference.score_interval()
    logits = stats.t(6, loc=np.log(0.2 / 0.8), scale=draws.std(ddof=1) / (0.2 * 0.8))
    assert (share.low, share.high) == pytest.approx(
        [1 / (1 + np.exp(-end)) for end in logits.interval(0.95)]
    )


@pytest.mark.parametrize("items", [1, 20, 500])
def test_a_score_without_any_error_is_as_sure_as_an_exact_binomial_one(items: int) -> None:
    true = np.array([0, 1] * items)[:items]
    right, wrong = estimates(true, np.stack([true, 1 - true]), 50)

    low, _ = proportion_confint(items, items, method="beta")
    assert (right.score_interval().low, right.score_interval().high) == pytest.approx((low, 1))
    assert (wrong.score_interval().low, wrong.score_interval().high) == pytest.approx((0, 1 - low))
    assert (right - right).p_value == 1
    assert (right - wrong).p_value == 0
    assert (right - wrong).difference_interval().low == pytest.approx(low)


def test_models_with_the_same_predictions_do_not_differ_on_any_draw() -> None:
    true, predicted = made(60, 3, 1)
    first, second, other = estimates(true, np.stack([predicted[0], predicted[0], true]))
    assert (first - second).p_value == 1
    assert not (first.draws - second.draws).any()
    assert (other - first).p_value < 0.01


def test_the_only_item_of_a_class_is_in_every_draw() -> None:
    true, predicted = np.array([0, 0, 0, 1]), np.array([[0, 0, 1, 1]])
    (estimate,) = estimates(true, predicted, 200)
    expected = {
        f1_score([0, 0, 0, 1], own, average="macro") for own in ([0, 0, 0, 1], [1, 1, 1, 1])
    }
    assert expected <= {round(value, 12) for value in estimate.draws.tolist()} | expected
    assert estimate.draws.min() >= min(expected)
    assert estimate.draws.max() <= 1


def test_the_mean_over_seeds_is_judged_draw_by_draw() -> None:
    true, predicted = made(90, 3, 2)
    first, second = estimates(true, predicted, 100)
    mean = mean_of([first, second])
    assert mean.value == pytest.approx((first.value + second.value) / 2)
    assert mean.draws == pytest.approx((first.draws + second.draws) / 2)


def test_the_same_seed_gives_the_same_draws_however_many_models_there_are() -> None:
    true, predicted = made(90, 3, 2)
    one, two = estimates(true, predicted, 1200), estimates(true, predicted, 1200)
    assert all((a.draws == b.draws).all() for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize(("first", "second"), [(0, 0), (3, 3), (10, 2), (0, 7), (41, 60)])
def test_mcnemar_is_the_exact_test_of_statsmodels_and_scipy(first: int, second: int) -> None:
    p = mcnemar_p(first, second)
    if first + second:
        assert p == pytest.approx(stats.binomtest(first, first + second).pvalue)
        assert p == pytest.approx(mcnemar([[50, first], [second, 9]], exact=True).pvalue)
    else:
        assert p == 1


def test_holm_multiplies_the_smallest_p_value_by_their_number_and_never_changes_the_order() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([0.6, 0.7]) == (1.0, 1.0)
    assert holm([]) == ()


def test_the_items_needed_are_those_of_the_normal_approximation() -> None:
    z = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)
    assert items_needed(0.02, 0.02, 400, alpha=0.05) == np.ceil(400 * z**2)
    assert items_needed(-0.02, 0.02, 400, alpha=0.05) == np.ceil(400 * z**2)
    z = stats.norm.ppf(1 - 0.05 / 6 / 2) + stats.norm.ppf(0.8)
    assert items_needed(0.02, 0.01, 400, alpha=0.05 / 6) == np.ceil(100 * z**2)
    assert items_needed(0.0, 0.01, 400, alpha=0.05) is None
    assert items_needed(0.5, 0.01, 400, alpha=0.05) == 401  # it is needed more than there is


def test_with_the_items_needed_a_difference_is_told_about_four_times_in_five() -> None:
    rng = np.random.default_rng(3)
    spread, difference = 0.6, 0.05
    needed = items_needed(difference, spread / np.sqrt(100), 100, alpha=0.05)
    assert needed
    means = rng.normal(difference, spread / np.sqrt(needed), 20000)
    told = np.abs(means) / (spread / np.sqrt(needed)) > stats.norm.ppf(0.975)
    assert told.mean() == pytest.approx(0.8, abs=0.01)


# The short form of `python -m tests.benchmarks.coverage`. Seeds are fixed, so that it says the same
# every time; what it may say by chance is allowed for: a share seen in so many test sets has to be
# one that a true share between 93 and 97 % (at most 5 % for false alarms) gives in 99 of 100 runs.
SETS = 600
SETTINGS = [Setting(100, 3, False, 0.8), Setting(100, 2, True, 0.95), Setting(300, 7, False, 0.6)]


@pytest.fixture(scope="module")
def simulated() -> list[Counts]:
    return [simulate(setting, SETS, 200) for setting in SETTINGS]


def is_likely(hits: int, sets: int, low: float, high: float) -> bool:
    """Tell whether a share between two bounds gives so many hits other than once in 100 runs."""
    few, many = stats.binom(sets, low).ppf(0.005), stats.binom(sets, high).ppf(0.995)
    return bool(few <= hits <= many)


def test_intervals_take_in_the_truth_in_95_of_100_test_sets(simulated: list[Counts]) -> None:
    for counts in simulated:
        assert is_likely(counts.score, SETS, 0.93, 0.97)
        assert is_likely(counts.difference, SETS, 0.93, 0.97)
    whole = sum(simulated, Counts())
    assert 0.93 <= whole.score / whole.sets <= 0.97
    assert 0.93 <= whole.difference / whole.sets <= 0.97


def test_equal_models_are_told_apart_in_no_more_than_5_of_100_test_sets(
    simulated: list[Counts],
) -> None:
    for counts in simulated:
        assert is_likely(counts.pair, SETS, 0, 0.05)
        assert is_likely(counts.family, SETS, 0, 0.05)
    whole = sum(simulated, Counts())
    assert whole.pair / whole.sets <= 0.05
    assert whole.family / whole.sets <= 0.05


def test_the_simulation_would_find_out_intervals_that_are_too_narrow() -> None:
    counts = simulate(Setting(100, 7, False, 0.95), 150, 200)
    assert not is_likely(counts.percentile, counts.sets, 0.93, 0.97)
    assert is_likely(counts.score, counts.sets, 0.93, 0.97)
