"""What single modes ask and offer in a real terminal, beyond what all have in common."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from llm_tool.config import make_config
from llm_tool.config_files import read_config
from llm_tool.logs import read_metrics
from tests.terminal import DOWN, ESC, SPACE, UP, Terminal
from tests.test_six_modes import benchmark, choose_mode, custom, keep_columns, type_model

COMMAND = [sys.executable, "-m", "llm_tool"]


@pytest.fixture
def terminal(tmp_path: Path, tweets: Path, tiny_bert: Path) -> Iterator[Terminal]:
    for name in ("tiny", "rival"):
        shutil.copytree(tiny_bert, tmp_path / name)
    opened = Terminal([*COMMAND, "studio"], folder=tmp_path, columns=100, lines=60)
    yield opened
    opened.close()


@pytest.mark.parametrize(("keys", "picked"), [((), "winner"), ((DOWN,), "second")])
def test_after_a_benchmark_one_goes_on_with_the_winner_or_another_model(
    terminal: Terminal, tmp_path: Path, keys: tuple[str, ...], picked: str
) -> None:
    benchmark(terminal)
    terminal.answer("Start?")
    terminal.answer("Go on with a model?", *keys, seconds=120)
    if picked == "second":
        terminal.answer("Which model?", DOWN)
    ranked = [line.split()[1] for line in terminal.text().split("\n") if line[:3] in ("1. ", "2. ")]
    wanted = ranked[-2] if picked == "winner" else ranked[-1]

    terminal.answer("Which columns hold labels", DOWN, DOWN, DOWN, SPACE)  # only sentiment
    keep_columns(terminal)
    terminal.answer("Which columns does one model learn whole?")
    terminal.answer("Which model?")  # the one chosen before stands there
    terminal.answer("How many epochs?")
    terminal.answer("Work on weak classes after training?")
    terminal.answer("Start?")
    terminal.wait_for("1 of 1 jobs done", 120)

    (session,) = (tmp_path / "training_logs").iterdir()
    rows = read_metrics(session / "sentiment" / "best.csv")
    assert rows["model_identifier"].tolist() == ["j0001", "j0002", "j0003", "j0004", "j0009"]
    assert rows["model_name"].tolist()[-1] == wanted


def test_a_benchmark_can_be_left_at_its_ranking(terminal: Terminal) -> None:
    benchmark(terminal)
    terminal.answer("Start?")
    terminal.answer("Go on with a model?", UP, seconds=120)
    terminal.wait_for_question("What would you like to do?")


def test_settings_saved_from_custom_are_taken_back_unchanged(
    terminal: Terminal, tmp_path: Path
) -> None:
    custom(terminal)
    terminal.answer("Start?", DOWN, DOWN)  # save the settings to a file
    terminal.answer("Name of the file:", *["\b"] * len("custom.yaml"), "mine.yaml")
    terminal.wait_for("Saved. Next time: llm-tool train custom --config mine.yaml")
    terminal.wait_for_question("Start?")

    config = make_config(read_config(tmp_path / "mine.yaml"))

    assert config == make_config(
        {
            "mode": "custom",
            "data": "tweets.csv",
            "label": ["sentiment", "topic", "areas"],
            "one_vs_all": "topic",
            "model": "./tiny",
            "epochs": 1,
            "patience": 3,
            "class_weights": "balanced",
        }
    )
    # A file that is there is never replaced.
    terminal.answer("Start?", DOWN, DOWN)
    terminal.answer("Name of the file:", *["\b"] * len("custom.yaml"), "mine.yaml")
    terminal.wait_for("There is a file of this name.")


def test_a_setting_that_does_not_fit_is_explained_where_it_is_typed(terminal: Terminal) -> None:
    choose_mode(terminal, 2)
    terminal.answer("Which columns hold labels")
    keep_columns(terminal)
    terminal.answer("Which columns does one model learn whole?")
    type_model(terminal)
    terminal.answer("Change a setting?", "learning_rate")
    terminal.answer("learning_rate (empty: the default)", "3")
    terminal.wait_for("Input should be less than or equal to 1")
    terminal.press("\b", "5", "e", "-", "4", "\r")
    terminal.answer("Change a setting?", "done")
    assert "--learning-rate 0.0005" in terminal.wait_for("Start?")


def test_languages_can_be_detected_when_no_column_says_them(
    terminal: Terminal, tmp_path: Path, write: Callable[..., Path]
) -> None:
    english = "The minister said in parliament today that the budget would be voted on."
    french = "Le ministre a dit hier au parlement que le budget serait voté demain soir."
    rows = [f"{english if i % 2 else french} {i},{'yes' if i % 4 < 2 else 'no'}" for i in range(60)]
    write("plain.csv", "text,label\n" + "\n".join(rows) + "\n")
    terminal.answer("What would you like to do?")
    terminal.answer("Which file?")
    terminal.answer("Which column holds the texts?")
    terminal.answer("Which columns hold labels")
    terminal.answer("Which column holds the language?", DOWN)

    terminal.wait_for("EN 30 rows")
    terminal.answer("Languages: EN, FR. One model for all, or one for each?", DOWN)
    terminal.wait_for_question("Which model for EN?")


def test_escape_leaves_the_questions_of_a_mode_one_by_one(terminal: Terminal) -> None:
    choose_mode(terminal, 3)
    terminal.answer("Which columns hold labels")
    keep_columns(terminal)
    type_model(terminal)
    terminal.answer("One model for each label, or one network for all?", DOWN)
    terminal.wait_for_question("How many epochs?")  # no workers for one network
    for question in ("One model for each label", "Which model?", "Languages: EN, FR"):
        terminal.read(0.2)
        terminal.press(ESC)
        terminal.wait_for_question(question)
