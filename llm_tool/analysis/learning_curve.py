"""Whether more labels would pay: the score on growing shares of the training rows."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from llm_tool.logs.archive import Training
from llm_tool.trainers.resampling import REPETITIONS, Estimate, f1_macro_estimates, mean_of

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

Verdict = Literal["yes", "no", "unknown"]
WORTH = 0.01  # a gain in macro F1 that is smaller is not worth twice the labels


@dataclass(frozen=True)
class Point:
    """One share of the training rows: means over seeds; with folds each row is tested once.

    ``score`` is the macro F1 on the curve's ``part``, ``low`` to ``high`` its 95 % interval over
    draws of these rows, ``spread`` its standard deviation over seeds, ``None`` for one seed.
    ``rows`` are those it learned from, the mean over folds.
    """

    share: float
    rows: int
    val: float
    score: float
    low: float
    high: float
    spread: float | None


@dataclass(frozen=True)
class Gain:
    """What the last doubling brought: all training rows in place of half of them.

    ``low`` to ``high`` is the 95 % interval of the paired bootstrap on the same rows, ``spread``
    the standard deviation of the gain over seeds.
    """

    value: float
    low: float
    high: float
    spread: float | None

    @property
    def is_noise(self) -> bool:
        """Whether seeds differ more than what there is to see."""
        return self.spread is not None and self.spread > max(abs(self.value), WORTH)


@dataclass(frozen=True)
class Curve:
    """The learning curve of one model for one category and language scope.

    ``part`` is what it was scored on: ``test``, or ``validation`` where there is no test.
    ``baseline`` is the macro F1 of always giving the most frequent class. ``next_gain`` is what a
    power law through the points expects of twice the labels, ``None`` where none can be fitted.
    """

    category: str
    model: str
    model_name: str
    language: str
    part: str
    scored_rows: int
    seeds: int
    points: tuple[Point, ...]
    baseline: float
    gain: Gain | None
    next_gain: float | None

    @property
    def verdict(self) -> Verdict:
        """Whether more labels would pay: by the last doubling, never by the fit alone.

        While a curve flattens, as learning curves do in the end, the next doubling brings no more
        than the last one: so a small last gain speaks against more labels, and a large one for
        them.
        """
        gain = self.gain
        if gain is None or not self.has_learned or gain.is_noise or gain.high < 0:
            return "unknown"
        if gain.low > 0 and gain.value >= WORTH:
            return "yes"
        return "no" if gain.high < WORTH else "unknown"

    @property
    def has_learned(self) -> bool:
        """Whether the model of all rows is surely better than always giving one class."""
        return self.points[-1].low > self.baseline


def learning_curves(trainings: Iterable[Training]) -> tuple[Curve, ...]:
    """Return the learning curves of trainings, one for each run, category, model and scope.

    A curve has the shares that at least one seed was trained on in all folds, and of the seeds
    those that have all of these shares.

    Raises:
        StudioError: Predictions cannot be read.
    """
    groups: dict[tuple[str, ...], list[Training]] = defaultdict(list)
    for training in trainings:
        job, runs = training.job, training.run.get("jobs", [""])
        groups[runs[0], training.category, job.model, job.language].append(training)
    partial = [own for own in groups.values() if any(one.job.is_partial for one in own)]
    return tuple(curve for curve in map(_curve, partial) if curve is not None)


def _curve(trainings: Sequence[Training]) -> Curve | None:
    folds = len({training.job.fold for training in trainings})
    by_place: dict[float, dict[int, list[Training]]] = defaultdict(lambda: defaultdict(list))
    for training in trainings:
        if training.ended is not None:
            by_place[training.job.share][training.job.seed].append(training)
    whole = {
        share: {seed: own for seed, own in seeds.items() if len(own) == folds}
        for share, seeds in sorted(by_place.items())
    }
    whole = {share: seeds for share, seeds in whole.items() if seeds}
    common = sorted(set.intersection(*(set(seeds) for seeds in whole.values()))) if whole else []
    if len(whole) < 2 or not common:
        return None
    cells = {(share, seed): whole[share][seed] for share in whole for seed in common}
    return _scored(trainings[0], cells)


def _scored(first: Training, cells: Mapping[tuple[float, int], Sequence[Training]]) -> Curve:
    from sklearn.metrics import f1_score

    part, true, predicted = _predictions(first.job.task.classes, cells)
    shares, seeds = sorted({share for share, _ in cells}), sorted({seed for _, seed in cells})
    # All on the same draws, those of a single job's interval.
    rng = np.random.default_rng(seeds[0])
    estimates = iter(f1_macro_estimates(true, predicted, REPETITIONS, rng))
    judged = {share: [next(estimates) for _ in seeds] for share in shares}
    points = []
    for share, own in judged.items():
        results = [one for seed in seeds for one in cells[share, seed]]
        score = mean_of(own).score_interval()
        points.append(
            Point(
                share,
                round(fmean(one.started.train_rows for one in results if one.started)),
                fmean(one.ended.best.scores.f1_macro for one in results if one.ended),
                score.value,
                score.low,
                score.high,
                _spread(own),
            )
        )
    most = np.full_like(true, np.bincount(true).argmax())
    return Curve(
        category=first.category,
        model=first.job.model,
        model_name=first.job.model_name,
        language=first.job.language,
        part=part,
        scored_rows=len(true),
        seeds=len(seeds),
        points=tuple(points),
        baseline=float(f1_score(true, most, average="macro")),
        gain=_last_gain(shares, judged),
        next_gain=expected_gain([p.rows for p in points], [p.score for p in points]),
    )


def _predictions(
    classes: Sequence[str], cells: Mapping[tuple[float, int], Sequence[Training]]
) -> tuple[str, NDArray[np.int64], NDArray[np.int64]]:
    """Return part, true classes, shape (rows,), and predicted ones, shape (shares x seeds, rows).

    The rows are in one order for all, and with folds those of all folds together.
    """
    import pandas as pd

    position = {name: i for i, name in enumerate(classes)}
    tables = {
        key: pd.concat([one.predictions() for one in own]) for key, own in sorted(cells.items())
    }
    part = "test" if all((t["part"] == "test").any() for t in tables.values()) else "validation"
    ordered: list[pd.DataFrame] = [
        table[table["part"] == part].sort_values("row", kind="stable") for table in tables.values()
    ]
    columns = [ordered[0]["true"], *(table["predicted"] for table in ordered)]
    numbers = np.array([column.map(position).tolist() for column in columns], dtype=np.int64)
    return part, numbers[0], numbers[1:]


def _last_gain(shares: Sequence[float], judged: Mapping[float, Sequence[Estimate]]) -> Gain | None:
    """Return what all rows brought in place of half of them; ``None`` where one is not there."""
    if 0.5 not in shares or 1.0 not in shares:
        return None
    each = [full - half for full, half in zip(judged[1.0], judged[0.5], strict=True)]
    found = mean_of(each).difference_interval()
    return Gain(found.value, found.low, found.high, _spread(each))


def _spread(estimates: Sequence[Estimate]) -> float | None:
    return stdev(one.value for one in estimates) if len(estimates) > 1 else None


def expected_gain(rows: Sequence[int], scores: Sequence[float]) -> float | None:
    """Return the gain in score that an inverse power law expects of twice the rows.

    The error is taken for ``a + b * n ** -c``, larger shares weighing more (Figueroa et al. 2012,
    BMC Medical Informatics and Decision Making 12:8). It has three numbers to find, so it takes
    four points, and four are few: what it returns is a rough guess.

    Args:
        rows: Training rows of each point.
        scores: Its score, between 0 and 1.
    """
    from scipy.optimize import curve_fit

    if len(rows) < 4 or scores[-1] <= scores[0]:
        return None
    n, error = np.asarray(rows) / rows[-1], 1 - np.asarray(scores)

    def law(n: Floats, a: float, b: float, c: float) -> Floats:
        return a + b * n**-c

    sigma = 1 / np.sqrt(np.arange(1, len(rows) + 1) / len(rows))
    start, bounds = (error[-1] / 2, error[-1] / 2, 0.5), ([0, 0, 0.01], [1, 1, 5])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # four points leave nothing to estimate the error with
        try:
            found, _ = curve_fit(law, n, error, start, sigma, bounds=bounds)
        except RuntimeError:  # it does not converge
            return None
    _, b, c = found
    return float(b * (1 - 2**-c))


def describe(curve: Curve) -> str:
    """Return what a curve says: whether more labels would pay, and by what that is known."""
    gain, last = curve.gain, curve.points[-1]
    if gain is None:
        return "Whether more labels would pay cannot be told: not every share was trained."
    if not curve.has_learned:
        return (
            "Whether more labels would pay cannot be told: the model is not surely better than "
            f"always giving the most frequent class (macro F1 {curve.baseline:.3f})."
        )
    half = next(point for point in curve.points if point.share == 0.5)
    brought = (
        f"twice the rows ({half.rows:,} to {last.rows:,}) brought {gain.value:+.3f} {curve.part} "
        f"macro F1 [{gain.low:+.3f}, {gain.high:+.3f}]"
    )
    if curve.verdict == "yes":
        guess = ""
        if curve.next_gain is not None:
            guess = (
                f" A power law through the points expects about {curve.next_gain:+.2f} of doubling "
                "them again, a rough guess."
            )
        return f"More labels would probably pay: {brought}.{guess}{_caution(curve)}"
    if curve.verdict == "no":
        return (
            f"More labels alone would hardly pay: {brought}, and the next doubling seldom brings "
            f"more than the last.{_caution(curve)}"
        )
    if gain.is_noise:
        why = f"seeds differ more than that (± {gain.spread:.3f}): more of them would help"
    elif gain.high < 0:
        why = "more rows that bring less are a training that is not stable: try more --seeds"
    else:
        why = f"on {curve.scored_rows:,} {curve.part} rows that can be chance"
    return f"Whether more labels would pay cannot be told: {brought}; {why}."


def _caution(curve: Curve) -> str:
    """Return what the verdict rests on that a reader might not think of."""
    words = []
    if curve.part == "validation":
        words.append("Validation rows also chose the epoch.")
    if curve.seeds == 1:
        words.append("One seed was trained: --seeds 1,2,3 would show how much of it is chance.")
    return "".join(f" {sentence}" for sentence in words)
