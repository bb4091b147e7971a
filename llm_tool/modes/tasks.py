"""From label columns to tasks: their classes, their languages, their split."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from llm_tool.config import RunConfig
from llm_tool.data.dataset import Dataset, LabelKey
from llm_tool.data.splits import Split, split_rows
from llm_tool.errors import StudioError
from llm_tool.modes.planned import (
    Planned,
    remedy_of_copies,
    units_of_labels,
    wanted_parts,
    which_parts,
)
from llm_tool.modes.scopes import Scope, rows_in_scope
from llm_tool.plan import Task
from llm_tool.text import plural, shorten, visible

OTHER = "other"


@dataclass
class _Column:
    """A label column while its small classes are dealt with, and what was done to it."""

    key: LabelKey
    rows: list[int]
    left_out: dict[int, str] = field(default_factory=dict)
    merged: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def leave_out(self, rows: Iterable[int], why: str) -> int:
        """Leave rows out for a reason; return how many."""
        gone = dict.fromkeys(rows, why)
        self.left_out |= gone
        self.rows = [row for row in self.rows if row not in gone]
        return len(gone)


def multi_class_task(
    key: LabelKey, dataset: Dataset, config: RunConfig, scopes: Sequence[Scope]
) -> Planned:
    """Return the task of a single-valued key, the split of its rows, and what to know about it.

    Raises:
        StudioError: There are fewer than two classes, a class has too few rows to be in every
            part (unless ``small_classes`` says what to do), or a scope has nothing to learn.
    """
    name = visible(key.name)
    column = _Column(key, rows_in_scope(scopes))
    empty = [row for row in column.rows if not key.values[row]]
    if empty:
        column.leave_out(empty, "without a value")
        column.notes.append(f"{name}: {plural(len(empty), 'row')} left out: no value.")
    split = _split(column, dataset, config)
    # Leaving rows out draws a new split, in which another class can be too small.
    while small := _small_classes(column, split, dataset, config):
        if config.small_classes == "error":
            raise _too_small(column, small, split, dataset, config)
        if config.small_classes == "drop":
            _drop(column, small)
        else:
            _merge(column, small, split, dataset, config)
        split = _split(column, dataset, config)
    column.notes += [f"{name}: {note}" for note in split.notes]
    classes = tuple(sorted({column.key.values[row][0] for row in column.rows}))
    if len(classes) < 2:
        raise StudioError(
            f"The column '{name}' has {len(classes) or 'no'} class to learn; it takes two.",
            where="--label",
            remedy="Choose another label column.",
        )
    _check_scopes(column.key, split, scopes)
    languages = tuple(sorted({dataset.languages[row] for row in column.rows} - {""}))
    task = Task(key.name, "", classes, languages)
    left_out = {**column.left_out, **split.left_out}
    return Planned([(task, scopes)], split.folds, left_out, column.notes, column.merged)


def _split(column: _Column, dataset: Dataset, config: RunConfig) -> Split:
    labels = [column.key.values[row] for row in column.rows]
    return split_rows(dataset, column.rows, labels, config)


def _small_classes(column: _Column, split: Split, dataset: Dataset, config: RunConfig) -> list[str]:
    """Return the classes that are in too few rows or groups of a part."""
    every = {column.key.values[row][0] for row in column.rows}
    small: set[str] = set()
    for parts in split.folds:
        for rows in wanted_parts(parts, dataset, config) if parts.train else ():
            present = units_of_labels(rows, column.key.values, split)
            small |= {name for name in every if present[name] < config.min_per_part}
    return sorted(small)


def _too_small(
    column: _Column, small: Sequence[str], split: Split, dataset: Dataset, config: RunConfig
) -> StudioError:
    few = "rows or groups" if dataset.columns.group else "rows"
    shown = ", ".join(_with_counts(column.key, small[:8])) + (", …" if len(small) > 8 else "")
    merge = "Make them one class (--set small_classes=merge)"
    merge = merge if len(small) > 1 else "Merge them in your file"
    remedy = f"{merge}, or leave their rows out: --set small_classes=drop."
    if config.folds:
        remedy += " Or use fewer folds."
    return StudioError(
        f"Classes with too few {few} {which_parts(config)}: {shown}.",
        where=f"column '{visible(column.key.name)}'",
        remedy=remedy + remedy_of_copies(small, column.key, split, dataset),
        fix={"small_classes": "drop"},
        fixes={
            "leave their rows out": {"small_classes": "drop"},
            "make them one class": {"small_classes": "merge"},
        }
        if len(small) > 1
        else None,
    )


def _with_counts(key: LabelKey, names: Iterable[str]) -> list[str]:
    return [f"{shorten(visible(name), 40)} ({key.counts[name]})" for name in names]


def _drop(column: _Column, small: Sequence[str]) -> None:
    """Leave out the rows of small classes."""
    gone = [row for row in column.rows if column.key.values[row][0] in small]
    shown = ", ".join(shorten(visible(name), 40) for name in small[:5])
    shown += ", …" * (len(small) > 5)
    count = column.leave_out(gone, "of classes with too few rows")
    column.notes.append(
        f"{visible(column.key.name)}: {plural(count, 'row')} left out: "
        f"classes with too few rows ({shown})."
    )


def _merge(
    column: _Column, small: Sequence[str], split: Split, dataset: Dataset, config: RunConfig
) -> None:
    """Make small classes one class, together with those that already are.

    Raises:
        StudioError: Together they are too small, or there is only one.
    """
    other = next(iter(column.merged.values()), "")
    new = [name for name in small if name != other]
    if not new or (not other and len(new) == 1):
        error = _too_small(column, small, split, dataset, config)
        raise StudioError(
            error.what,
            where=error.where,
            remedy="There is nothing to merge them with: leave their rows out with "
            "--set small_classes=drop, or label more.",
            fix=error.fix,
        )
    if not other:
        names = [OTHER, *(f"{OTHER}_{n}" for n in range(2, len(column.key.counts) + 3))]
        other = next(name for name in names if name not in column.key.counts)
    shown = _with_counts(column.key, new[:8]) + ["…"] * (len(new) > 8)
    column.notes.append(
        f"{visible(column.key.name)}: classes with too few rows are one class '{other}': "
        f"{', '.join(shown)}."
    )
    column.merged |= dict.fromkeys(new, other)
    column.key = with_merged(column.key, column.merged)


def with_merged(key: LabelKey, merged: Mapping[str, str]) -> LabelKey:
    """Return a single-valued key with other classes in the place of some."""
    values = (tuple(merged.get(value, value) for value in row) for row in key.values)
    return replace(key, values=tuple(values))


def _check_scopes(key: LabelKey, split: Split, scopes: Sequence[Scope]) -> None:
    remedy = "Label more rows, or give --split-column none to split them anew."
    if len(scopes) > 1:
        remedy = "Leave out that language's model, or train one model for all languages."
    for scope in scopes:
        for parts in split.folds:
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
                where = f"column '{visible(key.name)}'{language}"
                raise StudioError(what, where=where, remedy=remedy)
