"""Folder names that are safe everywhere, and files that are never half-written."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from llm_tool.errors import StudioError
from llm_tool.text import visible

_FORBIDDEN = re.compile(r'[<>:"/\\|?*\s]')
_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.I)
_LONGEST = 100  # bytes; a path holds several names, and Windows allows 260 for all


def safe_name(raw: str) -> str:
    """Return ``raw`` as the name of one folder that any file system takes.

    Separators and spaces become ``_``; so does every character that is forbidden, invisible or
    reorders text. Names that Windows reserves, leading and trailing dots, and names over 100
    bytes are changed. Two raw names may give the same result: see ``unique_name``.
    """
    text = unicodedata.normalize("NFC", raw)
    text = "".join("_" if unicodedata.category(c)[0] == "C" else c for c in text)
    text = _FORBIDDEN.sub("_", text)
    text = re.sub(r"^\.+|\.+$", lambda dots: "_" * len(dots[0]), text)
    if _RESERVED.fullmatch(text):
        text = f"_{text}"
    if len(text.encode()) > _LONGEST:
        text = text.encode()[: _LONGEST - 9].decode(errors="ignore") + _mark(raw)
    return text or "_"


def unique_name(raw: str, taken: Collection[str]) -> str:
    """Return the safe name of ``raw``, with a mark of ``raw`` if another name holds it.

    Names that differ only in case or in Unicode form count as the same.
    """
    name = unique = safe_name(raw)
    held = {_folded(t) for t in taken}
    mark, number = _mark(raw), 2
    while _folded(unique) in held:
        unique = name.encode()[: _LONGEST - len(mark)].decode(errors="ignore") + mark
        mark, number = f"{_mark(raw)}-{number}", number + 1
    return unique


def _mark(raw: str) -> str:
    return "-" + hashlib.sha256(raw.encode(errors="surrogatepass")).hexdigest()[:8]


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()


@contextmanager
def replacing(path: Path) -> Iterator[TextIO]:
    """Write a file under a temporary name and move it into place when it is complete."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


@contextmanager
def disk_errors(path: Path, doing: str) -> Iterator[None]:
    """Turn a refusal of the file system into an error that says what to do.

    Raises:
        StudioError: The folder cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise StudioError(
            f"{doing} failed: {error.strerror or error}.",
            where=visible(str(error.filename or path)),
            remedy="Choose a folder that you can write to (--logs-dir, --models-dir).",
        ) from error
