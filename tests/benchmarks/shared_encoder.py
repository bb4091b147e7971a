"""One shared encoder against a model for each label: how much faster, and at what F1.

    python -m tests.benchmarks.shared_encoder emotions_multilabel.jsonl

Both train on the same 2,000 rows with the same split, seed, batch size, threads and one epoch,
through ``run_plan`` as a user's run does: loading, training, scoring, saving. They alternate, and
the medians are compared. Then the shared encoder has more epochs: what it makes of a part of the
time it saved. Takes about a quarter of an hour on two cores.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import Counter
from pathlib import Path
from statistics import fmean, median

from llm_tool.config import make_config
from llm_tool.events import JobEnded
from llm_tool.execution.local import run_plan
from llm_tool.logs.session import Session
from llm_tool.modes.planning import prepare

ROWS = 2_000
RAREST = 10  # rows that every label should have, so that it can be in all three parts


def choose_rows(path: Path) -> list[dict[str, object]]:
    """Return the first rows of a file, with the first ``RAREST`` of every label among them."""
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    counts: Counter[str] = Counter()
    needed, rest = [], []
    for number, row in enumerate(rows):
        labels = row["labels"]["emotions"]
        (needed if any(counts[label] < RAREST for label in labels) else rest).append(number)
        counts.update(labels)
    chosen = sorted((needed + rest)[:ROWS])
    return [{"text": rows[i]["text"], "emotions": rows[i]["labels"]["emotions"]} for i in chosen]


def train(data: Path, folder: Path, *, shared: bool, epochs: int) -> tuple[float, list[JobEnded]]:
    """Return the seconds of a run, and the result of each label."""
    config = make_config(
        {
            "mode": "distributed",
            "data": str(data),
            "label": "emotions",
            "shared_encoder": shared,
            "workers": 1,
            "epochs": epochs,
            "language_column": "none",
            "models_dir": str(folder / "models"),
        }
    )
    dataset, plan = prepare(config)
    started = time.perf_counter()
    outcome = run_plan(plan, dataset, config, Session(folder / "logs"))
    seconds = time.perf_counter() - started
    if outcome.failed:
        raise SystemExit(f"a job failed: {outcome.failed[0]}")
    return seconds, [own for result in outcome.done for own in result.labels or (result,)]


def f1_scores(results: list[JobEnded]) -> tuple[float, float]:
    """Return the means over labels of the test F1: of the label itself, and of yes and no."""
    tests = [result.test for result in results if result.test is not None]
    return fmean(test.classes[1].f1 or 0.0 for test in tests), fmean(t.f1_macro for t in tests)


def line(name: str, seconds: float, results: list[JobEnded]) -> str:
    """Return a row of the table."""
    own, macro = f1_scores(results)
    return f"{name:28} {seconds:7.1f} s   F1 of the labels {own:.3f}   macro F1 {macro:.3f}"


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="emotions_multilabel.jsonl")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--more-epochs", type=int, default=10)
    arguments = parser.parse_args()
    seconds: dict[bool, list[float]] = {True: [], False: []}
    results: dict[bool, list[JobEnded]] = {}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "emotions.jsonl"
        lines = [json.dumps(row) for row in choose_rows(arguments.data)]
        data.write_text("\n".join(lines) + "\n", "utf-8")
        for repeat in range(arguments.repeats):
            for shared in (True, False):
                place = Path(folder) / f"{repeat}-{shared}"
                taken, results[shared] = train(data, place, shared=shared, epochs=1)
                seconds[shared].append(taken)
        if arguments.repeats:
            print(line("shared encoder, 1 epoch", median(seconds[True]), results[True]))
            name = f"{len(results[False])} models, 1 epoch each"
            print(line(name, median(seconds[False]), results[False]))
            ratio = median(seconds[False]) / median(seconds[True])
            print(f"the shared encoder is {ratio:.1f} times as fast")
        more = arguments.more_epochs
        taken, longer = train(data, Path(folder) / "more", shared=True, epochs=more)
        print(line(f"shared encoder, {more} epochs", taken, longer))


if __name__ == "__main__":
    main()
