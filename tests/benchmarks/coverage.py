"""Do the intervals hold what they say, and does the test between models cry wolf?

Test sets are drawn again and again from models whose true macro F1 is known, with the size of each
class fixed, as a stratified split fixes it. Of five models that err on the same items more often
than by chance four are equally good and one is worse:

- how often the 95 % interval of macro F1 takes in the truth, and that of the difference between
  two models, a better and a worse one;
- how often any of the six pairs of equal models is told apart after Holm's correction, and how
  often one pair is without any.

    python -m tests.benchmarks.coverage [--sets 1000]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from llm_tool.analysis.statistics import ALPHA, mcnemar_p
from llm_tool.trainers.resampling import Estimate, f1_macro_estimates

Floats = NDArray[np.float64]
SHARED = 0.5  # of the items that all models judge by the same luck
EQUAL = 4


@dataclass(frozen=True)
class Setting:
    """A test set of ``items`` in ``classes`` classes, and models that are right so often."""

    items: int
    classes: int
    balanced: bool
    accuracy: float

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Items of each class: equal, or each class 0.6 times the one before (85:15 of two)."""
        shares = 0.6 ** np.arange(self.classes)
        if self.balanced:
            shares = np.ones(self.classes)
        elif self.classes == 2:
            shares = np.array([0.85, 0.15])
        sizes = np.round(self.items * shares / shares.sum()).astype(np.int64)
        sizes[0] += self.items - sizes.sum()
        return sizes

    def confusion(self, accuracy: float) -> Floats:
        """Return how likely a model takes each class (rows) for each; rarer ones are harder."""
        rng = np.random.default_rng(5)
        likely = np.zeros((self.classes, self.classes))
        for i in range(self.classes):
            easier = (0.04 - 0.08 * i / (self.classes - 1)) * (1 if accuracy < 0.9 else 0.4)
            others = np.arange(self.classes) != i
            likely[i, i] = accuracy + easier
            likely[i, others] = (1 - likely[i, i]) * rng.dirichlet(np.full(self.classes - 1, 1.5))
        return likely

    def truth(self, accuracy: float) -> float:
        """Return the macro F1 of a model on all the items that there could be."""
        expected = self.confusion(accuracy) * self.sizes[:, None]
        f1 = 2 * np.diag(expected) / (expected.sum(axis=0) + expected.sum(axis=1))
        return float(f1.mean())


@dataclass
class Counts:
    """Of ``sets`` test sets: how often an interval took in the truth, and models were told apart.

    ``percentile`` is for the plain percentile interval of the same draws, to compare; ``pair`` and
    ``mcnemar`` are for one pair of equal models, ``family`` for any of them after correction.
    """

    sets: int = 0
    score: int = 0
    percentile: int = 0
    difference: int = 0
    pair: int = 0
    mcnemar: int = 0
    family: int = 0

    def __add__(self, other: Counts) -> Counts:
        """Return both together."""
        return Counts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(Counts)))


def settings() -> Iterator[Setting]:
    """Yield the settings of the long form."""
    for items in (100, 300, 1000):
        for classes in (2, 3, 7):
            for balanced in (True, False):
                for accuracy in (0.6, 0.8, 0.95):
                    yield Setting(items, classes, balanced, accuracy)


def simulate(setting: Setting, sets: int, repetitions: int, seed: int = 1) -> Counts:
    """Draw test sets and count what the intervals and tests say of them."""
    rng = np.random.default_rng(seed)
    counts = Counts()
    true = np.repeat(np.arange(setting.classes), setting.sizes)
    worse = setting.accuracy - 0.04
    accuracies = [setting.accuracy] * EQUAL + [worse]
    edges = [np.cumsum(setting.confusion(accuracy), axis=1) for accuracy in accuracies]
    score = setting.truth(setting.accuracy)
    difference = score - setting.truth(worse)
    for _ in range(sets):
        shared = rng.random(len(true)) < SHARED
        luck = np.where(shared, rng.random(len(true)), rng.random((len(edges), len(true))))
        predicted = np.stack(
            [
                np.minimum((own[:, None] > edge[true]).sum(axis=1), setting.classes - 1)
                for own, edge in zip(luck, edges, strict=True)
            ]
        )
        estimates = f1_macro_estimates(true, predicted, repetitions, rng)
        counts += _judge(estimates, predicted == true, score, difference)
    return counts


def _judge(
    estimates: list[Estimate], right: NDArray[np.bool_], score: float, difference: float
) -> Counts:
    own = estimates[0].score_interval()
    plain = np.percentile(estimates[0].draws, [2.5, 97.5])
    between = (estimates[0] - estimates[EQUAL]).difference_interval()
    pairs = [(i, j) for i in range(EQUAL) for j in range(i + 1, EQUAL)]
    p_values = [(estimates[i] - estimates[j]).p_value for i, j in pairs]
    only = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    return Counts(
        sets=1,
        score=own.low <= score <= own.high,
        percentile=bool(plain[0] <= score <= plain[1]),
        difference=between.low <= difference <= between.high,
        pair=p_values[0] <= ALPHA,
        mcnemar=mcnemar_p(*only) <= ALPHA,
        family=min(p_values) * len(p_values) <= ALPHA,  # the first step of Holm's correction
    )


def main() -> None:
    """Run the long form and print one row a setting."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--sets", type=int, default=1000, help="test sets of each setting")
    parser.add_argument("--repetitions", type=int, default=400, help="draws of the bootstrap")
    options = parser.parse_args()
    print("items classes rarest accuracy   score  percentile  difference   pair  mcnemar  family")
    whole = Counts()
    for setting in settings():
        counts = simulate(setting, options.sets, options.repetitions)
        whole += counts
        shares = [getattr(counts, f.name) / counts.sets for f in fields(Counts)[1:]]
        print(
            f"{setting.items:5} {setting.classes:7} {setting.sizes.min():6} "
            f"{setting.accuracy:8.2f}   {shares[0]:.3f}       {shares[1]:.3f}       "
            f"{shares[2]:.3f}  {shares[3]:.3f}    {shares[4]:.3f}   {shares[5]:.3f}",
            flush=True,
        )
    names = [f.name for f in fields(Counts)[1:]]
    print(", ".join(f"{name} {getattr(whole, name) / whole.sets:.4f}" for name in names))


if __name__ == "__main__":
    main()
