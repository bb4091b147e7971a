"""Quick: one multi-class model per label key (and per language, when models are)."""

from __future__ import annotations

from llm_tool.config import RunConfig
from llm_tool.data.dataset import Dataset, LabelKey
from llm_tool.errors import StudioError
from llm_tool.modes.scopes import model_scopes
from llm_tool.modes.tasks import multi_class_task
from llm_tool.plan import Job, Plan
from llm_tool.text import visible
from llm_tool.trainers.model_sources import model_name


def plan(config: RunConfig, dataset: Dataset) -> Plan:
    """Return a plan with a job for each label key and model scope.

    Raises:
        StudioError: A key is multi-valued or has classes that cannot be trained, a model is
            given for a language that the data do not have, or there is more than one model.
    """
    keys = [key for key in dataset.keys.values() if _single_valued(key, config)]
    if not keys:
        raise StudioError(
            "Every label column holds several values a row; quick trains single-valued ones.",
            where=", ".join(visible(name) for name in dataset.keys),
        )
    scopes, notes = model_scopes(config, dataset)
    jobs, parts, said = [], [], [*dataset.notes, *notes]
    for key in keys:
        task, split, about = multi_class_task(key, dataset, config, scopes)
        said += about
        for scope in scopes:
            jobs.append(
                Job(task, scope.model, model_name(scope.model), scope.language, config.seed)
            )
            parts.append(split.where(scope.rows))
    skipped = [visible(name) for name, key in dataset.keys.items() if key not in keys]
    if skipped:
        said.append(f"Not trained: {', '.join(skipped)} (several values a row).")
    return Plan(config.mode, tuple(jobs), tuple(parts), tuple(dict.fromkeys(said)))


def _single_valued(key: LabelKey, config: RunConfig) -> bool:
    if key.multi and key.name in config.label:
        raise StudioError(
            f"The column '{visible(key.name)}' holds several values a row.",
            where="--label",
            remedy="Quick trains single-valued columns: choose another one.",
        )
    return not key.multi
