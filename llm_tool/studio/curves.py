"""Curves over epochs as text: every line has marks of its own, so that it reads without colour."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len

MARKS = "•×+o#*"  # one for each line of a figure
_ROWS, _TICKS = 9, 5  # of the drawing; a tick on every other row
_EPOCHS = 8  # numbers under the drawing, at most
_LEAST = 0.1  # between the ends of an axis of losses: what hardly moves looks so
_NARROWEST, _WIDEST = 24, 64


@dataclass(frozen=True)
class Curve:
    """One line of a figure: the values of its epochs, ``nan`` where a value is not defined."""

    mark: str
    epochs: Sequence[int]
    values: Sequence[float]

    @property
    def undefined(self) -> list[int]:
        """The epochs that have no value to draw."""
        pairs = zip(self.epochs, self.values, strict=True)
        return [epoch for epoch, value in pairs if not math.isfinite(value)]

    def pieces(self) -> list[tuple[list[int], list[float]]]:
        """Return the stretches without a gap: across an undefined value no line is drawn."""
        stretches: list[tuple[list[int], list[float]]] = [([], [])]
        for epoch, value in zip(self.epochs, self.values, strict=True):
            if math.isfinite(value):
                stretches[-1][0].append(epoch)
                stretches[-1][1].append(value)
            else:
                stretches.append(([], []))
        return [stretch for stretch in stretches if stretch[0]]


@dataclass(frozen=True)
class Figure:
    """Curves with a title; a ``share`` lies between 0 and 1, as F1 does."""

    title: str
    curves: Sequence[Curve]
    share: bool = False


def draw(figures: Sequence[Figure], width: int) -> list[str]:
    """Return the lines of figures, two beside each other where the width allows it."""
    half = (width - 2) // 2
    if len(figures) == 2 and half >= 36:
        left, right = (_drawn(figure, half) for figure in figures)
        if len(left) == len(right):
            return [f"{_padded(a, half)}  {b}".rstrip() for a, b in zip(left, right, strict=True)]
        return [*left, *right]
    return [line for figure in figures for line in _drawn(figure, width)]


def _padded(line: str, width: int) -> str:
    return line + " " * (width - cell_len(line))


def _drawn(figure: Figure, width: int) -> list[str]:
    """Return the lines of one figure, without anything that a terminal acts on."""
    import plotext

    epochs = sorted({epoch for curve in figure.curves for epoch in curve.epochs})
    values = [v for c in figure.curves for v in c.values if math.isfinite(v)]
    if not values:
        return [figure.title, "  nothing to draw: no value is a number"]
    plotext.clear_figure()  # plotext has one figure for the whole process
    plotext.theme("clear")
    pieces = [(curve.mark, piece) for curve in figure.curves for piece in curve.pieces()]
    ticks = _share_ticks(values) if figure.share else _loss_ticks(values)
    labels = _labels(ticks)
    width = max(_NARROWEST, min(width, _WIDEST))
    left, right = epochs[0] - 0.5, epochs[-1] + 0.5
    columns = width - max(map(len, labels)) - 2
    for _, (where, own) in pieces:
        if len(where) > 1:
            across = [_amid_mark(epoch, left, right, columns, 2) for epoch in where]
            up = [_amid_mark(value, ticks[0], ticks[-1], _ROWS, 4) for value in own]
            plotext.plot(across, up, marker="braille")
    for mark, (where, own) in pieces:  # above all lines
        plotext.scatter(where, own, marker=mark)
    plotext.ylim(ticks[0], ticks[-1])
    plotext.yticks(ticks, labels)
    plotext.xlim(left, right)
    shown = _shown_epochs(epochs)
    plotext.xticks(shown, list(map(str, shown)))
    plotext.title(figure.title)
    plotext.xlabel("epoch")
    plotext.plotsize(width, _ROWS + 5)
    return [line.rstrip() for line in plotext.uncolorize(plotext.build()).splitlines()]


def _amid_mark(value: float, low: float, high: float, cells: int, dots: int) -> float:
    """Return where a line of small dots, several to a cell, meets the middle of a mark."""
    cell = round((value - low) / (high - low) * (cells - 1))
    return low + (dots * cell + (dots - 1) / 2) / (dots * cells - 1) * (high - low)


def _shown_epochs(epochs: Sequence[int]) -> list[int]:
    step = math.ceil((epochs[-1] - epochs[0] + 1) / _EPOCHS)
    return list(range(epochs[0], epochs[-1] + 1, step))


def _share_ticks(values: Sequence[float]) -> list[float]:
    """Return ticks on whole twentieths around the values, at least a fifth apart in all."""
    low, high = math.floor(min(values) * 20), math.ceil(max(values) * 20)
    while high - low < 4 or (high - low) % (_TICKS - 1):
        if high < 20 and (20 - high >= low or low == 0):
            high += 1
        else:
            low -= 1
    return [(low + (high - low) * i / (_TICKS - 1)) / 20 for i in range(_TICKS)]


def _loss_ticks(values: Sequence[float]) -> list[float]:
    low, high = min(values), max(values)
    room = max((high - low) * 0.05, (_LEAST - (high - low)) / 2)
    return [low - room + (high - low + 2 * room) * i / (_TICKS - 1) for i in range(_TICKS)]


def _labels(ticks: Sequence[float]) -> list[str]:
    """Return the ticks with as many digits as tell them apart."""
    if max(map(abs, ticks)) >= 1e5:
        return [f"{tick:.2e}" for tick in ticks]
    for digits in range(2, 7):
        labels = [f"{tick:.{digits}f}" for tick in ticks]
        if len(set(labels)) == len(labels):
            return labels
    return [f"{tick:.3g}" for tick in ticks]
