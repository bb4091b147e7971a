"""The finished rows of an output that is not complete yet, so that a kill loses none of them.

They are in a folder beside it, ``.{name}.parts``: a file for each chunk of rows, and a manifest
that says of which data, models and settings they are. The output is made of them when all are
there.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from llm_tool.errors import StudioError
from llm_tool.inference.answers import Tally, tally_of
from llm_tool.logs.files import disk_errors, replacing, whole
from llm_tool.stopping import finishing
from llm_tool.text import visible

_MANIFEST, _LOCK, _DOING = "manifest.json", "lock", "Writing the predictions"


class Parts:
    """The parts of one output."""

    def __init__(self, out: Path) -> None:
        """Say where they are; nothing is made yet."""
        self.out = out
        self.folder = out.with_name(f".{out.name}.parts")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make the folder, and keep other processes from it.

        Raises:
            StudioError: The folder cannot be written, or another process is at it.
        """
        with disk_errors(self.out, _DOING):
            self.folder.mkdir(exist_ok=True)
        lock = FileLock(self.folder / _LOCK)
        with disk_errors(self.folder, _DOING):
            try:
                lock.acquire(blocking=False)
            except Timeout:
                raise StudioError(
                    "Another process is writing this output.",
                    where=visible(str(self.out)),
                    remedy="Wait for it, or give another name with --out.",
                ) from None
        try:
            yield
        finally:
            lock.release()
            self._drop_unused()

    def _drop_unused(self) -> None:
        """Remove a folder in which no rows are finished."""
        if self.folder.is_dir() and not self._part(0).exists():
            shutil.rmtree(self.folder, ignore_errors=True)

    def begin(self, manifest: Mapping[str, Any], *, anew: bool) -> list[Tally]:
        """Return what became of the rows that are finished, chunk by chunk: none at first.

        Args:
            manifest: What the rows depend on, by what a message calls it.
            anew: Throw away rows that depend on something else.

        Raises:
            StudioError: There are such rows.
        """
        path = self.folder / _MANIFEST
        found = _read(path)
        differing = [name for name in manifest if found and found.get(name) != manifest[name]]
        if found and not differing:
            return self._finished()
        if found and not anew:
            raise StudioError(
                f"An unfinished output with this name is of other {_listed(differing)}.",
                where=visible(str(self.folder)),
                remedy="Finish it with what it was begun with, begin anew with --overwrite, or "
                "give another name with --out.",
            )
        with disk_errors(self.folder, _DOING):
            for old in self.folder.iterdir():
                if old.name != _LOCK:
                    old.unlink()
            with replacing(path) as file:
                file.write(json.dumps(manifest, indent=2) + "\n")
        return []

    def _finished(self) -> list[Tally]:
        tallies: list[Tally] = []
        while self._part(len(tallies)).exists():
            facts = _read(self._facts(len(tallies)))
            try:
                tallies.append(tally_of(facts or {}))
            except (KeyError, TypeError, ValueError, AttributeError):
                break  # that chunk is predicted again
        return tallies

    def _part(self, number: int) -> Path:
        return self.folder / f"{number:06}{self.out.suffix.lower()}"

    def _facts(self, number: int) -> Path:
        return self.folder / f"{number:06}.json"

    def add(self, number: int, tally: Tally, write: Callable[[Path], None]) -> None:
        """Write the rows of a chunk; they count as finished from when they are whole on disk.

        Args:
            number: The chunk, counted from 0.
            tally: What became of its rows.
            write: Writes them to a new file.

        Raises:
            StudioError: The folder cannot be written.
        """
        with finishing(), disk_errors(self.folder, _DOING):
            with replacing(self._facts(number)) as file:
                file.write(json.dumps(tally.as_json()) + "\n")
            with whole(self._part(number)) as temporary:
                write(temporary)

    def assemble(self, count: int, join: Callable[[Path, list[Path]], None]) -> None:
        """Make the output of all parts, and remove them.

        Args:
            count: Number of parts.
            join: Writes one file from several.

        Raises:
            StudioError: It cannot be written.
        """
        with disk_errors(self.out, _DOING):
            with whole(self.out) as temporary:
                join(temporary, [self._part(number) for number in range(count)])
            shutil.rmtree(self.folder, ignore_errors=True)


def _read(path: Path) -> dict[str, Any] | None:
    """Return the object in a file; ``None`` if there is none that can be read."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
