"""Divide rows into training, validation and test so that no score is flattered.

Stratified by label and language; rows with the same text, and rows of one group, stay together.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
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
    labels: Sequence[str],
    *,
    validation_share: float,
    test_share: float,
    seed: int,
) -> tuple[Parts, tuple[str, ...]]:
    """Return the parts of the rows and notes on what was moved or left out.

    Args:
        dataset: Gives texts, languages, groups, and the parts of a split column.
        rows: The labelled rows to divide.
        labels: The label of each of ``rows``, to stratify by.
        validation_share: Share of validation rows; used when the split column has none.
        test_share: Share of test rows; used only without a split column.
        seed: Seed of the shuffling.
    """
    units = _units(dataset, rows)
    label_of = dict(zip(rows, labels, strict=True))
    shares = {"validation": validation_share, "test": test_share}
    given = {row: dataset.parts[row] for row in rows}
    if not any(given.values()):
        return _allot(units, dataset, label_of, shares, seed), ()

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
        carved = _allot([unit for unit in left if unit], dataset, label_of, only_validation, seed)
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
    label_of: Mapping[int, str],
    shares: Mapping[str, float],
    seed: int,
) -> Parts:
    """Give units to parts, class by class, each to the part that lags most behind its share.

    Within a class the units are shuffled and then ordered by language, so that every language is
    divided in proportion too (systematic sampling with implicit stratification, Cochran 1977,
    chapter 8). A class with enough units is in every part.
    """
    rng = np.random.default_rng(seed)
    goal = {"train": 1 - sum(shares.values()), **shares}
    by_label: dict[str, list[Sequence[int]]] = defaultdict(list)
    for unit in units:
        by_label[label_of[unit[0]]].append(unit)
    parts: dict[str, list[int]] = {part: [] for part in PART_ORDER}
    for label in sorted(by_label):
        own = [by_label[label][i] for i in rng.permutation(len(by_label[label]))]
        own.sort(key=lambda unit: dataset.languages[unit[0]])
        for part, given in _in_proportion(own, {p: s for p, s in goal.items() if s > 0}).items():
            parts[part].extend(row for unit in given for row in unit)
    return Parts(*(sorted(parts[part]) for part in PART_ORDER))


def _in_proportion(
    units: Iterable[Sequence[int]], goal: Mapping[str, float]
) -> dict[str, list[Sequence[int]]]:
    given: dict[str, list[Sequence[int]]] = {part: [] for part in goal}
    sizes: Counter[str] = Counter()
    total = 0
    for unit in units:
        total += len(unit)
        part = max(goal, key=lambda p: goal[p] * total - sizes[p])
        given[part].append(unit)
        sizes[part] += len(unit)
    for part in goal:
        largest = max(given, key=lambda p: len(given[p]))
        if not given[part] and len(given[largest]) > 1:
            given[part].append(given[largest].pop())
    return given


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
