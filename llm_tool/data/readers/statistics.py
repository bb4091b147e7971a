"""Files of statistics programs: SPSS, Stata and SAS, with labels in place of codes."""

from __future__ import annotations

from typing import Any

from llm_tool.data.readers.rows import NoRowsError, Options, Rows, load_library
from llm_tool.data.readers.source import Source
from llm_tool.data.readers.values import columns_of
from llm_tool.errors import StudioError
from llm_tool.text import visible

PROGRAMS = {
    ".sav": ("SPSS", "read_sav"),
    ".zsav": ("SPSS", "read_sav"),
    ".dta": ("Stata", "read_dta"),
    ".sas7bdat": ("SAS", "read_sas7bdat"),
    ".xpt": ("SAS", "read_xport"),
}


def read_statistics(source: Source, options: Options) -> Rows:
    """Read a table with its value labels; missing values, the user's own too, are empty.

    Raises:
        StudioError: The extra is missing, the file is damaged, in another encoding, or without
            rows.
    """
    program, function = PROGRAMS[source.ending]
    library = load_library("pyreadstat", program, "stats", source.where)
    with source.open_anywhere(options.on_progress) as file:
        try:
            frame, about = _read(getattr(library, function), file, options.encoding)
        except (library.ReadstatError, library.PyreadstatError, ValueError) as error:
            raise _unreadable(program, str(error), source, options.encoding) from None
    if frame.empty:
        raise NoRowsError("The table has no rows.", source.where)
    labelled = any(about.variable_value_labels.values())
    parts = [program, options.encoding or about.file_encoding or ""]
    parts += ["value labels in place of codes"] if labelled else []
    how = ", ".join(part for part in parts if part)
    return Rows(columns_of(frame, source.where), range(1, len(frame) + 1), how)


def _read(function: Any, file: Any, encoding: str | None) -> Any:  # noqa: ANN401 - untyped library
    # Transport files have no labels, and their reader no option for them.
    if function.__name__ == "read_xport":
        return function(file, encoding=encoding)
    labels: dict[str, Any] = {"formats_as_category": False}
    if function.__name__ != "read_sas7bdat":
        labels["apply_value_formats"] = True
    return function(file, encoding=encoding, **labels)


def _unreadable(program: str, error: str, source: Source, encoding: str | None) -> StudioError:
    if "encoding" in error:
        named = f" as {visible(encoding)}" if encoding else ""
        return StudioError(
            f"The texts of this {program} file cannot be read{named}.",
            where=source.where,
            remedy="Name their encoding with --encoding, as cp1252.",
        )
    return StudioError(
        f"This is a damaged {program} file, or of a kind that is not understood: {error}.",
        where=source.where,
        remedy=f"Open it in {program} and save the table as CSV (UTF-8).",
    )
