"""From label columns to tasks: their classes, their languages, their split."""

from __future__ import annotations

from collections.abc import Sequence

from llm_tool.config import RunConfig
from llm_tool.data.dataset import Dataset, LabelKey
from llm_tool.data.splits import split_rows
from llm_tool.errors import StudioError
from llm_tool.modes.scopes import Scope, rows_in_scope
from llm_tool.plan import Parts, Task
from llm_tool.text import plural, shorten, visible


def multi_class_task(
    key: LabelKey, dataset: Dataset, config: RunConfig, scopes: Sequence[Scope]
) -> tuple[Task, Parts, list[str]]:
    """Return the task of a single-valued key, the split of its rows, and what to know about it.

    Raises:
        StudioError: There are fewer than two classes, a class has too few rows to be in every
            part (unless ``small_classes`` is ``drop``), or a scope has nothing to learn.
    """
    name = visible(key.name)
    in_scope = rows_in_scope(scopes)
    labelled = [row for row in in_scope if key.values[row]]
    notes = []
    if len(labelled) < len(in_scope):
        empty = len(in_scope) - len(labelled)
        notes.append(f"{name}: {plural(empty, 'row')} left out: no value.")
    parts, about = _split(key, labelled, dataset, config)
    # Leaving rows out draws a new split, in which another class can be too small.
    tested = config.test_share > 0 and dataset.columns.split is None
    while small := _small_classes(key, labelled, parts, tested):
        _refuse_small(key, small, dataset, config)
        kept = [row for row in labelled if key.values[row][0] not in small]
        shown = ", ".join(shorten(visible(c), 40) for c in small[:5]) + (
            ", …" if len(small) > 5 else ""
        )
        notes.append(
            f"{name}: {plural(len(labelled) - len(kept), 'row')} left out: "
            f"classes with too few rows ({shown})."
        )
        labelled = kept
        parts, about = _split(key, labelled, dataset, config)
    notes += [f"{name}: {note}" for note in about]
    classes = tuple(sorted({key.values[row][0] for row in labelled}))
    if len(classes) < 2:
        raise StudioError(
            f"The column '{name}' has {len(classes) or 'no'} class to learn; it takes two.",
            where="--label",
            remedy="Choose another label column.",
        )
    _check_scopes(key, parts, scopes)
    languages = tuple(sorted({dataset.languages[row] for row in labelled} - {""}))
    return Task(key.name, "", classes, languages), parts, notes


def _split(
    key: LabelKey, rows: Sequence[int], dataset: Dataset, config: RunConfig
) -> tuple[Parts, tuple[str, ...]]:
    return split_rows(
        dataset,
        rows,
        [key.values[row] for row in rows],
        validation_share=config.validation_share,
        test_share=config.test_share,
        seed=config.seed,
    )


def _small_classes(key: LabelKey, labelled: Sequence[int], parts: Parts, tested: bool) -> list[str]:
    """Return the classes that are missing from a part; ``tested``: the test must have rows."""
    if not parts.train:
        return []
    wanted = [parts.train, parts.validation, *([parts.test] if parts.test or tested else [])]
    present = [{key.values[row][0] for row in rows} for rows in wanted]
    every = sorted({key.values[row][0] for row in labelled})
    return [name for name in every if not all(name in part for part in present)]


def _refuse_small(key: LabelKey, small: Sequence[str], dataset: Dataset, config: RunConfig) -> None:
    if config.small_classes == "drop":
        return
    shown = ", ".join(f"{shorten(visible(name), 40)} ({key.counts[name]})" for name in small[:8])
    few = "rows or groups" if dataset.columns.group else "rows"
    raise StudioError(
        f"Classes with too few {few} to be in training, validation and test: "
        f"{shown}{', …' if len(small) > 8 else ''}.",
        where=f"column '{visible(key.name)}'",
        remedy="Merge them in your file, or leave their rows out: --set small_classes=drop.",
        fix={"small_classes": "drop"},
    )


def _check_scopes(key: LabelKey, parts: Parts, scopes: Sequence[Scope]) -> None:
    remedy = "Label more rows, or give --split-column none to split them anew."
    if len(scopes) > 1:
        remedy = "Leave out that language's model, or train one model for all languages."
    for scope in scopes:
        own = parts.where(scope.rows)
        what = ""
        if not own.train:
            what = "There are no rows for training."
        elif len({key.values[row][0] for row in own.train}) < 2:
            what = "There is only one class to learn."
        elif not own.validation:
            what = "There are no rows for validation."
        if what:
            language = f", language {visible(scope.language)}" if scope.language else ""
            raise StudioError(what, where=f"column '{visible(key.name)}'{language}", remedy=remedy)
