"""How long the list of sessions takes: the command, and the browser of the studio.

    python -m tests.benchmarks.sessions --sessions 1000 --repeats 3

Sessions in the real formats: one of each kind is written by the code itself (two categories, four
models each, three epochs) and copied under other ids. Medians of whole processes.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from statistics import median

from llm_tool.config import RunConfig
from llm_tool.events import EpochEnded
from llm_tool.logs.session import Session, timestamp
from llm_tool.plan import Job, Task
from tests.terminal import DOWN, ENTER, Terminal
from tests.test_events import made_end, made_epoch, made_job

PROGRAM = [sys.executable, "-m", "llm_tool"]
_FIRST = datetime(2026, 1, 1)


def write_sessions(logs_dir: Path, count: int, *, unfinished: bool = False) -> list[str]:
    """Write sessions of eight jobs, all done or half of them not; return their ids.

    Args:
        logs_dir: Their folder.
        count: How many.
        unfinished: Whether they were interrupted half-way.
    """
    ids = [timestamp(_FIRST + timedelta(minutes=number)) for number in range(count)]
    first = Session(logs_dir, ids[0])
    _run(first, unfinished)
    for session_id in ids[1:]:
        shutil.copytree(first.folder, logs_dir / session_id)
        path = logs_dir / session_id / "session.json"
        facts = json.loads(path.read_text("utf-8")) | {"id": session_id}
        path.write_text(json.dumps(facts, indent=2) + "\n", "utf-8")
    return ids


def _run(session: Session, unfinished: bool) -> None:
    config = RunConfig(mode="benchmark", label=("sentiment", "topic")).model_dump(mode="json")
    about = {"name": "tweets.csv", "sha256": "0" * 64}
    try:
        with session.run(_jobs(), config, about) as jobs:
            for job in islice(jobs, len(jobs) // 2 if unfinished else None):
                for epoch in _epochs(job):
                    session.record(epoch)
                session.record(made_end(epoch))
            if unfinished:
                session.record(epoch := next(iter(_epochs(jobs[-1]))))
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass


def _jobs() -> list[Job]:
    tasks = [Task(key, "", ("yes", "no"), ("EN", "FR")) for key in ("sentiment", "topic")]
    return [
        made_job(task=task, id="", identifier="", model_name=f"model-{n}", seed=n)
        for task in tasks
        for n in range(4)
    ]


def _epochs(job: Job) -> list[EpochEnded]:
    epochs = [replace(made_epoch(job), epoch=number) for number in (1, 2, 3)]
    return [replace(epoch, is_best=epoch.epoch == 1) for epoch in epochs]


def command(folder: Path, *words: str) -> float:
    """Return the seconds of ``llm-tool sessions``."""
    started = time.perf_counter()
    subprocess.run([*PROGRAM, "sessions", *words], cwd=folder, capture_output=True, check=True)
    return time.perf_counter() - started


def browser(folder: Path) -> tuple[float, float]:
    """Return the seconds from choosing Sessions to the question, and from a key to the filter."""
    terminal = Terminal([*PROGRAM, "studio"], folder=folder)
    terminal.wait_for("What would you like to do?")
    terminal.press(*[DOWN] * 7)
    started = time.perf_counter()
    terminal.press(ENTER)
    terminal.wait_for("Open which session?")
    question = time.perf_counter() - started - 0.08  # what press waits
    started = time.perf_counter()
    terminal.press("_", "0", "0", "1")
    terminal.wait_for("_001")
    filtered = time.perf_counter() - started - 4 * 0.08
    terminal.close()
    return question, filtered


def main() -> None:
    """Print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    print("| what | seconds |\n| --- | --- |")
    for kind in ("done", "unfinished"):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_sessions(
                folder / "training_logs", options.sessions, unfinished=kind == "unfinished"
            )
            taken: dict[str, list[float]] = {}
            for _ in range(options.repeats):
                taken.setdefault("llm-tool sessions", []).append(command(folder))
                taken.setdefault("llm-tool sessions --json", []).append(command(folder, "--json"))
                question, filtered = browser(folder)
                taken.setdefault("the studio's question", []).append(question)
                taken.setdefault("its filter", []).append(filtered)
            for what, each in taken.items():
                spread = f"{min(each):.2f}–{max(each):.2f}"
                print(f"| {options.sessions:,} {kind}: {what} | {median(each):.2f} ({spread}) |")


if __name__ == "__main__":
    main()
