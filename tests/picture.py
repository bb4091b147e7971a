"""Make the README's picture: run the demo in a real terminal and draw what it showed.

Run ``python -m tests.picture``; it writes docs/terminal.svg.
"""

from __future__ import annotations

import re
import sys
import tempfile
from io import StringIO
from itertools import groupby
from pathlib import Path

import pyte
from rich.console import Console
from rich.style import Style
from rich.text import Text

from tests.terminal import Terminal

PICTURE = Path(__file__).parents[1] / "docs" / "terminal.svg"
COLUMNS, LINES = 80, 70


def draw(screen: pyte.Screen, title: str) -> str:
    """Return what a screen shows as SVG, colours and bold text kept."""
    console = Console(width=screen.columns, record=True, file=StringIO())
    rows = max((y for y, line in enumerate(screen.display, start=1) if line.strip()), default=0)
    for y in range(rows):
        cells = [screen.buffer[y][x] for x in range(screen.columns)]
        line = Text()
        for (colour, bold), run in groupby(cells, lambda cell: (cell.fg, cell.bold)):
            known = (
                None
                if colour == "default"
                else colour.replace("brown", "yellow").replace("brightb", "bright_b")
            )
            known = f"#{known}" if known and re.fullmatch("[0-9a-f]{6}", known) else known
            line.append("".join(cell.data for cell in run), Style(color=known, bold=bold))
        line.rstrip()
        console.print(line, no_wrap=True)
    return console.export_svg(title=title)


def main() -> None:
    """Run the demo and write its picture."""
    with tempfile.TemporaryDirectory() as folder:
        terminal = Terminal(
            [sys.executable, "-m", "llm_tool", "demo"],
            columns=COLUMNS,
            lines=LINES,
            folder=Path(folder),
        )
        code = terminal.exit_code(600)
        if code:
            sys.exit(f"the demo ended with {code}:\n{terminal.text()}")
        PICTURE.parent.mkdir(exist_ok=True)
        PICTURE.write_text(draw(terminal.screen, "llm-tool demo"), "utf-8")


if __name__ == "__main__":
    main()
