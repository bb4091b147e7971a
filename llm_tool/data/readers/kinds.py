"""What a file is, by its first bytes, whatever its name says."""

from __future__ import annotations

from llm_tool.data.readers.decoding import marked, unmarked
from llm_tool.data.readers.source import PACKINGS, Source
from llm_tool.errors import StudioError
from llm_tool.text import visible

_SAVE = "Open it in the program it comes from and save the table as CSV (UTF-8)."
# How it starts, what it is, and the ending under which it would be read.
_MAGIC = (
    (b"PK\x03\x04", "an Excel or ZIP file", ".xlsx or .zip"),
    (b"\xd0\xcf\x11\xe0", "an old Excel or Word file", ".xls"),
    (b"PAR1\x15", "a Parquet file", ".parquet"),
    (b"ARROW1\0\0", "a Feather file", ".feather"),
    (b"\x1f\x8b", "a gzip file", ".csv.gz"),
    (b"\xfd7zXZ\0", "an xz file", ".csv.xz"),
    (b"\x28\xb5\x2f\xfd", "a zstd file", ".csv.zst"),
    (b"$FL2", "an SPSS file", ".sav"),
    (b"$FL3", "an SPSS file", ".zsav"),
    (b"<stata_dta>", "a Stata file", ".dta"),
    (b"rdx2\n", "an R file", ".RData"),
    (b"rdx3\n", "an R file", ".RData"),
    (b"sqlite format 3\0", "an SQLite database", ""),
    (b"{\\rtf", "an RTF document", ""),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip file", ""),
    (b"rar!\x1a", "a RAR file", ""),
    (b"%PDF", "a PDF", ""),
    (b"<!doctype", "a web page", ""),
    (b"<html", "a web page", ""),
    (b"<?xml", "an XML file", ""),
)
_POINTER = b"version https://git-lfs.github.com/spec/"
# How the files of binary formats start; Stata's older ones by the number of their version.
_STARTS: dict[str, tuple[bytes, ...]] = {
    "Excel": (b"PK\x03\x04", b"\xd0\xcf\x11\xe0"),
    "Parquet": (b"PAR1",),
    "Feather": (b"ARROW1",),
    "SPSS": (b"$FL2", b"$FL3"),
    "Stata": (b"<stata_dta>", *(bytes([version]) for version in range(0x66, 0x74))),
    "R": (b"RDX2\n", b"RDX3\n", b"RDA2\n", b"RDA3\n", b"X\n", b"A\n", b"B\n"),
}
_R_PACKINGS = ((b"\x1f\x8b", ".gz"), (b"BZh", ".bz2"), (b"\xfd7zXZ\0", ".xz"))


def refuse_other_kinds(source: Source, kind: str, encoding: str | None) -> None:
    """Refuse a file that is not of the kind that its name says.

    Raises:
        StudioError: It says what it is.
    """
    start = source.start()
    _refuse_pointer(start, source.where)
    expected = _STARTS.get(kind)
    if kind == "SAS" or (expected is not None and start.startswith(expected)):
        return
    head = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    cases = (head, head.lower())  # tags are written in either case
    what, ending = next(
        (found for magic, *found in _MAGIC if any(h.startswith(magic) for h in cases)), ("", "")
    )
    if not what and not start:
        return  # which the reader says
    if not what and b"\0" in start and not marked(start) and not unmarked(start):
        # UTF-16 without a mark is full of NULs: whoever names it is believed.
        what = "a binary file" if encoding is None or expected else ""
    if expected is not None and not what:
        what, ending = "a text file", ".csv"
    if what:
        raise StudioError(
            f"This is {what} although its name ends in {visible(source.path.suffix)}.",
            where=source.where,
            remedy=_remedy(ending),
        )


def _remedy(ending: str) -> str:
    if ending == ".csv":
        return "Rename it so that it ends in .csv."
    rename = f"Rename it so that it ends in {ending}; or, if that is not what it is: "
    return f"{rename}{_SAVE[0].lower()}{_SAVE[1:]}" if ending else _SAVE


def refuse_wrong_packing(source: Source) -> None:
    """Refuse what is not packed although its name says so.

    Raises:
        StudioError: It is a pointer of Git LFS, or not what it says.
    """
    with source.path.open("rb") as file:
        start = file.read(4096)
    _refuse_pointer(start, source.where)
    magic = {".gz": b"\x1f\x8b", ".bz2": b"BZh", ".xz": b"\xfd7zXZ\0", ".zst": b"\x28\xb5\x2f\xfd",
             ".zip": b"PK"}[str(source.packing)]  # fmt: skip
    if start and not start.startswith(magic):
        kind = PACKINGS[str(source.packing)]
        raise StudioError(
            f"This is no {kind} archive although its name ends in {source.packing}.",
            where=source.where,
            remedy=f"Fetch it anew; or, if it is not packed, take {source.packing} off its name.",
        )


def packing_of_r(start: bytes) -> str | None:
    """Return how R packed a file, which its name does not say."""
    return next((packing for magic, packing in _R_PACKINGS if start.startswith(magic)), None)


def _refuse_pointer(start: bytes, where: str) -> None:
    if start.startswith(_POINTER):
        raise StudioError(
            "This is a pointer of Git LFS, not the file itself.",
            where=where,
            remedy="Fetch the file with: git lfs pull",
        )
