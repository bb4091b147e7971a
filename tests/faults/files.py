"""What a run left on disk: which files are broken, and what is not as it should be."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq
from safetensors import safe_open

from llm_tool.logs import read_metrics
from llm_tool.logs.metrics_csv import COMMENT_LINES
from tests.faults.runs import SESSION

_UNREPEATABLE = {"timestamp", "seconds", "tokens_per_second"}
_TELLS_TIMES = {"session.json", "training.json", "journal.jsonl", "training.csv", "best.csv"}
Key = tuple[str, ...]
Cells = dict[str, str]


def broken(folder: Path, *, torn: int = 0) -> list[str]:
    """Return the files below a folder that cannot be read whole, and why.

    Unfinished files, which have a hidden or a temporary name, do not count.

    Args:
        folder: The folder with logs and models.
        torn: How many writes were cut short: so many lines of a journal may be torn, and the last
            one of a CSV, which its reader has to pass over.
    """
    found = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        if _unfinished(path.relative_to(folder)):
            continue
        try:
            if path.name == "journal.jsonl":
                _check_journal(path, torn)
            elif path.suffix == ".csv":
                _check_csv(path, torn)
            else:
                _CHECKS.get(path.suffix, _check_text)(path)
        except Exception as error:  # noqa: BLE001 - whatever a reader says of a broken file
            found.append(f"{path.relative_to(folder)}: {type(error).__name__}: {error}")
    return found


def _unfinished(path: Path) -> bool:
    return any(part.startswith(".") or part.endswith(".tmp") for part in path.parts)


def _check_journal(path: Path, torn: int) -> None:
    bad = 0
    for line in filter(None, path.read_bytes().split(b"\n")):
        try:
            json.loads(line)
        except ValueError:
            bad += 1
    if bad > torn:
        raise ValueError(f"{bad} torn lines")


def _check_csv(path: Path, torn: int) -> None:
    lines = path.read_text("utf-8").splitlines(keepends=True)[COMMENT_LINES:]
    if torn and not lines[-1].endswith("\n"):
        del lines[-1]
    if not lines[-1].endswith("\n"):
        raise ValueError("the last line has no end")
    header, *rows = csv.reader(lines)
    if any(len(row) != len(header) for row in rows):
        raise ValueError("a row has more or fewer cells than the header")
    if len(read_metrics(path)) != len(rows):
        raise ValueError(f"the reader sees other rows than the {len(rows)} whole ones")


def _check_lines(path: Path) -> None:
    for line in path.read_text("utf-8").splitlines():
        json.loads(line)


def _check_weights(path: Path) -> None:
    with safe_open(path, "pt") as file:
        for name in file.keys():  # noqa: SIM118 - not a dictionary
            file.get_tensor(name)


def _check_checkpoint(path: Path) -> None:
    import torch

    torch.load(path, map_location="cpu", weights_only=True)


def _check_text(path: Path) -> None:
    if not path.read_text("utf-8"):
        raise ValueError("empty")


_CHECKS: dict[str, Callable[[Path], object]] = {
    ".json": lambda path: json.loads(path.read_text("utf-8")),
    ".jsonl": _check_lines,
    ".parquet": pq.read_table,
    ".safetensors": _check_weights,
    ".pt": _check_checkpoint,
}


@dataclass(frozen=True)
class State:
    """What logs and models say: rows by file, model and epoch, and the marks of whole files."""

    status: str
    rows: dict[Key, Cells]
    duplicated: list[Key]
    files: dict[str, str] = field(repr=False)


def read_state(folder: Path) -> State:
    """Read the session in a working folder, if there is one."""
    rows: dict[Key, Cells] = {}
    duplicated = []
    for path in sorted(folder.glob(f"logs/{SESSION}/*/*.csv")):
        for cells in _rows(path):
            epoch = (cells["epoch"],) if path.name == "training.csv" else ()
            key = (str(path.relative_to(folder)), cells["model_identifier"], *epoch)
            if key in rows:
                duplicated.append(key)
            rows[key] = {name: cells[name] for name in cells if name not in _UNREPEATABLE}
    about = folder / "logs" / SESSION / "session.json"
    status = json.loads(about.read_text("utf-8"))["status"] if about.exists() else ""
    return State(status, rows, duplicated, dict(_marks(folder)))


def _rows(path: Path) -> Iterator[Cells]:
    lines = path.read_text("utf-8").splitlines()[COMMENT_LINES:]
    for row in csv.DictReader(lines):
        if None not in row and None not in row.values():  # a torn row is no row
            yield row


def _marks(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield each path with a hash of the file; those that tell times have an empty one."""
    for path in sorted(folder.rglob("*")):
        if path.name == ".lock" or path.is_dir():
            continue
        times = path.name in _TELLS_TIMES
        mark = "" if times else hashlib.sha256(path.read_bytes()).hexdigest()
        yield str(path.relative_to(folder)), mark


@dataclass
class Differences:
    """How a session that was disturbed differs from one that was not."""

    lost: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)
    left_over: list[str] = field(default_factory=list)

    def all(self) -> list[str]:
        """Return one line for each."""
        named = vars(self).items()
        return [f"{name.replace('_', ' ')}: {one}" for name, found in named for one in found]


def compare(reference: State, state: State) -> Differences:
    """Return what a session that is done lacks, has twice, has otherwise, or has too much of."""
    found = Differences(duplicated=[" ".join(key) for key in state.duplicated])
    for key, expected in reference.rows.items():
        name = " ".join(key)
        if key not in state.rows:
            found.lost.append(name)
        elif state.rows[key] != expected:
            other = {c: (expected[c], state.rows[key].get(c)) for c in expected}
            cells = [f"{c} {a!r}: {b!r}" for c, (a, b) in other.items() if a != b]
            found.differing.append(f"{name}: {', '.join(cells)}")
    found.differing += [
        f"{' '.join(key)}: not planned" for key in state.rows.keys() - reference.rows
    ]
    found.lost += sorted(reference.files.keys() - state.files.keys())
    found.left_over += sorted(state.files.keys() - reference.files.keys())
    same = reference.files.keys() & state.files.keys()
    found.differing += sorted(n for n in same if reference.files[n] != state.files[n])
    if state.status != reference.status:
        found.differing.append(f"status {reference.status!r}: {state.status!r}")
    return found
