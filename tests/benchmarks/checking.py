"""What ``llm-tool check`` takes for a large table, beside pandas reading it.

    python -m tests.benchmarks.checking --rows 1000000

A CSV with an id, a text of about 120 characters, a language and three label columns. Each command
runs in a process of its own; seconds are wall time, memory is the peak of the process. Some minutes
for a million rows.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

LABELS = {
    "sentiment": ("negative", "neutral", "positive"),
    "topic": ("budget", "climate", "education", "health", "immigration"),
    "claim": ("yes", "no"),
}
_PANDAS = "import sys, pandas; pandas.read_csv(sys.argv[1])"


@dataclass(frozen=True)
class Taken:
    """Seconds and peak memory of a command, and what it wrote."""

    seconds: float
    peak_gb: float
    output: str


def write_texts(path: Path, rows: int) -> None:
    """Write texts of words drawn by Zipf's law; one in a hundred is there before."""
    rng = np.random.default_rng(0)
    words = [f"{chr(97 + i % 26)}{'aeiou'[i % 5]}{i:x}" for i in range(20_000)]
    before: list[str] = []
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", "lang", *LABELS])
        for row in range(rows):
            drawn = np.minimum(rng.zipf(1.3, size=rng.integers(12, 30)), len(words)) - 1
            text = " ".join(words[i] for i in drawn)
            if before and row % 100 == 0:
                text = before[int(rng.integers(len(before)))]
            elif row % 1000 == 1:
                before.append(text)
            own = [values[int(rng.integers(len(values)))] for values in LABELS.values()]
            writer.writerow([f"t{row}", text, "en", *own])


def take(command: list[str]) -> Taken:
    """Run a command and return what it took."""
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        output = process.stdout.read() if process.stdout else ""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed")
    return Taken(time.perf_counter() - started, usage.ru_maxrss / 1e6, output)


def check_and_pandas(rows: int, repeats: int) -> tuple[list[Taken], list[Taken]]:
    """Return what checking a table and reading it with pandas took, in alternating order."""
    checks, reads = [], []
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "large.csv"
        write_texts(path, rows)
        for _ in range(repeats):
            reads.append(take([sys.executable, "-c", _PANDAS, str(path)]))
            checks.append(take([sys.executable, "-m", "llm_tool", "check", str(path), "--json"]))
    return checks, reads


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=1)
    arguments = parser.parse_args()
    checks, reads = check_and_pandas(arguments.rows, arguments.repeats)
    report: dict[str, Any] = json.loads(checks[0].output)
    print(f"{report['rows']:,} rows, {len(report['findings'])} findings")
    for name, taken in (("llm-tool check", checks), ("pandas.read_csv", reads)):
        seconds = float(np.median([one.seconds for one in taken]))
        memory = max(one.peak_gb for one in taken)
        each = 1e6 * seconds / arguments.rows
        print(f"{name}: {seconds:.1f} s, {each:.1f} µs a row, {memory:.2f} GB")


if __name__ == "__main__":
    main()
