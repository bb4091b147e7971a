"""A file as bytes: unpacked where it is compressed, with damage told and its size watched."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from llm_tool.errors import StudioError
from llm_tool.text import visible

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from llm_tool.data.readers.rows import Progress

PACKINGS = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zst": "zstd", ".zip": "ZIP"}
_BLOCK = 1 << 20
_DAMAGE = (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, zipfile.BadZipFile)
# Text shrinks to a fifth or a tenth, tables of one row repeated to a hundredth.
_ABSURD_RATIO, _ABSURD_FROM, _TOO_BIG = 400, 256 << 20, 50 << 30


@dataclass(frozen=True)
class Source:
    """The bytes of one table. ``name`` is its name without the ending of the packing.

    ``packing`` is a key of ``PACKINGS``, or ``None``; ``member`` is the file inside a ZIP.
    """

    path: Path
    name: str
    where: str
    packing: str | None = None
    member: str = ""

    @property
    def ending(self) -> str:
        """The ending of the table's own name, in lower case."""
        return Path(self.name).suffix.lower()

    def start(self) -> bytes:
        """Return the first 4,096 bytes."""
        with self.open() as file:
            return file.read(4096)

    @contextmanager
    def open(self, on_progress: Progress | None = None) -> Iterator[IO[bytes]]:
        """Open the table's bytes for reading from start to end.

        Raises:
            StudioError: On opening or in any read: the archive is damaged, or unpacks to an
                absurd size.
        """
        with io.BufferedReader(_Watched(self.path, on_progress), _BLOCK) as file:
            if self.packing is None:
                yield file
                return
            with _Unpacked(file, self) as inner, io.BufferedReader(inner, _BLOCK) as unpacked:
                yield unpacked

    @contextmanager
    def open_anywhere(self, on_progress: Progress | None = None) -> Iterator[IO[bytes]]:
        """Open the table's bytes for a reader that jumps; unpacked to a temporary file."""
        with self.open(on_progress) as file:
            if self.packing is None:
                yield file
                return
            with tempfile.TemporaryFile() as unpacked:
                shutil.copyfileobj(file, unpacked, _BLOCK)
                unpacked.seek(0)
                yield unpacked


class _Watched(io.FileIO):
    """A file that tells how far it was read."""

    def __init__(self, path: Path, on_progress: Progress | None) -> None:
        super().__init__(path)
        self._on_progress = on_progress
        self._size = path.stat().st_size

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        """Read into a buffer."""
        count = super().readinto(buffer)
        if self._on_progress is not None:
            self._on_progress(self.tell(), self._size)
        return count


class _Unpacked(io.RawIOBase):
    """The bytes inside an archive."""

    def __init__(self, file: IO[bytes], source: Source) -> None:
        self._source = source
        self._packed = source.path.stat().st_size
        self._unpacked = 0
        with self._faults_told():
            self._inner = _opened(file, source)

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Unpack into a buffer."""
        view = memoryview(buffer).cast("B")
        with self._faults_told():
            data = self._inner.read(len(view))
        view[: len(data)] = data
        self._unpacked += len(data)
        refuse_absurd(self._unpacked, self._packed, self._source.where)
        return len(data)

    @contextmanager
    def _faults_told(self) -> Iterator[None]:
        kind, where = PACKINGS[str(self._source.packing)], self._source.where
        try:
            yield
        except (RuntimeError, NotImplementedError) as error:  # as zipfile says both
            raise StudioError(
                f"The {kind} archive cannot be unpacked: {error}.",
                where=where,
                remedy="Unpack it yourself, and give the table inside.",
            ) from None
        except _DAMAGE as error:
            raise StudioError(
                f"The {kind} archive is damaged: {str(error).rstrip('.')}.",
                where=where,
                remedy="Fetch or make it anew.",
            ) from None


def _opened(file: IO[bytes], source: Source) -> IO[bytes]:
    if source.packing == ".gz":
        return cast("IO[bytes]", gzip.GzipFile(fileobj=file))
    if source.packing == ".bz2":
        return bz2.BZ2File(file)
    if source.packing == ".xz":
        return lzma.LZMAFile(file)
    if source.packing == ".zip":
        return zipfile.ZipFile(file).open(source.member)
    import pyarrow as pa

    stream: Any = pa.CompressedInputStream(pa.PythonFile(file, "r"), "zstd")
    return cast("IO[bytes]", stream)


def refuse_absurd(unpacked: int, packed: int, where: str) -> None:
    """Refuse an archive that would fill memory or disk.

    Raises:
        StudioError: It is one.
    """
    if unpacked > _TOO_BIG:
        much = f"{_TOO_BIG >> 30} GB"
    elif unpacked > _ABSURD_FROM and unpacked > packed * _ABSURD_RATIO:
        much = f"{_ABSURD_RATIO} times its size"
    else:
        return
    raise StudioError(
        f"The archive unpacks to more than {much}.",
        where=where,
        remedy="If it is meant so, unpack it yourself, and give the table inside.",
    )


def zip_members(path: Path, where: str) -> list[str]:
    """Return the names of the files in a ZIP, without those that systems hide in it.

    Raises:
        StudioError: It is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [info.filename for info in archive.infolist() if not info.is_dir()]
    except (*_DAMAGE, NotImplementedError) as error:
        raise StudioError(
            f"The ZIP archive is damaged: {visible(str(error)).rstrip('.')}.",
            where=where,
            remedy="Fetch or make it anew.",
        ) from None
    hidden = ("__MACOSX", ".")
    return [n for n in names if not any(p.startswith(hidden) for p in n.split("/"))]
