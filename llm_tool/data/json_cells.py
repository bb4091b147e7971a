"""Cells that hold JSON, as language models return it: each key becomes a column.

What can be read in one way only is read, also where it is Python, in a fence or within a sentence.
Nothing is guessed: a cell that was cut off or lacks a comma is malformed.
"""

from __future__ import annotations

import ast
import io
import json
import re
import tokenize
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from llm_tool.data.arrangement import (
    MOST_KEYS,
    Cell,
    Change,
    listed,
    named_for_a_role,
    new_name,
    numbers_said,
    shown_cell,
    shown_row,
    spelled_alike,
    with_columns,
)
from llm_tool.data.columns import is_missing, names_texts
from llm_tool.errors import StudioError
from llm_tool.text import plural, visible

if TYPE_CHECKING:
    from llm_tool.config import RunConfig
    from llm_tool.data.loaders import Table

_FENCED = re.compile(r"```\w*\s(.*?)```", re.DOTALL)
_NAMES = {
    "True": "true", "true": "true", "False": "false", "false": "false",
    "None": "null", "null": "null", "NaN": "null", "nan": "null",
}  # fmt: skip
_LAYOUT = {tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
_UNREADABLE = (ValueError, KeyError, SyntaxError, tokenize.TokenError, RecursionError)
_SAMPLE = 200
_ROWS_LISTED = 20
_Path = tuple[str, ...]


def read_object(cell: str) -> dict[str, Any] | None:
    """Return the one JSON object or Python dict that a cell holds, or ``None``."""
    value = _read(cell)
    if isinstance(value, str):  # written as JSON twice
        value = _read(value)
    if value is None:
        value = _read_within(cell)
    return value if isinstance(value, dict) else None


def read_list(cell: str) -> list[Any] | None:
    """Return the JSON or Python list of plain values that a cell is, or ``None``."""
    value = _read(cell)
    plain = isinstance(value, list) and not any(isinstance(v, dict | list) for v in value)
    return value if plain else None


def _read_within(cell: str) -> Any:  # noqa: ANN401 - what JSON can be
    """Return the object in a fence or within a sentence, if there is exactly one."""
    blocks = _FENCED.findall(cell)
    if len(blocks) > 1:
        return None
    text = blocks[0] if blocks else cell
    start, end = text.find("{"), text.rfind("}") + 1
    if start < 0 or end <= start or re.search(r"[\[\]{}]", text[:start] + text[end:]):
        return None
    return _read(text[start:end])


def _read(text: str) -> Any:  # noqa: ANN401 - what JSON can be
    for form in (str, _as_json):
        try:
            # Line breaks within strings (strict=False) can be read in one way only.
            return json.loads(
                form(text.strip()),
                strict=False,
                object_pairs_hook=_without_repeats,
                parse_constant=lambda _: None,
            )
        except _UNREADABLE:
            continue
    return None


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        raise ValueError("a key occurs twice")
    return record


def _as_json(text: str) -> str:
    """Return a Python literal as JSON, each token for one; what is neither stays an error.

    Raises:
        ValueError: And others of ``_UNREADABLE``: this is no literal.
    """
    written: list[str] = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.STRING:
            written.append(json.dumps(_python_string(token.string)))
        elif token.type == tokenize.NAME:
            written.append(_NAMES[token.string])
        elif token.type == tokenize.NUMBER and written[-1:] == ["-"]:
            written[-1] = f"-{token.string}"
        elif token.type == tokenize.NUMBER or token.string in set("{}[]:,-"):
            if token.string in ("}", "]") and written[-1:] == [","] and written[-2] not in "[{,":
                written.pop()  # a comma behind the last one
            written.append(token.string)
        elif token.type not in _LAYOUT:
            raise ValueError(f"{token.string} is not part of a literal")
    return " ".join(written)


def _python_string(token: str) -> str:
    if token[0] not in "'\"" or token.startswith(("'''", '"""')):
        raise ValueError("not a plain string")
    if "\\" not in token:
        return token[1:-1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # an escape that Python does not know
        return str(ast.literal_eval(token))


def json_cells(table: Table, config: RunConfig) -> Change | None:
    """Return the table with a column for each key of its JSON; ``None`` if it has none.

    Objects are recognised where most filled cells of a column hold one, lists where most are one.

    Raises:
        StudioError: JSON was asked for (``scheme``), and a column has none or too many keys.
    """
    forced = config.scheme == "json"
    columns = [str(name) for name in table.frame.columns]
    named = [name for name in config.label if name in columns] if forced else []
    changes: list[Change] = []
    for name in named or [n for n in columns if n not in named_for_a_role(config)]:
        # A text that is called a text stays one, whatever it holds, until it is named.
        if named or not names_texts(name):
            change = _expanded(changes[-1].table if changes else table, name, bool(named))
            changes += [change] if change else []
    if forced and not changes:
        raise StudioError(
            "No column holds JSON.",
            where=visible(table.path),
            remedy=f"Name it with --label. Columns: {listed(columns)}.",
        )
    if not changes:
        return None
    return Change(
        scheme="json",
        said="; ".join(change.said for change in changes),
        table=changes[-1].table,
        made={gone: keys for change in changes for gone, keys in change.made.items()},
        coded=frozenset().union(*(change.coded for change in changes)),
        notes=tuple(note for change in changes for note in change.notes),
        examples=tuple(pair for change in changes for pair in change.examples)[:4],
    )


def _expanded(table: Table, name: str, named: bool) -> Change | None:
    """Return the table without a column of JSON; ``None`` if the column holds something else."""
    cells = table.frame[name].tolist()
    filled = [i for i, cell in enumerate(cells) if not is_missing(cell)]
    sample = [cells[i] for i in filled[:_SAMPLE]]
    if any(isinstance(cell, list) for cell in sample):
        return None
    for looks, read in ((_looks_like_objects, _read_flat), (_looks_like_lists, read_list)):
        if not (named or looks(sample)):
            continue
        found = _read_all(cells, read)
        malformed = [i for i in filled if found[i] is None]
        readable = len(filled) - len(malformed)
        if readable > len(malformed) or (named and readable):
            made = _columns(table, name, found, named)
            lists = read is read_list
            return _change(table, name, made, malformed, lists) if made else None
    if named:
        raise StudioError(
            f"No cell of the column '{visible(name)}' holds JSON.",
            where=visible(table.path),
            remedy='Objects look like {"sentiment": "positive"}; or leave out --scheme json.',
        )
    return None


def _looks_like_objects(sample: Sequence[str]) -> bool:
    return bool(sample) and 2 * sum("{" in c and "}" in c for c in sample) >= len(sample)


def _looks_like_lists(sample: Sequence[str]) -> bool:
    found = sum(c.strip()[:1] == "[" and c.strip()[-1:] == "]" for c in sample)
    return bool(sample) and 2 * found >= len(sample)


def _read_all(cells: Sequence[str], read: Callable[[str], Any]) -> list[Any]:
    """Return what each cell holds, ``None`` where nothing; each different cell is read once."""
    known = {cell: None if is_missing(cell) else read(cell) for cell in dict.fromkeys(cells)}
    return [known[cell] for cell in cells]


def _read_flat(cell: str) -> dict[_Path, Cell] | None:
    record = read_object(cell)
    return None if record is None else dict(_flat(record))


def _columns(
    table: Table, name: str, found: Sequence[Any], named: bool
) -> dict[str, list[Cell]] | None:
    """Return the columns that objects or lists make, or ``None`` if they are too many."""
    if any(isinstance(one, list) for one in found):
        return {name: ["" if values is None else _cell(values) for values in found]}
    paths = list(dict.fromkeys(path for row in found for path in row or ()))
    if len(paths) > MOST_KEYS:
        if not named:
            return None
        raise StudioError(
            f"The JSON in the column '{visible(name)}' has {len(paths):,} different keys.",
            where=visible(table.path),
            remedy="Keys become columns. Write what differs from row to row as values.",
        )
    taken = set(map(str, table.frame.columns)) - {name}
    columns: dict[str, list[Cell]] = {}
    for path in paths:
        key = ".".join(path)
        key = new_name(key, taken | set(columns), f"{name}.{key}")
        columns[key] = [(row or {}).get(path, "") for row in found]
    return columns


def _flat(record: dict[str, Any]) -> Iterator[tuple[_Path, Cell]]:
    """Yield cells under their paths, with the keys of objects one level down."""
    for key, value in record.items():
        if isinstance(value, dict):
            for inner, part in value.items():
                yield (key, inner), _cell(part)
        else:
            yield (key,), _cell(value)


def _cell(value: object) -> Cell:
    if isinstance(value, list):
        return [_text(v) for v in value if v is not None]
    return "" if value is None else _text(value)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _change(
    table: Table, name: str, made: dict[str, list[Cell]], malformed: list[int], lists: bool
) -> Change:
    after = with_columns(table, {name}, made, at=name)
    keys = "" if lists else f": {plural(len(made), 'key')}, {listed(made)}"
    notes = []
    if malformed:
        count, verb = plural(len(malformed), "cell"), "is" if len(malformed) == 1 else "are"
        numbers = numbers_said(table, malformed, _ROWS_LISTED)
        notes.append(
            f"{visible(name)}: {count} {verb} malformed and taken for no value "
            f"(row{'s' * (len(malformed) > 1)} {numbers})."
        )
    notes += [
        f"{visible(name)}: the keys '{visible(one)}' and '{visible(other)}' are two columns, "
        "and differ only in case, blanks or accents."
        for one, other in spelled_alike(made)
    ]
    cells, bad = table.frame[name].tolist(), set(malformed)
    good = [i for i, cell in enumerate(cells) if not is_missing(cell) and i not in bad][:2]
    return Change(
        scheme="json",
        said=f"{'lists' if lists else 'JSON'} in the column '{visible(name)}'{keys}",
        table=after,
        made={name: tuple(made)},
        coded=frozenset(k for k, own in made.items() if any(isinstance(c, list) for c in own)),
        notes=tuple(notes),
        examples=tuple((shown_cell(cells[i]), shown_row(after, made, i)) for i in good),
    )
