"""One awkward file, and what is used to make several."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Rows = list[list[Any]]
Make = Callable[[Path], object]


@dataclass(frozen=True)
class Case:
    """A file: its name, what it holds (or how it is made), and what it is for.

    It is read as ``how`` with ``rows`` (the names of the columns first) and ``notes``; or refused
    with ``error``: what is wrong, where (the folder left out), and what to do.
    """

    name: str
    content: bytes | Make
    covers: str
    how: str = ""
    rows: Rows = field(default_factory=list)
    notes: tuple[str, ...] = ()
    error: tuple[str, str, str] | None = None
    options: dict[str, str] = field(default_factory=dict)

    def make(self, folder: Path) -> Path:
        """Make the file in a folder; return its path."""
        path = folder / self.name
        if isinstance(self.content, bytes):
            path.write_bytes(self.content)
        else:
            self.content(path)
        return path


TWO = [["text", "label"], ["a good film", "pos"], ["a bad one", "neg"]]
PLAIN = b"text,label\na good film,pos\na bad one,neg\n"
FRENCH = ("L'été dernier, la députée a été très déçue", "Où êtes-vous ? Ça n'a pas été agréable")
RUSSIAN = ("Вчера в парламенте было голосование", "Жители города довольны новым законом")
JAPANESE = ("昨日、国会で予算案の採決が行われました", "この映画はとても面白かったです")
CHINESE = ("昨天议会对预算案进行了表决", "这部电影非常好看,我很喜欢")
POLISH = ("Zażółć gęślą jaźń, rzekł poseł", "Wczoraj odbyło się głosowanie nad ustawą")
GREEK = ("Χθες στη βουλή έγινε ψηφοφορία", "Η ταινία ήταν πολύ καλή και χαρήκαμε")


def table_of(texts: tuple[str, ...], delimiter: str = ";") -> str:
    """Return a table of texts with the labels 1, 2, …"""
    lines = [f"{text}{delimiter}{number}" for number, text in enumerate(texts, start=1)]
    return "\n".join([f"text{delimiter}label", *lines, ""])


def rows_of(texts: tuple[str, ...]) -> Rows:
    """Return what is read of ``table_of``."""
    return [["text", "label"], *([text, str(i)] for i, text in enumerate(texts, start=1))]


def encoded(name: str, texts: tuple[str, ...], codec: str, how: str) -> Case:
    """Return a table in an encoding that is to be found out."""
    raw = table_of(texts).encode(codec)
    return Case(name, raw, how, f"semicolon-separated, {how}", rows_of(texts))


def zipped(**files: bytes) -> bytes:
    """Return a ZIP; underscores in names stand for dots."""
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name.replace("_", "."), content)
    return raw.getvalue()


def zstd(raw: bytes) -> bytes:
    """Return bytes as zstd packs them."""
    import pyarrow as pa

    packed: bytes = pa.compress(raw, codec="zstd", asbytes=True)
    return packed


def folder_of(**files: bytes) -> Make:
    """Return what makes a folder of files; underscores in endings stand for dots."""

    def make(path: Path) -> None:
        path.mkdir()
        for name, content in files.items():
            (path / ".".join(name.rsplit("_", 1))).write_bytes(content)

    return make


NO_ROWS = "Choose a file with rows."
SAVE_CSV = "Open it in the program it comes from and save the table as CSV (UTF-8)."
RENAME = "Rename it so that it ends in {}; or, if that is not what it is: o" + SAVE_CSV[1:]
RAGGED = "Quote cells that contain the separator, or name the separator with --delimiter."
JSON_TABLES = (
    'A table is an array of objects, as [{"text": "…", "label": "…"}], or an object of columns.'
)
