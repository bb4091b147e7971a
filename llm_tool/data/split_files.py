"""A folder whose files are the parts of a split: train, validation and test, read as one table."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from llm_tool.data.columns import PART_NAMES
from llm_tool.data.readers.rows import Options, listed
from llm_tool.errors import StudioError
from llm_tool.text import visible

if TYPE_CHECKING:
    import pandas as pd

    from llm_tool.data.loaders import Table

SPLIT = "split"


def part_files(folder: Path) -> dict[str, str]:
    """Return the tables in a folder whose names say a part, with it: ``data_train.csv``."""
    from llm_tool.data.loaders import format_of

    found = {}
    for path in sorted(folder.iterdir()):
        words = re.split("[^a-z]+", path.name.split(".")[0].lower())
        parts = {PART_NAMES[word] for word in words if word in PART_NAMES}
        if len(parts) == 1 and format_of(path) and path.is_file():
            found[path.name] = parts.pop()
    return found


def read_folder(folder: Path, options: Options) -> Table:
    """Read the files of a folder together, with a column that says their parts.

    Raises:
        StudioError: There are no such files, or of several formats, or the column contradicts
            them; or one of them cannot be read.
    """
    from llm_tool.data.loaders import Table, read_table

    files = _checked(folder)
    digest = folder_sha256(folder)
    tables = [
        read_table(
            folder / name,
            encoding=options.encoding,
            delimiter=options.delimiter,
            sheet=options.sheet,
            on_progress=options.on_progress,
        )
        for name in files
    ]
    frame = _together([t.frame for t in tables], list(files.items()), visible(str(folder)))
    how = "; ".join(f"{visible(name)}: {t.how}" for name, t in zip(files, tables, strict=True))
    return Table(
        path=str(folder),
        frame=frame,
        how=how,
        sha256=digest,
        row_numbers=[number for table in tables for number in table.row_numbers],
        notes=(*_notes(tables, list(files)), *_left_out(folder, files)),
        row_files=[name for name, t in zip(files, tables, strict=True) for _ in t.row_numbers],
    )


def folder_sha256(folder: Path) -> str:
    """Return the hash of the names and hashes of the files.

    Raises:
        StudioError: As ``read_folder`` does.
    """
    from llm_tool.data.loaders import table_sha256

    lines = (f"{name}\t{table_sha256(folder / name)}\n" for name in _checked(folder))
    return hashlib.sha256("".join(lines).encode(errors="surrogatepass")).hexdigest()


def _checked(folder: Path) -> dict[str, str]:
    from llm_tool.data.loaders import format_of

    files = part_files(folder)
    where = visible(str(folder))
    if "train" not in files.values() or len(set(files.values())) < 2:
        raise StudioError(
            "This is a folder, not a file.",
            where=where,
            remedy="Name a file in it. Only a folder with files such as train.csv and test.csv is "
            "read as one table.",
        )
    formats = {format_of(name) for name in files}
    if len(formats) > 1:
        raise StudioError(
            f"The folder has parts of several formats: {listed(files)}.",
            where=where,
            remedy="Keep the files of one format in it.",
        )
    return files


def _together(frames: list[pd.DataFrame], files: list[tuple[str, str]], where: str) -> pd.DataFrame:
    import pandas as pd

    for frame, (name, part) in zip(frames, files, strict=True):
        if SPLIT not in frame.columns:
            frame[SPLIT] = part
            continue
        said = {PART_NAMES.get(str(cell).strip().lower()) for cell in frame[SPLIT]}
        if said != {part}:
            raise StudioError(
                f"The column '{SPLIT}' says something else than the file's name.",
                where=f"{where}, {visible(name)}",
                remedy="Rename the column, or the file.",
            )
    columns = list(dict.fromkeys(column for frame in frames for column in frame.columns))
    wide = [frame.reindex(columns=columns, fill_value="") for frame in frames]
    return pd.concat(wide, ignore_index=True)


def _notes(tables: Sequence[Table], names: list[str]) -> list[str]:
    notes: list[str] = []
    columns = dict.fromkeys(column for table in tables for column in table.frame.columns)
    for name, table in zip(names, tables, strict=True):
        notes += [f"{visible(name)}: {note}" for note in table.notes]
        missing = [str(column) for column in columns if column not in table.frame.columns]
        if missing:
            notes.append(f"{visible(name)} has no column {listed(missing)}: empty in its rows.")
    return notes


def _left_out(folder: Path, files: dict[str, str]) -> list[str]:
    from llm_tool.data.loaders import format_of

    rest = [p.name for p in sorted(folder.iterdir()) if format_of(p) and p.name not in files]
    return [f"Left out of the folder: {listed(rest)}."] if rest else []
