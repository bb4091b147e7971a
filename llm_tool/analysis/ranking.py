"""Which model is best: validation chooses, the test scores only tell how good the choice is."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from llm_tool.events import JobEnded
from llm_tool.plan import MULTILINGUAL, Task


@dataclass(frozen=True)
class Standing:
    """A model's place in a contest: means over its trainings, spread over seeds and folds.

    ``val_spread`` and ``test_spread`` are standard deviations of the means of each seed and fold,
    ``None`` where there is one; ``test`` is ``None`` without test rows. ``seconds`` and
    ``tokens_per_second`` are means of one training. ``complete``: it has a result wherever a rival
    has one. ``seeds`` and ``folds`` count those it was trained with; without cross-validation
    ``folds`` is 0.
    """

    model: str
    model_name: str
    trainings: int
    val: float
    val_spread: float | None
    test: float | None
    test_spread: float | None
    seconds: float
    parameters: int
    tokens_per_second: float
    complete: bool
    seeds: int = 1
    folds: int = 0


@dataclass(frozen=True)
class Ranking:
    """The models of a contest, the best first. Without a category it is over all of them."""

    category: str
    language: str
    standings: tuple[Standing, ...]


def rank(done: Sequence[JobEnded]) -> list[Ranking]:
    """Return a ranking for each category and language scope, then one over all categories.

    By mean validation macro F1 over seeds and folds; over all categories, by their mean.
    A model that lacks results which a rival has comes after those that have all: its mean is over
    other data. Models of different scopes are never compared, for their rows differ, and
    those that learned from a part of their rows, for a learning curve, not at all.
    """
    contests: dict[tuple[str, str, str], list[JobEnded]] = defaultdict(list)
    scopes: dict[str, list[JobEnded]] = defaultdict(list)
    for result in done:
        job = result.job
        if job.is_partial:
            continue
        contests[job.task.label_key, job.task.label_value, job.language].append(result)
        scopes[job.language].append(result)
    names = _names([(key, value) for key, value, _ in contests])
    rankings = [
        Ranking(names[key, value], language, _standings(own))
        for (key, value, language), own in contests.items()
    ]
    several = [s for s in scopes if sum(language == s for *_, language in contests) > 1]
    return rankings + [Ranking("", scope, _standings(scopes[scope])) for scope in several]


def _names(tasks: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Return the category of each key and value, with the key where two share a value's name."""
    categories = {task: Task(*task).category for task in tasks}
    shared = Counter(categories.values())
    return {
        (key, value): f"{key}_{value}" if value and shared[name] > 1 else name
        for (key, value), name in categories.items()
    }


def _standings(results: Sequence[JobEnded]) -> tuple[Standing, ...]:
    by_model: dict[tuple[str, str], list[JobEnded]] = defaultdict(list)
    for result in results:
        by_model[result.job.model, result.job.model_name].append(result)
    every = _places(results)
    standings = [
        _standing(model, name, own, complete=_places(own) == every)
        for (model, name), own in by_model.items()
    ]
    order = sorted(standings, key=lambda s: (not s.complete, -s.val, s.parameters, s.model_name))
    return tuple(order)


def _places(results: Iterable[JobEnded]) -> set[tuple[str, str, int, int]]:
    """Return the categories, seeds and folds that there are results for."""
    jobs = [result.job for result in results]
    return {(job.task.label_key, job.task.label_value, job.seed, job.fold) for job in jobs}


def over_folds(results: Sequence[JobEnded]) -> Standing:
    """Return the means over the trainings of one model for one category, and their spread."""
    job = results[0].job
    return _standing(job.model, job.model_name, results, complete=True)


def _standing(model: str, name: str, results: Sequence[JobEnded], *, complete: bool) -> Standing:
    repeats: dict[tuple[int, int], list[JobEnded]] = defaultdict(list)
    for result in results:
        repeats[result.job.seed, result.job.fold].append(result)
    val = [fmean(r.best.scores.f1_macro for r in own) for own in repeats.values()]
    tested = [[r.test.f1_macro for r in own if r.test] for own in repeats.values()]
    test = [fmean(scores) for scores in tested if scores]
    return Standing(
        model=model,
        model_name=name,
        trainings=len(results),
        val=fmean(val),
        val_spread=spread(val),
        test=fmean(test) if test else None,
        test_spread=spread(test),
        seconds=fmean(r.seconds for r in results),
        parameters=results[0].parameters,
        tokens_per_second=fmean(r.tokens_per_second for r in results),
        complete=complete,
        seeds=len({seed for seed, _ in repeats}),
        folds=len({fold for _, fold in repeats if fold}),
    )


def spread(values: Sequence[float]) -> float | None:
    """Return the standard deviation of several values; ``None`` of one."""
    return stdev(values) if len(values) > 1 else None


def winners(rankings: Sequence[Ranking]) -> tuple[str, ...]:
    """Return the best model as ``--model`` takes it: one, or ``LANG=MODEL`` for each language.

    The ranking over all categories decides where there is one.
    """
    deciding = {ranking.language: ranking for ranking in rankings}
    return by_scope({scope: ranking.standings[0].model for scope, ranking in deciding.items()})


def by_scope(models: Mapping[str, str]) -> tuple[str, ...]:
    """Return the model of each language scope as ``--model`` takes it."""
    return tuple(
        model if scope in ("", MULTILINGUAL) else f"{scope}={model}"
        for scope, model in models.items()
    )
