"""Distributed: one yes-or-no model per label value, or one shared encoder for all of them."""

from __future__ import annotations

from llm_tool.config import RunConfig
from llm_tool.data.dataset import Dataset
from llm_tool.modes.build import ONE_VS_ALL, build_plan
from llm_tool.plan import Plan


def plan(config: RunConfig, dataset: Dataset) -> Plan:
    """Return a plan with a binary job for each value of each label column.

    Raises:
        StudioError: See ``build_plan``.
    """
    return build_plan(config, dataset, dict.fromkeys(_keys(config, dataset), ONE_VS_ALL))


def _keys(config: RunConfig, dataset: Dataset) -> list[str]:
    """Return the columns that were named; without names, the multi-valued ones if there are."""
    multi = [key.name for key in dataset.keys.values() if key.multi]
    return list(dataset.keys) if config.label or not multi else multi
