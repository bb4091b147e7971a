"""How long texts are for a model, without training it."""

from __future__ import annotations

from collections.abc import Sequence

from llm_tool.data.checks import TokenFacts, spread
from llm_tool.trainers.model_sources import locate, model_name
from llm_tool.trainers.pretrained import load_tokenizer

_BATCH = 2_000  # texts tokenised at once


def count_tokens(model: str, texts: Sequence[str], max_length: int | None = None) -> TokenFacts:
    """Return how long texts are in a model's tokens, special tokens included.

    Args:
        model: Hub id, folder or ``embedded``.
        texts: The texts; at least one.
        max_length: Longest text in tokens; by default what the model takes.

    Raises:
        StudioError: The model cannot be had, or has no tokenizer that can be used.
    """
    tokenizer, longest = load_tokenizer(locate(model))
    limit = min(max_length or longest, longest)
    lengths: list[int] = []
    for start in range(0, len(texts), _BATCH):
        encoded = tokenizer(
            list(texts[start : start + _BATCH]),
            truncation=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )
        lengths += map(len, encoded["input_ids"])
    over = sum(length > limit for length in lengths) / len(lengths)
    return TokenFacts(model_name(model), limit, len(lengths), spread(lengths), over)
