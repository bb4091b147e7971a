"""What a run takes besides its training, and how its cost grows.

    python -m tests.benchmarks.scale growth | plan | overhead

``growth``: one epoch over 400, 1,600 and 6,400 texts of mixed length: tokens a second and peak
memory. ``plan``: twelve label columns and two models, as ``llm-tool train benchmark``, one job
after the other and with the usual workers: the whole process against the training of its jobs.
``overhead``: the share of a run's time in records, journals, CSVs, checkpoints and display. Two to
ten minutes each.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from tests.benchmarks.corpus import (
    CLASSES,
    mixed_texts,
    model_folder,
    token_count,
    weights_of,
)
from tests.benchmarks.speed import product_limit
from tests.benchmarks.ways import Work, measure

SIZES = (400, 1_600, 6_400)


def growth() -> None:
    """Print tokens a second and peak memory for each number of texts."""
    print("| texts | tokens | tokens/s | peak memory |\n| --- | --- | --- | --- |")
    for size in SIZES:
        train = mixed_texts(size)
        taken = measure("llm-tool", Work(train, mixed_texts(40, seed=1), model_folder()))
        tokens = token_count(train[0])
        speed = tokens / taken.seconds
        print(f"| {size:,} | {tokens:,} | {speed:,.0f} | {taken.peak_gb:.2f} GB |", flush=True)


def write_table(path: Path, rows: int, columns: int) -> list[str]:
    """Write texts of mixed length with label columns; return the columns' names."""
    texts, _ = mixed_texts(rows)
    names = [f"label_{number:02}" for number in range(columns)]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", *names])
        for row, text in enumerate(texts):
            own = [CLASSES[(row * (n + 3) + row // 7) % len(CLASSES)] for n in range(columns)]
            writer.writerow([text, *own])
    return names


@dataclass(frozen=True)
class Run:
    """What a whole command took, and what its trainings did, as their records say."""

    seconds: float
    jobs: int
    training: float
    tokens: float
    workers: int


def plan(rows: int, epochs: int, columns: int) -> None:
    """Print how much longer a run of many jobs takes than their training, one after the other."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        labels = write_table(folder / "data.csv", rows, columns)
        other = folder / "another-model"
        other.symlink_to(model_folder())
        command = [sys.executable, "-m", "llm_tool", "train", "benchmark", str(folder / "data.csv")]
        command += [word for label in labels for word in ("-l", label)]
        command += ["-m", "embedded", "-m", str(other), "--epochs", str(epochs), "--json"]
        command += ["--language-column", "none", "--logs-dir", str(folder / "logs")]
        command += ["--models-dir", str(folder / "models")]
        limit = product_limit("float32")
        alone, usual = (_run([*command, *more]) for more in (["--workers", "1"], []))
    print(
        f"{alone.jobs} jobs of {rows:,} texts and {epochs} epochs; limit {limit / 1e9:.0f} GFLOP/s"
    )
    for run in (alone, usual):
        speed = run.tokens / (run.training / run.workers)
        share = 6 * weights_of(model_folder()) * speed / limit
        print(f"workers {run.workers}: {run.seconds:.0f} s in all,", end=" ")
        print(f"{run.seconds / alone.training:.3f} times the training of its jobs", end=" ")
        print(f"one after the other ({alone.training:.0f} s); while training", end=" ")
        print(f"{speed:,.0f} tokens/s, {share:.0%} of the limit")


def _run(command: list[str]) -> Run:
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - started
    events = [json.loads(line) for line in done.stdout.splitlines()]
    epochs = [event for event in events if event["event"] == "epoch_ended"]
    return Run(
        seconds=seconds,
        jobs=sum(event["event"] == "job_ended" for event in events),
        training=sum(epoch["seconds"] for epoch in epochs),
        tokens=sum(epoch["seconds"] * epoch["tokens_per_second"] for epoch in epochs),
        workers=next(event["workers"] for event in events if event["event"] == "run_started"),
    )


def overhead(rows: int, epochs: int) -> None:
    """Print the share of a run's time that goes into each kind of record, and into the display."""
    from rich.console import Console

    from llm_tool.config import make_config
    from llm_tool.execution.local import run_plan
    from llm_tool.logs.session import Session
    from llm_tool.modes.planning import prepare
    from llm_tool.studio.display import RunDisplay
    from llm_tool.trainers.checkpoint import Checkpoint

    taken: Counter[str] = Counter()

    def timed(what: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - any function's
            started = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                taken[what] += time.perf_counter() - started

        return call

    Session.record = timed("journal and CSVs", Session.record)  # type: ignore[method-assign]
    Checkpoint.save = timed("checkpoints", Checkpoint.save)  # type: ignore[method-assign]
    console = Console(file=StringIO(), force_terminal=True, width=100)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (label,) = write_table(folder / "data.csv", rows, 1)
        given = {"data": str(folder / "data.csv"), "label": label, "language_column": "none"}
        config = make_config({**given, "epochs": epochs, "models_dir": str(folder / "models")})
        dataset, planned = prepare(config)
        show = timed("display", RunDisplay(console))
        started = time.perf_counter()
        run_plan(planned, dataset, config, Session(folder / "logs"), show)
        whole = time.perf_counter() - started
    for what, seconds in taken.items():
        print(f"{what}: {seconds:.2f} s, {seconds / whole:.2%}")
    print(f"together {sum(taken.values()) / whole:.2%} of {whole:.0f} s")


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("growth", "plan", "overhead"))
    parser.add_argument("--rows", type=int, default=600)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--columns", type=int, default=12)
    arguments = parser.parse_args()
    if arguments.what == "growth":
        growth()
    elif arguments.what == "plan":
        plan(arguments.rows, arguments.epochs, arguments.columns)
    else:
        overhead(arguments.rows, arguments.epochs)


if __name__ == "__main__":
    main()
