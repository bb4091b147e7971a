"""From bytes to text: which encoding a file is in, found out where nobody names it."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from llm_tool.errors import StudioError
from llm_tool.text import visible

if TYPE_CHECKING:
    from llm_tool.data.readers.rows import Progress
    from llm_tool.data.readers.source import Source

# The longer marks first: that of UTF-32 starts as that of UTF-16.
_BOMS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\0\0\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
HALVES = re.compile("[\ud800-\udfff]")  # in no decoded file, but for a few odd encodings
_BLOCK = 1 << 20
_SAMPLE = 100_000
# What other encodings are worth a try, how they are called, and whose they are: a guess counts
# only if the language found in it is one that was written so.
_SLAVIC = {"Russian", "Ukrainian", "Bulgarian", "Serbian", "Macedonian"}
_CENTRAL = {"Polish", "Czech", "Slovak", "Hungarian", "Croatian", "Slovene", "Romanian"}
_LEGACY: dict[str, tuple[str, set[str]]] = {
    "cp1251": ("Windows-1251", _SLAVIC),
    "koi8_r": ("KOI8-R", _SLAVIC),
    "cp866": ("DOS-866", _SLAVIC),
    "iso8859_5": ("ISO-8859-5", _SLAVIC),
    "cp1253": ("Windows-1253", {"Greek"}),
    "cp1254": ("Windows-1254", {"Turkish"}),
    "cp1255": ("Windows-1255", {"Hebrew"}),
    "cp1256": ("Windows-1256", {"Arabic", "Farsi"}),
    "cp932": ("Shift-JIS", {"Japanese"}),
    "euc_jp": ("EUC-JP", {"Japanese"}),
    "gb18030": ("GB18030", {"Chinese", "Classical Chinese"}),
    "big5": ("Big5", {"Chinese", "Classical Chinese"}),
    "cp949": ("EUC-KR", {"Korean"}),
    "cp1250": ("Windows-1250", _CENTRAL),
    "iso8859_2": ("ISO-8859-2", _CENTRAL),
    "mac_roman": ("Mac Roman", set()),
    "cp850": ("DOS-850", set()),
}
# In Latin letters, what is found in a short text says little of its language.
_LATIN = {"cp1250", "iso8859_2", "mac_roman", "cp850"}
_OTHER_LETTERS = 0.2  # least share of letters beyond ASCII in Russian, Greek, Japanese, …
_C1 = bytes(range(0x80, 0xA0))
_HIGH = bytes(range(0x80, 0x100))
_FEW = 12  # characters beyond ASCII from which nothing can be told


@dataclass(frozen=True)
class Encoding:
    """An encoding that a whole file was found to be in. ``name`` is how it is said."""

    codec: str
    name: str
    empty: bool = False
    nul: bool = False


@dataclass(frozen=True)
class _Survey:
    """The lines beyond ASCII of a file: the first ones that are UTF-8 or are not, and a sample.

    ``surely_utf8`` is a line with so many characters that it is UTF-8 by no accident. The sample
    and the bytes that are counted are of the lines that are not.
    """

    sample: bytes
    utf8: int
    surely_utf8: int
    other: int
    c1: int
    high: int
    euro: bool


class _UndecodableError(Exception):
    def __init__(self, line: int, half: bool = False) -> None:
        super().__init__(line)
        self.line, self.half = line, half


def marked(start: bytes) -> str | None:
    """Return the encoding that the mark at the start of a file names."""
    return next((codec for mark, codec in _BOMS if start.startswith(mark)), None)


def unmarked(start: bytes) -> str | None:
    """Return UTF-16 or UTF-32 where the NULs between Western letters say it without a mark."""
    units = len(start) // 4
    if units < 2:
        return None
    zeros = [start[i : units * 4 : 4].count(0) / units for i in range(4)]
    if min(zeros[2:]) > 0.95 and zeros[0] < 0.05:
        return "utf-32-le"
    if min(zeros[:2]) > 0.95 and zeros[3] < 0.05:
        return "utf-32-be"
    if min(zeros[1], zeros[3]) > 0.4 and not zeros[0] and not zeros[2]:
        return "utf-16-le"
    if min(zeros[0], zeros[2]) > 0.4 and not zeros[1] and not zeros[3]:
        return "utf-16-be"
    return None


def find_encoding(source: Source, named: str | None) -> Encoding:
    """Return the encoding of a whole file, which is read once to make sure.

    Raises:
        StudioError: It is not in the encoding that was named, or mixes two.
    """
    if named is not None:
        return _named(source, named)
    start = source.start()
    codec = marked(start) or unmarked(start) or "utf-8"
    name = codec.removesuffix("-sig").upper() + (" (detected)" if codec == unmarked(start) else "")
    try:
        return _checked(source, codec, name)
    except _UndecodableError:
        if not codec.startswith("utf-8"):
            raise _not_as_it_starts(codec, source.where) from None
    survey = _surveyed(source)
    legacy = _guess(survey)
    # In Western texts no line is UTF-8 by accident; in others a short one can be.
    utf8 = survey.surely_utf8 if legacy else survey.utf8
    if utf8 and survey.other:
        raise StudioError(
            f"The file mixes encodings: line {utf8} is UTF-8, line {survey.other} is not.",
            where=source.where,
            remedy="Save it as UTF-8, or force one encoding with --encoding cp1252.",
        )
    if codec != "utf-8":
        raise _not_as_it_starts(codec, source.where)
    # cp1252 is Latin-1 with typographic quotes; the five bytes that it lacks are read as Latin-1.
    western = Encoding("cp1252", "Windows-1252 (not UTF-8)")
    if survey.euro and not survey.c1:  # the sign that ISO-8859-15 was made for
        western = Encoding("iso8859_15", "ISO-8859-15 (detected)")
    for guess in (legacy, western):
        if guess is not None:
            try:
                return _checked(source, guess.codec, guess.name)
            except _UndecodableError:
                continue
    return _checked(source, "latin-1", "Latin-1 (not UTF-8)")


def _not_as_it_starts(codec: str, where: str) -> StudioError:
    return StudioError(
        f"The file starts as {codec.removesuffix('-sig').upper()} but is not.",
        where=where,
        remedy="Save it as UTF-8, or name its encoding with --encoding.",
    )


def _named(source: Source, name: str) -> Encoding:
    try:
        b" ".decode(name)
    except UnicodeDecodeError:
        pass  # there is such an encoding, in which this is half a character
    except (LookupError, ValueError):  # ValueError: a NUL in the name, a codec that never decodes
        raise StudioError(
            f"There is no encoding '{visible(name)}'.",
            where="--encoding",
            remedy="Try utf-8, cp1252 or utf-16.",
        ) from None
    try:
        return _checked(source, name, name, halves=True)
    except _UndecodableError as error:
        what = f"has half a character when it is read as {visible(name)}"
        raise StudioError(
            f"Line {error.line} {what if error.half else f'is not {visible(name)}'}.",
            where=f"{source.where}, line {error.line}",
            remedy="Leave out --encoding to have it detected.",
        ) from None


def _checked(source: Source, codec: str, name: str, halves: bool = False) -> Encoding:
    """Return the encoding if the whole file is in it; memory is that of one block."""
    decoder = codecs.getincrementaldecoder(codec)()
    lines, empty, nul, final = 1, True, False, False
    with source.open() as file:
        while not final:
            block = file.read(_BLOCK)
            final = not block
            try:
                text = decoder.decode(block, final)
            except UnicodeDecodeError as error:
                raise _UndecodableError(lines + error.object.count(b"\n", 0, error.start)) from None
            half = HALVES.search(text) if halves else None
            if half:
                raise _UndecodableError(lines + text.count("\n", 0, half.start()), half=True)
            lines += text.count("\n")
            empty = empty and not text.removeprefix("\ufeff").strip()
            nul = nul or "\0" in text
    return Encoding(codec, name, empty, nul)


def _surveyed(source: Source) -> _Survey:
    sample: list[bytes] = []
    size = number = utf8 = surely = other = c1 = high = 0
    euro = False
    with source.open() as file:
        for line in (line for read in file for line in read.splitlines()):
            number += 1
            if line.isascii():
                continue
            try:
                beyond = sum(not c.isascii() for c in line.decode("utf-8"))
            except UnicodeDecodeError:
                other = other or number
            else:
                utf8 = utf8 or number
                surely = surely or (number if beyond >= 4 else 0)
                continue
            if size < _SAMPLE:
                sample.append(line[:_SAMPLE])
                size += len(line)
            high += len(line) - len(line.translate(None, _HIGH))
            c1 += len(line) - len(line.translate(None, _C1))
            euro = euro or b"\xa4" in line
    return _Survey(b"\n".join(sample), utf8, surely, other, c1, high, euro)


def _guess(survey: _Survey) -> Encoding | None:
    """Return the encoding that a file that is not UTF-8 is in, if it is surely no Western one."""
    if survey.high < _FEW:
        return None
    from charset_normalizer import from_bytes

    matches = list(from_bytes(survey.sample, cp_isolation=["cp1252", *_LEGACY]))
    western = min((m.chaos for m in matches if "cp1252" in m.could_be_from_charset), default=1.0)
    for match in matches:
        codec = match.encoding
        if codec in _LATIN or codec == "cp1252":
            if western <= match.chaos + 0.02:
                return None
            # The older ones have their accents where Western ones have quotes and dashes.
            if codec in ("mac_roman", "cp850") and survey.c1 * 2 < survey.high:
                continue
        elif match.language not in _LEGACY[codec][1] or match.chaos > 0.1:
            continue
        elif codec != "cp1254" and _beyond_ascii(survey.sample) < _OTHER_LETTERS:
            continue  # English with a few quotes
        if codec == "cp1250" and not survey.c1:
            codec = "iso8859_2"  # the same letters, none of which lie there
        return Encoding(codec, f"{_LEGACY[codec][0]} (detected)")
    return None


def _beyond_ascii(sample: bytes) -> float:
    high = len(sample) - len(sample.translate(None, _HIGH))
    letters = sum(map(sample.lower().count, (bytes([c]) for c in range(ord("a"), ord("z") + 1))))
    return high / max(1, high + letters)


@contextmanager
def open_lines(
    source: Source, encoding: Encoding, *, newline: str, on_progress: Progress | None = None
) -> Iterator[Iterator[str]]:
    """Open the lines of a text, without the mark at its start; ends of lines are kept.

    Args:
        source: The bytes.
        encoding: What ``find_encoding`` found.
        newline: As of ``open``: empty for all ends of lines, or the one there is.
        on_progress: Gets the bytes read, and their number in all.
    """
    with (
        source.open(on_progress) as file,
        io.TextIOWrapper(file, encoding=encoding.codec, newline=newline) as text,
    ):
        first = text.readline().removeprefix("\ufeff")
        yield chain([first], text) if first else iter(text)
