"""One contest: every model on the same test items, and every pair of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import comb
from statistics import fmean, stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_tool.analysis.compare_facts import Contest, Entry, Gap, LanguageResult, Pair
from llm_tool.analysis.compare_sets import Unit, ensemble, job_name
from llm_tool.analysis.statistics import ALPHA, count_only, holm, items_needed, mcnemar_p
from llm_tool.logs.archive import Training
from llm_tool.text import plural, visible
from llm_tool.trainers.resampling import (
    CONFIDENCE,
    Codes,
    Estimate,
    Labels,
    f1_macro_estimates,
    mean_of,
)

# Settings by which models of one name are told apart, the most telling first.
_TELLING = (
    "shared_encoder", "reinforced", "class_weights", "oversample", "long_documents", "max_length",
    "epochs", "learning_rate", "batch_size",
)  # fmt: skip


@dataclass(frozen=True)
class _Model:
    """One model of a contest with all its seeds.

    ``seeds`` are the estimates of each, ``mean`` is theirs; ``predicted`` has a row for each seed,
    ``vote`` is one prediction an item.
    """

    units: tuple[Unit, ...]
    seeds: tuple[Estimate, ...]
    mean: Estimate
    predicted: Codes
    vote: Labels

    @property
    def val(self) -> list[float]:
        """Validation macro F1 of each seed, mean over its folds."""
        return [fmean(validation_f1(t) for t in unit.trainings) for unit in self.units]

    @property
    def complete(self) -> bool:
        """Whether all its planned trainings have a result."""
        return all(training.ended for training in self.planned)

    @property
    def planned(self) -> list[Training]:
        """All its trainings in the runs that it comes from, also those without a result."""
        every = {job_name(t): t for unit in self.units for t in unit.siblings}
        return list(every.values())

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


@dataclass(frozen=True)
class _Arena:
    """The test items of a contest, and the draws of them."""

    true: Labels
    languages: NDArray[Any]
    repetitions: int
    seed: int
    scope: str

    def judge(self, predicted: Codes, language: str = "") -> list[Estimate]:
        """Return the macro F1 of predictions, shape (models, items), on all items or a language's.

        The draws are the same each time; those of each scope and language are its own.
        """
        own = self.languages == language if language else np.ones(len(self.true), bool)
        rng = np.random.default_rng([self.seed, *self.scope.encode(), *language.encode()])
        estimates = f1_macro_estimates(self.true[own], predicted[:, own], self.repetitions, rng)
        whole = []
        for estimate in estimates:  # items of other languages do not move it
            influence = np.zeros(len(self.true))
            influence[own] = estimate.influence
            whole.append(replace(estimate, influence=influence))
        return whole


def contest(
    category: str, language: str, group: Sequence[Unit], *, repetitions: int, seed: int
) -> tuple[Contest, Estimate]:
    """Return what models with the same test items come to, and the macro F1 of the first.

    Args:
        category: Its name.
        language: The scope of the models.
        group: The models, one for each seed.
        repetitions: Draws of the bootstrap.
        seed: Seed of the draws; what else is compared does not change them.
    """
    classes = tuple(dict.fromkeys(name for unit in group for name in unit.first.job.task.classes))
    test = group[0].test
    true = _codes(test["true"], classes)
    arena = _Arena(true, test["language"].to_numpy(dtype=object), repetitions, seed, language)
    models = _models(group, arena, classes)
    names = _names([model.units for model in models])
    ranked = sorted(
        zip(names, models, strict=True),
        key=lambda named: (
            not named[1].complete, -fmean(named[1].val), named[1].parameters, named[0]
        ),
    )  # fmt: skip
    by_language = _languages([model for _, model in ranked], group[0].languages(), arena)
    judged = Contest(
        category,
        language,
        group[0].data_name,
        classes,
        len(true),
        tuple(
            _entry(name, model, true, own)
            for (name, model), own in zip(ranked, by_language, strict=True)
        ),
        _pairs(ranked, true),
        tuple(_notes(ranked)),
    )
    return judged, ranked[0][1].mean


def _notes(ranked: Sequence[tuple[str, _Model]]) -> Iterator[str]:
    """Yield what makes the models of a contest less than equal."""
    for name, model in ranked:
        lacking = sum(training.ended is None for training in model.planned)
        if lacking:
            left = f"{lacking} of {plural(len(model.planned), 'training')}"
            yield f"{visible(name)} is incomplete and comes last: {left} without a result."
    if len({len(model.units) for _, model in ranked}) > 1:
        counts = ", ".join(f"{visible(n)} {len(model.units)}" for n, model in ranked)
        yield f"Models were trained with unequal numbers of seeds: {counts}."
    if len({unit.validation_set for _, model in ranked for unit in model.units}) > 1:
        yield "Validation rows differ between trainings: the order is not by the same rows for all."


def _codes(names: Iterable[str], classes: Sequence[str]) -> Labels:
    position = {name: i for i, name in enumerate(classes)}
    return np.array([position[name] for name in names], dtype=np.int64)


def _models(group: Sequence[Unit], arena: _Arena, classes: Sequence[str]) -> list[_Model]:
    """Return the models of a contest, all judged on the same draws."""
    by_model: dict[tuple[str, str, str, int], list[Unit]] = defaultdict(list)
    for unit in group:
        by_model[unit.model].append(unit)
    ordered = [unit for own in by_model.values() for unit in own]
    predicted = np.stack([_codes(unit.test["predicted"], classes) for unit in ordered])
    estimates = arena.judge(predicted)
    models, start = [], 0
    for own in by_model.values():
        seeds = slice(start, start + len(own))
        start += len(own)
        vote = _codes(ensemble(own), classes)
        mean = mean_of(estimates[seeds])
        models.append(_Model(tuple(own), tuple(estimates[seeds]), mean, predicted[seeds], vote))
    return models


def _names(models: Sequence[Sequence[Unit]]) -> list[str]:
    """Return a distinct name for each model: its own, with what sets it apart from its like."""
    named: dict[str, list[int]] = defaultdict(list)
    for i, own in enumerate(models):
        named[own[0].first.job.model_name].append(i)
    shown = [""] * len(models)
    for name, places in named.items():
        apart = _apart([models[i] for i in places]) if len(places) > 1 else [""]
        for i, what in zip(places, apart, strict=True):
            shown[i] = f"{name} ({what})" if what else name
    again = Counter(shown)
    return [f"{s} #{i}" if again[s] > 1 else s for i, s in enumerate(shown, start=1)]


def _apart(models: Sequence[Sequence[Unit]]) -> list[str]:
    """Return what sets models of one name apart: settings, what was asked for, or sessions."""
    recipes = [own[0].recipe for own in models]
    differ = [key for key in _TELLING if len({str(recipe.get(key)) for recipe in recipes}) > 1]
    differ += [k for k in recipes[0] if k not in _TELLING and len({str(r[k]) for r in recipes}) > 1]
    asked = [own[0].first.job.model for own in models]
    sessions = [" ".join(dict.fromkeys(unit.first.session_id for unit in own)) for own in models]
    ways = [
        *([f"{key}={_value(recipe[key])}" for recipe in recipes] for key in differ),
        [", ".join(f"{key}={_value(recipe[key])}" for key in differ[:2]) for recipe in recipes],
        asked,
        sessions,
    ]
    return next((way for way in ways if len(set(way)) == len(way)), sessions)


def _value(setting: object) -> str:
    """Return a setting as ``--set`` takes it."""
    return f"{setting:g}" if isinstance(setting, float) else str(setting).lower()


def _languages(
    models: Sequence[_Model], languages: Sequence[str], arena: _Arena
) -> list[tuple[tuple[LanguageResult, ...], Gap | None]]:
    """Return what each model scores in each language, and the gap between its best and worst."""
    predicted = np.concatenate([model.predicted for model in models])
    found: list[dict[str, Estimate]] = [{} for _ in models]
    for language in languages:
        estimates = iter(arena.judge(predicted, language))
        for model, own in zip(models, found, strict=True):
            own[language] = mean_of([next(estimates) for _ in model.seeds])
    items = {language: int((arena.languages == language).sum()) for language in languages}
    return [
        (
            tuple(LanguageResult(name, items[name], e.score_interval()) for name, e in own.items()),
            widest_gap(own),
        )
        for own in found
    ]


def widest_gap(languages: Mapping[str, Estimate]) -> Gap | None:
    """Return how far the best language is above the worst; ``None`` of fewer than two."""
    if len(languages) < 2:
        return None
    best = max(languages, key=lambda name: languages[name].value)
    worst = min(reversed([*languages]), key=lambda name: languages[name].value)
    # The two were picked out of all pairs of languages: as sure for whichever it would have been.
    confidence = 1 - (1 - CONFIDENCE) / comb(len(languages), 2)
    difference = languages[best] - languages[worst]
    return Gap(best, worst, difference.difference_interval(confidence))


def _entry(
    name: str,
    model: _Model,
    true: Labels,
    by_language: tuple[tuple[LanguageResult, ...], Gap | None],
) -> Entry:
    first = model.units[0].first.job
    trainings = [training for unit in model.units for training in unit.trainings]
    return Entry(
        name=name,
        model=first.model,
        model_name=first.model_name,
        sessions=tuple(dict.fromkeys(t.session_id for t in trainings)),
        jobs=tuple(map(job_name, trainings)),
        seeds=tuple(unit.seed for unit in model.units),
        folds=len({t.job.fold for t in trainings} - {0}),
        complete=model.complete,
        parameters=model.parameters,
        val=fmean(model.val),
        val_spread=_spread(model.val),
        f1_macro=model.mean.score_interval(),
        accuracy=float((model.predicted == true).mean()),
        seed_spread=_spread([seed.value for seed in model.seeds]),
        languages=by_language[0],
        gap=by_language[1],
    )


def _pairs(ranked: Sequence[tuple[str, _Model]], true: Labels) -> tuple[Pair, ...]:
    """Return every pair of models; tests are corrected for their number."""
    both = list(combinations(ranked, 2))
    differences = [one.mean - other.mean for (_, one), (_, other) in both]
    right = {name: model.vote == true for name, model in ranked}
    only = [
        (count_only(right[one], right[other]), count_only(right[other], right[one]))
        for (one, _), (other, _) in both
    ]
    bootstrap = [difference.p_value for difference in differences]
    mcnemar = [mcnemar_p(*counts) for counts in only]
    corrected = list(zip(holm(bootstrap), holm(mcnemar), strict=True))
    pairs = []
    for i, ((one, _), (other, _)) in enumerate(both):
        difference, told = differences[i], corrected[i][0] <= ALPHA
        needed = items_needed(
            difference.value, difference.standard_error, len(true), alpha=ALPHA / len(both)
        )
        pairs.append(
            Pair(
                first=one,
                second=other,
                difference=difference.difference_interval(),
                only_first=only[i][0],
                only_second=only[i][1],
                bootstrap_p=bootstrap[i],
                bootstrap_holm=corrected[i][0],
                mcnemar_p=mcnemar[i],
                mcnemar_holm=corrected[i][1],
                distinguishable=told,
                items_needed=None if told else needed,
            )
        )
    return tuple(pairs)


def _spread(values: Sequence[float]) -> float | None:
    return stdev(values) if len(values) > 1 else None
