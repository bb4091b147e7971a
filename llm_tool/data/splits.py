"""Divide rows into training, validation and test so that no score is flattered.

Stratified by label and language, also where a row has several labels; rows with the same text,
and rows of one group, stay together.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from llm_tool.plan import Parts
from llm_tool.text import plural

if TYPE_CHECKING:
    from llm_tool.data.dataset import Dataset

PART_ORDER = ("train", "validation", "test")


def split_rows(
    dataset: Dataset,
    rows: Sequence[int],
    labels: Sequence[Sequence[str]],
    *,
    validation_share: float,
    test_share: float,
    seed: int,
) -> tuple[Parts, tuple[str, ...]]:
    """Return the parts of the rows and notes on what was moved or left out.

    Args:
        dataset: Gives texts, languages, groups, and the parts of a split column.
        rows: The labelled rows to divide.
        labels: The labels of each of ``rows``, to stratify by; a row may have none.
        validation_share: Share of validation rows; used when the split column has none.
        test_share: Share of test rows; used only without a split column.
        seed: Seed of the shuffling.
    """
    units = _units(dataset, rows)
    labels_of = dict(zip(rows, labels, strict=True))
    shares = {"validation": validation_share, "test": test_share}
    given = {row: dataset.parts[row] for row in rows}
    if not any(given.values()):
        return _allot(units, dataset, labels_of, shares, seed), ()

    unsorted = sum(not part for part in given.values())
    notes = [f"{plural(unsorted, 'row')} left out: the split column is empty."] if unsorted else []
    rows_of, dropped = _without_straddlers(units, given)
    if dropped:
        notes.append(
            f"{plural(dropped, 'row')} left out of training or validation: the same text or group "
            "is also in a later part."
        )
    if not rows_of["validation"]:
        train = set(rows_of["train"])
        left = [[row for row in unit if row in train] for unit in units]
        only_validation = {"validation": validation_share}
        units = [unit for unit in left if unit]
        carved = _allot(units, dataset, labels_of, only_validation, seed)
        rows_of.update({"train": list(carved.train), "validation": list(carved.validation)})
        notes.append("The split column has no validation rows: taken from its training rows.")
    return Parts(*(sorted(rows_of[part]) for part in PART_ORDER)), tuple(notes)


def _units(dataset: Dataset, rows: Sequence[int]) -> list[list[int]]:
    """Return the rows in units that must not be divided: same text, or same group."""
    parent = {row: row for row in rows}

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    first: dict[tuple[str, str], int] = {}
    for row in rows:
        marks = [("text", _normal(dataset.texts[row]))]
        if dataset.groups[row]:
            marks.append(("group", dataset.groups[row]))
        for mark in marks:
            other = root(first.setdefault(mark, row))
            parent[max(other, root(row))] = min(other, root(row))
    units: dict[int, list[int]] = defaultdict(list)
    for row in rows:
        units[root(row)].append(row)
    return list(units.values())


def _normal(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _allot(
    units: Sequence[Sequence[int]],
    dataset: Dataset,
    labels_of: Mapping[int, Sequence[str]],
    shares: Mapping[str, float],
    seed: int,
) -> Parts:
    """Give units to parts, label by label, each to the part that lags most behind its share.

    The label with the fewest units left comes first, so that a unit with several labels goes
    where its rarest one needs it (iterative stratification, Sechidis et al. 2011). Within a label
    the units are shuffled and then ordered by language, so that every language is divided in
    proportion too (systematic sampling with implicit stratification, Cochran 1977, chapter 8).
    A label with enough units is then brought into every part: see ``_spread_out``.
    """
    rng = np.random.default_rng(seed)
    goal = {"train": 1 - sum(shares.values()), **shares}
    goal = {part: share for part, share in goal.items() if share > 0}
    labels = [sorted({name for row in unit for name in labels_of[row]}) or [""] for unit in units]
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
        own.sort(key=lambda number: dataset.languages[units[number][0]])
        for place, number in enumerate(own):
            rows, after = len(units[number]), len(own) - place - 1
            part_of[number] = part = _next_part(goal, sizes[rarest], rows, after)
            for name in labels[number]:
                sizes[name][part] += rows
                if name in left:
                    left[name].discard(number)
        left = {name: rest for name, rest in left.items() if rest}
    _spread_out(part_of, labels, [len(unit) for unit in units], list(goal))
    parts: dict[str, list[int]] = {part: [] for part in PART_ORDER}
    for number, part in part_of.items():
        parts[part].extend(units[number])
    return Parts(*(sorted(parts[part]) for part in PART_ORDER))


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
) -> None:
    """Move units to parts that lack one of their labels, as long as no label loses by it.

    A label with fewer units than there are parts does not count. One that is missing from a part
    afterwards has only units that are needed where they are, each the last of some label in its
    part; so a label that shares no unit with another one is in every part.

    Args:
        part_of: The part of each unit; changed.
        labels: The labels of each unit.
        rows: The number of rows of each unit.
        every: The parts.
    """
    holders: dict[str, list[int]] = defaultdict(list)
    for number, names in enumerate(labels):
        for name in names:
            holders[name].append(number)
    enough = {name: own for name, own in sorted(holders.items()) if len(own) >= len(every)}
    counting = [[name for name in names if name in enough] for names in labels]
    present = Counter((name, part_of[n]) for name, own in enough.items() for n in own)

    def free(number: int) -> bool:
        return all(present[name, part_of[number]] > 1 for name in counting[number])

    moved = True
    while moved:
        moved = False
        for name, part in product(enough, every):
            movable = [n for n in enough[name] if free(n)] if not present[name, part] else []
            if movable:
                from_most = [(-present[name, part_of[n]], rows[n], n) for n in movable]
                number = min(from_most)[-1]
                present.subtract((own, part_of[number]) for own in counting[number])
                present.update((own, part) for own in counting[number])
                part_of[number] = part
                moved = True


def _without_straddlers(
    units: Iterable[Sequence[int]], given: Mapping[int, str]
) -> tuple[dict[str, list[int]], int]:
    """Keep a unit that is in several parts only in the last of them: test before validation."""
    rows_of: dict[str, list[int]] = {part: [] for part in PART_ORDER}
    dropped = 0
    for unit in units:
        placed = [row for row in unit if given[row]]
        if not placed:
            continue
        last = max((given[row] for row in placed), key=PART_ORDER.index)
        kept = [row for row in placed if given[row] == last]
        dropped += len(placed) - len(kept)
        rows_of[last].extend(kept)
    return rows_of, dropped
