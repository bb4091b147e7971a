"""What a plan says of rare classes: how often their rows are drawn, and how much they weigh."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from llm_tool.config import MOST_DRAWN, RunConfig
from llm_tool.data.dataset import Dataset
from llm_tool.plan import Plan, distinct_names
from llm_tool.text import plural, shorten
from llm_tool.trainers.imbalance import Effect, drawn_share, effects

_SHOWN = 3
_NAME = 40  # characters of a class's name


def imbalance_lines(plan: Plan, dataset: Dataset, config: RunConfig) -> Iterator[str]:
    """Yield how the rows of rare classes are drawn and what they weigh, if that was asked for."""
    if config.oversample == "none" and config.class_weights == "none":
        return
    found = _named_effects(plan, dataset, config)
    if config.oversample != "none":
        rare = _rarest(found, lambda effect: effect.draws)
        drawn = (
            f"Rows of rare classes are drawn more often: {_listed(rare, ' times')}"
            if rare
            else "No class is rare: every row is drawn once"
        )
        yield f"{drawn}. {_epoch_size(plan, dataset, config)}"
    if config.class_weights != "none":
        weighing = _rarest(found, lambda effect: effect.weight)
        if weighing:
            yield f"Rare classes weigh more in the loss (1 on average): {_listed(weighing, '')}."
        else:
            so = "" if config.oversample == "none" else "Drawn so, "
            yield f"{so}{'all' if so else 'All'} classes weigh the same in the loss."


def _named_effects(plan: Plan, dataset: Dataset, config: RunConfig) -> dict[str, Effect]:
    """Return each class's effect by a name for it: of several jobs the first one with most rows."""
    names = distinct_names(task for job in plan.jobs for task in job.tasks)
    several = len({job.task for job in plan.jobs}) > 1
    found: dict[str, Effect] = {}
    largest = sorted(zip(plan.jobs, plan.parts, strict=True), key=lambda j: -len(j[1].train))
    for job, parts in largest:
        for effect in effects(job, dataset, parts.train, config):
            name = effect.name
            if several and not job.labels:
                is_value = job.task.label_value == name
                name = names[job.task] if is_value else f"{names[job.task]} {name}"
            found.setdefault(name, effect)
    return found


def _rarest(
    found: dict[str, Effect], how_much: Callable[[Effect], float]
) -> list[tuple[str, float]]:
    rare = [(name, how_much(e)) for name, e in found.items() if round(how_much(e), 1) > 1]
    return sorted(rare, key=lambda one: -one[1])


def _listed(rare: Sequence[tuple[str, float]], unit: str) -> str:
    said = [
        f"{shorten(name, _NAME)} {much:.3g}{unit}"
        + " (the most)" * (much == MOST_DRAWN and bool(unit))
        for name, much in rare[:_SHOWN]
    ]
    more = len(rare) - _SHOWN
    return ", ".join(said) + (f" and {more:,} more less" if more > 0 else "")


def _epoch_size(plan: Plan, dataset: Dataset, config: RunConfig) -> str:
    rows = [len(parts.train) for parts in plan.parts]
    drawn = [
        round(drawn_share(job, dataset, parts.train, config) * len(parts.train))
        for job, parts in zip(plan.jobs, plan.parts, strict=True)
    ]
    jobs = " of all jobs" if len(rows) > 1 else ""
    return f"An epoch{jobs} is {plural(sum(drawn), 'text')} in place of {sum(rows):,}."
