"""What is told along the way of a prediction; an observer is any function that takes one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from llm_tool.inference.answers import Tally


@dataclass(frozen=True)
class Filled:
    """Columns to be filled: what their names begin with, and the folders of the models."""

    columns: str
    category: str
    models: tuple[str, ...]


@dataclass(frozen=True)
class PredictionStarted:
    """What is about to be predicted; ``done`` rows are finished from an earlier attempt."""

    data: str
    how: str
    rows: int
    done: int
    filled: tuple[Filled, ...]
    text_column: str
    language_column: str
    columns: tuple[str, ...]
    device: str
    out: str
    notes: tuple[str, ...]
    event: Literal["prediction_started"] = "prediction_started"


@dataclass(frozen=True)
class CostMeasured:
    """How a model's predictions in 8 bits differ from those in float32, on some of the texts.

    ``same`` is the share of labels that are equal, ``difference`` the largest one between two
    probabilities. Where the table says the true classes, ``f1_macro`` has the score in float32 and
    the one in 8 bits, over ``judged`` texts.
    """

    model: str
    category: str
    texts: int
    same: float
    difference: float
    judged: int = 0
    f1_macro: tuple[float, float] | None = None
    event: Literal["cost_measured"] = "cost_measured"


@dataclass(frozen=True)
class RowsPredicted:
    """So many of all rows are predicted; those that are ``kept`` survive a kill.

    ``seconds`` are since this attempt began to predict, ``before`` the rows it found finished.
    """

    rows: float
    kept: int
    before: int
    of: int
    seconds: float
    event: Literal["rows_predicted"] = "rows_predicted"


@dataclass(frozen=True)
class PredictionEnded:
    """The output is complete. ``seconds`` and ``texts_per_second`` are of this attempt alone."""

    out: str
    columns: tuple[str, ...]
    tally: Tally
    seconds: float
    texts_per_second: float
    event: Literal["prediction_ended"] = "prediction_ended"


PredictionEvent = PredictionStarted | CostMeasured | RowsPredicted | PredictionEnded
Observer = Callable[[PredictionEvent], None]


def to_json(event: PredictionEvent) -> str:
    """Return an event as one JSON object on one line."""
    return json.dumps(vars(event), ensure_ascii=False, default=_plain)


def _plain(value: Tally | Filled) -> object:
    return value.as_json() if isinstance(value, Tally) else vars(value)
