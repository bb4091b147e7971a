"""How sure a macro F1 is, and a difference of two: the bootstrap over test items.

Items are drawn with replacement within each true class, and all models are judged on the same
draws, so that what they have in common cancels out of a difference. Three things make intervals
hold on small test sets with rare classes, where plain percentiles are too narrow
(``python -m tests.benchmarks.coverage`` measures it):

- of a class with n items n - 1 are drawn and weigh n / (n - 1): the variance of a draw is then the
  unbiased one (Rao & Wu 1988, for stratified samples);
- the bootstrap's standard error goes with Student's t, whose degrees of freedom are those of the
  variance estimate (Satterthwaite 1946), from each item's influence: a score that hangs on a few
  items, because errors or members of a class are few, is less sure than their number says;
- the interval of a score is taken on the logit scale, on which it is near to normal, and cannot
  leave 0 to 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
REPETITIONS = 2000

Labels = NDArray[np.int64]
Codes = NDArray[np.int64]  # predicted classes, shape (models, items)
Floats = NDArray[np.float64]
_AT_ONCE = 500  # repetitions whose draws are held in memory


@dataclass(frozen=True)
class Interval:
    """A value with the ends of its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Estimate:
    """A macro F1, or a difference of two, with what the bootstrap knows of it.

    ``draws`` is its value on each draw, shape (repetitions,). ``influence`` is how much each item
    moves it, shape (all items,), less the mean of the item's class. It is on ``items`` of them.
    """

    value: float
    draws: Floats
    influence: Floats
    items: int

    def __sub__(self, other: Estimate) -> Estimate:
        """Return the difference of two estimates on the same items, or on items apart."""
        return Estimate(
            self.value - other.value,
            self.draws - other.draws,
            self.influence - other.influence,
            min(self.items, other.items),
        )

    @cached_property
    def standard_error(self) -> float:
        """The standard deviation over the draws."""
        error = float(self.draws.std(ddof=1))
        return error if error > 1e-12 else 0.0  # the rest is rounding

    @property
    def freedom(self) -> float:
        """Degrees of freedom of the standard error (Satterthwaite 1946), 1 at least.

        The variance is a sum of squared influences; that of such a sum is their fourth powers.
        """
        squares = self.influence**2
        fourth = float((squares**2).sum())
        return max(1.0, 2 * float(squares.sum()) ** 2 / fourth) if fourth else 1.0

    def _reach(self, confidence: float) -> float:
        """Return half the width of the interval of a value that is near to normal."""
        from scipy.stats import t

        return float(t.ppf((1 + confidence) / 2, self.freedom)) * self.standard_error

    def _unseen(self, confidence: float) -> float:
        """Return how far from the truth a value can be that no draw changes.

        As for an event that was seen in none of the items (Clopper & Pearson 1934).
        """
        return 1.0 - float(((1 - confidence) / 2) ** (1 / self.items))

    def score_interval(self, confidence: float = CONFIDENCE) -> Interval:
        """Return the interval of a score between 0 and 1."""
        from scipy.special import expit, logit

        value = self.value
        if not self.standard_error or not 0 < value < 1:
            far = self._unseen(confidence)
            return Interval(value, max(0.0, value - far), min(1.0, value + far))
        reach = self._reach(confidence) / (value * (1 - value))  # by the derivative of the logit
        low, high = expit(logit(value) - reach), expit(logit(value) + reach)
        return Interval(value, float(low), float(high))

    def difference_interval(self, confidence: float = CONFIDENCE) -> Interval:
        """Return the interval of a difference between -1 and 1."""
        far = self._reach(confidence) or self._unseen(confidence)
        return Interval(self.value, max(-1.0, self.value - far), min(1.0, self.value + far))

    @property
    def p_value(self) -> float:
        """How likely so large a difference is where there is none, two-sided."""
        from scipy.stats import t

        if not self.standard_error:  # where the interval of what was never seen reaches zero
            return float(min(1.0, 2 * max(0.0, 1 - abs(self.value)) ** self.items))
        return float(2 * t.sf(abs(self.value) / self.standard_error, self.freedom))


def mean_of(estimates: Sequence[Estimate]) -> Estimate:
    """Return the mean of estimates on the same draws."""
    return Estimate(
        float(np.mean([one.value for one in estimates])),
        np.mean([one.draws for one in estimates], axis=0),
        np.mean([one.influence for one in estimates], axis=0),
        estimates[0].items,
    )


def side_by_side(estimates: Sequence[Estimate]) -> list[Estimate]:
    """Return estimates on items apart as ones on the items of all, to take differences of.

    Each must have draws of its own: they are as independent as their generators were.
    """
    ends = np.cumsum([0, *(len(one.influence) for one in estimates)])
    whole = []
    for one, start in zip(estimates, ends[:-1], strict=True):
        influence = np.zeros(ends[-1])  # items of the others do not move it
        influence[start : start + len(one.influence)] = one.influence
        whole.append(replace(one, influence=influence))
    return whole


def f1_macro_estimates(
    true: Labels, predicted: Codes, repetitions: int, rng: np.random.Generator
) -> list[Estimate]:
    """Return the macro F1 of each model, over the classes that occur or are predicted.

    Args:
        true: True classes, shape (items,).
        predicted: Predicted classes, shape (models, items).
        repetitions: Number of draws.
        rng: Where chance comes from.
    """
    classes = int(max(true.max(), predicted.max())) + 1
    # Items that all models judge alike are alike: how many of each kind are drawn is enough.
    kinds, counts = np.unique(np.vstack([true, predicted]), axis=1, return_counts=True)
    of_true, *of_models = (_indicator(own, classes) for own in kinds)
    draws = np.empty((len(predicted), repetitions))
    for start in range(0, repetitions, _AT_ONCE):
        end = min(start + _AT_ONCE, repetitions)
        drawn = _draw(kinds[0], counts, end - start, rng)
        occurs = of_true @ drawn
        for model, called in enumerate(of_models):
            hits = called.multiply(of_true).tocsr() @ drawn
            draws[model, start:end] = _f1_macro(hits, occurs + called @ drawn)
    return [
        Estimate(value, of_model, influence, len(true))
        for of_model, (value, influence) in zip(
            draws, (_value_and_influence(true, own, classes) for own in predicted), strict=True
        )
    ]


def _indicator(codes: Labels, classes: int) -> Any:  # noqa: ANN401 - scipy has no types
    """Return the sparse matrix, shape (classes, items), that is 1 at each item's class."""
    from scipy.sparse import csr_array

    items = np.arange(len(codes))
    return csr_array((np.ones(len(codes)), (codes, items)), shape=(classes, len(codes)))


def _draw(
    true: Labels, counts: NDArray[np.int64], repetitions: int, rng: np.random.Generator
) -> Floats:
    """Return the weight of each kind of item in each draw, shape (kinds, repetitions)."""
    drawn = np.empty((len(true), repetitions))
    for name in np.unique(true):
        own = true == name
        items = int(counts[own].sum())
        size = max(1, items - 1)  # the only item of a class is always drawn
        times = rng.multinomial(size, counts[own] / items, size=repetitions)
        drawn[own] = times.T * (items / size)
    return drawn


def _f1_macro(hits: Floats, both: Floats) -> Floats:
    """Return the means of F1 over the classes, the first axis, that occur or are predicted.

    Args:
        hits: Rows of each class that were predicted right.
        both: True and predicted rows of each class, added.
    """
    f1 = np.divide(2 * hits, both, out=np.zeros_like(hits), where=both > 0)
    macro: Floats = f1.sum(axis=0) / (both > 0).sum(axis=0)
    return macro


def _value_and_influence(true: Labels, predicted: Labels, classes: int) -> tuple[float, Floats]:
    """Return macro F1, and how much each item moves it, less the mean of the item's class.

    The derivative of F1 = 2 hits / (true + predicted) by the item's weight.
    """
    hits = np.bincount(true[true == predicted], minlength=classes).astype(np.float64)
    occurs = np.bincount(true, minlength=classes)
    both = (occurs + np.bincount(predicted, minlength=classes)).astype(np.float64)
    seen = both > 0
    each = np.divide(1.0, both, out=np.zeros(classes), where=seen) / seen.sum()
    f1_each = 2 * hits * each**2 * seen.sum()
    moves = 2 * each[true] * (true == predicted) - f1_each[true] - f1_each[predicted]
    sums = np.bincount(true, weights=moves, minlength=classes)
    means = np.divide(sums, occurs, out=np.zeros(classes), where=occurs > 0)
    return float(_f1_macro(hits, both)), moves - means[true]
