"""The question of the label scheme in a real terminal: shown with rows, and gone back from."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from llm_tool.config import make_config
from llm_tool.data.dataset import load_dataset
from tests.terminal import DOWN, ESC, UP, Terminal
from tests.test_schemes import LONG, YES_NO, as_csv, long_rows, with_texts
from tests.test_six_modes import shown_command

NAMES = ["theme_eco", "theme_law", "theme_vote"]


@pytest.fixture
def terminal(tmp_path: Path, tiny_bert: Path) -> Iterator[Terminal]:
    shutil.copytree(tiny_bert, tmp_path / "tiny")
    opened = Terminal([sys.executable, "-m", "llm_tool", "studio"], folder=tmp_path, columns=100)
    yield opened
    opened.close()


def to_the_plan(terminal: Terminal) -> None:
    terminal.answer("Which column holds the language?")
    terminal.answer("Which model?", DOWN)
    terminal.answer("Hub id or folder of the model:", "./tiny")
    terminal.answer("One model for each label, or one network for all?")
    terminal.answer("How many models at the same time?")
    terminal.answer("How many epochs?")
    terminal.answer("Work on weak classes after training?")
    terminal.wait_for_question("Start?", 120)


def test_what_was_recognised_is_shown_with_rows_and_taken_with_enter(
    terminal: Terminal, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text(with_texts(NAMES, *YES_NO, rows=60))
    terminal.answer("What would you like to do?", *[DOWN] * 3)
    terminal.answer("Which file?")
    terminal.wait_for_question("Read the labels so?")
    shown = " ".join(terminal.text().split())
    assert (
        "This looks like one 0/1 column per label: theme_eco, theme_law, theme_vote (3 labels of "
        "'theme'). theme_eco = 1, theme_law = 1, theme_vote = 0 → theme = eco; law"
    ) in shown
    terminal.answer("Read the labels so?")
    terminal.wait_for_question("Which column holds the texts?")
    assert "text: text   labels: theme\n  theme: several a row: eco, vote, law\n" in terminal.text()
    terminal.answer("Which column holds the texts?")
    terminal.answer("Which columns hold labels")
    to_the_plan(terminal)

    words = shown_command(terminal.text())
    assert words[2:6] == ["distributed", "a.csv", "-l", "theme"]
    assert "--scheme" not in words
    dataset = load_dataset(make_config({"data": str(tmp_path / "a.csv"), "label": "theme"}))
    assert list(dataset.keys) == ["theme"]


def test_the_columns_of_the_file_can_be_kept_and_the_answer_changed(
    terminal: Terminal, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text(with_texts(NAMES, *YES_NO, rows=60))
    terminal.answer("What would you like to do?", *[DOWN] * 3)
    terminal.answer("Which file?")
    terminal.wait_for_question("Read the labels so?")
    terminal.press(ESC)
    terminal.answer("Which file?")
    terminal.answer("Read the labels so?", DOWN)
    terminal.wait_for_question("Which column holds the texts?")
    terminal.press(ESC)
    terminal.answer("Read the labels so?", UP)  # the answer before stands there
    terminal.wait_for_question("Which column holds the texts?")
    terminal.press(ESC)
    terminal.answer("Read the labels so?", DOWN)
    terminal.answer("Which column holds the texts?")
    terminal.answer("Which columns hold labels")
    to_the_plan(terminal)

    words = shown_command(terminal.text())
    assert words[words.index("--scheme") + 1] == "columns"
    assert [words[i + 1] for i, word in enumerate(words) if word == "-l"] == NAMES


def test_a_long_table_that_contradicts_itself_can_be_kept_as_it_is(
    terminal: Terminal, tmp_path: Path
) -> None:
    rows = long_rows(30)
    rows[1][2] = "fr"
    (tmp_path / "a.csv").write_text(as_csv(LONG, rows))
    terminal.answer("What would you like to do?")
    terminal.answer("Which file?")
    terminal.wait_for("Two rows of one text say 'en' and 'fr' in the column 'lang'.")
    terminal.wait_for_question("Which column holds the texts?")


def test_plain_columns_are_shown_with_their_values_and_without_a_question(
    terminal: Terminal, tmp_path: Path
) -> None:
    tones, areas = ["pos", "neg"], ["eco;law", "eco", "law"]
    (tmp_path / "a.csv").write_text(with_texts(["tone", "areas"], tones, areas))
    terminal.answer("What would you like to do?")
    terminal.answer("Which file?")
    terminal.wait_for_question("Which column holds the texts?")
    shown = terminal.text()
    assert "  tone: one value a row: pos, neg\n  areas: several, by ';': eco, law\n" in shown
    assert "Read the labels so?" not in shown
