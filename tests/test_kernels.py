"""What stands in for torch's functions computes the same, on every kind of model and mask."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch.nn import functional
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    DebertaV2Config,
    DistilBertConfig,
    ModernBertConfig,
    XLMRobertaConfig,
)

from llm_tool.trainers.kernels import Kernels, attention, dropout, linear

SMALL = {"vocab_size": 60, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
SMALL |= {"intermediate_size": 48, "max_position_embeddings": 80, "num_labels": 3}
CONFIGS: dict[str, Any] = {
    "bert": lambda: BertConfig(**SMALL),
    "xlm-roberta": lambda: XLMRobertaConfig(**SMALL),
    "deberta-v2": lambda: DebertaV2Config(**SMALL),
    "modernbert": lambda: ModernBertConfig(
        **SMALL, local_attention=8, pad_token_id=0, cls_token_id=1, sep_token_id=2
    ),
    "distilbert": lambda: DistilBertConfig(
        vocab_size=60, dim=32, n_layers=2, n_heads=2, hidden_dim=48, num_labels=3
    ),
}


def of_all_lengths() -> dict[str, torch.Tensor]:
    """Return texts of 2 to 40 tokens, padded."""
    lengths = [40, 23, 9, 2]
    ids = torch.randint(5, 60, (len(lengths), max(lengths)))
    mask = torch.stack([(torch.arange(max(lengths)) < length).long() for length in lengths])
    return {"input_ids": ids * mask, "attention_mask": mask}


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_model_gives_the_outputs_and_gradients_that_torch_gives(kind: str) -> None:
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(CONFIGS[kind]()).eval()
    texts = of_all_lengths()
    expected = model(**texts).logits
    expected.square().sum().backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()

    with Kernels():
        logits = model(**texts).logits
    logits.square().sum().backward()

    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-6)
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    torch.testing.assert_close(found, gradients, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ["bert", "modernbert"])
def test_in_bfloat16_a_model_is_as_near_to_float32_as_torch_is(kind: str) -> None:
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(CONFIGS[kind]()).eval()
    texts = of_all_lengths()
    exact = model(**texts).logits
    with torch.autocast("cpu", dtype=torch.bfloat16):
        theirs = model(**texts).logits.float()
        with Kernels():
            ours = model(**texts).logits.float()
    assert torch.isfinite(ours).all()
    off, allowed = (ours - exact).abs().max(), (theirs - exact).abs().max()
    assert off <= 2 * allowed + 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("mask", ["none", "bool", "float"])
def test_attention_is_torchs_whatever_the_mask(dtype: torch.dtype, mask: str) -> None:
    torch.manual_seed(0)
    own = [torch.randn(3, 2, 12, 8).to(dtype).requires_grad_() for _ in range(3)]
    seen = torch.arange(12) < torch.tensor([12, 7, 1])[:, None]
    given = {"none": None, "bool": seen[:, None, None, :]}
    given["float"] = torch.zeros(3, 1, 1, 12, dtype=dtype).masked_fill(~seen[:, None, None], -1e4)
    expected = functional.scaled_dot_product_attention(*own, attn_mask=given[mask])
    found = attention(*own, attn_mask=given[mask], dropout_p=0.1)

    close = {"rtol": 2e-2, "atol": 2e-2} if dtype == torch.bfloat16 else {}
    torch.testing.assert_close(found, expected, **close)
    wanted = torch.autograd.grad(expected.float().sum(), own[2])
    torch.testing.assert_close(torch.autograd.grad(found.float().sum(), own[2]), wanted, **close)


def test_linear_layers_have_torchs_gradients_with_and_without_a_bias() -> None:
    torch.manual_seed(0)
    for bias in (torch.randn(7, requires_grad=True), None):
        weight, values = torch.randn(7, 5, requires_grad=True), torch.randn(2, 3, 5)
        values.requires_grad_()
        inputs = [values, weight] + ([bias] if bias is not None else [])
        expected = functional.linear(values, weight, bias)
        found = linear(values, weight, bias)
        torch.testing.assert_close(found, expected)
        wanted = torch.autograd.grad(expected.square().sum(), inputs)
        torch.testing.assert_close(torch.autograd.grad(found.square().sum(), inputs), wanted)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_keeps_its_share_scales_it_and_gives_the_same_gradient(p: float) -> None:
    torch.manual_seed(0)
    values = torch.ones(1000, 1001, requires_grad=True)
    dropped = dropout(values, p)
    (gradient,) = torch.autograd.grad(dropped.sum(), values)

    share = (dropped == 0).double().mean().item()
    assert share == pytest.approx(p, abs=5 * (p * (1 - p) / values.numel()) ** 0.5 + 2**-16)
    zero, scaled = dropped.unique().tolist()
    assert (zero, scaled) == (0.0, pytest.approx(1 / (1 - p), rel=1e-3))
    assert torch.equal(gradient, dropped)
    for lane in range(4):  # each of the four numbers from one draw has that share too
        own = (dropped.flatten()[lane::4] == 0).double().mean().item()
        assert own == pytest.approx(p, abs=5 * (4 * p * (1 - p) / values.numel()) ** 0.5)


def test_they_are_called_as_torchs_functions_are_by_name_too() -> None:
    values, weight = torch.randn(2, 5), torch.randn(3, 5)
    with Kernels():
        product = functional.linear(input=values, weight=weight, bias=None)
        dropped = functional.dropout(input=values, p=0.5, training=False)
        seen = functional.scaled_dot_product_attention(query=values, key=values, value=values)
    torch.testing.assert_close(product, functional.linear(values, weight))
    assert torch.equal(dropped, values)
    expected = functional.scaled_dot_product_attention(values, values, values)
    torch.testing.assert_close(seen, expected)


def test_dropout_is_seeded_differs_from_draw_to_draw_and_is_off_when_not_training() -> None:
    values = torch.ones(64, 64)
    torch.manual_seed(1)
    first, second = dropout(values, 0.5), dropout(values, 0.5)
    torch.manual_seed(1)
    assert torch.equal(dropout(values, 0.5), first)
    assert not torch.equal(first, second)
    assert torch.equal(dropout(values, 0.5, training=False), values)
    assert torch.equal(dropout(values, 0.0), values)
    assert not dropout(values, 1.0).any()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GOMP_SPINCOUNT", "1000"),
        ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64"),
        ("LRU_CACHE_CAPACITY", "16"),
    ],
)
def test_libraries_are_told_to_share_and_to_forget_unless_the_user_says_otherwise(
    name: str, value: str
) -> None:
    """They read it when they are loaded, so it has to be there before torch is."""
    code = f"import os, sys, llm_tool; print(os.environ[{name!r}], 'torch' in sys.modules)"
    for given, expected in (({}, f"{value} False"), ({name: "7"}, "7 False")):
        kept = {k: v for k, v in os.environ.items() if k != name}
        command = [sys.executable, "-c", code]
        said = subprocess.run(command, env=kept | given, capture_output=True, text=True, check=True)
        assert said.stdout.strip() == expected


_KEPT = """
import psutil, torch
from llm_tool.trainers.kernels import keep_memory, release_memory
keep_memory()
held = lambda: psutil.Process().memory_info().rss / 1e6
tensors = [torch.ones(250_000) for _ in range(200)]  # of one megabyte each
full = held()
del tensors
kept = held()
release_memory()
print(full - kept, full - held())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc has these settings")
def test_freed_memory_is_kept_for_the_next_piece_and_given_back_after_the_job() -> None:
    command = [sys.executable, "-c", _KEPT]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    at_once, after = map(float, said.split())
    assert at_once < 50
    assert after > 150
