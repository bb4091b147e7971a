"""Make the README's pictures.

``python -m tests.picture`` runs the demo in a real terminal and draws what it showed, as
docs/terminal.svg. ``python -m tests.picture report`` trains the embedded model, and its first half,
on the demo's data and takes docs/report.png of their report in a real browser. ``python -m
tests.picture cluster`` trains the demo's themes here and draws, as docs/cluster.svg, what a cluster
of two nodes that is half-way through them shows.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Sequence
from io import StringIO
from itertools import groupby
from pathlib import Path

import pyte
from rich.console import Console
from rich.style import Style
from rich.text import Text

from llm_tool.analysis.report.writing import write_report
from llm_tool.events import ClusterSeen, EpochEnded, Event, RunEnded, RunningJob, RunStarted
from llm_tool.logs.archive import read_session
from llm_tool.studio.cluster import ClusterDisplay
from tests.browser import browser
from tests.terminal import Terminal

PICTURE = Path(__file__).parents[1] / "docs" / "terminal.svg"
REPORT = PICTURE.with_name("report.png")
CLUSTER = PICTURE.with_name("cluster.svg")
COLUMNS, LINES = 80, 70
EPOCHS = 3  # of the cluster's jobs


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


def first_half(folder: Path) -> Path:
    """Save the first three of the embedded model's six layers as a model of its own."""
    from transformers import AutoModel, AutoTokenizer

    from llm_tool.trainers.model_sources import locate

    source = locate("embedded")
    model = AutoModel.from_pretrained(source)
    model.encoder.layer = model.encoder.layer[:3]
    model.config.num_hidden_layers = 3
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source).save_pretrained(folder)
    return folder


def picture_report() -> None:
    """Train two models with two seeds, report them, and write the page's picture."""
    from llm_tool.config import make_config
    from llm_tool.execution.local import run_plan
    from llm_tool.logs.session import Session
    from llm_tool.modes.planning import prepare

    with tempfile.TemporaryDirectory() as folder:
        half = first_half(Path(folder, "MiniLM-first-3-layers"))
        config = make_config(
            {
                "mode": "benchmark",
                "label": ("sentiment", "specific_themes"),
                "model": ("embedded", str(half)),
                "languages": "multilingual",
                "seeds": (1, 2),
                "epochs": 5,
                "test_share": 0.3,
                "logs_dir": f"{folder}/logs",
                "models_dir": f"{folder}/models",
            }
        )
        dataset, plan = prepare(config)
        session = Session(config.logs_dir)
        run_plan(plan, dataset, config, session)
        page = write_report(read_session(config.logs_dir, session.id), "html", f"{folder}/r.html")
        photograph(page, REPORT)


def picture_cluster() -> None:
    """Train a model for each theme, and draw the first of them as if two nodes trained them."""
    from llm_tool.config import make_config
    from llm_tool.execution.local import run_plan
    from llm_tool.logs.session import Session
    from llm_tool.modes.planning import prepare

    told: list[Event] = []
    with tempfile.TemporaryDirectory() as folder:
        config = make_config(
            {
                "mode": "distributed",
                "label": ("specific_themes",),
                "epochs": EPOCHS,
                "workers": 1,
                "threads": 2,
                "logs_dir": f"{folder}/logs",
                "models_dir": f"{folder}/models",
            }
        )
        dataset, plan = prepare(config)
        run_plan(plan, dataset, config, Session(config.logs_dir), told.append)
    CLUSTER.write_text(draw(half_way(told), "llm-tool train distributed --executor slurm"), "utf-8")


def half_way(told: Sequence[Event]) -> pyte.Screen:
    """Return the screen of a run on two nodes: two jobs done, two begun, the others waiting.

    Args:
        told: What a run of the same jobs on this machine told.
    """
    run = next(event for event in told if isinstance(event, RunStarted))
    epochs = [event for event in told if isinstance(event, EpochEnded)]
    first, second, third, fourth = (
        [event for event in epochs if event.job.id == job.id] for job in run.jobs[:4]
    )
    # Two by two, as nodes of the same speed tell them.
    rows = [row for pair in zip(first, second, strict=True) for row in pair]
    rows += [third[0], fourth[0], third[1]]
    running = [
        RunningJob(last.job, node, last.epoch, EPOCHS, last.scores.f1_macro)
        for last, node in ((third[1], "n1"), (fourth[0], "n2"))
    ]
    out = StringIO()
    console = Console(file=out, force_terminal=True, width=COLUMNS, height=24,
                      color_system="standard")  # fmt: skip
    show = ClusterDisplay(console, keys=True)
    for event in (run, *rows, ClusterSeen(len(run.jobs) - 4, tuple(running), 2, 0)):
        show(event)
    drawn = out.getvalue()
    show(RunEnded(run.session_id, "detached", len(run.jobs), 2, 0, 0.0))
    screen = pyte.Screen(COLUMNS, 24)
    pyte.Stream(screen).feed(drawn.replace("\n", "\r\n"))
    return screen


def photograph(page: Path, picture: Path) -> None:
    """Write a picture of a report's page down to the end of its first category."""
    with browser() as opened:
        shown = opened.new_page(viewport={"width": 1120, "height": 800}, device_scale_factor=1.2)
        shown.goto(page.as_uri())
        end = shown.locator("#c1").bounding_box()
        if end is None:
            sys.exit("the page has no category")
        clip = {"x": 0, "y": 0, "width": 1120, "height": end["y"] + end["height"] + 12}
        shown.screenshot(path=picture, full_page=True, clip=clip)


if __name__ == "__main__":
    if sys.argv[1:] == ["report"]:
        picture_report()
    elif sys.argv[1:] == ["cluster"]:
        picture_cluster()
    else:
        main()
