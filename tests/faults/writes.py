"""Make each call that writes fail once: nothing is corrupt, and the run can be finished."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.files import Differences, broken, compare, read_state
from tests.faults.kills import Reference, empty, refer
from tests.faults.runs import Server, next_words, wait_for_end
from tests.faults.shim import Fault, Shim

ERRORS = (errno.ENOSPC, errno.EACCES, errno.EIO)
_UNFORESEEN = ("Something unforeseen happened", "Traceback")


@dataclass
class Writes:
    """What failing calls did to runs."""

    calls: int = 0
    harmless: int = 0
    corrupt: list[str] = field(default_factory=list)
    unforeseen: list[str] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    not_resumable: list[str] = field(default_factory=list)
    differences: Differences = field(default_factory=Differences)

    def add(self, other: Writes) -> None:
        """Add the figures of other runs."""
        self.calls += other.calls
        self.harmless += other.harmless
        for name in ("corrupt", "unforeseen", "unexplained", "unfinished", "not_resumable"):
            getattr(self, name).extend(getattr(other, name))
        for name, found in vars(other.differences).items():
            getattr(self.differences, name).extend(found)

    def problems(self) -> list[str]:
        """Return one line for everything that is not as it should be."""
        named = {k: v for k, v in vars(self).items() if isinstance(v, list)}
        lines = [
            f"{name.replace('_', ' ')}: {one}" for name, found in named.items() for one in found
        ]
        return lines + self.differences.all()


def every_fault(calls: int, writes: Sequence[int]) -> list[Fault]:
    """Return each error at each call of a run, and what else can happen at every tenth."""
    every = range(1, calls + 1)
    faults = [Fault(at, "once", error) for at in every for error in ERRORS]
    faults += [Fault(at, kind) for at in every[::10] for kind in ("full", "kill")]
    return faults + [Fault(at, kind) for at in writes[::10] for kind in ("short", "kill half")]


def some_faults(calls: int, writes: Sequence[int], number: int) -> list[Fault]:
    """Return a number of faults at calls spread over a run, each kind in its turn."""
    faults = []
    for i in range(number):
        at = 1 + i * calls // number
        kind = ("once", "once", "once", "full", "short", "kill", "kill half")[i % 7]
        if kind in ("short", "kill half"):
            at = min(writes, key=lambda write: abs(write - at))
        faults.append(Fault(at, kind, ERRORS[i % 3] if kind == "once" else errno.ENOSPC))
    return faults


def count_calls(
    server: Server, shim: Shim, words: list[str], folder: Path
) -> tuple[int, list[int]]:
    """Return how many calls a run makes below its folder, and which of them write bytes."""
    empty(folder)
    shim.watch(folder)
    ended = server.run(words, folder)
    assert ended.code == 0, ended.output
    return shim.calls, shim.writes


def fail_call(
    server: Server, shim: Shim, reference: Reference, folder: Path, fault: Fault
) -> Writes:
    """Run with a fault, look at what is left, and finish the run without it."""
    empty(folder)
    shim.watch(folder, fault)
    ended = server.run(reference.words, folder)
    where = f"{fault}, {shim.struck.replace(str(folder), '')}"
    found = Writes(calls=bool(shim.struck))
    shim.watch(folder)
    killed = fault.kind.startswith("kill")
    if killed:
        wait_for_end(ended.group)
    elif ended.code:
        said = " ".join(ended.output.split())
        if ended.code not in (1, 2) or any(words in said for words in _UNFORESEEN):
            found.unforeseen.append(f"{where}: exit {ended.code}: {_last(ended.output)}")
        elif os.strerror(fault.error) not in said:
            found.unexplained.append(f"{where}: exit {ended.code}: {_last(ended.output)}")
    else:
        found.harmless = 1
    found.corrupt = [f"{where}: {one}" for one in broken(folder, torn=int(killed))]
    if not killed:
        found.unfinished = [f"{where}: {path.name}" for path in _temporary(folder)]
    if ended.code:
        words = next_words(reference.words, folder)
        ended = server.run(words, folder)
        if ended.code:
            again = f"{where}: {words[0]}: exit {ended.code}: {_last(ended.output)}"
            found.not_resumable.append(again)
            return found
    found.differences = compare(reference.state, read_state(folder))
    for name, lines in vars(found.differences).items():
        setattr(found.differences, name, [f"{where}: {line}" for line in lines])
    return found


def _last(output: str) -> str:
    return " | ".join(line.strip() for line in output.strip().splitlines()[-6:])


def _temporary(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.endswith(".tmp")]


def fail_writes(
    server: Server, shim: Shim, words: list[str], folder: Path, number: int | None = None
) -> Writes:
    """Run a command with every fault there is, or with a number of them spread over the run."""
    reference = refer(server, words, folder / "run")
    calls, writes = count_calls(server, shim, words, folder / "run")
    every = every_fault(calls, writes)
    faults = every if number is None else some_faults(calls, writes, number)
    total = Writes()
    for fault in faults:
        total.add(fail_call(server, shim, reference, folder / "run", fault))
    return total
