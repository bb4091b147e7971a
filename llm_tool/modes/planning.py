"""From a configuration to data and plan. Modes plan; none trains."""

from __future__ import annotations

from collections.abc import Callable

from llm_tool.config import RunConfig
from llm_tool.data.dataset import Dataset, load_dataset
from llm_tool.modes import quick
from llm_tool.plan import Plan
from llm_tool.trainers.model_sources import check

PLANNERS: dict[str, Callable[[RunConfig, Dataset], Plan]] = {"quick": quick.plan}


def prepare(config: RunConfig) -> tuple[Dataset, Plan]:
    """Load the data of a configuration, plan its run, and check that its models can be had.

    Raises:
        StudioError: The data, the configuration or a model is not usable.
    """
    dataset = load_dataset(config)
    plan = plan_run(config, dataset)
    for model in dict.fromkeys(job.model for job in plan.jobs):
        check(model)
    return dataset, plan


def plan_run(config: RunConfig, dataset: Dataset) -> Plan:
    """Return the plan of a configuration's mode.

    Raises:
        StudioError: The labels or models do not fit the mode.
    """
    return PLANNERS[config.mode](config, dataset)
