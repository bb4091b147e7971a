"""How long the first thing takes to appear: the help, the version, the menu in a terminal.

    python -m tests.benchmarks.startup --repeats 5

Medians of whole processes; beside them, what importing torch and transformers alone takes.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from tests.terminal import Terminal

PROGRAM = [sys.executable, "-m", "llm_tool"]


def process(*command: str) -> float:
    """Return the seconds of a process."""
    started = time.perf_counter()
    subprocess.run(command, capture_output=True, check=True)
    return time.perf_counter() - started


def menu() -> float:
    """Return the seconds until the studio's menu stands in a terminal."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        terminal = Terminal([*PROGRAM, "studio"], folder=Path(folder))
        terminal.wait_for("What would you like to do?")
        seconds = time.perf_counter() - started
        terminal.close()
        return seconds


def main() -> None:
    """Print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    what: dict[str, Callable[[], float]] = {
        "llm-tool --help": lambda: process(*PROGRAM, "--help"),
        "llm-tool --version": lambda: process(*PROGRAM, "--version"),
        "menu of the studio": menu,
        "import torch, transformers": lambda: process(
            sys.executable, "-c", "import torch, transformers.modeling_utils"
        ),
    }
    taken: dict[str, list[float]] = {name: [] for name in what}
    for _ in range(repeats):
        for name, run in what.items():
            taken[name].append(run())
    print("| what | seconds |\n| --- | --- |")
    for name, seconds in taken.items():
        print(f"| `{name}` | {median(seconds):.2f} ({min(seconds):.2f}–{max(seconds):.2f}) |")


if __name__ == "__main__":
    main()
