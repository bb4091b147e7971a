"""Label schemes: recognised, turned into one column a key, and left alone where it is not clear."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from llm_tool.config import make_config
from llm_tool.data.dataset import Dataset, load_dataset, open_table
from llm_tool.data.schemes import Arranged, arrange
from llm_tool.errors import StudioError

Write = Callable[..., Path]
Rows = Sequence[Sequence[str]]
COUNT = 24


def as_csv(header: Sequence[str], rows: Rows) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([header, *rows])
    return out.getvalue()


def as_lines(*records: dict[str, Any]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def load(path: Path, **settings: object) -> Dataset:
    return load_dataset(make_config({"data": str(path), **settings}))


def arranged(path: Path, **settings: object) -> Arranged:
    config = make_config({"data": str(path), **settings})
    return arrange(open_table(config), config)


def values(dataset: Dataset, first: int | None = None) -> dict[str, list[tuple[str, ...]]]:
    return {name: list(key.values[:first]) for name, key in dataset.keys.items()}


def refusal(path: Path, **settings: object) -> tuple[str, str, str]:
    with pytest.raises(StudioError) as caught:
        load(path, **settings)
    where = caught.value.where.replace(str(path), path.name)
    return caught.value.what, where, caught.value.remedy


def with_texts(header: Sequence[str], *cells: Sequence[str], rows: int = COUNT) -> str:
    """Return a CSV with texts and columns that repeat the given cells."""
    lines = [
        [f"the film number {i} was long", *(own[i % len(own)] for own in cells)]
        for i in range(rows)
    ]
    return as_csv(["text", *header], lines)


# ── plain columns ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("scheme", ["auto", "columns"])
def test_plain_columns_stay_as_they_are(write: Write, scheme: str) -> None:
    path = write(
        "a.csv",
        with_texts(["sentiment", "areas"], ["pos", "neg"], ["eco;law", "eco", "", "law"]),
    )
    found = arranged(path, scheme=scheme)
    assert found.changes == found.notes == ()
    assert found.table.frame.equals(open_table(make_config({"data": str(path)})).frame)
    assert values(load(path, scheme=scheme), 4) == {
        "sentiment": [("pos",), ("neg",), ("pos",), ("neg",)],
        "areas": [("eco", "law"), ("eco",), (), ("law",)],
    }


@pytest.mark.parametrize(
    ("labels", "expected", "uncoded"),
    [
        ([{"label": "pos"}, {"label": "neg"}, {}], {"label": [("pos",), ("neg",), ()]}, set()),
        (
            [{"labels": ["eco", "law"]}, {"labels": []}, {"labels": None}],
            {"labels": [("eco", "law"), (), ()]},
            {2},
        ),
        (
            [
                {"labels": {"tone": "pos", "themes": ["eco"]}},
                {"labels": {"tone": "neg", "themes": []}},
                {"labels": {}},
            ],
            {"tone": [("pos",), ("neg",), ()], "themes": [("eco",), (), ()]},
            {2},
        ),
        (
            [
                {"labels": {"eco": 1, "law": True, "vote": 0}},
                {"labels": {"eco": 0, "law": False, "vote": 0}},
                {"labels": {"eco": 1, "law": False, "vote": 1}},
            ],
            {"labels": [("eco", "law"), (), ("eco", "vote")]},
            set(),
        ),
    ],
    ids=["label", "labels as list", "labels as object", "labels as object of yes and no"],
)
def test_json_lines_have_label_or_labels(
    write: Write,
    labels: list[dict[str, Any]],
    expected: dict[str, list[tuple[str, ...]]],
    uncoded: set[int],
) -> None:
    records = [{"text": f"the film number {i} was long"} | own for i, own in enumerate(labels)]
    names = () if expected.keys() == {"labels"} else tuple(expected)
    dataset = load(write("a.jsonl", as_lines(*records)), label=names or ("labels",))
    assert values(dataset) == expected
    assert set().union(*(key.uncoded for key in dataset.keys.values())) == uncoded
    assert dataset.ids == ("1", "2", "3")


# ── one 0/1 column per label ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("names", "key"),
    [
        (["theme_eco", "theme_law", "theme_vote"], "theme"),
        (["theme.eco", "theme.law", "theme.vote"], "theme"),
        (["theme: eco", "theme: law", "theme: vote"], "theme"),
        (["policy_area_eco", "policy_area_law", "policy_area_vote"], "policy_area"),
        (["is_eco", "is_law", "is_vote"], "labels"),
        (["eco", "law", "vote"], "labels"),
    ],
)
@pytest.mark.parametrize(
    ("yes", "no"),
    [("1", "0"), ("1.0", "0.0"), ("True", "False"), ("yes", "No"), ("oui", "non"), ("x", "")],
)
def test_columns_of_yes_and_no_become_one_of_lists(
    write: Write, names: list[str], key: str, yes: str, no: str
) -> None:
    cells = ([yes, no], [yes, no, no], [no, yes, no, no, yes])
    dataset = load(write("a.csv", with_texts(names, *cells)))
    assert list(dataset.keys) == [key]
    assert dataset.keys[key].multi
    assert values(dataset, 6)[key] == [
        ("eco", "law"), ("vote",), ("eco",), ("law",), ("eco", "vote"), (),
    ]  # fmt: skip
    assert dataset.keys[key].uncoded == frozenset()
    assert dataset.notes[0] == (
        f"Labels: one 0/1 column per label: {', '.join(names)} (3 labels of '{key}')."
    )
    rows = "5 rows (7, 9, 15, 19, 25)"
    blank = f"no mark in {rows}: none of the labels, or not coded; the file does not tell."
    assert dataset.notes[1:] == (f"{key}: {f'none of the labels in {rows}.' if no else blank}",)


def test_none_of_the_labels_is_told_from_not_coded(write: Write) -> None:
    rows = [["1", "0"], ["0", "0"], ["", ""], ["1", ""], ["0", "1"], ["NA", ""]]
    lines = [[f"the film number {i}", *own] for i, own in enumerate(rows)]
    dataset = load(write("a.csv", as_csv(["text", "theme_eco", "theme_law"], lines)))
    key = dataset.keys["theme"]
    assert key.values == (("eco",), (), (), ("eco",), ("law",), ())
    assert key.uncoded == {2, 5}
    assert dataset.notes == (
        "Labels: one 0/1 column per label: theme_eco, theme_law (2 labels of 'theme').",
        "theme: none of the labels in 1 row (3).",
        "theme: not coded, all cells empty, in 2 rows (4, 7).",
        "theme: some cells empty, taken for no, in 1 row (5).",
    )


def test_exactly_one_in_each_coded_row_is_a_key_of_one_value(write: Write) -> None:
    cells = (["1", "0", "0", ""], ["0", "1", "0", ""], ["0", "0", "1", ""])
    dataset = load(write("a.csv", with_texts(["tone_pos", "tone_neg", "tone_mixed"], *cells)))
    key = dataset.keys["tone"]
    assert not key.multi
    assert key.values[:4] == (("pos",), ("neg",), ("mixed",), ())
    assert "one in each row" in dataset.notes[0]


def test_a_column_of_languages_can_be_folded_too(write: Write) -> None:
    content = with_texts(["tone", "lang_en", "lang_fr"], ["p", "n", "n"], ["1", "0"], ["0", "1"])
    dataset = load(write("a.csv", content))
    assert dataset.columns.language == "lang"
    assert dataset.languages[:2] == ("EN", "FR")
    assert list(dataset.keys) == ["tone"]


YES_NO = (["1", "0"], ["1", "0", "0"], ["0", "1", "0", "0", "1"])


@pytest.mark.parametrize(
    "names",
    [
        ["is_toxic"],
        ["toxic", "spam"],
        ["is_toxic", "is_spam"],
        ["annotator_A", "annotator_B", "annotator_C"],
        ["annotator1", "annotator2", "annotator3"],
        ["toxic_1", "toxic_2", "toxic_3"],
        ["toxic_gold", "toxic_predicted"],
    ],
)
def test_single_numbered_and_coders_columns_of_yes_and_no_stay(
    write: Write, names: list[str]
) -> None:
    path = write("a.csv", with_texts(names, *YES_NO[: len(names)]))
    assert arranged(path).changes == ()
    assert list(load(path).keys) == names


def test_columns_with_more_than_yes_and_no_stay(write: Write) -> None:
    names = ["theme_eco", "theme_law"]
    assert arranged(write("a.csv", with_texts(names, *YES_NO[:1], ["0", "1", "2"]))).changes == ()
    assert arranged(write("b.csv", with_texts(names, ["1", "no"], ["yes", "0"]))).changes == ()


def test_at_most_one_of_columns_side_by_side_says_nothing_clear(write: Write) -> None:
    cells = (["1", "0", "0", "0"], ["0", "1", "0", "0"], ["0", "0", "1", "0"])
    assert arranged(write("a.csv", with_texts(["male", "old", "rich"], *cells))).changes == ()


def test_columns_that_are_named_one_by_one_stay_unless_the_scheme_is_named(write: Write) -> None:
    names = ["theme_eco", "theme_law", "theme_vote"]
    path = write("a.csv", with_texts(names, *YES_NO))
    assert list(load(path, label="theme_law").keys) == ["theme_law"]
    assert list(load(path, one_vs_all="theme_law").keys) == names
    assert list(load(path, label="theme").keys) == ["theme"]
    assert list(load(path, group_column="theme_vote").keys) == ["theme"]

    forced = load(path, scheme="indicators", label=("theme_eco", "theme_vote"))
    assert list(forced.keys) == ["theme"]
    assert forced.keys["theme"].values[:5] == (("eco",), ("vote",), ("eco",), (), ("eco", "vote"))


def test_what_is_not_clear_can_be_asked_for(write: Write) -> None:
    path = write("a.csv", with_texts(["toxic", "spam"], *YES_NO[:2]))
    assert arranged(path).changes == ()
    dataset = load(path, scheme="indicators")
    assert values(dataset, 4) == {"labels": [("toxic", "spam"), (), ("toxic",), ("spam",)]}


def test_a_key_never_takes_the_name_of_a_column(write: Write) -> None:
    content = with_texts(["theme", "theme_eco", "theme_law"], ["a", "b"], *YES_NO[:2])
    assert list(load(write("a.csv", content)).keys) == ["theme", "theme_labels"]


def test_a_label_that_no_row_has_is_said(write: Write) -> None:
    dataset = load(write("a.csv", with_texts(["t_eco", "t_law"], ["1", "0"], ["0"])))
    assert dataset.notes[-1] == "t: no row has t_law."
    assert dict(dataset.keys["t"].counts) == {"eco": 12}


@pytest.mark.parametrize(
    ("settings", "what", "where", "remedy"),
    [
        (
            {"label": ("theme_eco", "tone")},
            "The column 'tone' does not say yes or no in every row.",
            "--scheme indicators, a.csv",
            "Such a column holds 1 and 0, true and false, yes and no, or x and nothing.",
        ),
        (
            {"group_column": "theme_eco"},
            "There is no set of 0/1 columns, one for each label.",
            "a.csv",
            "Name them with --label, one by one. Columns: text, theme_eco, tone.",
        ),
    ],
)
def test_asking_for_0_1_columns_where_there_are_none_is_refused(
    write: Write, settings: dict[str, Any], what: str, where: str, remedy: str
) -> None:
    path = write("a.csv", with_texts(["theme_eco", "tone"], ["1", "0"], ["pos", "neg"]))
    assert refusal(path, scheme="indicators", **settings) == (what, where, remedy)


# ── long format ───────────────────────────────────────────────────────────────────────────────

LONG = ["doc_id", "text", "lang", "variable", "value"]


def long_rows(count: int = 12) -> list[list[str]]:
    rows = []
    for i in range(count):
        own = [f"d{i}", f"the film number {i} was long", "en"]
        rows.append([*own, "tone", "pos" if i % 2 else "neg"])
        rows += [[*own, "theme", theme] for theme in ("eco", "law", "vote")[i % 3 :]]
    return rows


def test_the_long_format_becomes_one_row_a_text(write: Write) -> None:
    dataset = load(write("a.csv", as_csv(LONG, long_rows())))
    assert dataset.ids[:2] == ("d0", "d1")
    assert dataset.texts[:2] == ("the film number 0 was long", "the film number 1 was long")
    assert set(dataset.languages) == {"EN"}
    assert values(dataset, 3) == {
        "tone": [("neg",), ("pos",), ("neg",)],
        "theme": [("eco", "law", "vote"), ("law", "vote"), ("vote",)],
    }
    assert {name: key.multi for name, key in dataset.keys.items()} == {"tone": False, "theme": True}
    assert dataset.notes == (
        "Labels: long format: 'variable' names the key, 'value' the value; 36 rows are 12 texts; "
        "2 keys: tone, theme (several values a text).",
    )


def test_rows_keep_the_number_of_the_first_row_of_their_text(write: Write) -> None:
    rows = [row[1:] for row in long_rows()]
    rows += [["", "en", "tone", "pos"], ["", "en", "tone", "neg"]]
    path = write("a.csv", as_csv(LONG[1:], rows))
    assert list(arranged(path).table.row_numbers)[:4] == [2, 6, 9, 11]
    dataset = load(path)
    assert dataset.ids[:4] == ("2", "6", "9", "11")
    assert dataset.notes[1:] == ("2 rows (38, 39) left out: no text.",)


def test_rows_of_a_text_need_not_stand_together_and_may_leave_out_what_they_share(
    write: Write,
) -> None:
    rows = sorted(long_rows(), key=lambda row: (row[3], row[4], row[0]))
    for row in rows[1:]:
        if row[3] == "tone":
            row[1] = row[2] = ""
    dataset = load(write("a.csv", as_csv(LONG, rows)))
    by_id = dict(zip(dataset.ids, zip(dataset.texts, dataset.languages, strict=True), strict=True))
    assert by_id["d7"] == ("the film number 7 was long", "EN")
    assert len(dataset.texts) == 12


def test_what_is_left_out_of_a_long_table_is_said(write: Write) -> None:
    rows = [[*row, f"r{n}", f"0.{n}"] for n, row in enumerate(long_rows())]
    rows[4][3] = ""
    rows[5][4] = ""
    dataset = load(write("a.csv", as_csv([*LONG, "row_id", "score"], rows)))
    assert dataset.keys["tone"].values[1] == ()
    assert dataset.keys["theme"].values[1] == ("vote",)
    assert dataset.notes[1:] == (
        "1 row (6) left out: a value without a key in the column 'variable'.",
        "Left out, as rows of one text differ in it: row_id, score.",
    )


def test_a_second_value_in_hardly_any_text_is_pointed_at(write: Write) -> None:
    rows = long_rows(30)
    rows.append([*rows[0][:3], "tone", "pos"])
    dataset = load(write("a.csv", as_csv(LONG, rows)))
    assert dataset.keys["tone"].multi
    assert dataset.notes[1:] == (
        "tone: several values in only 1 text (from row 2), and so multi-valued.",
    )


def test_the_long_format_of_0_1_columns_is_read_as_both(write: Write) -> None:
    lines = [
        [f"the film number {i} was long", name, "1" if (i + place) % 3 == 0 else "0"]
        for i in range(12)
        for place, name in enumerate(("theme_eco", "theme_law", "theme_vote", "theme_war"))
    ]
    path = write("a.csv", as_csv(["text", "variable", "value"], lines))
    assert [change.scheme for change in arranged(path).changes] == ["long", "indicators"]
    dataset = load(path, label="variable")
    assert list(dataset.keys) == ["variable"]  # named, and so as it is
    dataset = load(path)
    assert values(dataset, 3) == {"theme": [("eco", "war"), ("vote",), ("law",)]}


@pytest.mark.parametrize(
    ("header", "change"),
    [
        (["doc_id", "text", "annotator", "label"], None),
        (["doc_id", "text", "annotator", "variable", "value"], None),
        (["doc_id", "text", "source", "variable", "value"], None),
        (["doc_id", "text", "category", "label"], None),
        (["doc_id", "text", "thing", "value"], None),
    ],
    ids=["coders", "long with coders", "another difference", "one row a text", "unknown name"],
)
def test_what_may_be_something_else_than_long_stays(
    write: Write, header: list[str], change: None
) -> None:
    rows = []
    for i in range(12):
        for j in range(1 if "category" in header else 2):
            cells = {
                "doc_id": f"d{i}",
                "text": f"the film number {i} was long",
                "annotator": "AB"[j],
                "source": "AB"[j],
                "variable": ("tone", "theme")[j],
                "category": "ab"[i % 2],
                "thing": ("tone", "theme")[j],
                "label": "xyz"[i % 3],
                "value": "xyz"[i % 3],
            }
            rows.append([cells[name] for name in header])
    assert arranged(write("a.csv", as_csv(header, rows))).changes == ()


def test_an_id_that_several_texts_share_names_no_text(write: Write) -> None:
    rows = [["topic 1", *row[1:]] for row in long_rows()]
    path = write("a.csv", as_csv(LONG, rows))
    assert len(load(path).texts) == 12
    assert arranged(path, id_column="doc_id").changes == ()


@pytest.mark.parametrize("column", ["lang", "split", "outlet"])
def test_rows_of_one_text_must_not_contradict_each_other(write: Write, column: str) -> None:
    header = [*LONG[:2], column, *LONG[3:]]
    rows = long_rows()
    for row in rows:
        row[2] = {"lang": "en", "split": "train", "outlet": "Le Monde"}[column]
    rows[-1][2] = {"lang": "en", "split": "test", "outlet": "The Times"}[column]
    rows[2][2] = {"lang": "fr", "split": "test", "outlet": "The Times"}[column]
    path = write("a.csv", as_csv(header, rows))
    settings = {"group_column": "outlet"} if column == "outlet" else {}
    says = {
        "lang": "'en' and 'fr'",
        "split": "'train' and 'test'",
        "outlet": "'Le Monde' and 'The Times'",
    }
    assert refusal(path, **settings) == (
        f"Two rows of one text say {says[column]} in the column '{column}'.",
        "a.csv, rows 2 and 4",
        "Correct one of them, or keep the rows as they are with --scheme columns.",
    )
    assert len(load(path, **settings, scheme="columns", text_column="text").texts) == 36


def test_other_names_of_key_and_value_can_be_given(write: Write) -> None:
    path = write("a.csv", as_csv([*LONG[:3], "what", "it_is"], long_rows()))
    assert arranged(path).changes == ()
    expected = values(load(write("b.csv", as_csv(LONG, long_rows()))))
    for settings in ({}, {"scheme": "long"}):
        dataset = load(path, key_column="what", value_column="it_is", **settings)
        assert values(dataset) == expected


@pytest.mark.parametrize(
    ("settings", "what", "where"),
    [
        ({"key_column": "waht"}, "There is no column 'waht'.", "--key-column, a.csv"),
        ({}, "No column is known to hold the keys of the long format.", "a.csv"),
        (
            {"key_column": "what"},
            "No column is known to hold the values of the long format.",
            "a.csv",
        ),
        (
            {"key_column": "empty", "value_column": "it_is"},
            "The column 'empty' names no keys.",
            "--key-column, a.csv",
        ),
    ],
)
def test_asking_for_the_long_format_where_it_does_not_fit_is_refused(
    write: Write, settings: dict[str, str], what: str, where: str
) -> None:
    rows = [[*row, ""] for row in long_rows()]
    path = write("a.csv", as_csv([*LONG[:3], "what", "it_is", "empty"], rows))
    assert refusal(path, scheme="long", **settings)[:2] == (what, where)


def test_several_coders_are_never_taken_for_several_values(write: Write) -> None:
    rows = [[*row, coder] for row in long_rows() for coder in "AB"]
    path = write("a.csv", as_csv([*LONG, "coder"], rows))
    assert refusal(path, scheme="long") == (
        "Several people coded one text (column 'coder'), and who is right is not known.",
        "a.csv",
        "Leave one value for each text and key in the file.",
    )


def test_key_and_value_columns_are_for_the_long_format_only() -> None:
    with pytest.raises(StudioError, match="key_column and value_column are for the scheme long"):
        make_config({"key_column": "k", "scheme": "json"})
