"""A tiny random BERT made on the spot, small tables, and folders that do not outlive a test."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# Before any library of the hub is imported: a test that asks the network is a broken test.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

WORDS = [
    "good",
    "bad",
    "fine",
    "awful",
    "bon",
    "mauvais",
    "the",
    "a",
    "le",
    "la",
    "film",
    "book",
    "livre",
    "minister",
    "press",
    "was",
    "is",
    "est",
    "et",
    "and",
    "very",
    "tres",
    "not",
    "pas",
    "today",
    "hier",
    "law",
    "vote",
    "health",
    "school",
    "climate",
    "budget",
    "1",
    "2",
    "3",
    ".",
    ",",
    "!",
]


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a BERT with two layers of width 16 and a vocabulary of 40 words."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models") / "tiny-bert"
    folder.mkdir()
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (folder / "vocab.txt").write_text("\n".join(vocabulary), "utf-8")
    BertTokenizerFast(
        vocab=dict(zip(vocabulary, range(len(vocabulary)), strict=True)), model_max_length=64
    ).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder


FINISHED = "20260102_030405"


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path) -> Path:
    """Return a folder, only to be read, with ``training_logs/``, ``models/`` and ``tweets.csv``.

    Its session ``FINISHED`` is a benchmark: two tiny models, two seeds, the categories sentiment
    and topic, texts in English and French: eight trainings.
    """
    import shutil

    from llm_tool.config import make_config
    from llm_tool.execution.local import run_plan
    from llm_tool.logs.session import Session
    from llm_tool.modes.planning import prepare

    folder = tmp_path_factory.mktemp("finished")
    (folder / "tweets.csv").write_text(tweets_csv(), "utf-8")
    other = folder / "other-bert"
    shutil.copytree(tiny_bert, other)
    config = make_config(
        {
            "mode": "benchmark",
            "data": str(folder / "tweets.csv"),
            "label": ("sentiment", "topic"),
            "model": (str(tiny_bert), str(other)),
            "languages": "multilingual",
            "test_share": 0.4,
            "epochs": 3,
            "batch_size": 8,
            "learning_rate": 1e-2,
            "seeds": (1, 2),
            "threads": 1,
            "workers": 1,
            "logs_dir": str(folder / "training_logs"),
            "models_dir": str(folder / "models"),
            "session_id": FINISHED,
        }
    )
    dataset, plan = prepare(config)
    run_plan(plan, dataset, config, Session(config.logs_dir, FINISHED))
    return folder


Run = Callable[..., "subprocess.CompletedProcess[str]"]


def runner(folder: Path) -> Run:
    """Return a function that runs ``llm-tool`` with some words in a folder, without a terminal."""

    def run_command(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "llm_tool", *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=200,
        )

    return run_command


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return ``runner`` of the test's own folder."""
    return runner(tmp_path)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes text or bytes to a file and returns its path."""

    def write_file(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        raw = content.encode("utf-8") if isinstance(content, str) else content
        path.write_bytes(raw)
        return path

    return write_file


def tweets_csv() -> str:
    """Return a table of 60 short texts in two languages with three columns of labels."""
    rows = ["id,text,lang,sentiment,topic,areas"]
    for i in range(60):
        positive, french = i % 2 == 0, i % 4 >= 2
        word = ("bon" if positive else "mauvais") if french else ("good" if positive else "bad")
        noun = WORDS[10 + i % 6]
        rows.append(
            f"t{i},the {noun} was {word} {i % 3 + 1} {WORDS[i % 30]} {WORDS[(7 * i) % 30]},"
            f"{'fr' if french else 'en'},{'positive' if positive else 'negative'},"
            f"{('law', 'health', 'climate')[i % 3]},{('law;vote', 'health', 'vote')[i % 3]}"
        )
    return "\n".join(rows) + "\n"


@pytest.fixture
def tweets(write: Callable[..., Path]) -> Path:
    """Return the file with the table of ``tweets_csv``."""
    return write("tweets.csv", tweets_csv())
