"""Which models are better, on which test items, and how sure that is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace

from llm_tool.analysis.compare_contest import contest
from llm_tool.analysis.compare_facts import (
    Comparison,
    Contest,
    Entry,
    Gap,
    LanguageResult,
    Pair,
    Refusal,
    ScopeGap,
)
from llm_tool.analysis.compare_scopes import Judged, scope_gaps
from llm_tool.analysis.compare_sets import (
    by_test_set,
    job_name,
    planned_for,
    units,
    why_not,
    without_repeats,
)
from llm_tool.logs.archive import Archive, Training
from llm_tool.plan import Task, distinct_names
from llm_tool.trainers.resampling import REPETITIONS, Interval

__all__ = [
    "Comparison",
    "Contest",
    "Entry",
    "Gap",
    "Interval",
    "LanguageResult",
    "Pair",
    "Refusal",
    "ScopeGap",
    "compare",
]
SEED = 42
_METHOD = (
    "Models are in the order of their macro F1 on validation rows; the test is the estimate and "
    "does not choose.",
    "[95 %]: bootstrap over test items within each class, all models on the same draws; the "
    "shares of the classes are taken as they are. "
    "±: standard deviation over seeds; what other seeds would give is not in the intervals.",
    "p: paired bootstrap of macro F1, and McNemar's exact test of accuracy (of several seeds, of "
    "their mean probabilities), each with Holm's correction for all pairs of a table. Models are "
    "told apart where that of the bootstrap is at most 0.05.",
    "Items needed: if the difference stays as it was seen (normal approximation; power 80 % at "
    "0.05 over the number of pairs).",
)
_APART = (
    "Between languages: the best model on validation of each, on its own test items, drawn apart. "
    "Such a gap is one of models, training rows and texts together, not of languages alone."
)
_PARTIAL = "Models of a learning curve that learned from a part of the rows are left out."


def compare(
    archives: Sequence[Archive],
    *,
    categories: Collection[str] = (),
    repetitions: int = REPETITIONS,
    seed: int = SEED,
) -> Comparison:
    """Compare the models of sessions wherever they judged the same test items.

    Args:
        archives: The sessions.
        categories: Only these, by the names that are shown; all if there are none.
        repetitions: Draws of the bootstrap.
        seed: Seed of the draws.
    """
    places: dict[tuple[Task, str], list[Training]] = defaultdict(list)
    for training in planned_for(archives):
        task = training.job.task
        places[Task(task.label_key, task.label_value), training.job.language].append(training)
    names = distinct_names(task for task, _ in places)
    contests, refusals, judged_scopes = [], [], []
    for (task, language), trainings in places.items():
        name = names[task]
        if categories and name not in categories:
            continue
        judged, refused = units(trainings)
        refusals += [Refusal(name, language, tuple(own), why) for why, own in refused.items()]
        groups = by_test_set(judged)
        for group in groups:
            distinct, repeats = without_repeats(group)
            whole, leader = contest(name, language, distinct, repetitions=repetitions, seed=seed)
            contests.append(replace(whole, notes=(*whole.notes, *repeats)))
            rows = frozenset(map(int, group[0].test["row"]))
            judged_scopes.append(Judged(contests[-1], leader, group[0].data, rows))
        for group in groups[1:]:
            own = tuple(job_name(t) for unit in group for t in unit.trainings)
            first = job_name(groups[0][0].first)
            reason = f"Not paired with {first}: {why_not(groups[0][0], group[0])}."
            refusals.append(Refusal(name, language, own, reason))
    partial = any(one.job.is_partial for archive in archives for one in archive.trainings)
    gaps = tuple(scope_gaps(judged_scopes))
    notes = (*_METHOD, *([_APART] if gaps else []), *([_PARTIAL] if partial else []))
    return Comparison(tuple(contests), tuple(refusals), notes, repetitions, seed, gaps)
