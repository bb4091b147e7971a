"""Names of folders that any file system takes, and files that are never half-written."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llm_tool.errors import DiskError, StudioError
from llm_tool.logs.files import check_place, disk_errors, replacing, safe_name, unique_name

RESERVED = {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"} | {
    f"{port}{digit}" for port in ("COM", "LPT") for digit in "0123456789¹²³"
}
ANY_TEXT = st.text(st.characters(), max_size=150)  # lone surrogates and controls included
ALIKE = st.text("aAéÉeE\u0301ſsSßK\u212aİiI．.", max_size=6)


def check_name(name: str) -> None:
    """Fail unless a name is good as one folder on Linux, macOS and Windows."""
    assert Path(name).name == name
    assert Path(name).parts == (name,)
    assert name not in {"", ".", ".."}
    assert len(name.encode("utf-8")) <= 100
    assert not set(name) & set('<>:"/\\|?*')
    assert not [c for c in name if unicodedata.category(c)[0] == "C" or c.isspace()]
    assert not name.startswith(".")
    assert not name.endswith(".")
    assert name.split(".")[0].upper() not in RESERVED


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("positive", "positive"),
        ("all-MiniLM-L6-v2", "all-MiniLM-L6-v2"),
        ("google-bert/bert-base", "google-bert_bert-base"),
        ("very positive", "very_positive"),
        ("", "_"),
        (".", "_"),
        ("..", "__"),
        ("../../etc/passwd", "___.._etc_passwd"),
        ("C:\\temp", "C__temp"),
        ("v1.2.", "v1.2_"),
        ("con", "_con"),
        ("NUL.txt", "_NUL.txt"),
        ("com¹", "_com¹"),
        ("console", "console"),
        ("a\x00b\nc\u202ed\ud800", "a_b_c_d_"),
        ("e\u0301te\u0301", "été"),
        ("政治", "政治"),
    ],
)
def test_a_name_stays_readable_and_is_made_safe(raw: str, name: str) -> None:
    assert safe_name(raw) == name
    check_name(name)


@given(ANY_TEXT)
@example("é" * 200)
@example("x" * 100 + ".")
@example("<\u0338")
def test_any_text_becomes_one_safe_component(raw: str) -> None:
    check_name(safe_name(raw))


@given(st.lists(ANY_TEXT | ALIKE, max_size=6))
@example(["x" * 200, "x" * 200, "x" * 200])
@example(["con", "CON", "Con"])
@example([".", "..", "_"])
def test_names_given_one_after_the_other_are_safe_and_never_the_same(raws: list[str]) -> None:
    taken: list[str] = []
    for raw in raws:
        name = unique_name(raw, taken)
        check_name(name)
        taken.append(name)

    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert len({unicodedata.normalize(form, n).casefold() for n in taken}) == len(taken)
        assert len({unicodedata.normalize(form, n).lower() for n in taken}) == len(taken)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Positive", "positive"),
        ("STRASSE", "straße"),
        ("e\u0301", "\u00e9"),
        ("\ufb01n", "fin"),
        ("\u212a", "k"),
        ("a b", "a/b"),
        ("x" * 150, "x" * 150),
    ],
)
def test_names_alike_to_some_file_system_get_different_folders(
    tmp_path: Path, one: str, other: str
) -> None:
    first = unique_name(one, [])
    second = unique_name(other, [first])

    assert first == safe_name(one)
    assert first.casefold() != second.casefold()
    (tmp_path / first).mkdir()
    (tmp_path / second).mkdir()


def test_the_same_names_in_the_same_order_give_the_same_folders() -> None:
    def named() -> list[str]:
        taken: list[str] = []
        for raw in ("a", "A", "a", "A "):
            taken.append(unique_name(raw, taken))
        return taken

    assert named() == named()
    assert named()[0] == "a"


def test_a_replaced_file_has_the_new_content_and_leaves_no_temporary_one(tmp_path: Path) -> None:
    path = tmp_path / "best.csv"
    path.write_text("old")

    with replacing(path) as file:
        file.write("new\n\r\n\ud800")
        assert path.read_text() == "old"

    assert path.read_bytes() == b"new\n\r\n\\ud800"
    assert os.listdir(tmp_path) == ["best.csv"]  # noqa: PTH208 - hidden files count


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, OSError])
def test_a_write_that_fails_leaves_the_old_file_and_no_temporary_one(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / "best.csv"
    path.write_text("old")

    def write_half() -> None:
        with replacing(path) as file:
            file.write("half of the")
            file.flush()
            raise error

    with pytest.raises(error):
        write_half()

    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["best.csv"]  # noqa: PTH208


def test_a_target_that_cannot_be_replaced_leaves_no_temporary_file(tmp_path: Path) -> None:
    (tmp_path / "best.csv").mkdir()

    with pytest.raises(OSError), replacing(tmp_path / "best.csv") as file:
        file.write("new")

    assert os.listdir(tmp_path) == ["best.csv"]  # noqa: PTH208


def test_a_refusal_of_the_file_system_says_what_where_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file, not a folder")

    with pytest.raises(StudioError) as caught, disk_errors(tmp_path, "Making the folder"):
        (tmp_path / "logs" / "x").mkdir()

    assert caught.value.what == "Making the folder failed: Not a directory."
    assert caught.value.where == str(tmp_path / "logs" / "x")
    assert "--logs-dir" in caught.value.remedy


def test_a_path_at_which_no_file_can_be_is_refused_before_the_work(tmp_path: Path) -> None:
    check_place(tmp_path / "new.csv")

    for path, said in ((tmp_path, "is a folder"), (tmp_path / "no" / "new.csv", "no folder for")):
        with pytest.raises(DiskError, match=said) as caught:
            check_place(path)
        assert caught.value.where == str(path)
