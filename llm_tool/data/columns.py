"""Which column is what: guessed from names and contents, always overridable."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llm_tool.data.languages import DETECT
from llm_tool.errors import StudioError, nearest
from llm_tool.text import visible

if TYPE_CHECKING:
    from llm_tool.config import RunConfig
    from llm_tool.data.loaders import Table

# As R, pandas and SQL write a missing value. "None" is left out: it is a real label to many.
MISSING = {"", "NA", "N/A", "<NA>", "NaN", "nan", "NULL", "null"}
PART_NAMES = {
    "train": "train", "training": "train",
    "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
    "test": "test", "testing": "test", "eval": "test",
}  # fmt: skip
_TEXT = ("text", "texte", "texto", "sentence", "content", "tweet", "document", "body", "message",
         "comment", "review", "phrase", "contenu")  # fmt: skip
LANGUAGE_NAMES = ("lang", "language", "langue", "lingua", "idioma", "sprache", "locale")
SPLIT_NAMES = ("split", "set", "part", "partition", "fold", "subset")
_LANGUAGE_CODE = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z]{2,4})?")
_SEPARATORS = (";", "|")
_SAMPLE = 5_000


@dataclass(frozen=True)
class Columns:
    """The role of each column; ``None`` where the table has no such column."""

    text: str
    labels: tuple[str, ...]
    language: str | None = None
    id: str | None = None
    group: str | None = None
    split: str | None = None


@dataclass(frozen=True)
class Profile:
    """What the first rows of a column hold. ``length`` is the mean number of characters."""

    filled: int
    distinct: frozenset[str]
    length: float
    multi: bool


def is_missing(cell: object) -> bool:
    """Tell whether a cell holds no value."""
    return not cell if isinstance(cell, list) else str(cell).strip() in MISSING


def profile(cells: Sequence[object]) -> Profile:
    """Return what a column holds, judged by its first 5,000 rows."""
    filled = [c for c in cells[:_SAMPLE] if not is_missing(c)]
    texts = [" ".join(c) if isinstance(c, list) else str(c).strip() for c in filled]
    return Profile(
        filled=len(texts),
        distinct=frozenset(texts),
        length=sum(map(len, texts)) / max(1, len(texts)),
        multi=separator(filled) is not None,
    )


def separator(cells: Sequence[object]) -> str | None:
    """Return how a column's cells list several values: ``list``, ``;``, ``|``, or ``None``.

    A character separates values when it occurs in cells and some piece recurs in several
    different cells.
    """
    if any(isinstance(c, list) for c in cells):
        return "list"
    distinct = {str(c) for c in cells[:_SAMPLE]}
    for mark in _SEPARATORS:
        pieces = [p.strip() for c in distinct for p in c.split(mark)]
        joined = len(pieces) > len(distinct)
        if joined and len(set(pieces)) < len(pieces) and max(map(len, pieces)) <= 60:
            return mark
    return None


def guess_columns(
    table: Table, text: str | None = None, *, not_text: Collection[str] = ()
) -> Columns:
    """Return the most likely role of each column.

    Args:
        table: The table.
        text: The column with the texts, where that is known.
        not_text: Columns that are known to be something else.

    Raises:
        StudioError: No column looks like texts.
    """
    profiles = {name: profile(table.frame[name].tolist()) for name in table.frame.columns}
    text = text or _guess_text({n: p for n, p in profiles.items() if n not in not_text})
    if text is None:
        raise StudioError(
            "No column looks like texts.",
            where=visible(table.path),
            remedy=f"Name it with --text-column. Columns: {_listed(profiles)}.",
        )
    rest = {name: p for name, p in profiles.items() if name != text and p.filled}
    language = next((n for n, p in rest.items() if _is_language(n, p)), None)
    split = next((n for n, p in rest.items() if _is_split(n, p)), None)
    row_id = next((n for n, p in rest.items() if _is_id(n, p)), None)
    taken = {language, split, row_id}
    labels = tuple(n for n, p in rest.items() if n not in taken and _is_label(p))
    return Columns(text, labels, language, row_id, None, split)


def _guess_text(profiles: dict[str, Profile]) -> str | None:
    named = [n for n in profiles if n.lower() in _TEXT]
    if named:
        return min(named, key=lambda n: _TEXT.index(n.lower()))
    longest = max(profiles, key=lambda n: profiles[n].length, default=None)
    return longest if longest and profiles[longest].length >= 15 else None


def find_text(table: Table, without: Collection[str]) -> str | None:
    """Return the column that looks most like texts, or ``None``."""
    rest = [name for name in table.frame.columns if name not in without]
    return _guess_text({str(name): profile(table.frame[name].tolist()) for name in rest})


def names_texts(name: str) -> bool:
    """Tell whether a column is called what columns of texts are called."""
    return name.lower() in _TEXT


def _is_language(name: str, p: Profile) -> bool:
    codes = all(_LANGUAGE_CODE.fullmatch(v) for v in p.distinct)
    return name.lower() in LANGUAGE_NAMES and len(p.distinct) <= 60 and (codes or p.length < 15)


def _is_split(name: str, p: Profile) -> bool:
    known = {PART_NAMES.get(v.lower()) for v in p.distinct}
    named, both = name.lower() in SPLIT_NAMES, {"train", "test"} <= known
    # A slip in a column that is clearly a split is an error to show, not a label to learn.
    return (named and both) or (None not in known and (named or both))


def _is_id(name: str, p: Profile) -> bool:
    return len(p.distinct) == p.filled and named_id(name)


def named_id(name: str) -> bool:
    """Tell whether a column is called what columns of ids are called."""
    return name.lower() == "id" or name.lower().endswith(("_id", ".id"))


def _is_label(p: Profile) -> bool:
    if p.multi:
        return True
    few = len(p.distinct) <= min(300, max(20, p.filled // 20)) and len(p.distinct) < p.filled
    return few and p.length <= 60 and not looks_like_decimals(p.distinct)


def looks_like_decimals(values: Iterable[str]) -> bool:
    """Tell whether all values are numbers with a decimal point."""
    return all("." in value and _is_number(value) for value in values)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def choose_columns(
    table: Table, config: RunConfig, made: Mapping[str, tuple[str, ...]] | None = None
) -> Columns:
    """Return the columns that the configuration names, the others guessed.

    A column that is named for one role is not guessed for another. ``none`` says that there is no
    such column, and so does ``detect`` of the language, unless a column is called that.

    Args:
        table: The table, arranged.
        config: What is named.
        made: The keys that columns which are gone were turned into; naming one names these.

    Raises:
        StudioError: A named column does not exist (the nearest are named), or there are no
            labels.
    """
    text = _existing(table, config.text_column, "--text-column")
    present = set(table.frame.columns)
    labels = tuple(
        dict.fromkeys(
            key
            for name in config.label
            for key in ((name,) if name in present else (made or {}).get(name, (name,)))
        )
    )
    for label in labels:
        _existing(table, label, "--label")
    wanted = {
        "language": config.language_column,
        "id": config.id_column,
        "group": config.group_column,
        "split": config.split_column,
    }
    named = {*labels, *(name for name in wanted.values() if name)}
    guess = guess_columns(table, text, not_text=named)
    asked = {guess.text, *named}
    roles: dict[str, str | None] = {}
    for role, name in wanted.items():
        guessed: str | None = getattr(guess, role)
        if name is None:
            roles[role] = None if guessed in asked else guessed
        elif _says_none(role, name) and name not in table.frame.columns:
            roles[role] = None
        else:
            roles[role] = _existing(table, name, f"--{role}-column")
    labels = labels or tuple(n for n in guess.labels if n not in asked)
    if not labels:
        raise StudioError(
            "No column looks like labels.",
            where=visible(table.path),
            remedy=f"Name one with --label. Columns: {_listed(table.frame.columns)}.",
        )
    return Columns(guess.text, labels, **roles)


def _says_none(role: str, name: str) -> bool:
    return name.lower() == "none" or (role == "language" and name.lower() == DETECT)


def _existing(table: Table, name: str | None, flag: str) -> str | None:
    present = [str(column) for column in table.frame.columns]
    if name is None or name in present:
        return name
    raise StudioError(
        f"There is no column '{visible(name)}'.",
        where=f"{flag}, {visible(table.path)}",
        remedy=nearest(visible(name), map(visible, present), kind="existing"),
    )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(visible(name) for name in names)
