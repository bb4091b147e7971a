"""Curves as text: true to the numbers, readable without colour, in any width."""

from __future__ import annotations

import math
from itertools import combinations_with_replacement

import pytest
from rich.cells import cell_len

from llm_tool.studio.curves import Curve, Figure, _share_ticks, draw

EPOCHS = [1, 2, 3, 4, 5]
LOSS = Figure(
    "loss",
    [
        Curve("•", EPOCHS, [1.03, 0.84, 0.69, 0.6, 0.55]),
        Curve("×", EPOCHS, [0.9, 0.8, 0.8, 0.9, 1]),
    ],
)
SCORE = Figure("macro F1", [Curve("×", EPOCHS, [0.51, 0.6, 0.62, 0.6, 0.7])], share=True)


def marks(lines: list[str], mark: str) -> list[tuple[int, int]]:
    """Return column and row of every mark in the drawing."""
    inside = [line.split("│")[0] if "│" not in line else line for line in lines]
    return sorted((line.index(mark, at), row) for row, line in enumerate(inside)
                  for at in range(len(line)) if line[at] == mark)  # fmt: skip


def test_two_figures_stand_beside_each_other_in_eighty_columns_and_below_in_fewer() -> None:
    beside, below = draw([LOSS, SCORE], 80), draw([LOSS, SCORE], 60)

    assert len(below) == 2 * len(beside)
    assert max(map(cell_len, beside)) <= 80
    assert max(map(cell_len, below)) <= 60
    assert "loss" in beside[0]
    assert "macro F1" in beside[0]


@pytest.mark.parametrize("width", [24, 30, 40, 79, 80, 200])
def test_every_epoch_has_its_mark_at_any_width_and_nothing_but_text_is_drawn(width: int) -> None:
    lines = draw([SCORE], width)

    found = marks(lines, "×")
    assert len(found) == 5
    rows = [row for _, row in found]
    assert rows[0] > rows[1] >= rows[2] <= rows[3] > rows[4]  # higher is further up
    assert max(map(cell_len, lines)) <= width
    assert "\x1b" not in "".join(lines)


def test_a_mark_stands_on_the_row_of_its_value() -> None:
    lines = draw([Figure("F1", [Curve("×", [1, 2, 3], [0.5, 0.6, 0.7])], share=True)], 60)

    rows = {line[:4].strip(): line for line in lines if "┤" in line}
    assert list(rows) == ["0.70", "0.65", "0.60", "0.55", "0.50"]
    for tick in ("0.50", "0.60", "0.70"):
        assert "×" in rows[tick]
    assert lines[-1].strip() == "epoch"
    assert lines[-2].split() == ["1", "2", "3"]


def test_one_epoch_is_one_mark() -> None:
    lines = draw([Figure("loss", [Curve("•", [1], [0.69])])], 40)
    assert "".join(lines).count("•") == 1
    assert lines[-2].split() == ["1"]


def test_across_a_value_that_is_no_number_no_line_is_drawn() -> None:
    curve = Curve("•", [1, 2, 3, 4], [0.5, math.nan, 0.5, 0.5])

    (row,) = (line for line in draw([Figure("loss", [curve])], 60) if "•" in line)
    _, gap, joined, after = row.split("•")
    assert (gap.strip(), after.strip("│ ")) == ("", "")
    assert joined
    assert " " not in joined
    assert curve.undefined == [2]


@pytest.mark.parametrize("values", [[math.nan], [math.inf, -math.inf], []])
def test_without_any_number_that_is_said(values: list[float]) -> None:
    epochs = list(range(1, len(values) + 1))
    lines = draw([Figure("loss", [Curve("•", epochs, values)]), SCORE], 80)
    assert "  nothing to draw: no value is a number" in lines
    assert "".join(lines).count("×") == 5


@pytest.mark.parametrize(
    "values", [[1e-9, 2e-9], [3e7, 9e9], [0.0, 0.0], [-1.5, 2.5], [1e300, 1.0]]
)
def test_losses_of_any_size_are_drawn(values: list[float]) -> None:
    lines = draw([Figure("loss", [Curve("•", [1, 2], values)])], 80)
    labels = [line.split("┤")[0].strip() for line in lines if "┤" in line]
    assert "".join(lines).count("•") == 2
    assert len(set(labels)) == 5
    assert float(labels[-1]) <= min(values) + 0.01 <= max(values) + 0.02
    assert float(labels[0]) * 1.01 + 0.01 >= max(values)


def test_the_axis_of_a_share_holds_its_values_and_stays_between_zero_and_one() -> None:
    steps = [number / 40 for number in range(41)]
    for low, high in combinations_with_replacement(steps, 2):
        ticks = _share_ticks([low, high])
        assert -1e-9 <= ticks[0] <= low + 1e-9
        assert high - 1e-9 <= ticks[-1] <= 1 + 1e-9
        assert ticks[-1] - ticks[0] >= 0.2 - 1e-9


def test_many_epochs_are_numbered_sparsely() -> None:
    epochs = list(range(1, 101))
    lines = draw([Figure("loss", [Curve("•", epochs, [1 / e for e in epochs])])], 80)
    numbers = [int(word) for word in lines[-2].split()]
    assert numbers == [1, 14, 27, 40, 53, 66, 79, 92]
