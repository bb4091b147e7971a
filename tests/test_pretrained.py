"""Loading models and tokenizers: what does not belong together is refused, not trained."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from llm_tool.errors import StudioError
from llm_tool.trainers.pretrained import load_model, load_tokenizer


def test_weights_that_do_not_fit_the_configuration_are_refused(
    tiny_bert: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_bert, tmp_path / "wrong")
    config = json.loads((folder / "config.json").read_text())
    config["hidden_size"] = 32
    (folder / "config.json").write_text(json.dumps(config))

    with pytest.raises(StudioError, match=r"do not fit the model: 3\d tensors") as caught:
        load_model(folder, ("a", "b"), seed=1)
    assert caught.value.where == str(folder)


def test_a_folder_without_a_vocabulary_is_refused(tiny_bert: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_bert, tmp_path / "mute")
    for name in ("vocab.txt", "tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink(missing_ok=True)

    with pytest.raises(StudioError, match="no vocabulary"):
        load_tokenizer(folder)


def test_weights_saved_in_half_precision_are_trained_in_float32(
    tiny_bert: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_bert, tmp_path / "half")
    AutoModelForSequenceClassification.from_pretrained(tiny_bert).half().save_pretrained(folder)

    dtypes = {p.dtype for p in load_model(folder, ("a", "b", "c"), seed=1).parameters()}
    assert dtypes == {torch.float32}
