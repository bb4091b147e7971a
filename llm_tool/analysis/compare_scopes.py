"""The gap between languages that have models of their own: on items apart, with draws apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from llm_tool.analysis.compare_contest import widest_gap
from llm_tool.analysis.compare_facts import Contest, OwnModel, ScopeGap
from llm_tool.plan import MULTILINGUAL
from llm_tool.trainers.resampling import Estimate, side_by_side


@dataclass(frozen=True)
class Judged:
    """A contest with what its first model scored: on which rows of which table."""

    contest: Contest
    first: Estimate
    data: str
    rows: frozenset[int]


def scope_gaps(judged: Iterable[Judged]) -> Iterator[ScopeGap]:
    """Yield the gap of each category and table of which several languages have their own models.

    Of a scope with several test sets the first contest counts, the one with the most models.
    """
    places: dict[tuple[str, str], dict[str, Judged]] = defaultdict(dict)
    for one in judged:
        if one.contest.language not in ("", MULTILINGUAL):
            own = places[one.contest.category, one.data]
            own.setdefault(one.contest.language, one)
    for scopes in places.values():
        found = _gap(sorted(scopes.values(), key=lambda one: one.contest.language))
        if found is not None:
            yield found


def _gap(scopes: Sequence[Judged]) -> ScopeGap | None:
    every = [row for one in scopes for row in one.rows]
    if len(set(every)) < len(every):  # of runs that told languages apart otherwise
        return None
    contests = [one.contest for one in scopes]
    apart = side_by_side([one.first for one in scopes])
    names = [contest.language for contest in contests]
    gap = widest_gap(dict(zip(names, apart, strict=True)))
    if gap is None:
        return None
    models = tuple(
        OwnModel(c.language, c.entries[0].name, c.items, c.entries[0].f1_macro) for c in contests
    )
    return ScopeGap(contests[0].category, contests[0].data, models, gap)
