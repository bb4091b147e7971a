"""From a strategy for each label column to a plan: what all run modes share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from llm_tool.config import RunConfig
from llm_tool.data.dataset import Dataset, LabelKey
from llm_tool.errors import StudioError, nearest
from llm_tool.modes.labels import one_vs_all_tasks
from llm_tool.modes.scopes import Scope, model_scopes
from llm_tool.modes.tasks import multi_class_task
from llm_tool.plan import Job, Parts, Plan, Task, distinct_names
from llm_tool.text import visible
from llm_tool.trainers.model_sources import model_name, unknown_languages

Strategy = Literal["multi-class", "one-vs-all"]
MULTI_CLASS: Strategy = "multi-class"
ONE_VS_ALL: Strategy = "one-vs-all"


def by_values(key: LabelKey, config: RunConfig) -> Strategy:
    """Return the strategy that a column's values suggest.

    Several values a row, or more values than ``multi_class_limit``, call for one-vs-all.
    """
    many = len(key.counts) > config.multi_class_limit
    return ONE_VS_ALL if key.multi or many else MULTI_CLASS


def build_plan(
    config: RunConfig,
    dataset: Dataset,
    strategies: Mapping[str, Strategy],
    *,
    rivals: bool = False,
) -> Plan:
    """Return the plan of a run: for each task, a job for each model scope and seed.

    Args:
        config: Models, seeds, and strategies that the user chose for some columns.
        dataset: The rows.
        strategies: The mode's strategy for each column to train.
        rivals: Several models may be for the same rows.

    Raises:
        StudioError: The columns, models or languages do not fit together.
    """
    chosen = _as_asked(config, dataset, strategies)
    scopes, notes = model_scopes(config, dataset, rivals=rivals)
    notes = [*dataset.notes, *notes, *_foreign(scopes, dataset)]
    planned: list[tuple[Job, Parts]] = []
    for key in (dataset.keys[name] for name in chosen):
        if chosen[key.name] == MULTI_CLASS:
            task, split, about = multi_class_task(key, dataset, config, scopes)
            planned += _jobs([(task, scopes)], split, config)
            notes += about
    binary = [dataset.keys[name] for name, how in chosen.items() if how == ONE_VS_ALL]
    if binary:
        tasks, split, about = one_vs_all_tasks(binary, dataset, config, scopes)
        notes += about
        if config.shared_encoder:
            planned += _shared_jobs(tasks, scopes, split, config)
        else:
            planned += _jobs(tasks, split, config)
    elif config.shared_encoder:
        raise StudioError(
            "A shared encoder has nothing to share: no column is trained one-vs-all.",
            where="--shared-encoder",
            remedy="Name one with --one-vs-all COLUMN, or use the mode distributed.",
        )
    for multi, why in ((True, "several values a row"), (False, "one value a row")):
        left = [k.name for k in dataset.keys.values() if k.name not in chosen and k.multi == multi]
        if left:
            notes.append(f"Not trained: {', '.join(map(visible, left))} ({why}).")
    jobs, parts = zip(*planned, strict=True)
    return Plan(config.mode, jobs, parts, tuple(dict.fromkeys(notes)))


def _as_asked(
    config: RunConfig, dataset: Dataset, strategies: Mapping[str, Strategy]
) -> dict[str, Strategy]:
    """Return the strategies with those that the user chose in the place of the mode's."""
    asked: dict[str, Strategy] = dict.fromkeys(config.multi_class, MULTI_CLASS)
    asked |= dict.fromkeys(config.one_vs_all, ONE_VS_ALL)
    for name, strategy in asked.items():
        flag = f"--{strategy}"
        if name not in dataset.keys:
            raise StudioError(
                f"'{visible(name)}' is not a label column of this run.",
                where=flag,
                remedy=nearest(visible(name), map(visible, dataset.keys), kind="label"),
            )
        if strategy == MULTI_CLASS and dataset.keys[name].multi:
            raise StudioError(
                f"The column '{visible(name)}' holds several values a row.",
                where=flag,
                remedy="One model can tell its values apart only where each row has one: "
                "use --one-vs-all.",
            )
    merged = {**strategies, **asked}
    return {name: merged[name] for name in dataset.keys if name in merged}


def _jobs(
    tasks: Sequence[tuple[Task, Sequence[Scope]]], split: Parts, config: RunConfig
) -> Iterator[tuple[Job, Parts]]:
    for task, scopes in tasks:
        for scope in scopes:
            for seed in config.seeds or (config.seed,):
                name = model_name(scope.model)
                job = Job(task, scope.model, name, scope.language, seed)
                yield job, split.where(scope.rows)


def _shared_jobs(
    tasks: Sequence[tuple[Task, Sequence[Scope]]],
    scopes: Sequence[Scope],
    split: Parts,
    config: RunConfig,
) -> Iterator[tuple[Job, Parts]]:
    """Yield a job for each scope and seed that learns all the scope's labels at once."""
    for scope in scopes:
        labels = tuple(task for task, own in tasks if scope in own)
        if not labels:
            continue
        keys = "+".join(dict.fromkeys(task.label_key for task in labels))
        whole = Task(keys, "", tuple(distinct_names(labels).values()), labels[0].languages)
        for job, parts in _jobs([(whole, [scope])], split, config):
            yield replace(job, labels=labels), parts


def _foreign(scopes: Sequence[Scope], dataset: Dataset) -> Iterator[str]:
    """Yield a warning for each model that was not trained on a language of its rows."""
    for scope in scopes:
        own = {name for name, keep in zip(dataset.languages, scope.rows, strict=True) if keep}
        unknown = unknown_languages(scope.model, sorted(own - {""}))
        if unknown:
            shown = ", ".join(map(visible, unknown))
            yield f"{visible(model_name(scope.model))} was not pretrained on {shown}."
