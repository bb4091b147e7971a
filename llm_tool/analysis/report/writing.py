"""A report as a file."""

from __future__ import annotations

from pathlib import Path

from llm_tool.analysis.report.render import SUFFIXES, Kind, render
from llm_tool.logs.archive import Archive
from llm_tool.logs.files import check_place, disk_errors, replacing


def default_path(archive: Archive, kind: Kind) -> Path:
    """Return where the report of a session is written if nobody says where."""
    return archive.folder / f"report{SUFFIXES[kind]}"


def write_report(archive: Archive, kind: Kind, path: str | Path) -> Path:
    """Write the report of a session to a file, in place of one that is there; return its path.

    Raises:
        StudioError: The session's files cannot be read, or the file cannot be written.
    """
    target = Path(path)
    check_place(target)
    text = render(archive, kind)
    with disk_errors(target, "Writing the report"), replacing(target) as file:
        file.write(text)
    return target
