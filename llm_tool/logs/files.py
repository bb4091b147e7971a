"""Folder names that are safe everywhere, and files that are never half-written."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import unicodedata
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from filelock import FileLock

from llm_tool.errors import DiskError
from llm_tool.text import visible

_FORBIDDEN = re.compile(r'[<>:"/\\|?*\s]')
_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.I)
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP)  # a network disk without its lock service
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
def whole(path: Path, *, to_disk: bool = True) -> Iterator[Path]:
    """Give a temporary name to write a file under; it becomes ``path`` when it is complete.

    With ``to_disk`` it is on disk then.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.unlink(missing_ok=True)  # never through a link that someone put there
        yield temporary
        if to_disk:
            sync(temporary)
        temporary.replace(path)
        if to_disk:
            sync(path.parent)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


@contextmanager
def replacing(path: Path, *, to_disk: bool = True) -> Iterator[TextIO]:
    """Give a text file to write that takes the place of ``path`` when it is complete."""
    with (
        whole(path, to_disk=to_disk) as temporary,
        temporary.open("x", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        yield file


def append(path: Path, data: bytes, *, to_disk: bool = True) -> None:
    """Write at the end of a file, whole or not at all; with ``to_disk`` it is there on return."""
    with path.open("ab", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[file.write(rest) :]
            if to_disk:
                os.fsync(file.fileno())
        except BaseException:  # a full disk takes the first half of a line
            with suppress(OSError):
                file.truncate(size)
            raise
    if to_disk and not size:
        sync(path.parent)


def append_line(path: Path, line: bytes) -> None:
    """Write a line at the end of a file, which may be new; it is on disk when this returns.

    A line that a crash left unfinished is closed off, so that it costs only itself.
    """
    torn = path.exists() and path.stat().st_size and _last_byte(path) != b"\n"
    append(path, b"\n" * bool(torn) + line + b"\n")


def _last_byte(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file, on a disk that has locks.

    Some network disks have none. What is written there is one process's alone: that of the run,
    as its heartbeat shows to every other.
    """
    lock = FileLock(path)
    try:
        lock.acquire()
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        yield
        return
    try:
        yield
    finally:
        lock.release()


def sync(path: Path) -> None:
    """Have a file, or the names in a folder, on disk even if the power fails."""
    if os.name == "nt" and path.is_dir():
        return  # a folder cannot be opened there
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def check_place(path: Path) -> None:
    """Refuse a path at which no file can be made.

    Raises:
        DiskError: There is a folder, or none that the file could be in.
    """
    where = visible(str(path))
    if path.is_dir():
        raise DiskError("This is a folder.", where=where, remedy="Name a file with --out.")
    if not path.parent.is_dir():
        raise DiskError(
            "There is no folder for the file.",
            where=where,
            remedy="Make it, or name another file with --out.",
        )


@contextmanager
def disk_errors(path: Path, doing: str) -> Iterator[None]:
    """Turn a refusal of the file system into an error that says what to do.

    Also where a library that is not written in Python hides it in an error of its own.

    Raises:
        DiskError: The folder cannot be written.
    """
    try:
        yield
    except Exception as error:
        number = _errno(error)
        if number is None:
            raise
        named = error.filename if isinstance(error, OSError) else None
        raise DiskError(
            f"{doing} failed: {os.strerror(number)}.",
            where=visible(str(named or path)),
            remedy=_remedy(number),
        ) from error


def _errno(error: Exception) -> int | None:
    """Return the number of a refusal by the file system; ``None`` for other errors."""
    if isinstance(error, OSError):
        return error.errno or errno.EIO
    written_in_rust = re.search(r"\(os error (\d+)\)", str(error))
    return int(written_in_rust[1]) if written_in_rust else None


def _remedy(number: int) -> str:
    if number in (errno.ENOSPC, errno.EDQUOT):
        return "Free some space there."
    if number in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
        return "Choose a folder that you can write to (--logs-dir, --models-dir, --out)."
    return "Check that the disk is there and sound, or choose other folders."
