"""Give units of rows to parts, so that every part has its share of every label."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np


def allot(
    labels: Sequence[Sequence[str]],
    rows: Sequence[int],
    languages: Sequence[str],
    goal: Mapping[str, float],
    *,
    seed: int | Sequence[int],
    least: int = 1,
) -> list[str]:
    """Return the part of each unit, given label by label to the part that lags most behind.

    The label with the fewest units left comes first, so that a unit with several labels goes
    where its rarest one needs it (iterative stratification, Sechidis et al. 2011). Within a label
    the units are shuffled and then ordered by language, so that every language is divided in
    proportion too (systematic sampling with implicit stratification, Cochran 1977, chapter 8).
    A label with enough units is then brought into every part: see ``_spread_out``.

    Args:
        labels: The labels of each unit; without one it has the label ``""``.
        rows: The number of rows of each unit.
        languages: The language of each unit.
        goal: The share of each part.
        seed: Seed of the shuffling.
        least: So many units of each label shall be in every part.
    """
    rng = np.random.default_rng(seed)
    labels = [names or [""] for names in labels]
    left: dict[str, set[int]] = defaultdict(set)
    for number, names in enumerate(labels):
        for name in names:
            left[name].add(number)
    sizes: dict[str, Counter[str]] = defaultdict(Counter)  # of each label: rows in each part
    part_of: dict[int, str] = {}
    while left:
        rarest = min(left, key=lambda name: (len(left[name]), name))
        numbers = sorted(left.pop(rarest))
        own = [numbers[i] for i in rng.permutation(len(numbers))]
        own.sort(key=lambda number: languages[number])
        for place, number in enumerate(own):
            after = len(own) - place - 1
            part_of[number] = part = _next_part(goal, sizes[rarest], rows[number], after)
            for name in labels[number]:
                sizes[name][part] += rows[number]
                if name in left:
                    left[name].discard(number)
        left = {name: rest for name, rest in left.items() if rest}
    _spread_out(part_of, labels, rows, list(goal), least)
    return [part_of[number] for number in range(len(labels))]


def _next_part(goal: Mapping[str, float], sizes: Counter[str], rows: int, after: int) -> str:
    """Return the part that lags most behind its share of a label, for a unit of so many rows.

    Parts without the label come first when no more units are left, this one and those ``after``
    it, than there are such parts.
    """
    total = sizes.total() + rows
    empty = [part for part in goal if not sizes[part]]
    eligible = empty if after < len(empty) else goal
    return max(eligible, key=lambda part: goal[part] * total - sizes[part])


def _spread_out(
    part_of: dict[int, str],
    labels: Sequence[Sequence[str]],
    rows: Sequence[int],
    every: Sequence[str],
    least: int,
) -> None:
    """Move units to parts that have too few of one of their labels, if no label loses by it.

    A label with fewer than ``least`` units for each part does not count. One that a part has too
    few of afterwards has only units that are needed where they are; so a label that shares no
    unit with another one is in every part.

    Args:
        part_of: The part of each unit; changed.
        labels: The labels of each unit.
        rows: The number of rows of each unit.
        every: The parts.
        least: So many units of each label shall be in every part.
    """
    holders: dict[str, list[int]] = defaultdict(list)
    for number, names in enumerate(labels):
        for name in names:
            holders[name].append(number)
    enough = {n: own for n, own in sorted(holders.items()) if len(own) >= least * len(every)}
    counting = [[name for name in names if name in enough] for names in labels]
    present = Counter((name, part_of[n]) for name, own in enough.items() for n in own)

    def free(number: int) -> bool:
        return all(present[name, part_of[number]] > least for name in counting[number])

    moved = True
    while moved:
        moved = False
        for name, part in product(enough, every):
            lacking = present[name, part] < least
            movable = [n for n in enough[name] if free(n)] if lacking else []
            if movable:
                from_most = [(-present[name, part_of[n]], rows[n], n) for n in movable]
                number = min(from_most)[-1]
                present.subtract((own, part_of[number]) for own in counting[number])
                present.update((own, part) for own in counting[number])
                part_of[number] = part
                moved = True
