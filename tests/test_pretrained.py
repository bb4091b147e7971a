"""Loading models and tokenizers: what does not belong together is refused, not trained."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    ElectraConfig,
    ElectraForSequenceClassification,
)

from llm_tool.errors import StudioError
from llm_tool.trainers.pretrained import load_model, load_tokenizer, start_from_shares


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


@pytest.fixture
def trained(tiny_bert: Path, tmp_path: Path) -> Path:
    """Return a folder with a head of two classes that nobody would draw."""
    model = AutoModelForSequenceClassification.from_pretrained(tiny_bert)
    model.classifier.weight.data.fill_(7.0)
    model.classifier.bias.data.fill_(7.0)
    model.save_pretrained(tmp_path / "trained")
    return tmp_path / "trained"


@pytest.mark.parametrize("classes", [("a", "b"), ("a", "b", "c")])
def test_a_head_is_always_new_and_the_encoder_never(trained: Path, classes: Sequence[str]) -> None:
    saved = AutoModelForSequenceClassification.from_pretrained(trained)

    model = load_model(trained, classes, seed=1)

    assert model.classifier.weight.shape == (len(classes), 16)
    assert 0.01 < float(model.classifier.weight.detach().std()) < 0.04  # BERT draws with 0.02
    assert model.classifier.bias.tolist() == [0.0] * len(classes)
    for name, tensor in saved.bert.state_dict().items():
        torch.testing.assert_close(model.bert.state_dict()[name], tensor, atol=0, rtol=0, msg=name)


@pytest.mark.parametrize("classes", [("a", "b"), ("a", "b", "c")])
def test_a_head_depends_on_the_seed_and_on_nothing_before(
    trained: Path, classes: Sequence[str]
) -> None:
    heads = []
    for seed in (1, 1, 2):
        torch.rand(len(heads) + 1)
        heads.append(load_model(trained, classes, seed).classifier.weight)

    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


def test_all_parts_of_a_head_are_drawn_where_it_has_several(
    tiny_bert: Path, tmp_path: Path
) -> None:
    plain = AutoConfig.from_pretrained(tiny_bert).to_dict()
    config = ElectraConfig(**{key: plain[key] for key in ("vocab_size", "num_hidden_layers")})
    config.hidden_size = config.embedding_size = config.intermediate_size = 16
    model = ElectraForSequenceClassification(config)
    for parameter in model.parameters():
        parameter.data.fill_(7.0)
    model.save_pretrained(tmp_path / "electra")

    loaded = load_model(tmp_path / "electra", ("a", "b"), seed=1)

    new = {name for name, own in loaded.named_parameters() if not (own == 7.0).all()}
    assert new == {f"classifier.{n}.{w}" for n in ("dense", "out_proj") for w in ("weight", "bias")}


@pytest.mark.parametrize("has_head", [False, True])
def test_a_head_that_is_missing_or_of_another_size_is_drawn_as_transformers_does(
    trained: Path, tmp_path: Path, has_head: bool
) -> None:
    folder = trained if has_head else tmp_path / "encoder"
    if not has_head:
        AutoModel.from_pretrained(trained).save_pretrained(folder)
    torch.manual_seed(5)
    plain = AutoModelForSequenceClassification.from_pretrained(
        folder, num_labels=3, ignore_mismatched_sizes=True
    )

    model = load_model(folder, ("a", "b", "c"), seed=5)

    assert torch.equal(model.classifier.weight, plain.classifier.weight)


@pytest.mark.parametrize("multi_label", [False, True])
def test_the_configuration_names_the_classes_and_how_they_are_meant(
    tiny_bert: Path, multi_label: bool
) -> None:
    config = load_model(tiny_bert, ("x", "y", "z"), seed=1, multi_label=multi_label).config

    assert config.id2label == {0: "x", 1: "y", 2: "z"}
    assert config.label2id == {"x": 0, "y": 1, "z": 2}
    kind = "multi_label_classification" if multi_label else "single_label_classification"
    assert config.problem_type == kind


def test_weights_saved_in_half_precision_are_trained_in_float32(
    tiny_bert: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_bert, tmp_path / "half")
    AutoModelForSequenceClassification.from_pretrained(tiny_bert).half().save_pretrained(folder)

    dtypes = {p.dtype for p in load_model(folder, ("a", "b", "c"), seed=1).parameters()}
    assert dtypes == {torch.float32}


@pytest.mark.parametrize("multi_label", [True, False])
def test_a_new_head_can_start_from_the_shares_of_the_classes(
    tiny_bert: Path, multi_label: bool
) -> None:
    shares = np.array([0.9, 0.1]) if not multi_label else np.array([0.02, 0.5, 0.0])
    names = [f"c{i}" for i in range(len(shares))]
    model = load_model(tiny_bert, names, 0, multi_label=multi_label)
    before = model.classifier.weight.clone()

    start_from_shares(model, shares)

    bias = model.classifier.bias.detach()
    guess = torch.sigmoid(bias) if multi_label else torch.softmax(bias, dim=0)
    expected = shares.clip(1e-3, None)
    assert guess.numpy() == pytest.approx(expected, abs=1e-6)
    assert torch.equal(model.classifier.weight, before)
