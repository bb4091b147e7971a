"""One 0/1 column per label: the columns of one key are folded into one whose cells are lists."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from llm_tool.data.arrangement import (
    Cell,
    Change,
    listed,
    named_for_a_role,
    new_name,
    rows_said,
    shown_row,
    with_columns,
)
from llm_tool.data.columns import is_missing
from llm_tool.errors import StudioError
from llm_tool.text import plural, visible

if TYPE_CHECKING:
    from llm_tool.config import RunConfig
    from llm_tool.data.loaders import Table

# Yes and no, as one column writes them. "" among the noes: what is not marked is no.
_WORDS = (
    ({"1", "1.0"}, {"0", "0.0"}),
    ({"true"}, {"false"}),
    ({"t"}, {"f"}),
    ({"yes"}, {"no"}),
    ({"y"}, {"n"}),
    ({"oui"}, {"non"}),
    ({"vrai"}, {"faux"}),
    ({"sí", "si", "sì"}, {"no"}),
    ({"ja"}, {"nein", "nee", "nej"}),
    ({"x", "✓", "✔"}, {""}),
)
_BETWEEN = re.compile(r"\s*(?:[_.:/|-]+|\s)\s*")
# Prefixes that do not say what the labels have in common.
_EMPTY_WORDS = {"is", "has", "label", "labels", "tag", "class", "cat", "est", "a"}
# Prefixes and endings of columns that code one and the same thing.
_CODERS = {"annotator", "annotateur", "coder", "codeur", "rater", "worker", "judge", "reviewer",
           "expert", "human", "model", "annotation", "coding", "run", "round"}  # fmt: skip
_SOURCES = _CODERS | {"gold", "pred", "predicted", "prediction", "true", "auto", "manual", "final"}
_LABELS = "labels"
_SIDE_BY_SIDE = 3


@dataclass(frozen=True)
class _Column:
    """A column of yes and no: ``marks[row]`` is ``None`` where the cell is empty."""

    name: str
    marks: Sequence[bool | None]
    says_no: bool


@dataclass(frozen=True)
class _Group:
    """The columns of one key, and the label that each of them stands for."""

    key: str
    columns: Sequence[_Column]
    labels: Sequence[str]


def indicators(table: Table, config: RunConfig) -> Change | None:
    """Return the table with one column in the place of each set of 0/1 columns, or ``None``.

    Raises:
        StudioError: They were asked for (``scheme``), and there are none, or a column that was
            named holds something else.
    """
    forced = config.scheme == "indicators"
    names = [str(name) for name in table.frame.columns]
    roles = named_for_a_role(config)
    own = {*config.label, *config.multi_class, *config.one_vs_all} & set(names)
    columns = {n: c for n in names if n not in roles and (c := _column(table, n)) is not None}
    if forced and own and own >= set(config.label):  # other labels are keys that there will be
        groups = list(_named(table, [n for n in names if n in own], columns))
    else:
        found = _by_prefix(columns)
        seen = {column.name for group in found for column in group.columns}
        found = [g for g in found if forced or not _one_thing(g.columns)]
        found += _side_by_side(names, columns, seen, forced)
        groups = [g for g in found if not own & {column.name for column in g.columns}]
    if forced and not groups:
        raise StudioError(
            "There is no set of 0/1 columns, one for each label.",
            where=visible(table.path),
            remedy=f"Name them with --label, one by one. Columns: {listed(names)}.",
        )
    changes: list[Change] = []
    for group in groups:
        changes.append(_fold(changes[-1].table if changes else table, group))
    if not changes:
        return None
    return Change(
        scheme="indicators",
        said="one 0/1 column per label: " + "; ".join(change.said for change in changes),
        table=changes[-1].table,
        made={gone: keys for change in changes for gone, keys in change.made.items()},
        coded=frozenset().union(*(change.coded for change in changes)),
        notes=tuple(note for change in changes for note in change.notes),
        examples=tuple(pair for change in changes for pair in change.examples)[:4],
    )


def _column(table: Table, name: str) -> _Column | None:
    """Return a column as yes and no; ``None`` if it holds anything else."""
    cells = table.frame[name].tolist()
    if any(isinstance(cell, list) for cell in cells):
        return None
    meant = {cell: "" if is_missing(cell) else cell.strip().lower() for cell in set(cells)}
    found = set(meant.values()) - {""}
    for yes, no in _WORDS:
        if found & (yes | no) and found <= yes | no:
            mark = {w: True for w in yes} | {w: False for w in no} | {"": None}
            return _Column(name, [mark[meant[cell]] for cell in cells], bool(found & no))
    return None


def _named(table: Table, names: Sequence[str], columns: Mapping[str, _Column]) -> Iterator[_Group]:
    """Yield the columns that the user named, by prefix or all together."""
    for name in names:
        if name not in columns:
            raise StudioError(
                f"The column '{visible(name)}' does not say yes or no in every row.",
                where=f"--scheme indicators, {visible(table.path)}",
                remedy="Such a column holds 1 and 0, true and false, yes and no, or x and nothing.",
            )
    found = _by_prefix({name: columns[name] for name in names})
    rest = [n for n in names if n not in {c.name for group in found for c in group.columns}]
    yield from found
    if rest:
        yield _Group(_LABELS, [columns[n] for n in rest], rest)


def _by_prefix(columns: Mapping[str, _Column]) -> list[_Group]:
    """Return the sets of columns whose names start with the same words."""
    words = {name: _BETWEEN.split(name) for name in columns}
    several = {name: own for name, own in words.items() if len(own) > 1 and own[0]}
    groups = []
    for first in dict.fromkeys(own[0] for own in several.values()):
        names = [name for name, own in several.items() if own[0] == first]
        telling = first.lower() not in _EMPTY_WORDS
        if len(names) < (2 if telling else _SIDE_BY_SIDE):
            continue
        count = _shared([several[name] for name in names])
        labels = [_cut(name, count)[1] for name in names]
        if len(set(labels)) < len(labels) or not all(labels):
            labels = names
        key = _cut(names[0], count)[0] if telling else _LABELS
        groups.append(_Group(key, [columns[name] for name in names], labels))
    return groups


def _shared(names: Sequence[Sequence[str]]) -> int:
    """Return how many words all names start with; each keeps at least one of its own."""
    most = min(map(len, names)) - 1
    return next((n for n in range(most) if len({own[n] for own in names}) > 1), most)


def _cut(name: str, words: int) -> tuple[str, str]:
    """Return a name's first words and the rest of it, without what stands between."""
    between = list(_BETWEEN.finditer(name))[words - 1]
    return name[: between.start()], name[between.end() :]


def _side_by_side(
    names: Sequence[str], columns: Mapping[str, _Column], seen: Set[str], forced: bool
) -> list[_Group]:
    """Return the sets of columns that stand side by side, and say together what a row is."""

    def usable(name: str) -> bool:
        return name in columns and name not in seen

    if forced:
        rest = list(filter(usable, names))
        return [_Group(_LABELS, [columns[n] for n in rest], rest)] if len(rest) > 1 else []
    groups = []
    for fits, run in groupby(names, usable):
        own = list(run)
        together = [columns[name] for name in own if fits]
        if len(together) >= _SIDE_BY_SIDE and not _one_thing(together) and _say_together(together):
            groups.append(_Group(_LABELS, together, own))
    return groups


def _say_together(columns: Sequence[_Column]) -> bool:
    """Tell whether some row has several labels, or every row that has marks exactly one."""
    if any(set(column.marks) <= {True} or True not in column.marks for column in columns):
        return False
    coded = [row for row in zip(*(c.marks for c in columns), strict=True) if set(row) != {None}]
    counts = {row.count(True) for row in coded}
    return max(counts) > 1 or counts == {1}


def _one_thing(columns: Sequence[_Column]) -> bool:
    """Tell whether columns may be several codings of one thing: numbered, or named by coders."""
    stems = [column.name.rstrip("0123456789").lower() for column in columns]
    words = [_BETWEEN.split(stem) for stem in stems]
    sources = any(own[0] in _CODERS or own[-1] in _SOURCES for own in words)
    return sources or len(set(stems)) == 1 or all(len(own[-1]) == 1 for own in words)


def _fold(table: Table, group: _Group) -> Change:
    names = [column.name for column in group.columns]
    taken = {str(name) for name in table.frame.columns}
    key = new_name(group.key, taken, f"{group.key}_labels")
    rows = list(zip(*(column.marks for column in group.columns), strict=True))
    says_no = any(column.says_no for column in group.columns)
    coded = [row for row, marks in enumerate(rows) if set(marks) != {None}]
    single = all(rows[row].count(True) == 1 for row in coded)
    cells: list[Cell] = [""] * len(rows)
    for row in coded:
        own = [label for label, mark in zip(group.labels, rows[row], strict=True) if mark]
        cells[row] = own[0] if single else own
    after = with_columns(table, set(names), {key: cells}, at=names[0])
    one = ", one in each row" if single else ""
    return Change(
        scheme="indicators",
        said=f"{listed(names, 3)} ({plural(len(names), 'label')} of '{visible(key)}'{one})",
        table=after,
        made=dict.fromkeys(names, (key,)),
        # Where no column ever says no, an empty row can be one without any of the labels.
        coded=frozenset({key} if says_no and not single else ()),
        notes=tuple(_notes(table, key, group, rows, says_no)),
        examples=tuple(
            (shown_row(table, names, row), shown_row(after, [key], row)) for row in coded[:2]
        ),
    )


def _notes(
    table: Table,
    key: str,
    group: _Group,
    rows: Sequence[tuple[bool | None, ...]],
    says_no: bool,
) -> Iterator[str]:
    """Yield how many rows have none of the labels, or were not coded, or only in part."""
    none = [row for row, marks in enumerate(rows) if set(marks) != {None} and True not in marks]
    empty = [row for row, marks in enumerate(rows) if set(marks) == {None}]
    if none:
        yield f"{visible(key)}: none of the labels in {rows_said(table, none)}."
    if empty and says_no:
        yield f"{visible(key)}: not coded, all cells empty, in {rows_said(table, empty)}."
    elif empty:
        yield (
            f"{visible(key)}: no mark in {rows_said(table, empty)}: none of the labels, or not "
            "coded; the file does not tell."
        )
    if says_no:
        part = [row for row, marks in enumerate(rows) if len(set(marks)) > 1 and None in marks]
        if part:
            yield f"{visible(key)}: some cells empty, taken for no, in {rows_said(table, part)}."
    never = [c.name for c in group.columns if True not in c.marks]
    if never:
        yield f"{visible(key)}: no row has {listed(never)}."
