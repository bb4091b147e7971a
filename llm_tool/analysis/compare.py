"""Which models are better, on which test items, and how sure that is."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb
from statistics import fmean, stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_tool.analysis.compare_sets import (
    Unit,
    by_test_set,
    ensemble,
    job_name,
    planned_for,
    units,
    why_not,
)
from llm_tool.analysis.statistics import (
    CONFIDENCE,
    Codes,
    Draws,
    Interval,
    Labels,
    bootstrap_p,
    f1_macro,
    f1_macro_draws,
    holm,
    interval,
    items_needed,
    mcnemar_p,
)
from llm_tool.logs.archive import Archive, Training
from llm_tool.plan import Task, distinct_names

REPETITIONS = 4000
SEED = 42


@dataclass(frozen=True)
class LanguageResult:
    """A model's macro F1 on the test items of one language; mean over its seeds."""

    language: str
    items: int
    f1_macro: Interval


@dataclass(frozen=True)
class Gap:
    """How far a model's best language is above its worst one, in macro F1."""

    best: str
    worst: str
    difference: Interval


@dataclass(frozen=True)
class Entry:
    """A model in a contest: means over its seeds, on the contest's test items.

    ``name`` is the shown one, distinct in the contest. ``jobs`` are its trainings as
    ``session/job``. ``complete``: each that was planned has a result. ``val`` is the mean macro F1
    on validation rows, by which entries are ordered. ``val_spread`` and ``seed_spread`` are the
    standard deviations over seeds of the validation and test macro F1, ``None`` with one seed.
    ``gap`` is ``None`` with fewer than two languages.
    """

    name: str
    model: str
    model_name: str
    sessions: tuple[str, ...]
    jobs: tuple[str, ...]
    seeds: tuple[int, ...]
    folds: int
    complete: bool
    parameters: int
    val: float
    val_spread: float | None
    f1_macro: Interval
    accuracy: float
    seed_spread: float | None
    languages: tuple[LanguageResult, ...] = ()
    gap: Gap | None = None


@dataclass(frozen=True)
class Pair:
    """Two entries of a contest, by name, on the same test items.

    ``difference`` is the first's macro F1 less the second's. ``only_first`` and ``only_second``
    count the items that only one of them has right. ``bootstrap_holm`` and ``mcnemar_holm`` are
    corrected for all pairs of the contest. ``distinguishable`` is what the paired bootstrap says
    after correction, at 5 %. ``items_needed``: test items in all that would tell such a difference
    with 80 % power, ``None`` if distinguishable or if there is no difference.
    """

    first: str
    second: str
    difference: Interval
    only_first: int
    only_second: int
    bootstrap_p: float
    bootstrap_holm: float
    mcnemar_p: float
    mcnemar_holm: float
    distinguishable: bool
    items_needed: int | None


@dataclass(frozen=True)
class Contest:
    """The models that judged the same test items of a category, the best on validation first.

    ``language`` is the scope of the models, as in ``Job``; ``data`` the name of the table.
    ``pairs`` are all of them, in the order of the entries.
    """

    category: str
    language: str
    data: str
    classes: tuple[str, ...]
    items: int
    entries: tuple[Entry, ...]
    pairs: tuple[Pair, ...]


@dataclass(frozen=True)
class Refusal:
    """What was not compared, and why. ``trainings`` are ``session/job``."""

    category: str
    language: str
    trainings: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class Comparison:
    """All contests of some sessions, what was not compared, and how to read it."""

    contests: tuple[Contest, ...]
    refusals: tuple[Refusal, ...]
    notes: tuple[str, ...]
    repetitions: int
    seed: int


def compare(
    archives: Sequence[Archive], *, repetitions: int = REPETITIONS, seed: int = SEED
) -> Comparison:
    """Compare the models of sessions wherever they judged the same test items.

    Args:
        archives: The sessions.
        repetitions: Draws of the bootstrap.
        seed: Seed of the draws.
    """
    places: dict[tuple[Task, str], list[Training]] = defaultdict(list)
    for training in planned_for(archives):
        task = training.job.task
        places[Task(task.label_key, task.label_value), training.job.language].append(training)
    names = distinct_names(task for task, _ in places)
    contests, refusals = [], []
    for (task, language), trainings in places.items():
        judged, refused = units(trainings)
        for reason, jobs in refused.items():
            refusals.append(Refusal(names[task], language, tuple(jobs), reason))
        groups = by_test_set(judged)
        for group in groups:
            rng = np.random.default_rng(seed)  # each contest's own: others do not change it
            contests.append(_contest(names[task], language, group, repetitions, rng))
        for group in groups[1:]:
            own = tuple(job_name(t) for unit in group for t in unit.trainings)
            reason = f"Not paired with the others: {why_not(groups[0][0], group[0])}."
            refusals.append(Refusal(names[task], language, own, reason))
    return Comparison(tuple(contests), tuple(refusals), (), repetitions, seed)


@dataclass(frozen=True)
class _Model:
    """One model of a contest with all its seeds: predictions, shape (seeds, items), as codes.

    ``vote`` is one prediction an item; ``draws`` is the macro F1 of each draw, mean over seeds.
    """

    units: tuple[Unit, ...]
    predicted: Codes
    vote: Labels
    draws: Draws

    @property
    def val(self) -> list[float]:
        """Validation macro F1 of each seed, mean over its folds."""
        return [fmean(validation_f1(t) for t in unit.trainings) for unit in self.units]

    @property
    def complete(self) -> bool:
        """Whether all its planned trainings have a result."""
        return all(len(unit.planned) == len(unit.trainings) for unit in self.units)

    @property
    def parameters(self) -> int:
        """How large it is."""
        ended = self.units[0].first.ended
        return ended.parameters if ended else 0


def validation_f1(training: Training) -> float:
    """Return the macro F1 on validation rows of a training's best epoch."""
    if training.ended is None:
        raise ValueError(f"{job_name(training)} has no result")
    return training.ended.best.scores.f1_macro


def _contest(
    category: str,
    language: str,
    group: Sequence[Unit],
    repetitions: int,
    rng: np.random.Generator,
) -> Contest:
    classes = tuple(dict.fromkeys(name for unit in group for name in unit.first.job.task.classes))
    test = group[0].test
    true = _codes(test["true"], classes)
    models = _models(group, true, classes, repetitions, rng)
    names = _names([model.units for model in models])
    ranked = sorted(
        zip(names, models, strict=True),
        key=lambda named: (
            not named[1].complete, -fmean(named[1].val), named[1].parameters, named[0]
        ),
    )  # fmt: skip
    languages = test["language"].to_numpy(dtype=object)
    return Contest(
        category,
        language,
        group[0].data_name,
        classes,
        len(true),
        tuple(_entry(name, m, true, languages, repetitions, rng) for name, m in ranked),
        _pairs(ranked, true),
    )


def _codes(names: Iterable[str], classes: Sequence[str]) -> Labels:
    position = {name: i for i, name in enumerate(classes)}
    return np.array([position[name] for name in names], dtype=np.int64)


def _models(
    group: Sequence[Unit],
    true: Labels,
    classes: Sequence[str],
    repetitions: int,
    rng: np.random.Generator,
) -> list[_Model]:
    """Return the models of a contest, all judged on the same draws."""
    by_model: dict[tuple[str, str, str], list[Unit]] = defaultdict(list)
    for unit in group:
        by_model[unit.model].append(unit)
    ordered = [unit for own in by_model.values() for unit in own]
    predicted = np.stack([_codes(unit.test["predicted"], classes) for unit in ordered])
    draws = f1_macro_draws(true, predicted, repetitions, rng)
    models = []
    for own in by_model.values():
        seeds = [ordered.index(unit) for unit in own]
        vote = _codes(ensemble(own), classes)
        models.append(_Model(tuple(own), predicted[seeds], vote, draws[seeds].mean(axis=0)))
    return models


def _names(models: Sequence[Sequence[Unit]]) -> list[str]:
    """Return a name for each model, with what sets it apart where two have the same."""
    names = [own[0].first.job.model_name for own in models]
    counts = Counter(names)
    shown = []
    for own, name in zip(models, names, strict=True):
        sessions = ", ".join(dict.fromkeys(unit.first.session_id for unit in own))
        shown.append(f"{name} ({sessions})" if counts[name] > 1 else name)
    again = Counter(shown)
    numbers: Counter[str] = Counter()
    for i, name in enumerate(shown):
        if again[name] > 1:
            numbers[name] += 1
            shown[i] = f"{name} #{numbers[name]}"
    return shown


def _entry(
    name: str,
    model: _Model,
    true: Labels,
    languages: NDArray[Any],
    repetitions: int,
    rng: np.random.Generator,
) -> Entry:
    first = model.units[0].first.job
    trainings = [training for unit in model.units for training in unit.trainings]
    tested = f1_macro(true, model.predicted)
    results, gap = _by_language(model, true, languages, repetitions, rng)
    return Entry(
        name=name,
        model=first.model,
        model_name=first.model_name,
        sessions=tuple(dict.fromkeys(t.session_id for t in trainings)),
        jobs=tuple(map(job_name, trainings)),
        seeds=tuple(unit.first.job.seed for unit in model.units),
        folds=len({t.job.fold for t in trainings} - {0}),
        complete=model.complete,
        parameters=model.parameters,
        val=fmean(model.val),
        val_spread=_spread(model.val),
        f1_macro=interval(float(tested.mean()), model.draws),
        accuracy=float((model.predicted == true).mean()),
        seed_spread=_spread(tested.tolist()),
        languages=results,
        gap=gap,
    )


def _by_language(
    model: _Model,
    true: Labels,
    languages: NDArray[Any],
    repetitions: int,
    rng: np.random.Generator,
) -> tuple[tuple[LanguageResult, ...], Gap | None]:
    results, draws = [], {}
    for language in model.units[0].languages():
        own = languages == language
        value = float(f1_macro(true[own], model.predicted[:, own]).mean())
        draws[language] = f1_macro_draws(true[own], model.predicted[:, own], repetitions, rng)
        draws[language] = draws[language].mean(axis=0)
        shown = interval(value, draws[language])
        results.append(LanguageResult(language, int(own.sum()), shown))
    if len(results) < 2:
        return tuple(results), None
    best = max(results, key=lambda result: result.f1_macro.value)
    worst = min(reversed(results), key=lambda result: result.f1_macro.value)
    gap = interval(
        best.f1_macro.value - worst.f1_macro.value,
        draws[best.language] - draws[worst.language],
        1 - (1 - CONFIDENCE) / comb(len(results), 2),  # the two were picked out of so many pairs
    )
    return tuple(results), Gap(best.language, worst.language, gap)


def _pairs(ranked: Sequence[tuple[str, _Model]], true: Labels) -> tuple[Pair, ...]:
    both = list(combinations(ranked, 2))
    differences = [one.draws - other.draws for (_, one), (_, other) in both]
    right = {name: model.vote == true for name, model in ranked}
    by_bootstrap = [bootstrap_p(draws) for draws in differences]
    by_mcnemar = [mcnemar_p(right[one], right[other]) for (one, _), (other, _) in both]
    value = {name: float(f1_macro(true, model.predicted).mean()) for name, model in ranked}
    pairs = []
    for i, ((one, _), (other, _)) in enumerate(both):
        difference = interval(value[one] - value[other], differences[i])
        corrected = holm(by_bootstrap)[i]
        told = corrected < 1 - CONFIDENCE
        needed = items_needed(difference.value, float(differences[i].std()), len(true))
        pairs.append(
            Pair(
                one,
                other,
                difference,
                only_first=int((right[one] & ~right[other]).sum()),
                only_second=int((right[other] & ~right[one]).sum()),
                bootstrap_p=by_bootstrap[i],
                bootstrap_holm=corrected,
                mcnemar_p=by_mcnemar[i],
                mcnemar_holm=holm(by_mcnemar)[i],
                distinguishable=told,
                items_needed=None if told else needed,
            )
        )
    return tuple(pairs)


def _spread(values: Sequence[float]) -> float | None:
    return stdev(values) if len(values) > 1 else None
