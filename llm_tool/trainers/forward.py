"""Token ids through a model, and what it got wrong: with gradients for training, else without."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from llm_tool.config import Precision
from llm_tool.data.tokens import Examples, Tokenizer, micro_batches, pad
from llm_tool.data.windows import Ids, Windows
from llm_tool.trainers.device import TOKEN_BUDGET, autocast
from llm_tool.trainers.kernels import Kernels
from llm_tool.trainers.pretrained import Model
from llm_tool.trainers.team import Team


def forward(
    model: Model,
    tokenizer: Tokenizer,
    token_ids: Sequence[Ids],
    device: torch.device,
) -> torch.Tensor:
    """Return a model's outputs for some token ids, in float32, shape (token_ids, outputs)."""
    ids, mask = pad(token_ids, tokenizer.pad_token_id)
    with Kernels():
        output = model(
            input_ids=torch.from_numpy(ids).to(device),
            attention_mask=torch.from_numpy(mask).to(device),
        )
    logits: torch.Tensor = output.logits.float()
    return logits


def predict_logits(
    model: Model, tokenizer: Tokenizer, examples: Examples, team: Team | None = None
) -> NDArray[np.float32]:
    """Return the model's outputs for examples, shape (examples, classes), in their order."""
    return predict_documents(model, tokenizer, examples.windows, team=team)


def predict_documents(
    model: Model,
    tokenizer: Tokenizer,
    windows: Windows,
    *,
    precision: Precision = "float32",
    on_piece: Callable[[int], None] | None = None,
    team: Team | None = None,
) -> NDArray[np.float32]:
    """Return the model's outputs for texts, shape (texts, classes): the means of their windows'.

    In float32, so that what is recorded is what the saved model gives anywhere; in smaller pieces
    where memory runs out.

    Args:
        model: The model.
        tokenizer: Its tokenizer.
        windows: The texts.
        precision: Arithmetic of the matrix products.
        on_piece: Gets the number of windows that went through the model, each time some did.
        team: The processes that share the texts; each gets all outputs.
    """
    team = team or Team.alone()
    device = next(model.parameters()).device
    lengths, token_ids = windows.lengths, windows.token_ids
    outputs = np.zeros((len(lengths), model.config.num_labels), dtype=np.float32)

    def predict(token_budget: int) -> NDArray[np.float32]:
        for piece in micro_batches(own, lengths, token_budget):
            ids = [token_ids[i] for i in piece]
            with autocast(device, precision):
                outputs[piece] = forward(model, tokenizer, ids, device).cpu().numpy()
            if on_piece is not None:
                on_piece(len(piece))
        return outputs

    own = team.share(np.arange(len(lengths)), lengths)
    budget, longest = 2 * TOKEN_BUDGET[device.type], int(lengths.max(initial=0))
    model.eval()
    with torch.inference_mode():
        all_outputs, _ = team.summed(budget, longest, predict, outputs.shape)
    return windows.aggregate(all_outputs)


def outputs_of(examples: Examples) -> int:
    """Return what is learned at once: one label of a row, or all labels of a shared encoder."""
    return 1 if examples.labels.ndim == 1 else examples.labels.shape[1]


def to_tensor(array: NDArray[Any], device: torch.device) -> torch.Tensor:
    """Return numbers as a tensor of at least one dimension on a device."""
    return torch.from_numpy(np.atleast_1d(array)).to(device)


def sum_losses(
    model: Model,
    tokenizer: Tokenizer,
    train: Examples,
    weights: NDArray[np.float32],
    piece: NDArray[np.int64],
    precision: Precision,
) -> torch.Tensor:
    """Return the weighted sum of some windows' losses for each output that is learned.

    The loss of a text is the mean of its windows' losses, each with the label of the text (as
    Pappagari et al. 2019 train on segments), so that it counts once, however long it is, and its
    windows can be in different pieces.

    Args:
        model: The model.
        tokenizer: Its tokenizer.
        train: The texts.
        weights: What each text weighs, shape of the labels.
        piece: Positions of the windows.
        precision: Arithmetic of the forward pass.
    """
    device, windows = next(model.parameters()).device, train.windows
    with autocast(device, precision):
        logits = forward(model, tokenizer, [windows.token_ids[i] for i in piece], device)
    texts = windows.documents[piece]
    labels = to_tensor(train.labels[texts], device)
    own = to_tensor((weights[texts].T * windows.shares[piece]).T, device)
    if labels.ndim == 1:
        return (cross_entropy(logits, labels, reduction="none") * own).sum(0, keepdim=True)
    each = binary_cross_entropy_with_logits(logits, labels.float(), reduction="none")
    return (each * own).sum(0)
