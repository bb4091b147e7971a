"""Load encoders and tokenizers: from local safetensors, never with remote code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging as transformers_logging

from llm_tool.data.tokens import Tokenizer
from llm_tool.errors import StudioError
from llm_tool.text import visible

Model: TypeAlias = Any  # a sequence classifier of transformers; its auto classes have no types
Config: TypeAlias = Any  # a configuration of transformers

_UNLIMITED = 1_000_000  # transformers writes 1e30 where a tokenizer has no limit


def load_tokenizer(folder: Path) -> tuple[Tokenizer, int]:
    """Return a model's tokenizer and its longest input in tokens, special tokens included.

    Raises:
        StudioError: The files are not a tokenizer, or it cannot pad.
    """
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True
        )
    except Exception as error:  # damaged files raise what they like, tokenizers a bare Exception
        raise _unusable("tokenizer", folder, error) from error
    # transformers makes an empty vocabulary up where the folder has none.
    if len(tokenizer) <= len(tokenizer.all_special_tokens):
        raise StudioError(
            "The folder has no vocabulary for a tokenizer.",
            where=visible(str(folder)),
            remedy="Save the tokenizer beside the model: tokenizer.save_pretrained(folder).",
        )
    if tokenizer.pad_token_id is None:
        raise StudioError(
            "The tokenizer has no padding token.",
            where=visible(str(folder)),
            remedy="Choose an encoder such as BERT, RoBERTa or their relatives.",
        )
    return tokenizer, min(tokenizer.model_max_length, _positions(config))


def _positions(config: Config) -> int:
    positions = getattr(config, "max_position_embeddings", None) or _UNLIMITED
    # RoBERTa and its relatives count positions from the padding token's id plus one.
    offset = config.model_type in {"roberta", "camembert", "xlm-roberta", "xmod", "longformer"}
    return int(positions) - (config.pad_token_id + 1 if offset else 0)


def load_model(folder: Path, classes: Sequence[str], seed: int) -> Model:
    """Return a sequence classifier with a new head for ``classes``, drawn from ``seed``.

    Raises:
        StudioError: The folder does not hold a model that can classify sequences.
    """
    _quieten()
    torch.manual_seed(seed)
    try:
        model, loading = AutoModelForSequenceClassification.from_pretrained(
            folder,
            num_labels=len(classes),
            id2label=dict(enumerate(classes)),
            label2id={name: i for i, name in enumerate(classes)},
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
        )
    except Exception as error:  # safetensors and strict configurations have errors of their own
        raise _unusable("model", folder, error) from error
    _refuse_untrained(model, loading, folder)
    return model


def _refuse_untrained(model: Model, loading: dict[str, Any], folder: Path) -> None:
    """Refuse an encoder whose tensors the weights do not hold; only head and pooler may be new."""
    missing = {*loading["missing_keys"], *(name for name, *_ in loading["mismatched_keys"])}
    encoder = f"{model.base_model_prefix}."
    untrained = sorted(n for n in missing if n.startswith(encoder) and "pooler" not in n)
    if untrained:
        raise StudioError(
            f"The weights do not fit the model: {len(untrained)} tensors are missing or of "
            f"another shape, the first is {visible(untrained[0])}.",
            where=visible(str(folder)),
            remedy="Check that config.json and the weights belong together.",
        )


def _quieten() -> None:
    # A new head is always reported as missing from the checkpoint; nothing a user can act on.
    quiet: Any = transformers_logging
    quiet.set_verbosity_error()
    quiet.disable_progress_bar()


def _unusable(what: str, folder: Path, error: Exception) -> StudioError:
    reason = str(error).strip().split("\n", 1)[0]
    return StudioError(
        f"The {what} cannot be loaded: {visible(reason)}",
        where=visible(str(folder)),
        remedy="Choose an encoder that transformers knows, saved as safetensors.",
    )
