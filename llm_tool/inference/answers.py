"""What models say of some rows, and why they say nothing of others; summed up over all rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Value = str | float | None
_DECIMALS = 6


@dataclass(frozen=True)
class Answer:
    """What one category's columns say of some rows.

    ``labels`` are positions in ``classes``, -1 where there is none; ``probability`` and
    ``shares``, shape (rows, classes), are not a number there, nor where a model lacks a class.
    """

    name: str
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    probability: NDArray[np.float64]
    shares: NDArray[np.float64]

    def columns(self, *, with_classes: bool) -> list[list[Value]]:
        """Return the cells of each column; probabilities have six decimals."""
        names = [self.classes[i] if i >= 0 else None for i in self.labels.tolist()]
        columns: list[list[Value]] = [list(names), _rounded(self.probability)]
        if with_classes:
            columns += [_rounded(self.shares[:, i]) for i in range(len(self.classes))]
        return columns


def empty_answer(name: str, classes: tuple[str, ...], rows: int) -> Answer:
    """Return an answer that says nothing yet."""
    return Answer(
        name,
        classes,
        np.full(rows, -1, dtype=np.int64),
        np.full(rows, np.nan),
        np.full((rows, len(classes)), np.nan),
    )


def _rounded(numbers: NDArray[np.float64]) -> list[Value]:
    return [None if n != n else round(n, _DECIMALS) for n in numbers.tolist()]


@dataclass
class Tally:
    """How many rows there are, and what became of them.

    By category: ``labels`` has the rows of each label, ``excluded`` those whose text was too long
    for a model that leaves such out, ``cut`` those whose text lost its end, ``unrouted`` those of
    each language that no model knows.
    """

    rows: int = 0
    empty: int = 0
    labels: dict[str, Counter[str]] = field(default_factory=dict)
    excluded: Counter[str] = field(default_factory=Counter)
    cut: Counter[str] = field(default_factory=Counter)
    unrouted: dict[str, Counter[str]] = field(default_factory=dict)

    def count_labels(self, answers: Sequence[Answer]) -> None:
        """Add the labels that were given."""
        for answer in answers:
            own = self.labels.setdefault(answer.name, Counter())
            counts = np.bincount(answer.labels[answer.labels >= 0], minlength=len(answer.classes))
            own.update(dict(zip(answer.classes, counts.tolist(), strict=True)))

    def add(self, other: Tally) -> None:
        """Add what became of other rows."""
        self.rows += other.rows
        self.empty += other.empty
        self.excluded.update(other.excluded)
        self.cut.update(other.cut)
        for mine, theirs in ((self.labels, other.labels), (self.unrouted, other.unrouted)):
            for name, counts in theirs.items():
                mine.setdefault(name, Counter()).update(counts)

    def as_json(self) -> dict[str, Any]:
        """Return it as what JSON can hold."""
        return {
            "rows": self.rows,
            "empty": self.empty,
            "labels": {name: dict(own) for name, own in self.labels.items()},
            "excluded": dict(self.excluded),
            "cut": dict(self.cut),
            "unrouted": {name: dict(own) for name, own in self.unrouted.items()},
        }


def tally_of(facts: Mapping[str, Any]) -> Tally:
    """Return the tally that ``as_json`` gave.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: It is another thing.
    """
    return Tally(
        rows=int(facts["rows"]),
        empty=int(facts["empty"]),
        labels={name: Counter(own) for name, own in facts["labels"].items()},
        excluded=Counter(facts["excluded"]),
        cut=Counter(facts["cut"]),
        unrouted={name: Counter(own) for name, own in facts["unrouted"].items()},
    )
