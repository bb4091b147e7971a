"""Arithmetic that is faster than float32, and what it costs: shown on the user's own texts."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from llm_tool.errors import StudioError
from llm_tool.inference.facts import CostMeasured
from llm_tool.inference.predictor import Loaded, Predictor, own_logits
from llm_tool.trainers.multi_label_trainer import predict, probabilities


def to_int8(
    predictor: Predictor,
    texts: Sequence[str],
    languages: Sequence[str],
    truth: Mapping[str, Sequence[str]],
) -> list[CostMeasured]:
    """Change all models to 8-bit integers, and return what that costs each of them.

    The weights of the linear layers below the head are rounded to one of 256 levels, values that
    go into them as they come: dynamic quantisation, as torch has it.

    Args:
        predictor: The models; they are changed.
        texts: Some texts to measure it on.
        languages: Their languages.
        truth: The cells of label columns, by label key; empty cells are not judged.

    Raises:
        StudioError: The models are on a GPU, where torch has no such layers.
    """
    if predictor.device.type != "cpu":
        raise StudioError(
            "--int8 is for processors: a GPU multiplies other numbers.", remedy="Leave it out."
        )
    costs: list[CostMeasured] = []
    for group in predictor.groups:
        for position in group.positions:
            loaded = predictor.loaded[position]
            own = [
                row
                for row, (text, language) in enumerate(zip(texts, languages, strict=True))
                if text and group.model_for(language) == position
            ]
            store = predictor.store(loaded, texts, {})
            before = loaded.logits(store, own)
            quantise(loaded.model)
            after = loaded.logits(store, own)
            costs += _costs(loaded, own, before, after, truth)
    return costs


def quantise(model: Any) -> None:  # noqa: ANN401 - models of transformers have no one type
    """Round the linear layers below a model's head to 8 bits."""
    with warnings.catch_warnings():
        # Deprecated in favour of a package that torch does not bring; the pin on torch keeps it.
        warnings.simplefilter("ignore")
        torch.ao.quantization.quantize_dynamic(
            model.base_model, {torch.nn.Linear}, dtype=torch.qint8, inplace=True
        )


def _costs(
    loaded: Loaded,
    rows: list[int],
    before: Any,  # noqa: ANN401 - see own_logits
    after: Any,  # noqa: ANN401
    truth: Mapping[str, Sequence[str]],
) -> list[CostMeasured]:
    costs = []
    for position, output in enumerate(loaded.saved.outputs if rows else ()):
        two = [own_logits(loaded.saved, position, logits) for logits in (before, after)]
        labels = [predict(logits, output.threshold) for logits in two]
        shares = [probabilities(logits) for logits in two]
        cells = truth.get(output.label_key, [])
        classes = list(output.classes)
        known = [
            (i, classes.index(cells[row]))
            for i, row in enumerate(rows if cells and not output.label_value else ())
            if cells[row] in classes
        ]
        scores = None
        if known:
            places, true = zip(*known, strict=True)
            scores = (_f1(true, labels[0][list(places)]), _f1(true, labels[1][list(places)]))
        costs.append(
            CostMeasured(
                model=loaded.saved.title,
                category=output.category,
                texts=len(rows),
                same=float(np.mean(labels[0] == labels[1])),
                difference=float(np.abs(shares[0] - shares[1]).max()),
                judged=len(known),
                f1_macro=scores,
            )
        )
    return costs


def _f1(true: Sequence[int], predicted: Any) -> float:  # noqa: ANN401
    from sklearn.metrics import f1_score

    return float(f1_score(true, predicted, average="macro"))
