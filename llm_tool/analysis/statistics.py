"""Tests between models that judged the same items: exact McNemar, Holm, how many items it takes.

The bootstrap is in ``llm_tool.trainers.resampling``.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from math import ceil

import numpy as np
from numpy.typing import NDArray

ALPHA = 0.05
POWER = 0.8
SMALLEST = 1e-9  # less is no difference: it is rounding


def mcnemar_p(only_first: int, only_second: int) -> float:
    """Return how likely so unequal counts are if two models are right equally often, two-sided.

    The exact test: binomial with even odds on the items that one model alone has right.
    """
    from statsmodels.stats.contingency_tables import mcnemar

    table = [[0, only_first], [only_second, 0]]  # where both agree does not enter
    return float(mcnemar(table, exact=True).pvalue) if only_first + only_second else 1.0


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return p values corrected for being so many (Holm 1979)."""
    from statsmodels.stats.multitest import multipletests

    if len(p_values) < 2:
        return tuple(p_values)
    gc.freeze()  # multipletests collects garbage, over all objects there are: 0.1 s and more
    try:
        return tuple(map(float, multipletests(p_values, method="holm")[1]))
    finally:
        gc.unfreeze()


def items_needed(
    difference: float, standard_error: float, items: int, *, alpha: float, power: float = POWER
) -> int | None:
    """Return how many test items it takes to tell such a difference with some power.

    A normal approximation: the difference and what single items say of it stay as they were seen,
    so the standard error falls with the root of the number of items. ``None`` without a difference.

    Args:
        difference: The difference that was seen.
        standard_error: Its standard error.
        items: How many items it was seen on.
        alpha: Level of the two-sided test.
        power: How likely the test is to tell it.
    """
    from statsmodels.stats.power import normal_sample_size_one_tail

    if abs(difference) < SMALLEST or not standard_error:
        return None
    effect = abs(difference) / (standard_error * np.sqrt(items))
    needed = normal_sample_size_one_tail(effect, power, alpha / 2)  # the other tail is far away
    return max(items + 1, ceil(float(needed)))


def count_only(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> int:
    """Return how many items the first model has right and the second has not."""
    return int((first & ~second).sum())
