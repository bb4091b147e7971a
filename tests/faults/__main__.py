"""Disturb many runs and print what came of it, as the tables of the README's reliability section.

    python -m tests.faults                          the short form, a few minutes
    python -m tests.faults --kills 200 --writes all --names 1000

``--writes N``: so many failing calls in each of three modes; ``all``: every call that writes, once
with every error, and every tenth with a disk that stays full, a short write, and a kill.
``--modes quick,hybrid``: only these, so that processors can share the work.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.faults.kills import Kills, kill_mode
from tests.faults.runs import MODES, Material, Server, make_material
from tests.faults.shim import Shim, missing
from tests.faults.writes import Writes, fail_writes

WRITE_MODES = ("quick", "shared encoder", "reinforced")  # whose writing differs most
_UNLIKE = "rows, predictions or weights unlike an undisturbed run's"
Table = list[tuple[str, object]]


def kill_runs(
    server: Server, material: Material, folder: Path, modes: Sequence[str], number: int, seed: int
) -> Kills:
    """Kill runs of modes, each until it had its share of the kills."""
    total = Kills()
    share = math.ceil(number / len(modes))
    for mode in modes:
        began = time.monotonic()
        one = kill_mode(server, material, mode, share, seed, folder / "kills")
        _tell(f"{mode}: {one.kills} kills, {time.monotonic() - began:.0f} s", one.problems())
        total.add(one)
    return total


def fail_runs(
    server: Server,
    shim: Shim,
    material: Material,
    folder: Path,
    modes: Sequence[str],
    number: int | None,
) -> Writes:
    """Make calls of modes fail."""
    total = Writes()
    for mode in modes:
        began = time.monotonic()
        words = material.train(mode, epochs=2)
        one = fail_writes(server, shim, words, folder / "writes", number)
        seconds = time.monotonic() - began
        _tell(f"{mode}: {one.calls} failing calls, {seconds:.0f} s", one.problems())
        total.add(one)
    return total


def _tell(line: str, problems: list[str]) -> None:
    sys.stderr.write("\n".join([line, *problems]) + "\n")


def kills_table(found: Kills) -> Table:
    """Return the figures of the kills."""
    phases = ", ".join(f"{number} {name}" for name, number in found.phases.most_common())
    return [
        ("kills (-9) at random moments", found.kills),
        ("sessions that they fell on", found.sessions),
        ("where they fell", phases),
        ("files that cannot be read after a kill", len(found.corrupt)),
        ("sessions that cannot be resumed", len(found.not_resumable)),
        ("rows lost", len(found.differences.lost)),
        ("rows there twice", len(found.differences.duplicated)),
        (_UNLIKE, len(found.differences.differing)),
        ("files left over", len(found.differences.left_over)),
        ("workers left running", len(found.orphans)),
    ]


def writes_table(found: Writes) -> Table:
    """Return the figures of the failing calls."""
    unexplained = len(found.unforeseen) + len(found.unexplained)
    unlike = [*found.differences.differing, *found.differences.lost, *found.differences.duplicated]
    return [
        ("calls that write, failed or killed in turn", found.calls),
        ("of them harmless: the run went on to its end", found.harmless),
        ("files that cannot be read afterwards", len(found.corrupt)),
        ("unforeseen errors, or without the reason", unexplained),
        ("unfinished files left behind", len(found.unfinished) + len(found.differences.left_over)),
        ("runs that cannot be finished", len(found.not_resumable)),
        (_UNLIKE, len(unlike)),
    ]


def _arguments() -> argparse.Namespace:
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument("--kills", type=int, default=21)
    parser.add_argument("--writes", default="20")
    parser.add_argument("--names", type=int, default=0)
    parser.add_argument("--modes", type=lambda names: names.split(","), default=[*MODES])
    parser.add_argument("--seed", type=int, default=int(time.time()))
    given = parser.parse_args()
    if set(given.modes) - set(MODES):
        parser.error(f"the modes are {', '.join(MODES)}")
    if given.writes != "0" and missing():
        parser.error(missing())
    return given


def _disturb(given: argparse.Namespace, folder: Path) -> tuple[Table, list[str]]:
    """Return the figures of what was asked for, and a line for each problem."""
    table: Table = []
    problems: list[str] = []
    material = make_material(folder)
    shim = None if missing() else Shim(folder)
    server = Server(folder, shim.environment if shim else {})
    if given.kills:
        kills = kill_runs(server, material, folder, given.modes, given.kills, given.seed)
        table += kills_table(kills)
        problems += kills.problems()
    if shim and given.writes != "0":
        number = None if given.writes == "all" else int(given.writes)
        modes = [mode for mode in WRITE_MODES if mode in given.modes]
        writes = fail_runs(server, shim, material, folder, modes, number)
        table += writes_table(writes)
        problems += writes.problems()
    server.close()
    return table, problems


def main() -> None:
    """Run the suite; exit code 1 if anything is not as it should be."""
    given = _arguments()
    began = time.monotonic()
    table: Table = [("seed", given.seed), ("processors", os.cpu_count())]
    if given.names:
        from tests.test_hostile_names import check_names

        counted = check_names(given.names)
        table += [(f"hostile names: {what.replace('_', ' ')}", n) for what, n in counted.items()]
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        figures, problems = _disturb(given, Path(name))
    minutes = round((time.monotonic() - began) / 60)
    sys.stdout.write("| | |\n| --- | --- |\n")
    for what, number in [*table, *figures, ("minutes", minutes)]:
        sys.stdout.write(f"| {what} | {number} |\n")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
