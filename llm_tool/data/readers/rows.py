"""What every reader gives, and what they share: columns that grow, names of columns, extras."""

from __future__ import annotations

import importlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from llm_tool.errors import StudioError
from llm_tool.text import UNWRITABLE, visible

Cell: TypeAlias = "str | list[str]"
Progress: TypeAlias = Callable[[int, int], None]
_VARIED = 20_000  # a column with more different cells repeats too few to look them up


@dataclass(frozen=True)
class Options:
    """What the user said of a file; ``None``: to be detected. ``on_progress`` gets bytes."""

    encoding: str | None = None
    delimiter: str | None = None
    sheet: str | None = None
    on_progress: Progress | None = None


@dataclass(frozen=True)
class Rows:
    """A table as read: columns of cells, the rows' numbers in the file, and how it was read."""

    columns: Mapping[str, Sequence[Cell]]
    numbers: Sequence[int]
    how: str
    notes: tuple[str, ...] = ()


class NoRowsError(StudioError):
    """A table without rows; where a file holds several, the next one is tried."""

    def __init__(self, what: str, where: str) -> None:
        super().__init__(what, where=where, remedy="Choose a file with rows.")


class Column:
    """Cells of one column; those that repeat are kept once."""

    def __init__(self) -> None:
        self.cells: list[Cell] = []
        self._seen: dict[str, str] | None = {}

    def extend(self, cells: Sequence[str]) -> None:
        """Add the cells of some rows."""
        if self._seen is None:
            self.cells.extend(cells)
            return
        self.cells.extend(map(self._seen.setdefault, cells, cells))
        if len(self._seen) > _VARIED:
            self._seen = None

    def put(self, row: int, cell: Cell) -> None:
        """Add the cell of a row; the rows since the last one have none."""
        missing = row - len(self.cells)
        if missing:
            self.cells.extend([""] * missing)
        if self._seen is not None and isinstance(cell, str):
            cell = self._seen.setdefault(cell, cell)
            if len(self._seen) > _VARIED:
                self._seen = None
        self.cells.append(cell)


Path: TypeAlias = tuple[str, ...]  # of a cell in a record: its key, and one within that


class Records:
    """A table that grows by one record at a time.

    An object in a cell becomes a column for each of its keys, named by the key alone where that
    is found in one place only.
    """

    def __init__(self, cell: Callable[[object], Cell]) -> None:
        self.count = 0
        self._cell = cell
        self._columns: defaultdict[Path, Column] = defaultdict(Column)
        self._places: defaultdict[str, set[str | None]] = defaultdict(set)
        self._filled: set[Path] = set()  # of what was forgotten
        self._lists: set[Path] = set()

    def add(self, record: Mapping[str, object]) -> None:
        """Add a row."""
        for name, value in record.items():
            self._places[name].add(None)
            if isinstance(value, dict):
                for inner, part in value.items():
                    self._places[inner].add(name)
                    self._columns[(name, inner)].put(self.count, self._cell(part))
            else:
                self._columns[(name,)].put(self.count, self._cell(value))
        self.count += 1

    def forget(self) -> None:
        """Let the rows go; what columns there are stays known."""
        for path, column in self._columns.items():
            if any(column.cells):
                self._filled.add(path)
            if any(isinstance(cell, list) for cell in column.cells):
                self._lists.add(path)
            self._columns[path] = Column()
        self.count = 0

    def names(self, where: str) -> dict[Path, str]:
        """Return the names of the columns.

        Raises:
            StudioError: Two columns would have one name.
        """
        parents = {path[0] for path in self._columns if len(path) > 1}
        kept = [
            path
            for path, column in self._columns.items()
            # Nothing in place of an object is no column of its own.
            if path[0] not in parents or len(path) > 1 or path in self._filled or any(column.cells)
        ]
        names = column_names([".".join(self._shortened(path)) for path in kept], where)
        return dict(zip(kept, names, strict=True))

    def keys(self) -> frozenset[str]:
        """Return the keys of the records themselves, which may be no names of columns."""
        return frozenset(path[0] for path in self._columns)

    def lists(self, names: Mapping[Path, str]) -> frozenset[str]:
        """Return the columns in which some cell that was forgotten is a list."""
        return frozenset(name for path, name in names.items() if path in self._lists)

    def columns(self, where: str) -> dict[str, list[Cell]]:
        """Return the columns, all of the same length.

        Raises:
            StudioError: Two columns would have one name.
        """
        return self.named(self.names(where))

    def named(self, names: Mapping[Path, str]) -> dict[str, list[Cell]]:
        """Return the columns that have a name, also those that no record here has."""
        columns = {name: self._columns[path].cells for path, name in names.items()}
        for cells in columns.values():
            cells.extend([""] * (self.count - len(cells)))
        return columns

    def _shortened(self, path: Path) -> Path:
        return path[-1:] if len(self._places[path[-1]]) == 1 else path


def column_names(header: Sequence[str], where: str) -> list[str]:
    """Return the names of columns, each its own; those without one are numbered.

    Raises:
        StudioError: A name occurs twice.
    """
    written = [UNWRITABLE.sub("�", name).strip() for name in header]
    names = [name or f"column_{i}" for i, name in enumerate(written, start=1)]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise StudioError(
            f"The column '{visible(twice[0])}' occurs {names.count(twice[0])} times.",
            where=where,
            remedy="Give every column its own name.",
        )
    return names


def load_library(module: str, what: str, extra: str, where: str) -> Any:  # noqa: ANN401 - a module
    """Return the library that reads a kind of files.

    Raises:
        StudioError: It is not installed; the extra that brings it is named.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise StudioError(
            f"Reading {what} files takes the extra '{extra}'.",
            where=where,
            remedy=f'pip install "llm-tool[{extra}]"',
        ) from None


def others(count: int) -> str:
    """Return how many tables were not chosen, as they are named behind the chosen one."""
    return f" ({count} other{'' if count == 1 else 's'})" if count else ""


def listed(names: Iterable[str]) -> str:
    """Return names as a message shows them, the first twelve."""
    shown = [f"'{visible(name)}'" for name in names]
    return ", ".join(shown[:12]) + (", …" if len(shown) > 12 else "")
