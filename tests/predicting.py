"""What the tests of prediction share: models of every kind, trained once, and tables for them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from llm_tool.config import make_config
from llm_tool.execution.local import run_plan
from llm_tool.inference.facts import PredictionEnded, PredictionEvent
from llm_tool.inference.prediction import predict
from llm_tool.inference.request import Request
from llm_tool.logs.session import Session
from llm_tool.modes.planning import prepare
from tests.conftest import WORDS, tweets_csv


@dataclass(frozen=True)
class Trained:
    """Folders of saved models, only to be read."""

    english: Path
    french: Path
    yes_or_no: Path  # health against the rest
    shared: Path  # law, health and vote in one network
    table: Path


def train_all(folder: Path, tiny_bert: Path) -> Trained:
    """Train a model of each kind on the tweets."""
    table = folder / "tweets.csv"
    table.write_text(tweets_csv(), "utf-8")
    kinds: dict[str, dict[str, Any]] = {
        "20260102_030401": {"mode": "quick", "label": "sentiment", "languages": "per-language"},
        "20260102_030402": {"mode": "distributed", "label": "areas", "language_column": "none"},
        "20260102_030403": {"mode": "distributed", "label": "areas", "language_column": "none",
                            "shared_encoder": True},
    }  # fmt: skip
    for session_id, settings in kinds.items():
        config = make_config(
            {
                "data": str(table),
                "model": str(tiny_bert),
                "epochs": 2,
                "batch_size": 8,
                "learning_rate": 1e-2,
                "threads": 1,
                "workers": 1,
                "logs_dir": str(folder / "logs"),
                "models_dir": str(folder / "models"),
                "session_id": session_id,
                **settings,
            }
        )
        dataset, plan = prepare(config)
        run_plan(plan, dataset, config, Session(config.logs_dir, session_id))
    one, two, three = (folder / "models" / session_id for session_id in kinds)
    return Trained(
        one / "sentiment" / "tiny-bert-EN",
        one / "sentiment" / "tiny-bert-FR",
        two / "health" / "tiny-bert",
        three / "areas" / "tiny-bert",
        table,
    )


def copy_with(
    folder: Path, target: Path, change: Callable[[dict[str, Any], dict[str, Any]], None]
) -> Path:
    """Copy a model folder with other facts: ``change`` gets training.json and config.json."""
    shutil.copytree(folder, target)
    files = [target / "training.json", target / "config.json"]
    facts, config = (json.loads(path.read_text("utf-8")) for path in files)
    change(facts, config)
    for path, content in zip(files, (facts, config), strict=True):
        path.write_text(json.dumps(content), "utf-8")
    return target


def write_tweets(path: Path, rows: int, *, wide: int = 0) -> Path:
    """Write a table of many short texts, with a column of so many characters beside them."""
    rng = np.random.default_rng(0)
    drawn = rng.choice(WORDS[:30], size=(rows, 9))
    lengths = rng.integers(2, 10, rows)
    with path.open("w", encoding="utf-8") as file:
        file.write("number,text,more\n")
        for i in range(rows):
            file.write(f"{i},{' '.join(drawn[i][: lengths[i]])},{'x' * wide}\n")
    return path


def run_request(
    models: list[Path], data: Path, out: Path, *, chunk_rows: int = 4_000, **more: object
) -> tuple[PredictionEnded, list[PredictionEvent]]:
    """Predict; return the result and all events."""
    seen: list[PredictionEvent] = []
    request = Request(tuple(map(str, models)), str(data), str(out), **more)
    return predict(request, seen.append, chunk_rows=chunk_rows), seen


def plain_logits(folder: Path, texts: list[str], max_length: int = 64) -> np.ndarray:
    """Return what transformers alone computes, one text after the other."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.inference_mode():
        logits = [
            model(**tokenizer(text, truncation=True, max_length=max_length, return_tensors="pt"))
            .logits[0]
            .numpy()
            for text in texts
        ]
    return np.stack(logits)
