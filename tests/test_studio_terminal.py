"""The studio in a real terminal: key presses in, the screen and the files out."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partialmethod
from io import StringIO
from pathlib import Path

import pyte
import pytest
from rich.console import Console

from llm_tool.events import BatchEnded, EpochEnded
from llm_tool.logs import read_metrics
from llm_tool.stopping import stoppable
from llm_tool.studio.display import RunDisplay
from llm_tool.studio.epochs import EpochTable
from tests.terminal import CTRL_C, DOWN, ESC, UP, Terminal
from tests.test_display import a_run

COMMAND = [sys.executable, "-m", "llm_tool"]
Open = Callable[..., Terminal]


@pytest.fixture
def open_terminal(tmp_path: Path) -> Iterator[Open]:
    opened: list[Terminal] = []

    def start(*arguments: str, **options: object) -> Terminal:
        terminal = Terminal([*COMMAND, *arguments], folder=tmp_path, **options)
        opened.append(terminal)
        return terminal

    yield start
    for terminal in opened:
        terminal.close()


def answer_up_to_epochs(terminal: Terminal, model: Path) -> None:
    terminal.answer("What would you like to do?")
    terminal.answer("Which file?")
    terminal.answer("Which column holds the texts?")
    terminal.answer("Which columns hold labels")
    terminal.answer("Which column holds the language?")
    terminal.answer("Which column holds row ids?")
    terminal.answer("One model for all, or one for each?")
    terminal.answer("Which model?", DOWN)
    terminal.answer("Hub id or folder of the model:", str(model))


def run_quick(terminal: Terminal, model: Path, epochs: int = 2) -> None:
    answer_up_to_epochs(terminal, model)
    terminal.answer("How many epochs?", str(epochs))
    terminal.answer("Work on weak classes after training?")
    terminal.answer("Start?")


@pytest.mark.parametrize(("columns", "environment"), [(80, {}), (120, {}), (80, {"NO_COLOR": "1"})])
def test_a_whole_quick_run_by_key_presses_stays_on_screen_and_on_disk(
    open_terminal: Open,
    tweets: Path,
    tiny_bert: Path,
    tmp_path: Path,
    columns: int,
    environment: dict[str, str],
) -> None:
    terminal = open_terminal("studio", columns=columns, environment=environment)

    run_quick(terminal, tiny_bert)
    terminal.wait_for("2 of 2 jobs done", 90)
    terminal.answer("What would you like to do?", UP)  # above the first is the last: Quit
    assert terminal.exit_code() == 0

    text = terminal.text()
    assert all(len(line) <= columns for line in text.split("\n"))
    assert text.count("weakest class") == 2  # a header for each job
    assert "llm-tool train quick tweets.csv" in text
    assert text.count("★ best") >= 2
    assert ("EN F1" in text) == (columns == 120)
    assert ("\x1b[32m" in terminal.raw) == (not environment)
    (session,) = (tmp_path / "training_logs").iterdir()
    assert f"Session {session.name}" in text
    for category in ("sentiment", "topic"):
        rows = read_metrics(session / category / "training.csv")
        assert rows["epoch"].tolist() == [1, 2]
        assert rows["language"].tolist() == ["MULTI", "MULTI"]
        assert rows["model_name"].tolist() == ["tiny-bert", "tiny-bert"]
        assert len(read_metrics(session / category / "best.csv")) == 1


def test_two_runs_of_one_launch_add_to_the_same_session(
    open_terminal: Open, tweets: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    terminal = open_terminal("studio", lines=60)
    run_quick(terminal, tiny_bert, epochs=1)
    terminal.wait_for("2 of 2 jobs done", 90)

    run_quick(terminal, tiny_bert, epochs=1)
    terminal.wait_for("2 of 2 jobs done", 90, after="Start?")
    terminal.press(CTRL_C)
    assert terminal.exit_code() == 130

    (session,) = (tmp_path / "training_logs").iterdir()
    best = read_metrics(session / "sentiment" / "best.csv")
    assert best["model_identifier"].tolist() == ["j0001", "j0003"]
    assert best["saved_model_path"].nunique() == 2
    assert all(
        (tmp_path / path / "model.safetensors").exists() for path in best["saved_model_path"]
    )


def test_ctrl_c_in_the_wizard_leaves_no_folder_and_exits_130(
    open_terminal: Open, tweets: Path, tmp_path: Path
) -> None:
    terminal = open_terminal("studio")
    terminal.answer("What would you like to do?")
    terminal.answer("Which file?")
    terminal.wait_for("Which column holds the texts?")

    terminal.press(CTRL_C)

    assert terminal.exit_code() == 130
    assert "Traceback" not in terminal.text()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["tweets.csv"]


def test_ctrl_c_in_mid_epoch_keeps_the_epochs_before_it(
    open_terminal: Open, tweets: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    terminal = open_terminal("studio")
    run_quick(terminal, tiny_bert, epochs=100_000)
    terminal.wait_for("    3  ", 90, after="weakest class")

    terminal.press(CTRL_C)

    assert terminal.exit_code() == 130
    text = terminal.text()
    assert "interrupted" in text
    assert "Traceback" not in text
    (session,) = (tmp_path / "training_logs").iterdir()
    tables = [read_metrics(path) for path in session.glob("*/training.csv")]
    epochs = [table["epoch"].tolist() for table in tables]  # two workers may be apart
    assert max(map(len, epochs)) >= 3
    assert all(own == list(range(1, len(own) + 1)) for own in epochs)
    assert json.loads((session / "session.json").read_text())["status"] == "interrupted"


def test_escape_goes_back_through_every_question_to_the_menu(
    open_terminal: Open, tweets: Path, tiny_bert: Path
) -> None:
    terminal = open_terminal("studio")
    answer_up_to_epochs(terminal, tiny_bert)
    terminal.wait_for("How many epochs?")

    for question in (
        "Which model?",
        "Languages: EN, FR. One model for all, or one for each?",
        "Which column holds row ids?",
        "Which column holds the language?",
        "Which columns hold labels",
        "Which column holds the texts?",
        "Which file?",
        "What would you like to do?",
    ):
        terminal.read(0.2)
        terminal.press(ESC)
        terminal.wait_for_question(question)
    terminal.press(ESC)
    assert terminal.exit_code() == 0


def test_numbered_choices_need_no_cursor_keys(
    open_terminal: Open, tweets: Path, tiny_bert: Path
) -> None:
    terminal = open_terminal("studio", "--numbered")
    terminal.wait_for("1. Quick")
    terminal.answer("What would you like to do?")
    terminal.answer("Which file?")
    terminal.answer("Which column holds the texts?")
    terminal.wait_for("5. areas")
    terminal.wait_for("Which columns hold labels to learn?  (Esc: back) 3 4")
    terminal.press(CTRL_C)
    assert terminal.exit_code() == 130


def test_a_file_that_cannot_be_read_is_explained_and_another_can_be_chosen(
    open_terminal: Open, write: Callable[..., Path]
) -> None:
    write("broken.csv", "text,label\na,b\nc,d,e\n")
    terminal = open_terminal("studio")
    terminal.answer("What would you like to do?")
    terminal.answer("Which file?")

    terminal.wait_for("Row 3 has 3 cells where the header has 2")
    terminal.answer("Which file?", DOWN)  # the demo data
    terminal.wait_for("600 rows, 7 columns")


def test_classes_that_are_too_small_can_be_left_out_when_asked(
    open_terminal: Open, tweets: Path, tiny_bert: Path
) -> None:
    with tweets.open("a") as file:
        file.write("t99,the book was unlike any other,en,mixed,law,law\n")
    terminal = open_terminal("studio")
    answer_up_to_epochs(terminal, tiny_bert)
    terminal.answer("How many epochs?", "1")
    terminal.answer("Work on weak classes after training?")

    terminal.wait_for("Error: Classes with too few rows")
    terminal.answer("What now?")

    terminal.wait_for("1 row left out: classes with too few rows (mixed)")
    assert "--set small_classes=drop" in terminal.wait_for("Start?")


def test_several_classes_that_are_too_small_can_become_one(
    open_terminal: Open, tweets: Path, tiny_bert: Path
) -> None:
    with tweets.open("a") as file:
        for number, label in enumerate(("mixed", "odd", "none of these", "rare")):
            file.write(f"u{number},book number {number} was unlike any other,en,{label},law,law\n")
    terminal = open_terminal("studio")
    answer_up_to_epochs(terminal, tiny_bert)
    terminal.answer("How many epochs?", "1")
    terminal.answer("Work on weak classes after training?")

    terminal.wait_for("Error: Classes with too few rows")
    terminal.answer("What now?", DOWN)

    terminal.wait_for("classes with too few rows are one class 'other'")
    assert "--set small_classes=merge" in terminal.wait_for("Start?")


def test_without_arguments_a_terminal_opens_the_studio(open_terminal: Open) -> None:
    terminal = open_terminal()
    terminal.wait_for("What would you like to do?")
    for mode in ("Quick", "Benchmark", "Custom", "Distributed", "Hybrid", "Reinforced"):
        assert mode in terminal.text()
    terminal.press(ESC)
    assert terminal.exit_code() == 0


def test_a_label_that_looks_like_markup_or_an_escape_is_shown_as_it_is(
    open_terminal: Open, tweets: Path, tiny_bert: Path
) -> None:
    text = tweets.read_text()
    tweets.write_text(text.replace("positive", "[/bad]").replace("negative", "\x1b[2Jx"))
    terminal = open_terminal("studio")
    run_quick(terminal, tiny_bert, epochs=1)
    shown = terminal.wait_for("2 of 2 jobs done", 90)
    assert "[/bad]" in shown
    assert "\\x1b[2Jx" in shown
    assert "What would you like to do?" in shown


class Sink(StringIO):
    """A terminal's end that remembers which threads wrote to it."""

    def __init__(self) -> None:
        super().__init__()
        self.writers: set[threading.Thread] = set()

    def write(self, text: str) -> int:
        self.writers.add(threading.current_thread())
        return super().write(text)

    def screen(self) -> str:
        """Return what a terminal of 80 by 40 shows."""
        screen = pyte.Screen(80, 40)
        screen.set_mode(pyte.modes.LNM)  # a terminal returns to column 1 with each new line
        pyte.Stream(screen).feed(self.getvalue())
        return "\n".join(line.rstrip() for line in screen.display).rstrip()


def display_on(sink: StringIO, **options: object) -> RunDisplay:
    looks = {"width": 80, "height": 40, "markup": False, "highlight": False, "emoji": False}
    return RunDisplay(Console(file=sink, _environ={"TERM": "xterm"}, **looks, **options))


def test_rows_and_the_lines_below_come_from_one_thread_and_only_the_rows_stay() -> None:
    seen, plain = Sink(), Sink()
    live, still = display_on(seen, force_terminal=True), display_on(plain)

    for event in a_run():
        live(event)
        still(event)
        if isinstance(event, BatchEnded):
            time.sleep(0.3)  # a thread that redraws the lines would have done it by now
            live(event)

    assert seen.writers == {threading.current_thread()}
    assert "epoch 1/2" in seen.getvalue()  # the lines were there
    assert seen.screen() == plain.screen()


def test_ctrl_c_while_a_row_is_printed_stops_after_the_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(table: EpochTable, event: EpochEnded, row: Callable[..., str]) -> str:
        if event.epoch == 2:
            signal.raise_signal(signal.SIGINT)
        return row(table, event)

    monkeypatch.setattr(EpochTable, "row", partialmethod(interrupted, row=EpochTable.row))
    seen = Sink()
    show = display_on(seen, force_terminal=True)
    *shown, printed, _, _, end = a_run()
    with stoppable():
        for event in shown:
            show(event)
        with pytest.raises(KeyboardInterrupt):
            show(printed)
        show(end)

    rows = [line.split()[0] for line in seen.screen().split("\n") if "★ best" in line]
    assert rows == ["1", "2"]
    assert " left" not in seen.screen()
