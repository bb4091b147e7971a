"""Benchmark: several models for the same rows, with several seeds if asked for."""

from __future__ import annotations

from llm_tool.config import RunConfig
from llm_tool.data.dataset import Dataset
from llm_tool.modes.build import build_plan, by_values
from llm_tool.plan import Plan


def plan(config: RunConfig, dataset: Dataset) -> Plan:
    """Return a plan with a job for each task, model and seed.

    Raises:
        StudioError: See ``build_plan``.
    """
    strategies = {name: by_values(key, config) for name, key in dataset.keys.items()}
    return build_plan(config, dataset, strategies, rivals=True)
