"""What a comparison says, in sentences; names in them are made visible, not escaped further."""

from __future__ import annotations

from collections import Counter

from llm_tool.analysis.compare_facts import Comparison, Contest, Gap, Pair, Refusal, ScopeGap
from llm_tool.analysis.statistics import ALPHA, SMALLEST
from llm_tool.plan import MULTILINGUAL
from llm_tool.text import plural, visible
from llm_tool.trainers.resampling import Interval

_MANY = 1_000_000  # test items that nobody will label
_MOST_SENTENCES = 3  # pairs; of more, those with the first model


def titles(comparison: Comparison) -> list[str]:
    """Return a title for each contest: category, scope, number of test items.

    Where a category was tested on several sets, its sessions tell them apart.
    """
    several = Counter((contest.category, contest.language) for contest in comparison.contests)
    shown = []
    for contest in comparison.contests:
        named = [visible(contest.category), _scope(contest.language)]
        named.append(plural(contest.items, "test item"))
        if several[contest.category, contest.language] > 1:
            every = dict.fromkeys(s for entry in contest.entries for s in entry.sessions)
            named.append(f"session{'s' if len(every) > 1 else ''} {', '.join(every)}")
        shown.append(" · ".join(filter(None, named)))
    return shown


def _scope(language: str) -> str:
    return "" if language in ("", MULTILINGUAL) else visible(language)


def bracketed(interval: Interval, *, signed: bool = False) -> str:
    """Return a value with its interval: ``0.812 [0.760, 0.855]``."""
    sign = "+" if signed else ""
    return f"{interval.value:{sign}.3f} [{interval.low:{sign}.3f}, {interval.high:{sign}.3f}]"


def p_value(p: float) -> str:
    """Return a p value as text: ``p = 0.032``, ``p < 0.001``."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def short_p(p: float) -> str:
    """Return a p value as a cell of a table."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def verdict(pair: Pair, contest: Contest) -> str:
    """Return in sentences whether a pair of a contest can be told apart, and what it would take."""
    first, second = visible(pair.first), visible(pair.second)
    if not pair.only_first and not pair.only_second and not pair.difference.value:
        return f"{first} and {second} cannot be told apart: they are right on the same test items."
    value, low, high = pair.difference.value, pair.difference.low, pair.difference.high
    if value < 0:  # from the better one's side
        first, second, value, low, high = second, first, -value, -high, -low
    found = (
        f"{bracketed(Interval(value, low, high))}, {p_value(pair.bootstrap_holm)} (paired "
        f"bootstrap); accuracy: {p_value(pair.mcnemar_holm)} (McNemar exact)"
    )
    if pair.distinguishable:
        said = f"{first} is better than {second}: macro F1 higher by {found}."
        return " ".join(filter(None, (said, _by_seeds(value, pair, contest))))
    said = f"{first} and {second} cannot be told apart: macro F1 differs by {found}."
    if pair.mcnemar_holm <= ALPHA:
        said += " In accuracy they can."
    return f"{said} {needed(pair, contest)}"


def _by_seeds(difference: float, pair: Pair, contest: Contest) -> str:
    own = [e.seed_spread or 0.0 for e in contest.entries if e.name in (pair.first, pair.second)]
    if max(own) < difference:
        return ""
    return f"Other seeds alone change it as much: ± {max(own):.3f}."


def needed(pair: Pair, contest: Contest) -> str:
    """Return how many more test items would tell a pair apart, in a sentence."""
    if pair.items_needed is None and abs(pair.difference.value) < SMALLEST:
        return "No number of test items would tell a difference that is not there."
    if pair.items_needed is None:
        return "How many more test items it would take cannot be said from these."
    more = pair.items_needed - contest.items
    if more > _MANY:
        return "More than a million more test items would be needed to tell such a difference."
    return (
        f"About {rounded(more):,} more test items would be needed to tell such a difference with "
        "80 % power."
    )


def more_items(pair: Pair, contest: Contest) -> str:
    """Return how many more test items would tell a pair apart, as a cell of a table."""
    if pair.items_needed is None:
        return "–"
    more = pair.items_needed - contest.items
    return "over a million" if more > _MANY else f"{rounded(more):,}"


def rounded(count: int) -> int:
    """Return a count with two digits that say something: 1,923 as 1,900."""
    size = max(0, len(str(count)) - 2)
    return round(count, -size)


def told_pairs(contest: Contest) -> tuple[Pair, ...]:
    """Return the pairs that are put in sentences: all of few, else those with the first model."""
    if len(contest.pairs) <= _MOST_SENTENCES:
        return contest.pairs
    return tuple(pair for pair in contest.pairs if pair.first == contest.entries[0].name)


def summary(contest: Contest) -> str:
    """Return in a sentence which models could be as good as the first; empty for a pair."""
    if len(contest.entries) < 2:
        return "There is no other model on the same test items."
    if len(contest.entries) == 2:
        return ""
    first = contest.entries[0]
    own = [pair for pair in contest.pairs if pair.first == first.name]
    alike = [visible(pair.second) for pair in own if not pair.distinguishable]
    better = [
        visible(pair.second) for pair in own if pair.distinguishable and pair.difference.value < 0
    ]
    if better:
        return f"On the test {', '.join(better)} did better than {visible(first.name)}."
    if not alike:
        return f"{visible(first.name)} is better than any of the {len(own)} others."
    if len(alike) == len(own):
        return f"{visible(first.name)} cannot be told apart from any of the {len(own)} others."
    *others, last = alike
    named = f"{', '.join(others)} or {last}" if others else last
    return f"{visible(first.name)} cannot be told apart from {named}."


def gap(found: Gap | None) -> str:
    """Return the gap between a model's languages: ``EN over FR 0.050 [0.010, 0.090]``."""
    if found is None:
        return "–"
    names = f"{visible(found.best)} over {visible(found.worst)}"
    return f"{names} {bracketed(found.difference)}"


def scope_gap(found: ScopeGap) -> str:
    """Return in a sentence how far apart languages with models of their own are."""
    gap, names = found.gap, {own.language: visible(own.name) for own in found.models}
    best, worst = visible(gap.best), visible(gap.worst)
    title = visible(found.category)
    ends = bracketed(gap.difference)
    if gap.difference.low <= 0:
        return f"{title}: {best} and {worst} cannot be told apart: macro F1 differs by {ends}."
    said = f"{title}: {best} is over {worst} in macro F1 by {ends}"
    if names[gap.best] == names[gap.worst]:
        return f"{said}."
    return f"{said}; their models differ: {names[gap.best]} and {names[gap.worst]}."


def refusal(refused: Refusal) -> str:
    """Return what was not compared, and why, in a sentence."""
    scope = _scope(refused.language)
    shown = [visible(name) for name in refused.trainings]
    more = f" and {len(shown) - 3} more" if len(shown) > 4 else ""
    names = ", ".join(shown[:3] if more else shown)
    named = " · ".join(filter(None, (visible(refused.category), scope)))
    return f"{named}: {names}{more}: {refused.reason}"
