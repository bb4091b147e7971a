"""Tables whose cells a character separates: CSV, TSV and their kin, read a piece at a time."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice

from llm_tool.data.readers.decoding import Encoding, find_encoding, open_lines
from llm_tool.data.readers.merged_rows import ROWS_JUDGED, Suspect, refuse_merged, suspects
from llm_tool.data.readers.rows import Cell, Column, NoRowsError, Options, Rows, column_names
from llm_tool.data.readers.source import Source
from llm_tool.errors import StudioError
from llm_tool.text import plural, visible

_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
# Halves of characters are in no decoded file. One goes behind the last row, where an open quote
# swallows it; one stands for NUL, on which Python before 3.11 stops.
_END, _NUL = "\udfff", "\udc00"
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\r?\n?', re.IGNORECASE)  # as Excel writes it
_SAMPLE = 200_000
_PIECE = 500  # rows: so few that Python looks for garbage among one piece, not among all rows
_JUDGED = 200  # characters of a cell that tell what kind it is of
_JSON_LIMIT = 64 << 20


@dataclass(frozen=True)
class Form:
    """How a file of rows is written. ``said`` is whether its first line names the delimiter."""

    delimiter: str
    encoding: Encoding
    said: bool

    @property
    def how(self) -> str:
        """How it is said."""
        name = _DELIMITERS.get(self.delimiter, repr(self.delimiter))
        return f"{name}-separated, {self.encoding.name}"


def find_form(source: Source, options: Options, prefer: str) -> Form:
    """Return how a file is written; ``prefer`` is the delimiter that is the likeliest.

    Raises:
        StudioError: An unknown or mixed encoding, or an empty file.
    """
    delimiter = _one_character(options.delimiter)
    encoding = find_encoding(source, options.encoding)
    if encoding.empty:
        raise NoRowsError("The file is empty.", source.where)
    with open_lines(source, encoding, newline="") as lines:
        sample = _text(lines, _SAMPLE)
    _refuse_json(sample, source, encoding)
    said = _SEPARATOR_LINE.match(sample)
    delimiter = delimiter or (said.group(1) if said else _detect_delimiter(sample, prefer))
    return Form(delimiter, encoding, bool(said))


def read_delimited(source: Source, options: Options, prefer: str) -> Rows:
    """Read the rows under a header; ``prefer`` is the delimiter that is the likeliest.

    Raises:
        StudioError: An unknown or mixed encoding, a quote that never ends or was never meant,
            rows that do not fit the header, or no rows.
    """
    form = find_form(source, options, prefer)
    table = _Reader(form, source.where)
    with _rows_of(source, form, options) as lines:
        columns, numbers = table.read(lines)
    return Rows(columns, numbers, form.how)


def stream_delimited(
    source: Source, form: Form, options: Options
) -> Iterator[dict[str, Sequence[Cell]]]:
    """Yield the columns of some hundred rows after the other, in constant memory.

    The file is judged as ``read_delimited`` does, but rows come before what is wrong below them.

    Raises:
        StudioError: See ``read_delimited``.
    """
    table = _Reader(form, source.where)
    with _rows_of(source, form, options) as lines:
        yield from table.stream(lines)


@contextmanager
def _rows_of(source: Source, form: Form, options: Options) -> Iterator[Iterator[str]]:
    """Open the lines from the header on."""
    with open_lines(source, form.encoding, newline="", on_progress=options.on_progress) as lines:
        if form.said:
            next(line for line in lines if _SEPARATOR_LINE.match(line))
        yield lines


def _text(lines: Iterator[str], size: int) -> str:
    """Return the start of a text, about as long as asked, without blank lines before it."""
    taken: list[str] = []
    for line in lines:
        if not taken and not line.strip("\r\n"):
            continue
        taken.append(line)
        size -= len(line)
        if size <= 0:
            break
    return "".join(taken)


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


def _refuse_json(sample: str, source: Source, encoding: Encoding) -> None:
    first = sample.lstrip().split("\n", 1)[0].strip()
    if not first.startswith(("{", "[")):
        return
    found = _is_json(first)
    if not found and source.path.stat().st_size < _JSON_LIMIT:
        with open_lines(source, encoding, newline="") as lines:
            found = _is_json("".join(lines))
    if found:
        raise StudioError(
            f"This is JSON although its name ends in {visible(source.path.suffix)}.",
            where=source.where,
            remedy="Rename it so that it ends in .json; or, if it has one object a line, so that "
            "it ends in .jsonl.",
        )


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _detect_delimiter(text: str, prefer: str) -> str:
    """Return the delimiter under which most of the first rows have the header's width."""
    sample = text.replace("\0", _NUL)

    def fit(delimiter: str) -> tuple[float, bool, int]:
        lines = io.StringIO(sample, newline="")
        rows = list(islice((r for r in csv.reader(lines, delimiter=delimiter) if r), 200))
        width = len(rows[0])
        if width < 2:
            return (0.0, delimiter == prefer, width)
        # The last row of the sample may be cut in two.
        checked = rows[1:-1] or rows[1:] or rows
        same = sum(len(row) == width for row in checked) / len(checked)
        return (round(same, 1), delimiter == prefer, width)

    csv.field_size_limit(sys.maxsize)
    return max(_DELIMITERS, key=fit)


class _Reader:
    """Reads rows into columns, and remembers what is wrong with some until all were seen."""

    def __init__(self, form: Form, where: str) -> None:
        self._delimiter, self._where, self._nul = form.delimiter, where, form.encoding.nul
        self._count = 0
        self._header: list[str] = []
        self._ragged: list[tuple[int, int]] = []  # number and width
        self._suspects: list[Suspect] = []

    def read(self, lines: Iterator[str]) -> tuple[dict[str, Sequence[Cell]], list[int]]:
        """Return the columns and the rows' numbers.

        Raises:
            StudioError: See ``read_delimited``.
        """
        columns: dict[str, Column] = {}
        numbers: list[int] = []
        for rows, own in self._pieces(lines):
            columns = columns or {name: Column() for name in self._header}
            for column, cells in zip(columns.values(), zip(*rows, strict=True), strict=True):
                column.extend(cells)
            numbers.extend(own)
        whole: dict[str, Sequence[Cell]] = {name: c.cells for name, c in columns.items()}
        refuse_merged(self._suspects, list(whole.values()), self._delimiter, self._where)
        return whole, numbers

    def stream(self, lines: Iterator[str]) -> Iterator[dict[str, Sequence[Cell]]]:
        """Yield the columns of the rows of a piece after the other.

        Raises:
            StudioError: See ``read_delimited``.
        """
        judged: list[Column] = []
        for rows, _ in self._pieces(lines):
            judged = judged or [Column() for _ in self._header]
            columns = list(zip(*rows, strict=True))
            if self._count <= ROWS_JUDGED:
                for column, cells in zip(judged, columns, strict=True):
                    column.extend([cell[:_JUDGED] for cell in cells])
            yield dict(zip(self._header, columns, strict=True))
        refuse_merged(self._suspects, [c.cells for c in judged], self._delimiter, self._where)

    def _pieces(self, lines: Iterator[str]) -> Iterator[tuple[list[list[str]], Sequence[int]]]:
        """Yield some rows after the other, and their numbers.

        Raises:
            StudioError: See ``read_delimited``.
        """
        if self._nul:
            lines = (line.replace("\0", _NUL) for line in lines)
        csv.field_size_limit(sys.maxsize)
        rows = csv.reader(chain(lines, [_END]), delimiter=self._delimiter)
        last, line, ended = 0, 0, False
        while piece := list(islice(rows, _PIECE)):
            first, last = last + 1, last + len(piece)
            ended = piece[-1] == [_END]
            if ended:
                piece.pop()
            # A cell of several lines makes more lines than rows.
            within = rows.line_num - line > len(piece) + ended
            taken, numbers = self._taken(piece, first, lines_within=within)
            line = rows.line_num
            if taken:
                self._count += len(taken)
                yield taken, numbers
        if not ended:
            raise StudioError(
                f"A quoted cell in row {last} never ends.",
                where=f"{self._where}, row {last}",
                remedy="Look for a single stray quote in it.",
            )
        self._refuse_ragged()
        if not self._count:
            raise NoRowsError("The file has a header but no rows.", self._where)

    def _taken(
        self, piece: list[list[str]], first: int, lines_within: bool
    ) -> tuple[list[list[str]], Sequence[int]]:
        """Return the rows of a piece and their numbers, none once a row was ragged."""
        numbers: Sequence[int] = range(first, first + len(piece))
        if not all(piece):  # blank lines
            numbers = [n for n, row in zip(numbers, piece, strict=True) if row]
            piece = [row for row in piece if row]
        if self._nul:
            piece = [[cell.replace(_NUL, "\0") for cell in row] for row in piece]
        if piece and not self._header:
            self._header = column_names(piece[0], f"{self._where}, row 1")
            piece, numbers = piece[1:], numbers[1:]
        width = len(self._header)
        if set(map(len, piece)) - {width}:
            piece = [_trimmed(row, width) for row in piece]
            uneven = zip(numbers, map(len, piece), strict=True)
            self._ragged += [(n, own) for n, own in uneven if own != width]
        if self._ragged:
            return [], []
        if lines_within:
            self._suspects += suspects(piece, numbers, self._count, self._delimiter)
        return piece, numbers

    def _refuse_ragged(self) -> None:
        if not self._ragged:
            return
        first, cells = self._ragged[0]
        count = len(self._ragged)
        others = f" In all, {plural(count, 'row')} differ." if count > 1 else ""
        width = len(self._header)
        raise StudioError(
            f"Row {first} has {plural(cells, 'cell')} where the header has {width}.{others}",
            where=f"{self._where}, row {first}",
            remedy="Quote cells that contain the separator, or name the separator with "
            "--delimiter.",
        )


def _trimmed(row: list[str], width: int) -> list[str]:
    """Return a row without empty cells beyond the header, as trailing separators make them."""
    return row if any(row[width:]) else row[:width]
