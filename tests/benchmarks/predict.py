"""Prediction against transformers' own pipeline: same texts, same model, side by side.

    python -m tests.benchmarks.predict --documents 1000 --repeats 3

The texts are of mixed length, in no order; the model is all-MiniLM-L6-v2 with a head for three
classes. Each way runs in a process of its own, in alternating order; the medians are compared. Ours
is timed from reading the table to the whole output on disk, model loading included; the pipeline
from the list of texts to the list of labels, without loading and without files.

    python -m tests.benchmarks.predict --many 100000

Labels many short texts with a BERT of two layers of width 128 (Turc et al. 2019), kills it with
SIGKILL in the middle, goes on, and compares the output with one that nothing disturbed; peak memory
of a tenth of the rows beside it.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from tests.benchmarks.corpus import CLASSES, mixed_texts, model_folder, token_count

PIPELINE = "transformers.pipeline, batch_size=32"


def classifier(folder: Path) -> Path:
    """Save the embedded model with a head for three classes, and return where."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    torch.manual_seed(0)
    names = dict(enumerate(CLASSES))
    model = AutoModelForSequenceClassification.from_pretrained(model_folder(), id2label=names)
    # As decided as a trained head: one that is just drawn gives every text a third of each class.
    torch.nn.init.normal_(model.classifier.weight, std=0.25)
    target = folder / "tone"
    model.save_pretrained(target)
    AutoTokenizer.from_pretrained(model_folder()).save_pretrained(target)
    return target


def small_bert(folder: Path) -> Path:
    """Save a BERT of two narrow layers of random weights, and return where."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(model_folder())
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=512,
        id2label=dict(enumerate(CLASSES)),
    )
    target = folder / "tone"
    BertForSequenceClassification(config).save_pretrained(target)
    tokenizer.save_pretrained(target)
    return target


def write_table(path: Path, texts: list[str]) -> Path:
    """Write a table of numbered texts."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["number", "text"])
        writer.writerows(enumerate(texts))
    return path


def ours(model: Path, data: Path, **more: bool) -> tuple[float, list[str], str]:
    """Predict as the command does."""
    import torch  # noqa: F401 - loaded for both ways before the clock starts

    import llm_tool.inference.predictor  # noqa: F401
    from llm_tool.inference.facts import CostMeasured
    from llm_tool.inference.prediction import predict
    from llm_tool.inference.request import Request

    out, costs = data.with_name("out.csv"), []

    def keep(event: object) -> None:
        if isinstance(event, CostMeasured):
            costs.append(event)

    started = time.perf_counter()
    ended = predict(Request((str(model),), str(data), str(out), overwrite=True, **more), keep)
    seconds = time.perf_counter() - started
    with out.open(encoding="utf-8", newline="") as file:
        labels = [row["tone_label"] for row in csv.DictReader(file)]
    about = f"{ended.texts_per_second:,.0f} texts/s once begun" + "".join(
        f"; {c.same:.1%} of {c.texts} labels as in float32, probabilities within {c.difference:.3f}"
        for c in costs
    )
    return seconds, labels, about


def in_8_bits(model: Path, data: Path) -> tuple[float, list[str], str]:
    """Predict with ``--int8``, its cost measured too."""
    return ours(model, data, int8=True)


def pipeline(model: Path, data: Path) -> tuple[float, list[str], str]:
    """Predict with the pipeline, as its documentation does."""
    from transformers import pipeline as make_pipeline

    with data.open(encoding="utf-8", newline="") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    classify = make_pipeline("text-classification", model=str(model), device=-1, batch_size=32)
    started = time.perf_counter()
    answers = classify(texts, truncation=True)
    return time.perf_counter() - started, [answer["label"] for answer in answers], ""


WAYS: dict[str, Callable[..., tuple[float, list[str], str]]] = {
    "llm-tool predict": ours,
    "llm-tool predict --int8": in_8_bits,
    PIPELINE: pipeline,
}


def measure(way: str, model: Path, data: Path, threads: int | None = None) -> dict[str, Any]:
    """Run one way in a process of its own, and return what it measured."""
    limits = {"OMP_NUM_THREADS": str(threads), "RAYON_NUM_THREADS": str(threads)} if threads else {}
    done = subprocess.run(
        [sys.executable, "-m", __spec__.name, "--way", way, str(model), str(data)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **limits, "TOKENIZERS_PARALLELISM": "true", "HF_HUB_OFFLINE": "1"},
    )
    if done.returncode:
        raise SystemExit(f"{way} failed:\n{done.stderr[-3000:]}")
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


def table(seen: dict[str, list[dict[str, Any]]], texts: int) -> None:
    """Print the medians as a table in Markdown; ratios are of the medians."""
    slowest = median(run["seconds"] for run in seen[PIPELINE])
    truth = seen[PIPELINE][0]["labels"]
    print("| way | seconds | texts/s | times as fast as the pipeline | same labels | peak memory |")
    print("| --- | --- | --- | --- | --- | --- |")
    for way, runs in seen.items():
        seconds = [run["seconds"] for run in runs]
        same = np.mean([a == b for a, b in zip(runs[0]["labels"], truth, strict=True)])
        print(
            f"| {way} | {median(seconds):.1f} ({min(seconds):.1f}–{max(seconds):.1f}) "
            f"| {texts / median(seconds):,.0f} | {slowest / median(seconds):.1f} | {same:.2%} "
            f"| {median(run['peak_gb'] for run in runs):.2f} GB |"
        )
    for way, runs in seen.items():
        if runs[0]["about"]:
            print(f"{way}: {runs[0]['about']}")


def side_by_side(documents: int, repeats: int, threads: int | None, ways: list[str]) -> None:
    """Measure the ways in alternating order, and print the table."""
    texts, _ = mixed_texts(documents)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores")
    print(f"{documents} texts, {token_count(texts):,} tokens, threads: {threads or 'all'}")
    seen: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
    with tempfile.TemporaryDirectory() as folder:
        model = classifier(Path(folder))
        data = write_table(Path(folder) / "texts.csv", texts)
        for repeat in range(repeats):
            for way in ways[:: 1 if repeat % 2 == 0 else -1]:
                seen[way].append(measure(way, model, data, threads))
                print(f"  {repeat + 1} {way}: {seen[way][-1]['seconds']:.1f} s", flush=True)
    table(seen, documents)


def short_texts(count: int) -> list[str]:
    """Return texts of four to sixteen words."""
    words = " ".join(mixed_texts(200)[0]).split()
    rng = np.random.default_rng(0)
    starts, lengths = rng.integers(0, len(words) - 16, count), rng.integers(4, 17, count)
    pairs = zip(starts.tolist(), lengths.tolist(), strict=True)
    return [" ".join(words[start : start + length]) for start, length in pairs]


def many(count: int, threads: int | None) -> None:
    """Label many texts, once undisturbed and once with a kill in the middle."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = small_bert(folder)
        small = write_table(folder / "small.csv", short_texts(count // 10))
        data = write_table(folder / "many.csv", short_texts(count))
        for path in (small, data):
            taken = measure("llm-tool predict", model, path, threads)
            rows = len(taken["labels"])
            print(
                f"{rows:,} texts: {taken['seconds']:.1f} s, {taken['peak_gb']:.3f} GB", flush=True
            )
        whole = (folder / "out.csv").read_bytes()
        out = folder / "killed.csv"
        words = [sys.executable, "-m", "llm_tool", "predict", str(model), str(data), "-o", str(out)]
        process = subprocess.Popen(words, stderr=subprocess.DEVNULL)
        parts = folder / ".killed.csv.parts"
        while len(list(parts.glob("0*.csv"))) < count // 8_000:
            time.sleep(0.1)
        process.send_signal(signal.SIGKILL)
        process.wait()
        kept = len(list(parts.glob("0*.csv")))
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        said = [line for line in done.stderr.splitlines() if "going on" in line]
        print(f"killed with {kept} chunks finished; then: {said[0]}")
        same = out.read_bytes() == whole
        print(f"the same bytes as undisturbed: {same}")


def main() -> None:
    """Run the comparison, the long form, or one way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--many", type=int, help="Label so many short texts in place of that.")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--way", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        way, model, data = arguments.way
        seconds, labels, about = WAYS[way](Path(model), Path(data))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # given in kB
        facts = {"seconds": seconds, "labels": labels, "about": about, "peak_gb": peak}
        sys.stdout.write("\n" + json.dumps(facts) + "\n")
    elif arguments.many:
        many(arguments.many, arguments.threads)
    else:
        side_by_side(arguments.documents, arguments.repeats, arguments.threads, arguments.ways)


if __name__ == "__main__":
    main()
