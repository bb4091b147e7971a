"""Quick: one multi-class model per label column (and per language, when models are)."""

from __future__ import annotations

from llm_tool.config import RunConfig
from llm_tool.data.dataset import Dataset
from llm_tool.errors import StudioError
from llm_tool.modes.build import MULTI_CLASS, build_plan
from llm_tool.plan import Plan
from llm_tool.text import visible


def plan(config: RunConfig, dataset: Dataset) -> Plan:
    """Return a plan with a job for each single-valued label column and model scope.

    Raises:
        StudioError: A column that was named is multi-valued, all are, or see ``build_plan``.
    """
    asked = [key for name, key in dataset.keys.items() if name in config.label]
    named = [key.name for key in asked if key.multi and key.name not in config.one_vs_all]
    if named:
        raise StudioError(
            f"The column '{visible(named[0])}' holds several values a row.",
            where="--label",
            remedy=f"{config.mode.capitalize()} trains single-valued columns: choose another one, "
            "or give --one-vs-all, or use the mode distributed.",
        )
    single = [key.name for key in dataset.keys.values() if not key.multi]
    if not single and not config.one_vs_all:
        raise StudioError(
            f"Every label column holds several values a row; {config.mode} trains single-valued "
            "ones.",
            where=", ".join(visible(name) for name in dataset.keys),
            remedy="Use the mode distributed.",
        )
    return build_plan(config, dataset, dict.fromkeys(single, MULTI_CLASS))
