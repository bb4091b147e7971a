"""Text that is not ours never steers the terminal and always fits its column."""

from __future__ import annotations

import shutil
import subprocess
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_tool.text import plural, shell_word, shorten, visible

anything = st.text(st.characters(exclude_categories=()))  # lone surrogates too


@given(anything)
def test_no_control_bidi_or_invisible_character_is_left(text: str) -> None:
    shown = visible(text)
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    shown.encode("utf-8")
    assert visible(shown) == shown


@given(st.text(st.characters(exclude_categories=("Cc", "Cf", "Cs", "Zl", "Zp"))))
def test_ordinary_text_is_shown_as_it_is(text: str) -> None:
    assert visible(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\r\nb\tc", "a\\r\\nb\\tc"),
        ("\x00\x7f\x9b", "\\x00\\x7f\\x9b"),
        ("user\u202efdp.exe", "user\\u202efdp.exe"),
        ("\u2066x\u2069", "\\u2066x\\u2069"),
        ("zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff"),
        ("\u2028\u2029", "\\u2028\\u2029"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
        ("[bold]é 日本 👍[/bold]", "[bold]é 日本 👍[/bold]"),
    ],
)
def test_what_a_terminal_might_act_on_is_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_a_word_of_a_command_is_safe_to_print_and_the_same_to_a_shell() -> None:
    words = [
        "a b",
        "it's",
        "",
        "-x",
        "\x1b[2J",
        "\u202e'\\x41\n",
        "\x1bff",
        "é\U000e0041'",
        "$HOME\x7f",
    ]
    quoted = [shell_word(word) for word in words]

    assert [visible(word) for word in quoted] == quoted
    command = ["bash", "-c", f"printf '%s\\0' {' '.join(quoted)}"]
    done = subprocess.run(command, env={"LC_ALL": "C.UTF-8"}, capture_output=True, check=True)
    assert done.stdout.decode().split("\0")[:-1] == words


@given(anything, st.integers(-3, 60))
def test_shortened_text_is_never_wider_than_its_column(text: str, width: int) -> None:
    short = shorten(text, width)
    assert len(short) <= max(width, 0)
    if len(text) <= width:
        assert short == text
    elif width >= 2:
        assert len(short) == width
        assert short[width // 2] == "…"
        assert text.startswith(short[: width // 2])
        assert text.endswith(short[width // 2 + 1 :])


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (17, "bert-base-uncased"),
        (16, "bert-bas…uncased"),
        (5, "be…ed"),
        (4, "be…d"),
        (2, "b…"),
        (1, "…"),
        (0, ""),
        (-1, ""),
    ],
)
def test_names_are_cut_in_the_middle(width: int, shown: str) -> None:
    assert shorten("bert-base-uncased", width) == shown


@pytest.mark.parametrize(
    ("count", "shown"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (1200, "1,200 rows")]
)
def test_a_count_goes_with_its_noun(count: int, shown: str) -> None:
    assert plural(count, "row") == shown
