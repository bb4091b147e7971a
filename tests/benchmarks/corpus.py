"""The texts that speed is measured on: as mixed in length as documents are."""

from __future__ import annotations

import csv
import tempfile
from functools import cache
from itertools import cycle
from pathlib import Path

import numpy as np

from llm_tool.trainers.model_sources import locate

MEDIAN, SPREAD, LONGEST = 51, 0.93, 512  # tokens: median 51, 95th percentile about 236
CLASSES = ("negative", "neutral", "positive")


@cache
def model_folder() -> str:
    """Return the folder of the embedded model, all-MiniLM-L6-v2."""
    return str(locate("embedded"))


def mixed_texts(count: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """Return texts of log-normal length, cut from the demo's texts, and a class for each.

    Args:
        count: Number of texts.
        seed: Where their lengths and classes come from.
    """
    from transformers import AutoTokenizer

    rng = np.random.default_rng(seed)
    tokenizer = AutoTokenizer.from_pretrained(model_folder())
    lengths = np.clip(rng.lognormal(np.log(MEDIAN), SPREAD, count), 8, LONGEST).astype(int)
    words = cycle(word for text in _demo_texts() for word in text.split())
    pieces = {
        word: len(tokenizer.tokenize(word)) for text in _demo_texts() for word in text.split()
    }
    texts = []
    for length in lengths:
        chosen: list[str] = []
        left = int(length) - 2  # the two special tokens
        while left > 0:
            word = next(words)
            chosen.append(word)
            left -= pieces[word]
        texts.append(" ".join(chosen))
    return texts, [CLASSES[i] for i in rng.integers(0, len(CLASSES), count)]


@cache
def _demo_texts() -> tuple[str, ...]:
    path = Path(__file__).parents[2] / "llm_tool" / "data" / "demo.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return tuple(row["text"] for row in csv.DictReader(file))


def token_count(texts: list[str]) -> int:
    """Return the tokens of texts, special tokens included, cut at the model's longest input."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model_folder())
    return sum(map(len, tokenizer(texts, truncation=True, max_length=LONGEST)["input_ids"]))


@cache
def bert_base() -> str:
    """Return a temporary folder with a BERT-base of random weights and the embedded tokenizer."""
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    folder = tempfile.mkdtemp(prefix="bert-base-")
    tokenizer = AutoTokenizer.from_pretrained(model_folder())
    tokenizer.save_pretrained(folder)
    BertForSequenceClassification(BertConfig(vocab_size=len(tokenizer))).save_pretrained(folder)
    return folder


def weights_of(folder: str) -> int:
    """Return how many of a model's weights every token is multiplied with: all but embeddings."""
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder)
    every = {name: p.numel() for name, p in model.named_parameters()}
    return sum(n for name, n in every.items() if "embeddings" not in name and "pooler" not in name)
