"""Hybrid: multi-class for columns with few single values, one-vs-all for the others."""

from __future__ import annotations

from llm_tool.config import RunConfig
from llm_tool.data.dataset import Dataset
from llm_tool.modes.build import build_plan, by_values
from llm_tool.plan import Plan


def plan(config: RunConfig, dataset: Dataset) -> Plan:
    """Return a plan in which each label column has the strategy that its values suggest.

    Raises:
        StudioError: See ``build_plan``.
    """
    strategies = {name: by_values(key, config) for name, key in dataset.keys.items()}
    return build_plan(config, dataset, strategies)
