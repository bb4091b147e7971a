"""Read a table from CSV, TSV or JSON Lines, or say what is wrong with it and where.

Row numbers in messages are those a spreadsheet shows: the header is row 1.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_tool.errors import StudioError
from llm_tool.text import UNWRITABLE, plural, visible

if TYPE_CHECKING:
    import pandas as pd

FORMATS = {
    ".csv": "CSV",
    ".tsv": "TSV",
    ".txt": "CSV",
    ".jsonl": "JSON Lines",
    ".ndjson": "JSON Lines",
}
_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_BOMS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
# Halves of characters are in no decoded file. One goes behind the last row, where an open quote
# swallows it; one stands for NUL, on which Python before 3.11 stops.
_HALVES = re.compile("[\ud800-\udfff]")
_END, _NUL = "\udfff", "\udc00"
_MAGIC = (
    (b"PK\x03\x04", "an Excel or ZIP file"),
    (b"\xd0\xcf\x11\xe0", "an old Excel or Word file"),
    (b"PAR1\x15", "a Parquet file"),
    (b"\x1f\x8b", "a gzip file"),
    (b"%PDF", "a PDF"),
    (b"<!doctype", "a web page"),
    (b"<html", "a web page"),
    (b"<?xml", "an XML file"),
)


@dataclass(frozen=True)
class Table:
    """A file as read: columns of strings (or of lists of strings), and how it was read.

    ``row_numbers`` are those under which the user finds each row in the file. Cells are as they
    were read, and may hold what no file can (``UNWRITABLE``); names of columns do not.
    """

    path: str
    frame: pd.DataFrame
    how: str
    sha256: str
    row_numbers: Sequence[int]


def read_table(
    path: str | Path, *, encoding: str | None = None, delimiter: str | None = None
) -> Table:
    """Read a table; encoding and delimiter are detected unless given.

    Raises:
        StudioError: The file is missing, empty, not what its ending says, in mixed encodings, or
            has rows that do not fit the header.
    """
    path = Path(path)
    where = visible(str(path))
    raw = _read_bytes(path, where)
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise StudioError(
            f"Files that end in {visible(path.suffix) or 'nothing'!r} are not understood.",
            where=where,
            remedy=f"Save the table as one of {', '.join(FORMATS)}.",
        )
    _refuse_other_formats(raw, path, where, encoding)
    text, used = _decode(raw, encoding, where)
    if not text.strip():
        raise StudioError("The file is empty.", where=where, remedy="Choose a file with rows.")
    if kind == "JSON Lines":
        columns, numbers = _read_jsonl(text, where)
        how = f"JSON Lines, {used}"
    else:
        _refuse_json(text, path, where)
        chosen = _one_character(delimiter) or _detect_delimiter(
            text, prefer="\t" if kind == "TSV" else ","
        )
        columns, numbers = _read_delimited(text, chosen, where)
        how = f"{_DELIMITERS.get(chosen, repr(chosen))}-separated, {used}"
    if not numbers:
        raise StudioError(
            "The file has a header but no rows.", where=where, remedy="Choose a file with rows."
        )
    import pandas as pd

    frame = pd.DataFrame(columns, dtype=object)
    return Table(str(path), frame, how, hashlib.sha256(raw).hexdigest(), numbers)


def _read_bytes(path: Path, where: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        folder = path.parent
        found = sorted(p.name for p in folder.glob("*") if p.suffix.lower() in FORMATS)[:8]
        remedy = f"In that folder are: {', '.join(map(visible, found))}." if found else ""
        raise StudioError("The file does not exist.", where=where, remedy=remedy) from None
    except IsADirectoryError:
        raise StudioError("This is a folder, not a file.", where=where) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise StudioError(f"The file cannot be read: {error}", where=where) from error


def _refuse_other_formats(raw: bytes, path: Path, where: str, encoding: str | None) -> None:
    start = raw[:4096]
    head = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    cases = (head, head.lower())  # tags are written in either case
    what = next((name for magic, name in _MAGIC if any(h.startswith(magic) for h in cases)), None)
    if what is None and b"\0" in start and not any(start.startswith(bom) for bom, _ in _BOMS):
        # UTF-16 without a mark is full of NULs: whoever names it is believed.
        what = "a binary file" if encoding is None else None
    if what:
        raise StudioError(
            f"This is {what} although its name ends in {path.suffix}.",
            where=where,
            remedy="Open it in the program it comes from and save the table as CSV (UTF-8).",
        )


def _refuse_json(text: str, path: Path, where: str) -> None:
    first = text.lstrip().split("\n", 1)[0].strip()
    if first.startswith(("{", "[")) and (_is_json(first) or _is_json(text)):
        raise StudioError(
            f"This is JSON although its name ends in {path.suffix}.",
            where=where,
            remedy="If it has one object a line, rename it so that it ends in .jsonl.",
        )


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _decode(raw: bytes, encoding: str | None, where: str) -> tuple[str, str]:
    """Return the text and the name of the encoding that was used."""
    if encoding is not None:
        return _decode_as(encoding, raw, where), encoding
    detected = next((name for bom, name in _BOMS if raw.startswith(bom)), "utf-8")
    try:
        return raw.decode(detected), detected.removesuffix("-sig").upper()
    except UnicodeDecodeError as error:
        if detected != "utf-16":
            _refuse_mixed(raw, where)
        if detected != "utf-8":
            raise StudioError(
                f"The file starts as {detected.removesuffix('-sig').upper()} but is not.",
                where=where,
                remedy="Save it as UTF-8, or name its encoding with --encoding.",
            ) from error
    # cp1252 is Latin-1 with typographic quotes; the five bytes that it lacks are read as Latin-1.
    try:
        return raw.decode("cp1252"), "Windows-1252 (not UTF-8)"
    except UnicodeDecodeError:
        return raw.decode("latin-1"), "Latin-1 (not UTF-8)"


def _decode_as(encoding: str, raw: bytes, where: str) -> str:
    try:
        # The mark at the start is not part of the first column's name.
        text = raw.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise StudioError(
            f"Line {line} is not {visible(encoding)}.",
            where=f"{where}, line {line}",
            remedy="Leave out --encoding to have it detected.",
        ) from None
    except (LookupError, ValueError):  # ValueError: a NUL in the name, a codec that never decodes
        raise StudioError(
            f"There is no encoding '{visible(encoding)}'.",
            where="--encoding",
            remedy="Try utf-8, cp1252 or utf-16.",
        ) from None
    half = _HALVES.search(text)
    if half:
        line = text.count("\n", 0, half.start()) + 1
        raise StudioError(
            f"Line {line} has half a character when it is read as {visible(encoding)}.",
            where=f"{where}, line {line}",
            remedy="Leave out --encoding to have it detected.",
        )
    return text


def _refuse_mixed(raw: bytes, where: str) -> None:
    utf8_line = other_line = 0
    for number, line in enumerate(raw.splitlines(), start=1):
        if line.isascii():
            continue
        try:
            line.decode("utf-8")
            utf8_line = utf8_line or number
        except UnicodeDecodeError:
            other_line = other_line or number
        if utf8_line and other_line:
            raise StudioError(
                f"The file mixes encodings: line {utf8_line} is UTF-8, line {other_line} is not.",
                where=where,
                remedy="Save it as UTF-8, or force one encoding with --encoding cp1252.",
            )


def _one_character(delimiter: str | None) -> str | None:
    if delimiter in ("tab", "\\t"):  # a tab is hard to type on a command line
        return "\t"
    if delimiter and (len(delimiter) > 1 or delimiter in '"\r\n'):
        raise StudioError(
            f"'{visible(delimiter)}' cannot separate columns.",
            where="--delimiter",
            remedy="Give one character or `tab`, or leave it out to have it detected.",
        )
    return delimiter


def _detect_delimiter(text: str, prefer: str) -> str:
    """Return the delimiter under which most of the first rows have the header's width."""
    sample = text.lstrip("\r\n")[:200_000]

    def fit(delimiter: str) -> tuple[float, bool, int]:
        rows = [r for r in _csv_rows(sample, delimiter) if r][:200]
        width = len(rows[0])
        if width < 2:
            return (0.0, delimiter == prefer, width)
        # The last row of the sample may be cut in two.
        checked = rows[1:-1] or rows[1:] or rows
        same = sum(len(row) == width for row in checked) / len(checked)
        return (round(same, 1), delimiter == prefer, width)

    return max(_DELIMITERS, key=fit)


def _csv_rows(text: str, delimiter: str) -> Iterator[list[str]]:
    csv.field_size_limit(sys.maxsize)
    lines = io.StringIO(text.replace("\0", _NUL), newline="")
    rows = csv.reader(lines, delimiter=delimiter)
    if "\0" not in text:
        return rows
    return ([cell.replace(_NUL, "\0") for cell in row] for row in rows)


def _read_delimited(
    text: str, delimiter: str, where: str
) -> tuple[dict[str, list[Any]], list[int]]:
    rows = _csv_rows(f"{text}\n{_END}", delimiter)
    numbered = [(number, row) for number, row in enumerate(rows, start=1) if row]
    last, cells = numbered.pop()
    if cells != [_END]:
        raise StudioError(
            f"A quoted cell in row {last} never ends.",
            where=f"{where}, row {last}",
            remedy="Look for a single stray quote in it.",
        )
    header = _column_names(numbered[0][1], f"{where}, row 1")
    _refuse_ragged(numbered, len(header), where)
    columns = {name: [row[i] for _, row in numbered[1:]] for i, name in enumerate(header)}
    return columns, [number for number, _ in numbered[1:]]


def _refuse_ragged(numbered: Sequence[tuple[int, Sequence[str]]], width: int, where: str) -> None:
    ragged = [(number, row) for number, row in numbered if len(row) != width]
    if not ragged:
        return
    first, cells = ragged[0]
    others = f" In all, {plural(len(ragged), 'row')} differ." if len(ragged) > 1 else ""
    raise StudioError(
        f"Row {first} has {plural(len(cells), 'cell')} where the header has {width}.{others}",
        where=f"{where}, row {first}",
        remedy="Quote cells that contain the separator, or name the separator with --delimiter.",
    )


def _column_names(header: Sequence[str], where: str) -> list[str]:
    written = [UNWRITABLE.sub("�", name).strip() for name in header]
    names = [name or f"column_{i}" for i, name in enumerate(written, start=1)]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise StudioError(
            f"The column '{visible(twice[0])}' occurs {names.count(twice[0])} times.",
            where=where,
            remedy="Give every column its own name.",
        )
    return names


def _read_jsonl(text: str, where: str) -> tuple[dict[str, list[Any]], list[int]]:
    objects = list(_json_objects(text, where))
    short = _short_names(record for _, record in objects)
    records = [dict(_flatten(record, short)) for _, record in objects]
    paths = list(dict.fromkeys(path for record in records for path in record))
    names = _column_names([".".join(path) for path in paths], where)
    cells = ([record.get(path, "") for record in records] for path in paths)
    return dict(zip(names, cells, strict=True)), [number for number, _ in objects]


def _json_objects(text: str, where: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line, object_pairs_hook=_without_repeats)
        except (ValueError, RecursionError) as error:
            raise StudioError(
                f"Line {number} is not JSON: {error}",
                where=f"{where}, line {number}",
                remedy="JSON Lines has one complete JSON object on each line.",
            ) from None
        if not isinstance(record, dict):
            raise StudioError(
                f"Line {number} is not a JSON object.",
                where=f"{where}, line {number}",
                remedy='Write one object a line, as {"text": "…", "label": "…"}.',
            )
        yield number, record


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object, of which Python would keep the last of two values of one key."""
    record = dict(pairs)
    if len(record) < len(pairs):
        raise ValueError("a key occurs twice")
    return record


def _short_names(records: Iterable[dict[str, Any]]) -> set[str]:
    """Return the keys within objects that name a column alone: those found in one place only."""
    places: dict[str, set[str | None]] = defaultdict(set)
    for record in records:
        for name, value in record.items():
            places[name].add(None)
            for inner in value if isinstance(value, dict) else ():
                places[inner].add(name)
    return {name for name, found in places.items() if len(found) == 1}


def _flatten(
    record: dict[str, Any], short: Set[str]
) -> Iterator[tuple[tuple[str, ...], str | list[str]]]:
    """Yield cells under their paths; an object in a cell becomes a column for each of its keys."""
    for name, value in record.items():
        if isinstance(value, dict):
            for inner, part in value.items():
                yield (inner,) if inner in short else (name, inner), _cell(part)
        else:
            yield (name,), _cell(value)


def _cell(value: object) -> str | list[str]:
    if value is None:
        return ""
    if isinstance(value, list):
        return [_json_text(v) for v in value if v is not None]
    return _json_text(value)


def _json_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
