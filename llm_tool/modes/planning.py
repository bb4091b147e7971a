"""From a configuration to data and plan. Modes plan; none trains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from llm_tool.config import RunConfig
from llm_tool.data.dataset import Dataset, load_dataset
from llm_tool.data.languages import DETECT, with_detected_languages
from llm_tool.errors import StudioError
from llm_tool.modes import benchmark, distributed, hybrid, quick
from llm_tool.modes.scopes import parse_model
from llm_tool.modes.tasks import with_merged
from llm_tool.plan import Plan
from llm_tool.text import visible
from llm_tool.trainers.model_sources import check

if TYPE_CHECKING:
    from llm_tool.data.readers.rows import Progress

# Reinforced plans what quick does: its extra phase is the trainer's, and any mode can have it.
# Custom starts from hybrid's choice for each column, which the user then changes.
PLANNERS: dict[str, Callable[[RunConfig, Dataset], Plan]] = {
    "quick": quick.plan,
    "benchmark": benchmark.plan,
    "custom": hybrid.plan,
    "distributed": distributed.plan,
    "hybrid": hybrid.plan,
    "reinforced": quick.plan,
}


def prepare(config: RunConfig, on_progress: Progress | None = None) -> tuple[Dataset, Plan]:
    """Load the data of a configuration, plan its run, and check that its models can be had.

    A benchmark goes on without a model that cannot be had: its jobs fail, and a note says so.

    Raises:
        StudioError: The data, the configuration or a model is not usable.
    """
    dataset = load_dataset(config, on_progress)
    if _wants_languages(config, dataset):
        dataset = with_detected_languages(dataset)
    plan = plan_run(config, dataset)
    keys = {name: with_merged(dataset.keys[name], own) for name, own in plan.merged.items()}
    dataset = replace(dataset, keys={**dataset.keys, **keys})
    models = list(dict.fromkeys(job.model for job in plan.jobs))
    unusable: list[StudioError] = []
    for model in models:
        try:
            check(model)
        except StudioError as error:
            unusable.append(error)
            if config.mode != "benchmark" or len(unusable) == len(models):
                raise
            note = f"{visible(model)} will be skipped: {error.what}"
            plan = replace(plan, notes=(*plan.notes, note))
    return dataset, plan


def _wants_languages(config: RunConfig, dataset: Dataset) -> bool:
    """Tell whether languages have to be found out: asked for, or needed and not given."""
    if dataset.columns.language is not None:
        return False
    column = (config.language_column or "").lower()
    needed = config.languages == "per-language" or any(parse_model(m)[0] for m in config.model)
    return column == DETECT or (needed and column != "none")


def plan_run(config: RunConfig, dataset: Dataset) -> Plan:
    """Return the plan of a configuration's mode.

    Raises:
        StudioError: The labels or models do not fit the mode.
    """
    return PLANNERS[config.mode](config, dataset)
