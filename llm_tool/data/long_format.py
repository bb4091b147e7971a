"""Long format, several rows a text with a column for the key and one for the value: pivoted."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from llm_tool.data.arrangement import (
    MOST_KEYS,
    Cell,
    Change,
    listed,
    named_for_a_role,
    new_name,
    numbers_said,
    rows_said,
    shown_row,
    spelled_alike,
)
from llm_tool.data.columns import (
    LANGUAGE_NAMES,
    SPLIT_NAMES,
    find_text,
    is_missing,
    looks_like_decimals,
    named_id,
)
from llm_tool.errors import StudioError
from llm_tool.text import plural, visible

if TYPE_CHECKING:
    from llm_tool.config import RunConfig
    from llm_tool.data.loaders import Table

_KEY_NAMES = {"key", "variable", "variable_name", "label_name", "label_key", "label_type",
              "annotation_type", "dimension", "attribute", "category", "question", "item", "name",
              "codebook_item", "clé", "cle", "dimension_name"}  # fmt: skip
_VALUE_NAMES = {"value", "label_value", "label", "annotation", "answer", "code", "response",
                "valeur", "réponse", "reponse", "choice"}  # fmt: skip
_CODERS = ("annotator", "annotateur", "coder", "codeur", "rater", "worker", "reviewer", "judge",
           "user", "expert")  # fmt: skip
_FEW = 0.05  # share of texts with several values from which a key is plainly multi-valued


@dataclass(frozen=True)
class _Long:
    """The columns of a long table. ``units[unit]`` are the rows of one text, in order."""

    key: str
    value: str
    unit: str
    text: str
    units: Sequence[Sequence[int]]


def long_format(table: Table, config: RunConfig) -> Change | None:
    """Return the table with one row a text and one column a key, or ``None`` if it is not long.

    Recognised by the names of key and value where most texts have several rows, and where nothing
    but keys and values tells the rows of a text apart.

    Raises:
        StudioError: It was asked for (``scheme``, ``key_column``, ``value_column``) and does not
            fit, or rows of one text contradict each other in language, split or group.
    """
    forced = config.scheme == "long" or bool(config.key_column or config.value_column)
    long = _asked(table, config) if forced else _recognised(table, config)
    if long is None:
        return None
    differing = dict(_differing(table, long))
    if not forced and not _clear(table, long, differing, config):
        return None
    _refuse_contradictions(table, long, differing, config)
    return _pivot(table, long, differing)


def _asked(table: Table, config: RunConfig) -> _Long:
    names = [str(name) for name in table.frame.columns]
    found: list[str] = []
    for role, given, known in (
        ("key", config.key_column, _KEY_NAMES),
        ("value", config.value_column, _VALUE_NAMES),
    ):
        if given is not None and given not in names:
            raise StudioError(
                f"There is no column '{visible(given)}'.",
                where=f"--{role}-column, {visible(table.path)}",
                remedy=f"Columns: {listed(names)}.",
            )
        name = given or next((n for n in names if n.lower() in known and n not in found), None)
        if name is None:
            raise StudioError(
                f"No column is known to hold the {role}s of the long format.",
                where=visible(table.path),
                remedy=f"Name it with --{role}-column. Columns: {listed(names)}.",
            )
        found.append(name)
    key, value = found
    long = _with_units(table, key, value, config)
    if long is None:
        raise StudioError(
            "No column looks like texts.",
            where=visible(table.path),
            remedy=f"Name it with --text-column. Columns: {listed(names)}.",
        )
    return long


def _recognised(table: Table, config: RunConfig) -> _Long | None:
    names = [str(name) for name in table.frame.columns]
    keys = [name for name in names if name.lower() in _KEY_NAMES]
    values = [name for name in names if name.lower() in _VALUE_NAMES]
    if len(keys) != 1 or len(values) != 1:
        return None
    labels = {*config.label, *config.multi_class, *config.one_vs_all}
    named = labels | named_for_a_role(config)
    return None if named & {*keys, *values} else _with_units(table, keys[0], values[0], config)


def _with_units(table: Table, key: str, value: str, config: RunConfig) -> _Long | None:
    """Return the columns with the rows of each text: those of one id, else of one text."""
    text = config.text_column or find_text(table, without={key, value})
    names = [str(name) for name in table.frame.columns if name not in (key, value, text)]
    if text is None or text not in table.frame.columns:
        return None
    given = config.id_column
    ids = [name for name in names if named_id(name)] if given is None else [given]
    for name in ids:
        if name in names:
            long = _Long(key, value, name, text, _units(table, name))
            repeats = len(long.units) < len(table.frame)
            if given or (repeats and text not in dict(_differing(table, long))):
                return long
    return _Long(key, value, text, text, _units(table, text))


def _units(table: Table, name: str) -> list[list[int]]:
    """Return the rows of each unit, in order; a row without a name of its unit is one alone."""
    units: dict[object, list[int]] = {}
    for row, cell in enumerate(table.frame[name].tolist()):
        own = row if is_missing(cell) else _plain(cell)
        units.setdefault(own, []).append(row)
    return list(units.values())


def _plain(cell: object) -> str:
    return "; ".join(map(str, cell)) if isinstance(cell, list) else str(cell).strip()


def _differing(table: Table, long: _Long) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield the columns in which rows of one text differ, each with the first such rows."""
    for name in table.frame.columns:
        if name in (long.key, long.value, long.unit):
            continue
        cells = table.frame[name].tolist()
        for rows in long.units:
            filled = [row for row in rows if not is_missing(cells[row])]
            other = [r for r in filled if _plain(cells[r]) != _plain(cells[filled[0]])]
            if other:
                yield str(name), (filled[0], other[0])
                break


def _clear(
    table: Table, long: _Long, differing: Mapping[str, tuple[int, int]], config: RunConfig
) -> bool:
    """Tell whether a table that was not said to be long cannot well be anything else."""
    keys = [_plain(cell) for cell in table.frame[long.key].tolist()]
    several = [rows for rows in long.units if len(rows) > 1]
    with_keys = [rows for rows in several if len({keys[row] for row in rows}) > 1]
    if 2 * len(several) < len(long.units) or 2 * len(with_keys) < len(several):
        return False
    if not 2 <= len(set(keys) - {""}) <= MOST_KEYS // 4:
        return False
    if long.text in differing:
        return False
    of_texts = _of_texts(config)
    for name in differing:
        cells = [_plain(cell) for cell in table.frame[name].tolist() if not is_missing(cell)]
        # Numbers of rows, times and scores say nothing of who coded; anything else may.
        numbers_rows = len(set(cells)) == len(cells) or looks_like_decimals(cells)
        if not of_texts(name) and (_is_coder(name) or not numbers_rows):
            return False
    return True


def _of_texts(config: RunConfig) -> Callable[[str], bool]:
    """Return what tells whether a column says something of texts: language, split or group."""
    named = {config.language_column, config.group_column, config.split_column}
    guessed = (
        *(LANGUAGE_NAMES if config.language_column is None else ()),
        *(SPLIT_NAMES if config.split_column is None else ()),
    )
    return lambda name: name in named or name.lower() in guessed


def _is_coder(name: str) -> bool:
    return any(word in name.lower() for word in _CODERS)


def _refuse_contradictions(
    table: Table, long: _Long, differing: Mapping[str, tuple[int, int]], config: RunConfig
) -> None:
    of_texts = _of_texts(config)
    for name, (one, other) in differing.items():
        if name == long.text or of_texts(name):
            first, second = (_plain(table.frame[name].iloc[row]) for row in (one, other))
            numbers = [visible(table.row_name(row)) for row in (one, other)]
            raise StudioError(
                f"Two rows of one text say '{visible(first[:60])}' and '{visible(second[:60])}' "
                f"in the column '{visible(name)}'.",
                where=f"{visible(table.path)}, rows {numbers[0]} and {numbers[1]}",
                remedy="Correct one of them, or keep the rows as they are with --scheme columns.",
                fix={"scheme": "columns"},
            )
        if _is_coder(name):
            raise StudioError(
                f"Several people coded one text (column '{visible(name)}'), and who is right is "
                "not known.",
                where=visible(table.path),
                remedy="Leave one value for each text and key in the file.",
            )


def _pivot(table: Table, long: _Long, differing: Collection[str]) -> Change:
    names = list(map(str, table.frame.columns))
    keys = [_plain(c) if not is_missing(c) else "" for c in table.frame[long.key].tolist()]
    values = _values(table, long, keys)
    columns: dict[str, list[Cell]] = {}
    for key, of_units in values.items():
        multi = any(len(own) > 1 for own in of_units)
        name = new_name(key, {*names, *columns}, f"{long.key}.{key}")
        columns[name] = [(own if multi else own[0]) if own else "" for own in of_units]
    after = _merged(table, long, drop={long.key, long.value, *differing}, add=columns)
    multi_said = [f"{visible(k)} (several values a text)" for k in _multi(columns)]
    keys_said = [visible(k) for k in columns if k not in _multi(columns)] + multi_said
    return Change(
        scheme="long",
        said=f"long format: '{visible(long.key)}' names the key, '{visible(long.value)}' the "
        f"value; {plural(len(table.frame), 'row')} are {plural(len(long.units), 'text')}; "
        f"{plural(len(columns), 'key')}: {', '.join(keys_said[:8])}"
        f"{', …' if len(keys_said) > 8 else ''}",
        table=after,
        made={long.key: tuple(columns), long.value: tuple(columns)},
        notes=tuple(_notes(table, long, keys, columns, differing)),
        examples=tuple(
            (
                " | ".join(shown_row(table, [long.key, long.value], r) for r in rows[:3]),
                shown_row(after, columns, unit),
            )
            for unit, rows in enumerate(long.units[:2])
        ),
    )


def _values(table: Table, long: _Long, keys: Sequence[str]) -> dict[str, list[list[str]]]:
    """Return the different values that each key has in each text.

    Raises:
        StudioError: There are too many keys.
    """
    found = sorted(set(keys) - {""}, key=keys.index) if len(set(keys)) <= MOST_KEYS else []
    if not found:
        raise StudioError(
            f"The column '{visible(long.key)}' names {len(set(keys) - {''}) or 'no'} keys.",
            where=f"--key-column, {visible(table.path)}",
            remedy="Name the one with the names of the labels with --key-column.",
        )
    cells = table.frame[long.value].tolist()
    values: dict[str, list[list[str]]] = {key: [[] for _ in long.units] for key in found}
    for unit, rows in enumerate(long.units):
        for row in rows:
            cell = cells[row]
            own = cell if isinstance(cell, list) else [cell]
            if keys[row]:
                into = values[keys[row]][unit]
                into += [v for v in map(str.strip, own) if not is_missing(v) and v not in into]
    return values


def _merged(
    table: Table, long: _Long, drop: Collection[str], add: Mapping[str, list[Cell]]
) -> Table:
    """Return the table with one row a text: what its rows say, and the columns of the keys."""
    import pandas as pd

    columns: dict[str, list[Cell]] = {}
    for name in table.frame.columns:
        if name == long.key:
            columns |= add
        if name not in drop:
            cells = table.frame[name].tolist()
            columns[str(name)] = [
                next((cells[row] for row in rows if not is_missing(cells[row])), "")
                for rows in long.units
            ]
    frame = pd.DataFrame(columns, dtype=object)
    first = [rows[0] for rows in long.units]
    return replace(
        table,
        frame=frame,
        row_numbers=[table.row_numbers[row] for row in first],
        row_files=[table.row_files[row] for row in first] if table.row_files else (),
    )


def _multi(columns: Mapping[str, list[Cell]]) -> list[str]:
    return [name for name, cells in columns.items() if any(isinstance(c, list) for c in cells)]


def _notes(
    table: Table,
    long: _Long,
    keys: Sequence[str],
    columns: Mapping[str, list[Cell]],
    differing: Collection[str],
) -> Iterator[str]:
    """Yield what was left out, and the keys that hardly look multi-valued or are spelled twice."""
    cells = table.frame[long.value].tolist()
    keyless = [row for row, key in enumerate(keys) if not key and not is_missing(cells[row])]
    if keyless:
        yield (
            f"{rows_said(table, keyless)} left out: a value without a key in the column "
            f"'{visible(long.key)}'."
        )
    if differing:
        yield f"Left out, as rows of one text differ in it: {listed(differing)}."
    for name in _multi(columns):
        units = [u for u, c in enumerate(columns[name]) if isinstance(c, list) and len(c) > 1]
        if len(units) <= _FEW * len(long.units):
            first = [long.units[unit][0] for unit in units]
            yield (
                f"{visible(name)}: several values in only {plural(len(units), 'text')} "
                f"(from row {numbers_said(table, first)}), and so multi-valued."
            )
    for one, other in spelled_alike(columns):
        yield (
            f"The keys '{visible(one)}' and '{visible(other)}' are two columns, and differ only in "
            "case, blanks or accents."
        )
