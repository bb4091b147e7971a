"""Read a table from any file that researchers keep tables in, or say what is wrong and where.

Row numbers in messages are those that the user's own program shows: in a spreadsheet the header is
row 1; in files that hold rows alone (Parquet, SPSS, Stata, R, an array of JSON) the first row is 1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from llm_tool.data.readers.arrow import read_arrow
from llm_tool.data.readers.delimited import read_delimited
from llm_tool.data.readers.excel import read_excel
from llm_tool.data.readers.json_tables import read_json, read_json_lines
from llm_tool.data.readers.kinds import packing_of_r, refuse_other_kinds, refuse_wrong_packing
from llm_tool.data.readers.r_files import read_r
from llm_tool.data.readers.rows import NoRowsError, Options, Progress, Rows, listed, others
from llm_tool.data.readers.source import PACKINGS, Source, zip_members
from llm_tool.data.readers.statistics import read_statistics
from llm_tool.errors import StudioError, nearest
from llm_tool.text import visible

if TYPE_CHECKING:
    import pandas as pd

FORMATS = {
    ".csv": "CSV",
    ".tsv": "TSV",
    ".txt": "CSV",
    ".jsonl": "JSON Lines",
    ".ndjson": "JSON Lines",
    ".json": "JSON",
    ".parquet": "Parquet",
    ".feather": "Feather",
    ".xlsx": "Excel",
    ".xlsm": "Excel",
    ".xls": "Excel",
    ".ods": "Excel",
    ".rds": "R",
    ".rdata": "R",
    ".rda": "R",
    ".sav": "SPSS",
    ".zsav": "SPSS",
    ".dta": "Stata",
    ".sas7bdat": "SAS",
    ".xpt": "SAS",
}
_READERS: dict[str, Callable[[Source, Options], Rows]] = {
    "CSV": lambda source, options: read_delimited(source, options, prefer=","),
    "TSV": lambda source, options: read_delimited(source, options, prefer="\t"),
    "JSON Lines": read_json_lines,
    "JSON": read_json,
    "Parquet": read_arrow,
    "Feather": read_arrow,
    "Excel": read_excel,
    "R": read_r,
    "SPSS": read_statistics,
    "Stata": read_statistics,
    "SAS": read_statistics,
}
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Table:
    """A file as read: columns of strings (or of lists of strings), and how it was read.

    ``row_numbers`` are those under which the user finds each row in the file. Cells are as they
    were read, and may hold what no file can (``UNWRITABLE``); names of columns do not. ``notes``
    say what was left out. ``row_files`` are, for a folder, the names of the rows' files.
    """

    path: str
    frame: pd.DataFrame
    how: str
    sha256: str
    row_numbers: Sequence[int]
    notes: tuple[str, ...] = ()
    row_files: Sequence[str] = ()

    def row_name(self, position: int) -> str:
        """Return the number of a row, behind the name of its file where there are several."""
        number = str(self.row_numbers[position])
        return f"{self.row_files[position]} {number}" if self.row_files else number

    def place(self, position: int) -> str:
        """Return where a row is, as messages say it: the file and the row's number."""
        *file, number = self.row_name(position).rsplit(" ", 1)
        return f"{visible(str(Path(self.path, *file)))}, row {number}"


def format_of(path: str | Path) -> str | None:
    """Return the format that a file's name says, compressed or not; ``None``: not a table's."""
    path = Path(path)
    if path.suffix.lower() in PACKINGS:
        inner = FORMATS.get(Path(path.stem).suffix.lower())
        return inner or ("ZIP" if path.suffix.lower() == ".zip" else None)
    return FORMATS.get(path.suffix.lower())


def read_table(
    path: str | Path,
    *,
    encoding: str | None = None,
    delimiter: str | None = None,
    sheet: str | None = None,
    on_progress: Progress | None = None,
) -> Table:
    """Read a table; what is not given is detected.

    Args:
        path: A file, compressed or not, or a folder with one file for each part of a split.
        encoding: Encoding of its texts.
        delimiter: What separates its cells.
        sheet: Sheet of a workbook (name, or number from 1), object of an R file, or file in a
            ZIP. Default: the one with the most rows, of a ZIP the first with rows.
        on_progress: Gets the bytes read so far, and their number in all.

    Raises:
        StudioError: The file is missing, empty, not what its ending says, in mixed encodings, or
            has rows that do not fit the header; or the extra that reads it is missing.
    """
    from llm_tool.data.split_files import read_folder

    path = Path(path)
    options = Options(encoding, delimiter, sheet, on_progress)
    where = visible(str(path))
    if _is_folder(path, where):
        return read_folder(path, options)
    digest = table_sha256(path)
    try:
        rows = _read(path, where, options)
    except OSError as error:  # a disk that fails while it is read
        raise StudioError(f"The file cannot be read: {error}", where=where) from error
    return Table(str(path), _frame(rows), rows.how, digest, rows.numbers, rows.notes)


def table_sha256(path: str | Path) -> str:
    """Return the hash of a file's bytes; for a folder of split files, of all their hashes.

    Raises:
        StudioError: It cannot be read.
    """
    path = Path(path)
    where = visible(str(path))
    if _is_folder(path, where):
        from llm_tool.data.split_files import folder_sha256

        return folder_sha256(path)
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except FileNotFoundError:
        found = sorted(p.name for p in path.parent.glob("*") if format_of(p))[:8]
        remedy = f"In that folder are: {', '.join(map(visible, found))}." if found else ""
        raise StudioError("The file does not exist.", where=where, remedy=remedy) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise StudioError(f"The file cannot be read: {error}", where=where) from error
    return digest.hexdigest()


def _is_folder(path: Path, where: str) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError) as error:
        raise StudioError(f"The file cannot be read: {error}", where=where) from error


def _frame(rows: Rows) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(dict(rows.columns), dtype=object)


def _read(path: Path, where: str, options: Options) -> Rows:
    kind = format_of(path)
    if kind is None:
        raise _not_understood(path, where)
    packing = path.suffix.lower() if path.suffix.lower() in PACKINGS else None
    source = Source(path, path.stem if packing else path.name, where, packing)
    if packing:
        refuse_wrong_packing(source)
    if packing == ".zip":
        return _read_zip(source, options)
    rows = _read_source(source, options)
    return replace(rows, how=f"{rows.how}, {PACKINGS[packing]}") if packing else rows


def _read_source(source: Source, options: Options) -> Rows:
    kind = FORMATS[source.ending]
    if options.sheet is not None and (kind not in {"Excel", "R"} or source.ending == ".rds"):
        raise StudioError(
            f"There is one table in a file that ends in {visible(source.ending)}, and no choice.",
            where=f"--sheet, {source.where}",
            remedy="Leave out --sheet.",
        )
    if kind == "R" and source.packing is None:
        source = replace(source, packing=packing_of_r(source.start()))
    refuse_other_kinds(source, kind, options.encoding)
    return _READERS[kind](source, options)


def _read_zip(source: Source, options: Options) -> Rows:
    """Read the table in a ZIP: the one that is named, else the first with rows."""
    found = [name for name in zip_members(source.path, source.where) if _ending(name) in FORMATS]
    if not found:
        raise StudioError(
            "The ZIP archive holds no table.",
            where=source.where,
            remedy="Unpack it, and give the file with the rows.",
        )
    names, inner = found, options
    if options.sheet is not None and (len(found) > 1 or options.sheet in found):
        if options.sheet not in found:
            raise StudioError(
                f"There is no table '{visible(options.sheet)}' in the ZIP archive.",
                where=f"--sheet, {source.where}",
                remedy=nearest(visible(options.sheet), map(visible, found), kind="existing"),
            )
        names, inner = [options.sheet], replace(options, sheet=None)
    for name in names:
        where = f"{source.where}, {visible(name)}"
        try:
            rows = _read_source(replace(source, name=name, member=name, where=where), inner)
        except NoRowsError:
            if len(names) == 1:
                raise
            continue
        return replace(rows, how=f"{rows.how}, '{visible(name)}' in ZIP{others(len(found) - 1)}")
    raise NoRowsError(
        f"None of the tables in the ZIP archive has rows: {listed(names)}.", source.where
    )


def _ending(name: str) -> str:
    return Path(name).suffix.lower()


def _not_understood(path: Path, where: str) -> StudioError:
    ending = _ending(path.name)
    if ending in (".pkl", ".pickle", ".joblib"):
        return StudioError(
            "Pickles are never read: they can run any program when they are opened.",
            where=where,
            remedy="Save the table as CSV or Parquet: frame.to_parquet(…).",
        )
    if ending in PACKINGS:
        inner = _ending(path.stem)
        what = f" '{visible(inner)}{ending}'" if inner else f" '{ending}' alone"
        return StudioError(
            f"Files that end in{what} are not understood.",
            where=where,
            remedy=f"Name it as the table inside, as {visible(Path(path.stem).stem)}.csv{ending}.",
        )
    return StudioError(
        f"Files that end in {visible(path.suffix) or 'nothing'!r} are not understood.",
        where=where,
        remedy=f"Save the table as one of {', '.join(FORMATS)}.",
    )
