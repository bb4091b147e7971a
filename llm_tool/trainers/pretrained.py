"""Load encoders and tokenizers: from local safetensors, never with remote code."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging as transformers_logging

from llm_tool.data.tokens import Tokenizer
from llm_tool.errors import StudioError
from llm_tool.text import plural, visible
from llm_tool.trainers.model_files import count_numbers

Model: TypeAlias = Any  # a sequence classifier of transformers; its auto classes have no types
Config: TypeAlias = Any  # a configuration of transformers

_RAREST = 1e-3  # share below which a class counts as this rare: a guess, not a certainty
_UNLIMITED = 1_000_000  # transformers writes 1e30 where a tokenizer has no limit
_SHORTEST = 8  # tokens; the least that can be asked for
_NEW = 100_000_000  # numbers that a model may have more than its weights: a head, a pooler


def load_tokenizer(folder: Path) -> tuple[Tokenizer, int]:
    """Return a model's tokenizer and its longest input in tokens, special tokens included.

    The model is looked at too: nobody wants to wait for the tokens of one that is refused then.

    Raises:
        StudioError: The files are not a model with a tokenizer, or that cannot pad.
    """
    config = _checked_config(folder)
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True
        )
        longest = int(min(tokenizer.model_max_length, _positions(config)))
    except Exception as error:  # damaged files raise what they like, tokenizers a bare Exception
        raise _unusable("tokenizer", folder, error) from error
    # transformers makes an empty vocabulary up where the folder has none.
    if len(tokenizer) <= len(tokenizer.all_special_tokens):
        raise StudioError(
            "The folder has no vocabulary for a tokenizer.",
            where=visible(str(folder)),
            remedy="Save the tokenizer beside the model: tokenizer.save_pretrained(folder).",
        )
    known = getattr(config, "vocab_size", None)
    highest = max(tokenizer.get_vocab().values()) if known else 0
    if known and highest >= known:  # on a GPU it would take all other jobs with it
        raise StudioError(
            f"The tokenizer has a token {highest:,}, the model knows tokens below {known:,}.",
            where=visible(str(folder)),
            remedy="Check that config.json and the tokenizer belong together.",
        )
    if tokenizer.pad_token_id is None:
        raise StudioError(
            "The tokenizer has no padding token.",
            where=visible(str(folder)),
            remedy="Choose an encoder such as BERT, RoBERTa or their relatives.",
        )
    if longest < _SHORTEST:
        raise StudioError(
            f"The model takes {longest} tokens; a text needs {_SHORTEST}.",
            where=visible(str(folder)),
            remedy="Check model_max_length in tokenizer_config.json.",
        )
    return tokenizer, longest


def _checked_config(folder: Path) -> Config:
    """Return a model's configuration if a model of that size can be in the weights beside it."""
    _quieten()
    held = count_numbers(folder)
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        with torch.device("meta"):  # shapes without memory: 20 ms for 24 layers
            model = AutoModelForSequenceClassification.from_config(config, trust_remote_code=False)
    except Exception as error:  # strict configurations have errors of their own
        raise _unusable("model", folder, error) from error
    described = sum(parameter.numel() for parameter in model.parameters())
    if described > 2 * held + _NEW:
        raise StudioError(
            f"The weights do not fit the model: config.json describes {described:,} numbers, the "
            f"weights hold {held:,}.",
            where=visible(str(folder)),
            remedy="Check that config.json and the weights belong together.",
        )
    return config


def _positions(config: Config) -> int:
    positions = getattr(config, "max_position_embeddings", None) or _UNLIMITED
    # RoBERTa and its relatives count positions from the padding token's id plus one.
    offset = config.model_type in {"roberta", "camembert", "xlm-roberta", "xmod", "longformer"}
    return int(positions) - (config.pad_token_id + 1 if offset else 0)


def load_model(
    folder: Path, classes: Sequence[str], seed: int, *, multi_label: bool = False
) -> Model:
    """Return a sequence classifier with a new head for ``classes``, drawn from ``seed``.

    Also where the checkpoint has a head of this size: its classes are others.

    Args:
        folder: Where the files are.
        classes: Names of the outputs.
        seed: Seed of the head's weights.
        multi_label: Each output says yes or no by itself; noted in the model's configuration.

    Raises:
        StudioError: The folder does not hold a model that can classify sequences.
    """
    torch.manual_seed(seed)
    model, drawn = _read(
        folder,
        num_labels=len(classes),
        problem_type=f"{'multi' if multi_label else 'single'}_label_classification",
        id2label=dict(enumerate(classes)),
        label2id={name: i for i, name in enumerate(classes)},
        ignore_mismatched_sizes=True,
    )
    _refuse_untrained(model, drawn, folder)
    encoder = f"{model.base_model_prefix}."
    if all(name.startswith(encoder) for name in drawn):
        _draw_head(model)
    return model


def load_classifier(folder: Path) -> Model:
    """Return a trained sequence classifier as it was saved, in float32.

    Raises:
        StudioError: The folder does not hold one, or the weights lack part of it, as a head.
    """
    model, drawn = _read(folder)
    untrained = sorted(drawn)
    if untrained:
        raise StudioError(
            f"The model was not trained to classify: its weights lack "
            f"{plural(len(untrained), 'tensor')}, the first is {visible(untrained[0])}.",
            where=visible(str(folder)),
            remedy="Give the folder of a trained model: models/SESSION/CATEGORY/MODEL.",
        )
    model.eval()
    return model


def _read(folder: Path, **settings: Any) -> tuple[Model, set[str]]:  # noqa: ANN401 - of transformers
    """Return a model in float32, and the names of what its weights lack: tensors drawn at random.

    Weights are read as safetensors, and code that comes with a model is never run.

    Args:
        folder: The model's files.
        settings: What is to be otherwise than its configuration says.

    Raises:
        StudioError: It cannot be loaded.
    """
    _checked_config(folder)
    try:
        model, loading = AutoModelForSequenceClassification.from_pretrained(
            folder,
            output_loading_info=True,
            return_dict=True,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            **settings,
        )
    except Exception as error:  # safetensors and strict configurations have errors of their own
        raise _unusable("model", folder, error) from error
    return model, {*loading["missing_keys"], *(name for name, *_ in loading["mismatched_keys"])}


def _draw_head(model: Model) -> None:
    """Draw every weight anew that is not the encoder's, as the model's own class does it."""
    for part in model.children():
        if part is not model.base_model:
            for tensor in (*part.parameters(), *part.buffers()):
                tensor._is_hf_initialized = False  # else transformers leaves it as it was loaded
            part.apply(model._init_weights)


def start_from_shares(model: Model, shares: NDArray[np.float64]) -> None:
    """Set the bias of the head so that a new model begins with the classes' shares as its guess.

    For labels that few rows have: without it the first epochs go into learning how rare they are,
    and the encoder can end up saying the same of every text (Lin et al. 2017, section 4.1).

    Args:
        model: A sequence classifier with a new head; one whose head has no bias is left as it is.
        shares: Share of the training rows of each class, or of each label of a multi-label model,
            shape (outputs,).
    """
    heads = [
        module
        for module in model.modules()
        if isinstance(module, torch.nn.Linear) and module.out_features == model.config.num_labels
    ]
    if not heads or heads[-1].bias is None:
        return
    likely = np.clip(shares, _RAREST, 1 - _RAREST)
    multi_label = model.config.problem_type == "multi_label_classification"
    logits = np.log(likely) - (np.log(1 - likely) if multi_label else 0.0)
    with torch.no_grad():
        heads[-1].bias.copy_(torch.from_numpy(logits))


def _refuse_untrained(model: Model, drawn: Collection[str], folder: Path) -> None:
    """Refuse an encoder whose tensors the weights do not hold; only head and pooler may be new."""
    encoder = f"{model.base_model_prefix}."
    untrained = sorted(n for n in drawn if n.startswith(encoder) and "pooler" not in n)
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
