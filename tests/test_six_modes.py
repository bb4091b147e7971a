"""All six run modes, from the menu and from the command line: the same files, the same summary."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from llm_tool.logs import read_metrics
from tests.terminal import DOWN, SPACE, UP, Terminal

COMMAND = [sys.executable, "-m", "llm_tool"]
Answers = Callable[[Terminal], None]
TIMES = ["timestamp", "seconds", "tokens_per_second"]


def choose_mode(terminal: Terminal, place: int) -> None:
    terminal.answer("What would you like to do?", *[DOWN] * place)
    terminal.answer("Which file?")
    terminal.answer("Which column holds the texts?")


def keep_columns(terminal: Terminal) -> None:
    terminal.answer("Which column holds the language?")
    terminal.answer("Which column holds row ids?")
    terminal.answer("One model for all, or one for each?")


def type_model(terminal: Terminal) -> None:
    terminal.answer("Which model?", DOWN)
    terminal.answer("Hub id or folder of the model:", "./tiny")


def quick(terminal: Terminal) -> None:
    choose_mode(terminal, 0)
    terminal.answer("Which columns hold labels")
    keep_columns(terminal)
    type_model(terminal)
    terminal.answer("How many epochs?", "2")
    terminal.answer("Work on weak classes after training?")


def benchmark(terminal: Terminal) -> None:
    choose_mode(terminal, 1)
    terminal.answer("Which columns hold labels", DOWN, DOWN, DOWN, DOWN, SPACE)  # without areas
    keep_columns(terminal)
    # Two models are marked; only the embedded one is here, so one is typed in its place.
    terminal.answer("Which models for all rows?", SPACE, DOWN, SPACE)
    terminal.answer("Hub ids or folders", "./tiny, ./rival")
    terminal.answer("Train with several seeds?", "1,2")
    terminal.answer("How many epochs?", "1")
    terminal.answer("Work on weak classes after training?")


def custom(terminal: Terminal) -> None:
    choose_mode(terminal, 2)
    terminal.answer("Which columns hold labels")
    keep_columns(terminal)
    terminal.answer("Which columns does one model learn whole?", DOWN, SPACE)  # topic: one-vs-all
    type_model(terminal)
    terminal.answer("Change a setting?", "epochs")
    terminal.answer("epochs", "1")
    terminal.answer("Change a setting?", "patience")
    terminal.answer("patience", "3")
    terminal.answer("Change a setting?", "class_weights")
    terminal.answer("class_weights", DOWN)
    terminal.answer("Change a setting?", "done")


def distributed(terminal: Terminal) -> None:
    choose_mode(terminal, 3)
    terminal.answer("Which columns hold labels")
    keep_columns(terminal)
    type_model(terminal)
    terminal.answer("One model for each label, or one network for all?")
    terminal.answer("How many models at the same time?", "2")
    terminal.answer("How many epochs?", "1")
    terminal.answer("Work on weak classes after training?")


def hybrid(terminal: Terminal) -> None:
    choose_mode(terminal, 4)
    terminal.answer("Which columns hold labels")
    keep_columns(terminal)
    terminal.answer("Which columns does one model learn whole?")
    type_model(terminal)
    terminal.answer("How many epochs?", "1")
    terminal.answer("Work on weak classes after training?", DOWN)


def reinforced(terminal: Terminal) -> None:
    choose_mode(terminal, 5)
    terminal.answer("Which columns hold labels")
    keep_columns(terminal)
    type_model(terminal)
    terminal.answer("How many epochs?", "1")
    terminal.answer("Work on classes with a validation F1 under:", "1")


JOBS = {
    "quick": (quick, 2),
    "benchmark": (benchmark, 8),
    "custom": (custom, 7),
    "distributed": (distributed, 3),
    "hybrid": (hybrid, 5),
    "reinforced": (reinforced, 2),
}


def shown_command(text: str) -> list[str]:
    """Return the words of the command that the plan shows."""
    below = text[text.index("Same thing without questions:") :].split("\n")[1:]
    lines = []
    for line in below:
        lines.append(line.strip().removesuffix("\\"))
        if not line.rstrip().endswith("\\"):
            break
    return shlex.split(" ".join(lines))


def epoch_rows(text: str) -> list[list[str]]:
    """Return the rows of scores on a screen, without what a clock says."""
    times = re.compile(r"\s(\d+\.\d s|\d+ s|\d+m \d\ds)(?=\s|$)")
    rows = [times.sub(" ", line).split() for line in text.split("\n")]
    scores = re.compile(r"\d\.\d{3,4}")
    rows = [words for words in rows if "±" not in words]  # a ranking shows tokens a second
    return [words for words in rows if sum(bool(scores.fullmatch(w)) for w in words) >= 2]


def tree(folder: Path) -> list[str]:
    """Return the files below a session's folder."""
    paths = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    return sorted(path for path in paths if not path.endswith(".lock"))


def table(path: Path) -> str:
    """Return a training.csv or best.csv without what differs from run to run."""
    frame = read_metrics(path).drop(columns=TIMES)
    if "saved_model_path" in frame:
        frame["saved_model_path"] = [Path(p).parts[-2:] for p in frame["saved_model_path"]]
    return path.read_text("utf-8").split("\n", 4)[4].split("\n")[0] + frame.to_string()


@pytest.mark.parametrize("mode", JOBS)
def test_each_mode_does_the_same_from_the_menu_and_from_the_command_line(
    mode: str, tweets: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    for name in ("tiny", "rival"):
        shutil.copytree(tiny_bert, tmp_path / name)
    answers, jobs = JOBS[mode]
    studio = Terminal([*COMMAND, "studio"], folder=tmp_path, columns=100, lines=60)
    command = None
    try:
        answers(studio)
        studio.answer("Start?")
        by_menu = studio.wait_for(f"{jobs} of {jobs} jobs done", 120)
        if mode == "benchmark":
            studio.answer("Go on with a model?", UP)  # stop
        studio.answer("What would you like to do?", UP)
        assert studio.exit_code() == 0

        words = shown_command(by_menu)
        assert words[:4] == ["llm-tool", "train", mode, "tweets.csv"]
        command = Terminal(
            [*COMMAND, *words[1:], "--logs-dir", "logs_2", "--models-dir", "models_2"],
            folder=tmp_path,
            columns=100,
            lines=60,
        )
        by_command = command.wait_for(f"{jobs} of {jobs} jobs done", 120)
        assert command.exit_code() == 0
    finally:
        for terminal in filter(None, (studio, command)):
            terminal.close()

    (menu_logs,), (command_logs,) = [
        list((tmp_path / folder).iterdir()) for folder in ("training_logs", "logs_2")
    ]
    (menu_models,), (command_models,) = [
        list((tmp_path / folder).iterdir()) for folder in ("models", "models_2")
    ]
    assert tree(menu_logs) == tree(command_logs)
    assert tree(menu_models) == tree(command_models)
    metrics = [name for name in tree(menu_logs) if name.endswith(".csv")]
    assert metrics
    for name in metrics:
        assert table(menu_logs / name) == table(command_logs / name)
    shown = epoch_rows(by_menu)
    assert sorted(shown) == sorted(epoch_rows(by_command))
    epochs = sum(len(read_metrics(menu_logs / n)) for n in metrics if n.endswith("training.csv"))
    assert len(shown) >= epochs  # no epoch without its line
