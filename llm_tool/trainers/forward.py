"""Token ids through a model, and what it got wrong: with gradients for training, else without."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from llm_tool.data.tokens import Examples, Tokenizer, micro_batches, pad
from llm_tool.trainers.device import TOKEN_BUDGET, with_less_memory
from llm_tool.trainers.kernels import Kernels
from llm_tool.trainers.pretrained import Model


def forward(
    model: Model,
    tokenizer: Tokenizer,
    examples: Examples,
    piece: NDArray[np.int64],
    device: torch.device,
) -> torch.Tensor:
    """Return a model's outputs for some examples, in float32, shape (piece, outputs)."""
    ids, mask = pad([examples.token_ids[i] for i in piece], tokenizer.pad_token_id)
    with Kernels():
        output = model(
            input_ids=torch.from_numpy(ids).to(device),
            attention_mask=torch.from_numpy(mask).to(device),
        )
    logits: torch.Tensor = output.logits.float()
    return logits


def predict_logits(model: Model, tokenizer: Tokenizer, examples: Examples) -> NDArray[np.float32]:
    """Return the model's outputs for examples, shape (examples, classes), in their order.

    In float32, so that what is recorded is what the saved model gives anywhere; in smaller pieces
    where memory runs out.
    """
    device = next(model.parameters()).device
    lengths = examples.lengths
    outputs = np.zeros((len(examples), model.config.num_labels), dtype=np.float32)

    def predict(token_budget: int) -> None:
        for piece in micro_batches(range(len(examples)), lengths, token_budget):
            outputs[piece] = forward(model, tokenizer, examples, piece, device).cpu().numpy()

    model.eval()
    with torch.inference_mode():
        with_less_memory(2 * TOKEN_BUDGET[device.type], int(lengths.max(initial=0)), predict)
    return outputs


def outputs_of(examples: Examples) -> int:
    """Return what is learned at once: one label of a row, or all labels of a shared encoder."""
    return 1 if examples.labels.ndim == 1 else examples.labels.shape[1]


def to_tensor(array: NDArray[Any], device: torch.device) -> torch.Tensor:
    """Return numbers as a tensor of at least one dimension on a device."""
    return torch.from_numpy(np.atleast_1d(array)).to(device)


def sum_losses(logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return the weighted sum of the rows' losses for each output that is learned."""
    if labels.ndim == 1:
        return (cross_entropy(logits, labels, reduction="none") * weights).sum(0, keepdim=True)
    each = binary_cross_entropy_with_logits(logits, labels.float(), reduction="none")
    return (each * weights).sum(0)
