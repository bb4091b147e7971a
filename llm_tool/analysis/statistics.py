"""How sure a score and a difference are: bootstrap over test items, exact McNemar, Holm.

All draws are of test items, with replacement within each true class; models are judged on the same
draws, so that what they have in common cancels out of a difference. What one drew is how often,
shape (items, repetitions): a score of every draw is then a matrix product.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
POWER = 0.8

Labels = NDArray[np.int64]
Codes = NDArray[np.int64]  # predicted classes, shape (models, items)
Draws = NDArray[np.float64]  # a value of each repetition, shape (…, repetitions)
_AT_ONCE = 500  # repetitions whose draws are held in memory


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


def f1_macro(true: Labels, predicted: Codes) -> NDArray[np.float64]:
    """Return the macro F1 of each model, over the classes that occur or are predicted.

    Args:
        true: True classes, shape (items,).
        predicted: Predicted classes, shape (models, items).
    """
    from sklearn.metrics import f1_score

    scores = (f1_score(true, own, average="macro", zero_division=0) for own in predicted)
    return np.fromiter(scores, np.float64, len(predicted))


def f1_macro_draws(
    true: Labels, predicted: Codes, repetitions: int, rng: np.random.Generator
) -> Draws:
    """Return the macro F1 of each model on each draw of items, shape (models, repetitions).

    Args:
        true: True classes, shape (items,).
        predicted: Predicted classes, shape (models, items).
        repetitions: Number of draws.
        rng: Where chance comes from.
    """
    from scipy.sparse import csr_array

    classes = int(max(true.max(), predicted.max())) + 1
    shape = (classes, len(true))
    items, ones = np.arange(len(true)), np.ones(len(true))
    occurs = csr_array((ones, (true, items)), shape=shape)
    draws: Draws = np.empty((len(predicted), repetitions))
    for start in range(0, repetitions, _AT_ONCE):
        drawn = _draw_items(true, min(_AT_ONCE, repetitions - start), rng)
        true_rows = occurs @ drawn
        for model, own in enumerate(predicted):
            hits = csr_array(((own == true) * ones, (true, items)), shape=shape) @ drawn
            both = csr_array((ones, (own, items)), shape=shape) @ drawn + true_rows
            f1 = np.divide(2 * hits, both, out=np.zeros_like(hits), where=both > 0)
            macro = f1.sum(axis=0) / (both > 0).sum(axis=0)
            draws[model, start : start + len(macro)] = macro
    return draws


def _draw_items(true: Labels, repetitions: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return how often each item is drawn, shape (items, repetitions), stratified by true class."""
    drawn = np.zeros((len(true), repetitions))
    for name in np.unique(true):
        own = np.flatnonzero(true == name)
        picks = rng.integers(len(own), size=(len(own), repetitions))
        cells = (picks * repetitions + np.arange(repetitions)).ravel()
        counts = np.bincount(cells, minlength=len(own) * repetitions)
        drawn[own] = counts.reshape(len(own), repetitions)
    return drawn


def interval(value: float, draws: Draws, confidence: float = CONFIDENCE) -> Interval:
    """Return the percentile interval of draws around a value."""
    tail = 50 * (1 - confidence)
    low, high = np.percentile(draws, [tail, 100 - tail])
    return Interval(value, float(low), float(high))


def bootstrap_p(draws: Draws) -> float:
    """Return how likely draws of a difference say that there is none, two-sided.

    Twice the smaller share of draws on either side of zero, as an interval that just takes zero in
    would have it (Efron & Tibshirani 1993, chapter 15).
    """
    below, above = (draws <= 0).sum(), (draws >= 0).sum()
    return float(min(1.0, 2 * (min(below, above) + 1) / (len(draws) + 1)))


def mcnemar_p(first_right: NDArray[np.bool_], second_right: NDArray[np.bool_]) -> float:
    """Return the exact McNemar test of two models that judged the same items, two-sided."""
    from statsmodels.stats.contingency_tables import mcnemar

    only_first = int((first_right & ~second_right).sum())
    only_second = int((second_right & ~first_right).sum())
    table = [[0, only_first], [only_second, 0]]  # where both agree does not enter
    return float(mcnemar(table, exact=True).pvalue) if only_first + only_second else 1.0


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return p values corrected for their number (Holm 1979)."""
    from statsmodels.stats.multitest import multipletests

    if not p_values:
        return ()
    return tuple(map(float, multipletests(p_values, method="holm")[1]))


def items_needed(difference: float, standard_error: float, items: int) -> int | None:
    """Return how many items it takes to tell such a difference, at 5 % and with 80 % power.

    A normal approximation: the difference and the spread of an item stay as they were seen, so the
    standard error falls with the root of the items. ``None`` where there is no difference.

    Args:
        difference: The difference seen.
        standard_error: Its standard error.
        items: How many items it was seen on.
    """
    from statsmodels.stats.power import NormalIndPower

    if not difference or not standard_error:
        return None
    effect = abs(difference) / (standard_error * np.sqrt(items))
    power = NormalIndPower()
    needed = power.solve_power(effect_size=effect, alpha=1 - CONFIDENCE, power=POWER, ratio=0)
    return int(np.ceil(needed))
