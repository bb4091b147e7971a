"""Curves as geometry: what a template draws, in the units of its picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from llm_tool.events import EpochEnded
from llm_tool.logs.archive import Training
from llm_tool.text import plural, shorten

WIDTH, LEFT, TOP, BOTTOM, LABELS = 402, 44, 12, 40, 124
_SMALLEST_HEIGHT, _LINE = 210, 13  # of a picture, of a label
_LABEL_LENGTH = 16
_DESCRIBED = 8  # trainings
COLOURS, MARKERS = 6, 5  # as many as the style sheet and the template know


@dataclass(frozen=True)
class Point:
    """An epoch in the picture; ``hollow`` in the reinforced phase, ``best`` where it was chosen."""

    x: float
    y: float
    hollow: bool
    best: bool


@dataclass(frozen=True)
class Curve:
    """One training. ``style`` numbers its model: colour, dashes and marker follow from it."""

    style: int
    points: tuple[Point, ...]

    @property
    def path(self) -> str:
        """The points as an SVG polyline has them."""
        return " ".join(f"{p.x:.1f},{p.y:.1f}" for p in self.points)


@dataclass(frozen=True)
class Tick:
    """A mark of an axis at ``at``."""

    at: float
    label: str


@dataclass(frozen=True)
class Label:
    """The name of a model beside the end of its curves."""

    style: int
    text: str
    y: float
    end: Point


@dataclass(frozen=True)
class Chart:
    """One picture: a quantity after each epoch, a curve for each training."""

    title: str
    description: str
    height: float
    curves: tuple[Curve, ...]
    labels: tuple[Label, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


@dataclass(frozen=True)
class Named:
    """A model as the legend has it."""

    style: int
    name: str
    trainings: int


@dataclass(frozen=True)
class Figure:
    """The pictures of one category with what their curves mean."""

    charts: tuple[Chart, ...]
    legend: tuple[Named, ...]
    has_reinforced: bool


Value = Callable[[EpochEnded], float]
_Named = tuple[str, Training]  # what a training's model is called, and the training
_QUANTITIES: tuple[tuple[str, Value], ...] = (
    ("Training loss", lambda epoch: epoch.train_loss),
    ("Validation loss", lambda epoch: epoch.val_loss),
    ("Macro F1 on validation", lambda epoch: epoch.scores.f1_macro),
)


def draw(trainings: Sequence[Training]) -> Figure | None:
    """Return the curves of a category's trainings; ``None`` when none had an epoch."""
    begun = [training for training in trainings if training.epochs]
    if not begun:
        return None
    scopes = {training.job.language for training in begun}
    named = [(_name(training, with_scope=len(scopes) > 1), training) for training in begun]
    charts = tuple(_chart(title, value, named) for title, value in _QUANTITIES)
    legend = tuple(
        Named(style, name, sum(own == name for own, _ in named))
        for style, name in enumerate(_names(named))
    )
    phases = {epoch.training_phase for training in begun for epoch in training.epochs}
    return Figure(charts, legend, "reinforced" in phases)


def _name(training: Training, *, with_scope: bool) -> str:
    job = training.job
    return " ".join(filter(None, (job.model_name, job.language))) if with_scope else job.model_name


def _names(named: Sequence[_Named]) -> list[str]:
    return list(dict.fromkeys(name for name, _ in named))


def _chart(title: str, value: Value, named: Sequence[_Named]) -> Chart:
    names, trainings = _names(named), [training for _, training in named]
    height = max(_SMALLEST_HEIGHT, TOP + BOTTOM + _LINE * len(names))
    last = max(epoch.epoch for training in trainings for epoch in training.epochs)
    values = [value(epoch) for training in trainings for epoch in training.epochs]
    ticks = nice_ticks([number for number in values if math.isfinite(number)])
    low, high = (ticks[0], ticks[-1]) if ticks else (0.0, 1.0)

    def place_x(epoch: float) -> float:
        return LEFT + (WIDTH - LEFT - LABELS) * ((epoch - 1) / (last - 1) if last > 1 else 0.5)

    def place_y(number: float) -> float:
        return height - BOTTOM - (height - BOTTOM - TOP) * (number - low) / (high - low)

    def point(training: Training, epoch: EpochEnded) -> Point:
        kept = training.ended.best.epoch if training.ended else None
        hollow = epoch.training_phase == "reinforced"
        return Point(place_x(epoch.epoch), place_y(value(epoch)), hollow, epoch.epoch == kept)

    curves = [
        Curve(
            names.index(name),
            tuple(point(training, e) for e in training.epochs if math.isfinite(value(e))),
        )
        for name, training in named
    ]
    return Chart(
        title=title,
        description=_describe(title, value, named),
        height=height,
        curves=tuple(curves),
        labels=tuple(_labels(curves, names, TOP + 4, height - BOTTOM)),
        x_ticks=tuple(Tick(place_x(epoch), f"{epoch}") for epoch in _whole_ticks(last)),
        y_ticks=tuple(Tick(place_y(number), f"{number:.{_decimals(ticks)}f}") for number in ticks),
    )


def _describe(title: str, value: Value, named: Sequence[_Named]) -> str:
    """Return in a sentence what a picture shows, for those who cannot see it."""
    ends = [
        f"{name}, seed {training.job.seed}: {value(training.epochs[0]):.3f} to "
        f"{value(training.epochs[-1]):.3f} in {plural(len(training.epochs), 'epoch')}"
        for name, training in named[:_DESCRIBED]
    ]
    more = len(named) - len(ends)
    return f"{title} after each epoch. {'; '.join(ends)}{f'; and {more} more' if more else ''}."


def nice_ticks(values: Iterable[float], most: int = 6) -> list[float]:
    """Return round numbers, at most ``most``, that enclose values; none for no values."""
    numbers = list(values)
    if not numbers:
        return []
    low, high = min(numbers), max(numbers)
    if high - low < 1e-3:  # a line that is flat is shown as one
        low, high = low - 0.05, high + 0.05
    rough = (high - low) / (most - 3)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [number * step for number in range(first, last + 1)]


def _decimals(ticks: Sequence[float]) -> int:
    gaps = [b - a for a, b in pairwise(ticks)]
    return max(0, -math.floor(math.log10(min(gaps)) + 1e-9)) if gaps else 0


def _whole_ticks(last: int, most: int = 8) -> list[int]:
    step = math.ceil(last / most)
    return list(range(1, last + 1, step))


def _labels(
    curves: Sequence[Curve], names: Sequence[str], top: float, bottom: float
) -> Iterable[Label]:
    """Return the names beside the ends of their curves, pushed apart where they would overlap."""
    ends: dict[int, list[Point]] = {}
    for curve in curves:
        if curve.points:
            ends.setdefault(curve.style, []).append(curve.points[-1])
    wanted = sorted((sum(p.y for p in own) / len(own), style) for style, own in ends.items())
    places: list[float] = []
    for y, _ in wanted:
        places.append(max(y, places[-1] + _LINE if places else top))
    limit = bottom
    for i in reversed(range(len(places))):
        places[i] = min(places[i], limit)
        limit = places[i] - _LINE
    for (_, style), y in zip(wanted, places, strict=True):
        furthest = max(ends[style], key=lambda point: point.x)
        own = names[style].rpartition("/")[2] or names[style]  # the legend has it whole
        yield Label(style, shorten(own, _LABEL_LENGTH), y, furthest)
