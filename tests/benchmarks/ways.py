"""The ways of training that are compared: this project's, and what people use instead.

Each is measured in a process of its own, ``python -m tests.benchmarks.ways WAY``, which reads the
job as JSON from standard input and writes what it measured as JSON to standard output: so that
peak memory is the way's own, and nothing is warm from the one before.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

Rows = tuple[list[str], list[str]]  # texts, and the class of each


@dataclass(frozen=True)
class Work:
    """One training: the rows of each part, and how. All ways are given the same."""

    train: Rows
    test: Rows
    model: str
    epochs: int = 1
    batch_size: int = 32
    learning_rate: float = 5e-5
    seed: int = 42
    precision: str | None = None


@dataclass(frozen=True)
class Measured:
    """What a way took: seconds of training alone and of all, peak memory, macro F1 on test rows."""

    seconds: float
    whole: float
    peak_gb: float
    f1_macro: float


def measure(way: str, work: Work, threads: int | None = None) -> Measured:
    """Train in a process of its own and return what was measured there."""
    limits = {"OMP_NUM_THREADS": str(threads)} if threads else {}
    done = subprocess.run(
        [sys.executable, "-m", __spec__.name, way],
        input=json.dumps(asdict(work)),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **limits, "TOKENIZERS_PARALLELISM": "true", "HF_HUB_OFFLINE": "1"},
    )
    if done.returncode:
        raise SystemExit(f"{way} failed:\n{done.stderr[-3000:]}")
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


def ours(work: Work, folder: Path) -> tuple[float, float]:
    """Train as ``llm-tool train`` does, with every epoch scored and recorded and the model saved.

    Validation rows are the test rows, so that all ways train on the same ones. One epoch more or
    less is not chosen by them: the last epoch is what is scored.
    """
    import pandas as pd

    from llm_tool.config import make_config
    from llm_tool.events import EpochEnded
    from llm_tool.execution.local import run_plan
    from llm_tool.logs.session import Session
    from llm_tool.modes.planning import prepare

    parts = {"train": work.train, "validation": work.test}
    frame = pd.concat(
        pd.DataFrame({"text": texts, "label": classes, "split": part})
        for part, (texts, classes) in parts.items()
    )
    data = folder / "data.csv"
    frame.to_csv(data, index=False)
    given = {"data": str(data), "label": "label", "models_dir": str(folder / "models")}
    given |= {"split_column": "split", "language_column": "none", "model": work.model}
    given |= {"batch_size": work.batch_size, "learning_rate": work.learning_rate}
    given |= {"epochs": work.epochs, "seed": work.seed, "precision": work.precision}
    config = make_config({key: value for key, value in given.items() if value is not None})
    dataset, plan = prepare(config)
    epochs: list[EpochEnded] = []

    def keep(event: object) -> None:
        if isinstance(event, EpochEnded):
            epochs.append(event)

    outcome = run_plan(plan, dataset, config, Session(folder / "logs"), keep)
    if outcome.failed:
        raise SystemExit(str(outcome.failed[0]))
    return sum(epoch.seconds for epoch in epochs), epochs[-1].scores.f1_macro


def ours_with_attention_dropout(work: Work, folder: Path) -> tuple[float, float]:
    """Train as we do, but with the dropout of attention weights that models ask for."""
    from torch.nn import functional

    from llm_tool.trainers import kernels

    kernels._OWN.pop(functional.scaled_dot_product_attention)
    return ours(work, folder)


def ours_with_torchs_products(work: Work, folder: Path) -> tuple[float, float]:
    """Train as we do, but with torch's own linear layers: what the limit is measured with."""
    from torch.nn import functional

    from llm_tool.trainers import kernels

    kernels._OWN.pop(functional.linear)
    return ours(work, folder)


def trainer(work: Work, folder: Path) -> tuple[float, float]:
    """Train with transformers' Trainer as its documentation does: padded batch by batch."""
    return _trainer(work, folder)


def trainer_grouped(work: Work, folder: Path) -> tuple[float, float]:
    """Train with transformers' Trainer and batches of texts of similar length."""
    return _trainer(work, folder, train_sampling_strategy="group_by_length")


def _trainer(work: Work, folder: Path, **more: Any) -> tuple[float, float]:  # noqa: ANN401
    from sklearn.metrics import f1_score
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainingArguments,
        set_seed,
    )

    tokenizer = AutoTokenizer.from_pretrained(work.model)
    classes = sorted(set(work.train[1]))
    longest = min(tokenizer.model_max_length, 512)

    def rows(part: Rows) -> list[dict[str, Any]]:
        encoded = tokenizer(part[0], truncation=True, max_length=longest)
        labels = [classes.index(own) for own in part[1]]
        return [
            {"input_ids": ids, "attention_mask": mask, "labels": label}
            for ids, mask, label in zip(
                encoded["input_ids"], encoded["attention_mask"], labels, strict=True
            )
        ]

    set_seed(work.seed)
    model = AutoModelForSequenceClassification.from_pretrained(work.model, num_labels=len(classes))
    own = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(folder),
            num_train_epochs=work.epochs,
            per_device_train_batch_size=work.batch_size,
            per_device_eval_batch_size=work.batch_size,
            learning_rate=work.learning_rate,
            seed=work.seed,
            bf16=work.precision == "bfloat16",
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
            **more,
        ),
        train_dataset=rows(work.train),
        data_collator=DataCollatorWithPadding(tokenizer),
    )
    started = time.perf_counter()
    own.train()
    seconds = time.perf_counter() - started
    predicted = own.predict(rows(work.test)).predictions.argmax(axis=1)
    true = [classes.index(label) for label in work.test[1]]
    return seconds, float(f1_score(true, predicted, average="macro"))


def augmented_social_scientist(work: Work, folder: Path) -> tuple[float, float]:
    """Train with AugmentedSocialScientist, which pads to the longest text of the corpus."""
    from augmentedsocialscientist.models import Bert

    own = Bert(model_name=work.model)
    train = own.encode(*work.train, batch_size=work.batch_size, progress_bar=False)
    # It scores after every epoch; two texts a class, so that this does not count as training.
    few = [work.test[1].index(label) for label in sorted(set(work.test[1]))]
    texts, labels = ([part[i] for i in few] for part in work.test)
    test = own.encode(texts, labels, batch_size=work.batch_size, progress_bar=False)
    started = time.perf_counter()
    own.run_training(
        train, test, n_epochs=work.epochs, lr=work.learning_rate, random_state=work.seed
    )
    return time.perf_counter() - started, float("nan")


WAYS: dict[str, Callable[[Work, Path], tuple[float, float]]] = {
    "llm-tool": ours,
    "llm-tool with attention dropout": ours_with_attention_dropout,
    "llm-tool with torch's products": ours_with_torchs_products,
    "Trainer": trainer,
    "Trainer, grouped by length": trainer_grouped,
    "AugmentedSocialScientist": augmented_social_scientist,
}


def main() -> None:
    """Measure one way; nothing else is written to standard output."""
    work = Work(**json.load(sys.stdin))
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(sys.stderr):
        seconds, f1_macro = WAYS[sys.argv[1]](work, Path(folder))
    whole = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # given in kB
    sys.stdout.write(json.dumps(asdict(Measured(seconds, whole, peak, f1_macro))) + "\n")


if __name__ == "__main__":
    main()
