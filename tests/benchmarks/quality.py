"""Macro F1 of this project and of transformers' Trainer on real data, over several seeds.

    python -m tests.benchmarks.quality sentiment_en_fr_es.csv clinc150_small.csv

Sentiment (the English tweets, three classes) and intent (150 classes, 20 training texts of each):
the same rows, epochs, batch size and learning rate; the scores are those of the test rows after the
last epoch. Needs the extra ``benchmark``; half an hour on two cores.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev

import pandas as pd

from tests.benchmarks.corpus import model_folder
from tests.benchmarks.ways import WAYS, Rows, Work, measure

ROWS_PER_INTENT = 20
DEFAULT = ["llm-tool", "llm-tool with attention dropout", "Trainer"]


def part(frame: pd.DataFrame, label: str, name: str) -> Rows:
    """Return the texts and labels of a part of the data."""
    own = frame[frame["split"] == name]
    return own["text"].tolist(), own[label].tolist()


def works(sentiment: Path, intent: Path) -> dict[str, Work]:
    """Return the two trainings."""
    tweets = pd.read_csv(sentiment)
    tweets, orders = tweets[tweets["lang"] == "en"], pd.read_csv(intent)
    number = orders.groupby(["intent", "split"]).cumcount()
    orders = orders[(orders["split"] != "train") | (number < ROWS_PER_INTENT)]
    model, rate = model_folder(), 1.5e-4
    return {
        "sentiment (en)": Work(
            part(tweets, "sentiment", "train"), part(tweets, "sentiment", "test"), model,
            epochs=3, learning_rate=rate,
        ),
        "intent (clinc150)": Work(
            part(orders, "intent", "train"), part(orders, "intent", "test"), model,
            epochs=5, learning_rate=2 * rate,
        ),
    }  # fmt: skip


def main() -> None:
    """Train with every seed and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sentiment", type=Path)
    parser.add_argument("intent", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="", help="Data whose name begins so.")
    parser.add_argument("--ways", nargs="+", default=DEFAULT, choices=list(WAYS))
    arguments = parser.parse_args()
    print("| data | way | macro F1 of each seed | mean | standard deviation |")
    print("| --- | --- | --- | --- | --- |")
    every = works(arguments.sentiment, arguments.intent)
    for data, work in ((d, w) for d, w in every.items() if d.startswith(arguments.only)):
        for way in arguments.ways:
            seeds = range(1, arguments.seeds + 1)
            scores = [measure(way, replace(work, seed=seed)).f1_macro for seed in seeds]
            spread = stdev(scores) if len(scores) > 1 else 0.0
            each = ", ".join(f"{score:.3f}" for score in scores)
            print(f"| {data} | {way} | {each} | {mean(scores):.3f} | {spread:.3f} |", flush=True)


if __name__ == "__main__":
    main()
