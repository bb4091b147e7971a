"""From a strategy for each label column to a plan: what all run modes share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from llm_tool.config import RunConfig
from llm_tool.data.dataset import Dataset, LabelKey
from llm_tool.errors import StudioError, nearest
from llm_tool.modes.curve import at_shares
from llm_tool.modes.labels import one_vs_all_tasks
from llm_tool.modes.planned import Planned, accounts
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
    """Return the plan of a run: for each task, a job for each model scope, seed and fold.

    With a learning curve also one for each share of the training rows.

    Args:
        config: Models, seeds, folds, and strategies that the user chose for some columns.
        dataset: The rows.
        strategies: The mode's strategy for each column to train.
        rivals: Several models may be for the same rows.

    Raises:
        StudioError: The columns, models or languages do not fit together.
    """
    _check_folds(config, dataset)
    chosen = _as_asked(config, dataset, strategies)
    scopes, notes = model_scopes(config, dataset, rivals=rivals)
    notes = [*dataset.notes, *notes, *_foreign(scopes, dataset)]
    multi_class = [dataset.keys[name] for name, how in chosen.items() if how == MULTI_CLASS]
    binary = [dataset.keys[name] for name, how in chosen.items() if how == ONE_VS_ALL]
    planned = [multi_class_task(key, dataset, config, scopes) for key in multi_class]
    every = [job for own in planned for job in _jobs(own, config)]
    if binary:
        planned.append(one_vs_all_tasks(binary, dataset, config, scopes))
        if config.shared_encoder:
            every += _shared_jobs(planned[-1], scopes, config)
        else:
            every += _jobs(planned[-1], config)
    elif config.shared_encoder:
        raise _nothing_shared()
    notes += _noted(planned)
    notes += _unused(config, dataset, chosen)
    merged = {own.tasks[0][0].label_key: own.merged for own in planned if own.merged}
    if config.learning_curve:
        every = list(at_shares(every, dataset, config, merged))
    jobs, parts = zip(*every, strict=True)
    return Plan(
        config.mode,
        jobs,
        parts,
        tuple(dict.fromkeys(notes)),
        tuple(accounts(planned, dataset)),
        merged,
    )


def _nothing_shared() -> StudioError:
    return StudioError(
        "A shared encoder has nothing to share: no column is trained one-vs-all.",
        where="--shared-encoder",
        remedy="Name one with --one-vs-all COLUMN, or use the mode distributed.",
    )


def _noted(planned: Sequence[Planned]) -> Iterator[str]:
    """Yield the notes of all tasks; one that is the same for several columns once for them."""
    columns: dict[str, list[str]] = {}
    for own in planned:
        prefix = f"{visible(own.tasks[0][0].label_key)}: "
        for note in own.notes:
            said = note.removeprefix(prefix)
            columns.setdefault(said, []).extend([prefix[:-2]] * (said != note))
    for said, names in columns.items():
        yield ": ".join(filter(None, (", ".join(names), said)))


def _unused(config: RunConfig, dataset: Dataset, chosen: Mapping[str, Strategy]) -> Iterator[str]:
    """Yield what is not used: columns that are not trained, a share that folds decide."""
    for multi, why in ((True, "several values a row"), (False, "one value a row")):
        left = [k.name for k in dataset.keys.values() if k.name not in chosen and k.multi == multi]
        if left:
            yield f"Not trained: {', '.join(map(visible, left))} ({why})."
    if config.folds and "test_share" in config.chosen():
        yield f"test_share is not used: each of the {config.folds} folds is the test once."


def _check_folds(config: RunConfig, dataset: Dataset) -> None:
    if config.folds and any(dataset.parts):
        raise StudioError(
            "The file says which rows are for training and for the test; folds would mix them.",
            where=f"--folds, split column '{visible(dataset.columns.split or '')}'",
            remedy="Give --split-column none to make folds of all rows, or leave out --folds.",
        )


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


def _jobs(planned: Planned, config: RunConfig) -> Iterator[tuple[Job, Parts]]:
    for task, scopes in planned.tasks:
        for scope in scopes:
            for seed in config.seeds or (config.seed,):
                for fold, parts in enumerate(planned.folds, start=1):
                    job = Job(task, scope.model, model_name(scope.model), scope.language, seed)
                    own = replace(job, fold=fold if config.folds else 0)
                    yield own, parts.where(scope.rows)


def _shared_jobs(
    planned: Planned, scopes: Sequence[Scope], config: RunConfig
) -> Iterator[tuple[Job, Parts]]:
    """Yield a job for each scope, seed and fold that learns all the scope's labels at once."""
    for scope in scopes:
        labels = tuple(task for task, own in planned.tasks if scope in own)
        if not labels:
            continue
        keys = "+".join(dict.fromkeys(task.label_key for task in labels))
        whole = Task(keys, "", tuple(distinct_names(labels).values()), labels[0].languages)
        for job, parts in _jobs(replace(planned, tasks=[(whole, [scope])]), config):
            yield replace(job, labels=labels), parts


def _foreign(scopes: Sequence[Scope], dataset: Dataset) -> Iterator[str]:
    """Yield a warning for each model that was not trained on a language of its rows."""
    for scope in scopes:
        own = {name for name, keep in zip(dataset.languages, scope.rows, strict=True) if keep}
        unknown = unknown_languages(scope.model, sorted(own - {""}))
        if unknown:
            shown = ", ".join(map(visible, unknown))
            yield f"{visible(model_name(scope.model))} was not pretrained on {shown}."
