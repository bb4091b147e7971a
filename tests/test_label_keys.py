"""Spellings of label values: what is one class, what stays two, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from tests.test_schemes import as_csv, as_lines, load

Write = Callable[..., Path]
COMPOSED, DECOMPOSED = "écologie", "e\u0301cologie"


def table(write: Write, labels: Sequence[str]) -> Path:
    rows = [[f"the film number {i} was long", label] for i, label in enumerate(labels)]
    return write("a.csv", as_csv(["text", "tone"], rows))


def test_composed_and_decomposed_accents_are_one_class_and_said(write: Write) -> None:
    dataset = load(table(write, [COMPOSED, DECOMPOSED, "law", "law"]))
    assert dict(dataset.keys["tone"].counts) == {COMPOSED: 2, "law": 2}
    assert dataset.notes == (
        f"tone: '{COMPOSED}' is spelt in two ways that look alike (Unicode): one class.",
    )
    alone = load(table(write, [DECOMPOSED, DECOMPOSED, "law", "law"]))
    assert dict(alone.keys["tone"].counts) == {COMPOSED: 2, "law": 2}
    assert alone.notes == ()


def test_a_cell_with_both_spellings_has_the_value_once(write: Write) -> None:
    rows = [f"{COMPOSED};{DECOMPOSED};law", COMPOSED, "law", "law"]
    assert load(table(write, rows)).keys["tone"].values[0] == (COMPOSED, "law")


def test_groups_and_languages_are_joined_in_the_same_way(write: Write) -> None:
    rows = [
        ["a long film", "a", COMPOSED, "français"],
        ["a film", "b", DECOMPOSED, "franc\u0327ais"],
    ]
    path = write("a.csv", as_csv(["text", "tone", "outlet", "lang"], rows))
    dataset = load(path, label="tone", group_column="outlet", language_column="lang")
    assert set(dataset.groups) == {COMPOSED}
    assert dataset.language_list == ("FRANÇAIS",)


def test_case_makes_two_classes_and_is_said_and_blanks_around_make_none(write: Write) -> None:
    dataset = load(table(write, ["Positive", "positive ", " positive", "neg", "POSITIVE"]))
    assert dict(dataset.keys["tone"].counts) == {
        "positive": 2, "Positive": 1, "neg": 1, "POSITIVE": 1,
    }  # fmt: skip
    assert dataset.notes == (
        "tone: 'positive' (2 rows) and 'Positive' (1 row) and 'POSITIVE' (1 row) differ only in "
        "case: 3 classes.",
    )


def test_many_values_that_differ_in_case_are_said_in_few_notes(write: Write) -> None:
    labels = [spelling for word in "abcdefgh" for spelling in (word * 3, word.upper() * 3)] * 3
    notes = load(table(write, labels), label="tone").notes
    assert len(notes) == 6
    assert notes[-1] == "tone: 3 more such sets of values."


def test_what_was_written_and_taken_for_missing_is_said_with_its_rows(write: Write) -> None:
    dataset = load(table(write, ["NA", "DE", "", "NA ", "FR", "null", "DE", "FR"]))
    assert dataset.keys["tone"].values[:3] == ((), ("DE",), ())
    assert dataset.notes == (
        "tone: 'NA' was taken for no value in 2 rows (2, 5).",
        "tone: 'null' was taken for no value in 1 row (7).",
    )
    records = [
        {"text": "a long film", "areas": ["DE", "NA", "NA"]},
        {"text": "a film", "areas": ["DE"]},
    ]
    dataset = load(write("a.jsonl", as_lines(*records)), label="areas")
    assert dataset.keys["areas"].values == (("DE",), ("DE",))
    assert dataset.notes == ("areas: 'NA' was taken for no value in 1 row (1).",)
