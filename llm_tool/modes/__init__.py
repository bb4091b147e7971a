"""The six run modes: each turns a request and a dataset into a plan. They plan; none trains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from llm_tool.config import RunConfig
from llm_tool.data.dataset import Dataset, load_dataset
from llm_tool.modes import quick
from llm_tool.plan import Plan
from llm_tool.trainers.model_sources import check


@dataclass(frozen=True)
class Mode:
    """A run mode as the menu shows it; ``plan`` is ``None`` where it is not built yet."""

    name: str
    summary: str
    plan: Callable[[RunConfig, Dataset], Plan] | None = None


MODES = (
    Mode("quick", "one model per label, good defaults", quick.plan),
    Mode("benchmark", "compare several models, pick the best"),
    Mode("custom", "choose every setting"),
    Mode("distributed", "one model per label value (multi-label)"),
    Mode("hybrid", "multi-class for some labels, one-vs-all for others"),
    Mode("reinforced", "train, then work on the weak classes"),
)


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
    mode = next(mode for mode in MODES if mode.name == config.mode)
    if mode.plan is None:
        raise NotImplementedError(config.mode)
    return mode.plan(config, dataset)
