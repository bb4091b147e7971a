"""How far the estimates before a run are off: seconds and memory, against real runs.

    python -m tests.benchmarks.estimate             all configurations, about a quarter of an hour
    python -m tests.benchmarks.estimate --only 1    the first one

Each configuration is estimated and run in fresh processes with the embedded model. The estimate's
process plans and probes; the run's plans and trains as ``llm-tool train`` does, and its seconds are
those of ``run_plan``. Memory is the most that the run's processes hold together, looked at twenty
times a second. Estimates hold for a machine that does nothing else: leave it alone meanwhile.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from statistics import median

import numpy as np
import psutil

from llm_tool.config import make_config
from llm_tool.modes.planning import prepare

LOOKS_EVERY = 0.05


@dataclass(frozen=True)
class Case:
    """A run that is estimated and made."""

    texts: str  # short: as they are; mixed: several in one, of log-normal lengths
    rows: int
    epochs: int
    jobs: int
    workers: int


CASES = (
    Case("short", 400, 1, 1, 1),
    Case("short", 400, 3, 1, 1),
    Case("short", 1500, 1, 1, 1),
    Case("short", 400, 2, 3, 1),
    Case("short", 400, 2, 3, 2),
    Case("mixed", 400, 1, 1, 1),
    Case("mixed", 400, 2, 1, 1),
    Case("mixed", 1500, 1, 1, 1),
    Case("mixed", 400, 1, 3, 1),
    Case("mixed", 400, 1, 3, 2),
)


def write_table(case: Case, path: Path) -> None:
    """Write the texts of a case, made of the embedded ones, each with the labels of its first."""
    table = (resources.files("llm_tool.data") / "demo.csv").read_text("utf-8")
    source = list(csv.DictReader(table.splitlines()))
    rng = np.random.default_rng(1)
    pieces = np.ones(case.rows, dtype=int)
    if case.texts == "mixed":
        pieces = np.maximum(1, rng.lognormal(1.0, 0.8, case.rows).round().astype(int))
    keys = ["sentiment", "specific_themes", "political_parties"][: case.jobs]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", *keys])
        for number, count in enumerate(pieces):
            first = source[number % len(source)]
            others = (source[i]["text"] for i in rng.integers(len(source), size=count - 1))
            # The number keeps texts that occur twice from being one for the split.
            text = " ".join([f"{number}:", first["text"], *others])
            writer.writerow([number, text, *(first[key] for key in keys)])


def settings(case: Case, folder: Path) -> dict[str, object]:
    """Return the configuration of a case."""
    return {
        "mode": "quick",
        "data": str(folder / "table.csv"),
        "label": ["sentiment", "specific_themes", "political_parties"][: case.jobs],
        "language_column": "none",
        "epochs": case.epochs,
        "workers": case.workers,
        "logs_dir": str(folder / "logs"),
        "models_dir": str(folder / "models"),
    }


def child(what: str, given: dict[str, object]) -> None:
    """Estimate or run, in a process of its own; print what it took as JSON."""
    config = make_config(given)
    dataset, plan = prepare(config)
    started = time.perf_counter()
    if what == "estimate":
        from llm_tool.execution.estimate import estimate

        taken = estimate(plan, dataset, config)
        found = {"seconds": taken.seconds, "memory": taken.memory_bytes}
    else:
        from llm_tool.execution.local import run_plan
        from llm_tool.logs.session import Session

        started = time.perf_counter()
        outcome = run_plan(plan, dataset, config, Session(config.logs_dir))
        if outcome.failed:
            raise SystemExit(f"a job failed: {outcome.failed[0]}")
        found = {"seconds": time.perf_counter() - started}
    print(json.dumps(found | {"wall": time.perf_counter() - started}))


def in_process(what: str, given: dict[str, object]) -> dict[str, float]:
    """Return what ``child`` prints, and the most memory that its processes held together."""
    command = [sys.executable, "-m", "tests.benchmarks.estimate", "--child", what]
    process = subprocess.Popen(
        [*command, json.dumps(given)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    peak, owner = 0, psutil.Process(process.pid)
    while process.poll() is None:
        held = 0
        try:
            for one in (owner, *owner.children(recursive=True)):
                held += one.memory_info().rss
        except psutil.Error:
            held = 0  # one of them just ended
        peak = max(peak, held)
        time.sleep(LOOKS_EVERY)
    out = process.communicate()[0]
    if process.returncode:
        raise SystemExit(f"{what} of {given} ended with {process.returncode}")
    found: dict[str, float] = json.loads(out.splitlines()[-1])
    return {"peak": peak, **found}


def compare(case: Case) -> tuple[float, float]:
    """Print a row of the table; return how far seconds and memory are off, as shares."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_table(case, folder / "table.csv")
        given = settings(case, folder)
        guess, real = in_process("estimate", given), in_process("run", given)
    seconds, memory = guess["seconds"] / real["seconds"], guess["memory"] / real["peak"]
    about = "  ".join(f"{value:>6}" for value in asdict(case).values())
    print(
        f"{about}  {guess['wall']:6.1f}  {guess['seconds']:9.1f}  {real['seconds']:7.1f}  "
        f"{seconds:5.2f}  {guess['memory'] / 1e9:9.2f}  {real['peak'] / 1e9:7.2f}  {memory:5.2f}",
        flush=True,
    )
    return abs(seconds - 1), abs(memory - 1)


def main() -> None:
    """Compare every case and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", type=int, help="the first cases only, so many")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child[0], json.loads(arguments.child[1]))
        return
    print(
        " texts    rows  epochs    jobs  workers  probe s  estimated s  real s  ratio  "
        "estimated GB  real GB  ratio"
    )
    off = [compare(case) for case in CASES[: arguments.only]]
    for what, shares in zip(("seconds", "memory"), zip(*off, strict=True), strict=True):
        print(f"median absolute error of the {what}: {100 * median(shares):.0f} %")


if __name__ == "__main__":
    main()
