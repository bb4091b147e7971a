"""From label columns to binary tasks, one for each value, that share one split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from llm_tool.config import RunConfig
from llm_tool.data.dataset import Dataset, LabelKey
from llm_tool.data.splits import Split, split_rows
from llm_tool.errors import StudioError
from llm_tool.modes.planned import (
    NOT_CODED,
    Planned,
    remedy_of_copies,
    units_of_labels,
    wanted_parts,
    which_parts,
)
from llm_tool.modes.scopes import Scope, rows_in_scope
from llm_tool.plan import Task
from llm_tool.text import plural, shorten, visible


def one_vs_all_tasks(
    keys: Sequence[LabelKey], dataset: Dataset, config: RunConfig, scopes: Sequence[Scope]
) -> Planned:
    """Return a task for each value of the keys, with the scopes that can learn it.

    A row without a value is a real negative of every label, unless it is known that nobody
    labelled it. All tasks share one split, so that no label is trained on a text that another one
    is tested on.

    Raises:
        StudioError: A value has too few rows with or without it to be in every part of a scope
            (unless ``small_classes`` is ``drop``), or no value is left.
    """
    rows, uncoded = _coded_rows(keys, rows_in_scope(scopes), config)
    split = split_rows(dataset, rows, _marks(keys, rows, dataset, scopes), config)
    notes = list(split.notes)
    languages = tuple(sorted({dataset.languages[row] for row in rows} - {""}))
    tasks: list[tuple[Task, list[Scope]]] = []
    for key in keys:
        empty = sum(not key.values[row] for row in rows if row not in key.uncoded)
        if empty:
            notes.append(
                f"{visible(key.name)}: {plural(empty, 'row')} without a value: no to every label."
            )
        own_scopes = scopes if config.shared_encoder else _coded_scopes(key, scopes)
        able = _able_scopes(key, rows, split, own_scopes, dataset, config)
        small = [value for value, own in able.items() if len(own) < len(scopes)]
        if small:
            notes.append(_without(key, small, split, dataset, config))
        tasks += [
            (Task(key.name, value, (f"not_{value}", value), languages), own)
            for value, own in able.items()
            if own
        ]
    if not tasks:
        raise StudioError(
            "No label has enough rows to learn.",
            where=", ".join(f"column '{visible(key.name)}'" for key in keys),
            remedy="Label more rows, or choose another label column.",
        )
    return Planned(tasks, split.folds, {**split.left_out, **uncoded}, notes)


def _coded_rows(
    keys: Sequence[LabelKey], rows: Sequence[int], config: RunConfig
) -> tuple[list[int], dict[int, str]]:
    """Return the rows that somebody labelled, and of the others why they are left out.

    A row takes part in the keys that it was labelled for; one network for all labels needs rows
    that were labelled for all keys.
    """
    wanted = all if config.shared_encoder else any
    coded = [row for row in rows if wanted(row not in key.uncoded for key in keys)]
    return coded, dict.fromkeys(set(rows).difference(coded), NOT_CODED)


def _coded_scopes(key: LabelKey, scopes: Sequence[Scope]) -> Sequence[Scope]:
    """Return the scopes without the rows that nobody labelled for a key."""
    if not key.uncoded:
        return scopes
    return [
        replace(
            scope,
            rows=[own and row not in key.uncoded for row, own in enumerate(scope.rows)],
            uncoded=frozenset(row for row in key.uncoded if scope.rows[row]),
        )
        for scope in scopes
    ]


def _able_scopes(
    key: LabelKey,
    rows: Sequence[int],
    split: Split,
    scopes: Sequence[Scope],
    dataset: Dataset,
    config: RunConfig,
) -> dict[str, list[Scope]]:
    """Return the scopes in which each value is in some but not all rows of every part."""
    able: dict[str, list[Scope]] = {v: [] for v in sorted({v for r in rows for v in key.values[r]})}
    least = config.min_per_part
    for scope in scopes:
        counted = [
            (
                len(part),
                Counter(v for r in part for v in key.values[r]),
                units_of_labels(part, key.values, split),
            )
            for whole in split.folds
            for part in wanted_parts(whole.where(scope.rows), dataset, config)
        ]
        for value, found in able.items():
            if all(
                units[value] >= least and size - counts[value] >= least
                for size, counts, units in counted
            ):
                found.append(scope)
    return able


def _marks(
    keys: Sequence[LabelKey], rows: Sequence[int], dataset: Dataset, scopes: Sequence[Scope]
) -> list[list[str]]:
    """Return what to stratify rows by: their labels, and the lack of those that most rows have.

    The same value of two keys is two labels; and so is a label in two languages, where languages
    have models of their own.
    """
    apart = not all(all(scope.rows) for scope in scopes)
    marks: list[list[str]] = [[] for _ in rows]
    for number, key in enumerate(keys):
        counts = Counter(value for row in rows for value in key.values[row])
        common = {value for value, count in counts.items() if 2 * count > len(rows)}
        for own, row in zip(marks, rows, strict=True):
            where = f"{number} {dataset.languages[row]}" if apart else str(number)
            own += [f"{where}={value}" for value in key.values[row]]
            own += [f"{where}≠{value}" for value in sorted(common.difference(key.values[row]))]
    return marks


def _without(
    key: LabelKey, small: Sequence[str], split: Split, dataset: Dataset, config: RunConfig
) -> str:
    """Return the note on values that are not trained, if leaving them out was asked for."""
    counts = [f"{shorten(visible(value), 40)} ({key.counts[value]})" for value in small]
    shown = ", ".join(counts[:8]) + (", …" if len(counts) > 8 else "")
    if config.small_classes == "drop":
        return f"{visible(key.name)}: not trained where too few rows have it or not: {shown}."
    few = "rows or groups" if dataset.columns.group else "rows"
    remedy = "Label more rows, or leave these labels out: --set small_classes=drop."
    if config.small_classes == "merge":
        remedy = f"Yes-or-no labels cannot be merged. {remedy}"
    if config.folds:
        remedy += " Or use fewer folds."
    raise StudioError(
        f"Labels with too few {few} with or without them {which_parts(config)}: {shown}.",
        where=f"column '{visible(key.name)}'",
        remedy=remedy + remedy_of_copies(small, key, split, dataset),
        fix={"small_classes": "drop"},
    )
