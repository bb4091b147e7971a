"""Consoles, styles, tables and errors: calm, aligned, readable without colour."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rich.cells import cell_len
from rich.console import Console
from rich.rule import Rule
from rich.text import Text

from llm_tool.errors import StudioError
from llm_tool.text import shorten, visible

GOOD, WARN, BAD, QUIET, STRONG = "green", "yellow", "red", "dim", "bold"
_PIPE_WIDTH = 160  # no terminal, no columns to save: names are not shortened


def make_console(*, stderr: bool = False) -> Console:
    """Return a console on which user text is never markup and numbers are not coloured."""
    console = Console(stderr=stderr, markup=False, highlight=False, emoji=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _PIPE_WIDTH
    return console


def rule(console: Console, title: str) -> None:
    """Print a line across the terminal with a title in it."""
    text = Text(shorten(visible(title), max(10, console.width - 6)), style=STRONG)
    console.print(Rule(text, style=QUIET))


def show_error(console: Console, error: StudioError) -> None:
    """Print what is wrong, where, and what to do."""
    console.print(Text.assemble(("Error: ", f"{STRONG} {BAD}"), visible(error.what)))
    if error.where:
        console.print(Text(f"  in {visible(error.where)}"), style=QUIET)
    if error.remedy:
        console.print(Text(f"  {visible(error.remedy)}"))


@dataclass(frozen=True)
class Column:
    """A column of a table; a flexible one gives up width when the terminal is narrow.

    Where that is not enough, the one with the highest ``spare`` is left out; none of 0 ever is.
    """

    title: str
    align: Literal["left", "right"] = "left"
    flexible: bool = False
    spare: int = 0


def print_table(
    console: Console,
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    marks: Sequence[str] = (),
) -> None:
    """Print rows under their titles, in the terminal's width; user text is made visible.

    Args:
        console: Where to print.
        columns: Titles and alignment.
        rows: One string a cell.
        marks: A style for each row, empty for none.
    """
    cells = [[visible(cell) for cell in row] for row in rows]
    columns, cells, widths = _laid_out(columns, cells, console.width)

    def line(row: Sequence[str]) -> str:
        padded = (
            fit(cell, width, right=column.align == "right")
            for cell, width, column in zip(row, widths, columns, strict=True)
        )
        return "  ".join(padded).rstrip()

    console.print(Text(line([c.title for c in columns]), style=QUIET), no_wrap=True, crop=True)
    for row, mark in zip(cells, marks or [""] * len(cells), strict=True):
        console.print(Text(line(row), style=mark), no_wrap=True, crop=True)


def _laid_out(
    columns: Sequence[Column], cells: list[list[str]], available: int
) -> tuple[list[Column], list[list[str]], list[int]]:
    """Return the columns that there is room for, their cells and their widths."""
    kept = list(columns)
    while True:
        everything = [[c.title for c in kept], *cells]
        widths = [max(cell_len(row[i]) for row in everything) for i in range(len(kept))]
        widths = _fitted(widths, kept, available)
        spare = max(range(len(kept)), key=lambda i: kept[i].spare)
        if _taken(widths) <= available or not kept[spare].spare:
            return kept, cells, widths
        del kept[spare]
        cells = [row[:spare] + row[spare + 1 :] for row in cells]


def _taken(widths: Sequence[int]) -> int:
    return sum(widths) + 2 * (len(widths) - 1)


def fit(text: str, width: int, *, right: bool = False) -> str:
    """Return text in exactly ``width`` terminal cells, shortened in the middle or padded."""
    longest = width
    while cell_len(text) > width:  # wide characters take two cells each
        text = shorten(text, longest)
        longest -= 1
    space = " " * (width - cell_len(text))
    return space + text if right else text + space


def _fitted(widths: Sequence[int], columns: Sequence[Column], available: int) -> list[int]:
    """Take the missing width from the widest flexible columns, down to eight characters each."""
    fitted = list(widths)
    while _taken(fitted) > available:
        flexible = [i for i, c in enumerate(columns) if c.flexible and fitted[i] > 8]
        if not flexible:
            break
        fitted[max(flexible, key=lambda i: fitted[i])] -= 1
    return fitted
