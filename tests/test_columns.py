"""Roles of columns: guessed from what a table holds, and always the user's to overrule."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from llm_tool.config import make_config
from llm_tool.data.columns import Columns, choose_columns, is_missing, separator
from llm_tool.data.dataset import open_table
from llm_tool.data.loaders import read_table
from llm_tool.errors import StudioError

Write = Callable[..., Path]
REAL = Path(__file__).parents[2] / "shared" / "data"


def choose(path: Path | str, **settings: object) -> Columns:
    config = make_config({"data": str(path), **settings})
    return choose_columns(open_table(config), config)


def refusal(path: Path, **settings: object) -> tuple[str, str, str]:
    with pytest.raises(StudioError) as caught:
        choose(path, **settings)
    where = caught.value.where.replace(str(path), path.name)
    return caught.value.what, where, caught.value.remedy


def table(write: Write, header: str, *columns: tuple[str, ...], rows: int = 24) -> Path:
    """Write a table whose columns repeat the given cells; ``#`` becomes the number of the row."""
    lines = [
        ",".join(cells[i % len(cells)].replace("#", str(i)) for cells in columns)
        for i in range(rows)
    ]
    return write("a.csv", "\n".join([header, *lines]) + "\n")


TEXTS = ("the film number # was long",)


def test_the_columns_of_the_demo_data_are_all_recognised() -> None:
    assert choose("demo") == Columns(
        text="text",
        labels=("specific_themes", "sentiment", "political_parties", "policy_areas"),
        language="lang",
        id="id",
    )


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the public data sets are not in {REAL}")
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "sentiment_en_fr_es.csv",
            Columns("text", ("sentiment",), language="lang", split="split"),
        ),
        ("clinc150_small.csv", Columns("text", ("domain", "intent"), split="split")),
        (
            "emotions_multilabel.jsonl",
            Columns("text", ("emotions", "polarity"), language="lang", id="id", split="split"),
        ),
    ],
)
def test_the_columns_of_published_tables_are_recognised(name: str, expected: Columns) -> None:
    assert choose(REAL / name) == expected


def test_without_a_telling_name_the_longest_column_has_the_texts(write: Write) -> None:
    path = table(write, "kind,what_was_said", ("a", "b"), TEXTS)
    assert choose(path) == Columns("what_was_said", ("kind",))


def test_long_free_decimal_and_unique_columns_are_no_labels(write: Write) -> None:
    path = table(
        write,
        "text,url,score,key,stars,topic",
        TEXTS,
        ("http://example.org/with/a/long/path/to/the/article/that/was/read/#",),
        ("0.5", "1.5"),
        ("k#",),
        ("1", "2", "3"),
        ("law", "health"),
    )
    assert choose(path).labels == ("stars", "topic")


def test_an_id_column_is_one_whose_values_do_not_repeat(write: Write) -> None:
    unique = table(write, "doc_id,text,label", ("d#",), TEXTS, ("a", "b"))
    assert choose(unique).id == "doc_id"
    repeated = table(write, "doc_id,text,label", ("d1", "d2"), TEXTS, ("a", "b"))
    assert choose(repeated) == Columns("text", ("doc_id", "label"))


@pytest.mark.parametrize(
    ("name", "parts", "recognised"),
    [
        ("split", ("train", "validation", "test"), True),
        ("Fold", ("training", "dev", "eval"), True),
        ("usage", ("Train", "Test"), True),
        ("usage", ("train", "dev"), False),
        ("split", ("train", "test", "holdout"), True),
        ("usage", ("train", "test", "holdout"), False),
        ("part", ("left", "right"), False),
    ],
)
def test_a_split_column_is_recognised_by_its_values_or_its_name(
    write: Write, name: str, parts: tuple[str, ...], recognised: bool
) -> None:
    path = table(write, f"text,label,{name}", TEXTS, ("a", "b"), parts)
    assert choose(path).split == (name if recognised else None)
    assert (name in choose(path).labels) is not recognised


@pytest.mark.parametrize("flag", ["language", "id", "split"])
def test_none_says_that_there_is_no_such_column(write: Write, flag: str) -> None:
    path = table(
        write,
        "id,text,label,lang,split",
        ("d#",),
        TEXTS,
        ("a", "b"),
        ("en", "fr"),
        ("train", "test"),
    )
    assert getattr(choose(path), flag) is not None
    without = choose(path, **{f"{flag}_column": "none"})
    assert getattr(without, flag) is None
    assert without.labels == ("label",)


def test_a_column_called_none_can_still_be_named(write: Write) -> None:
    path = table(write, "text,label,none", TEXTS, ("a", "b"), ("en", "fr"))
    assert choose(path, language_column="none").language == "none"


@pytest.mark.parametrize("word", ["detect", "Detect", "DETECT"])
def test_detect_says_that_the_languages_are_not_in_a_column(write: Write, word: str) -> None:
    path = table(write, "text,label,lang", TEXTS, ("a", "b"), ("en", "fr"))
    assert choose(path, language_column=word) == Columns("text", ("label",))


def test_a_column_called_detect_can_still_be_named(write: Write) -> None:
    path = table(write, "text,label,detect", TEXTS, ("a", "b"), ("en", "fr"))
    assert choose(path, language_column="detect").language == "detect"


@pytest.mark.parametrize("flag", ["id", "group", "split"])
def test_only_languages_can_be_detected(write: Write, flag: str) -> None:
    path = table(write, "text,label", TEXTS, ("a", "b"))
    said = refusal(path, **{f"{flag}_column": "detect"})
    assert said[:2] == ("There is no column 'detect'.", f"--{flag}-column, a.csv")


def test_a_column_that_is_named_for_one_role_is_not_guessed_for_another(write: Write) -> None:
    cells = (TEXTS, ("a", "b"), ("en", "fr"), ("x", "y"))
    path = table(write, "text,label,lang,author", *cells)
    assert choose(path) == Columns("text", ("label", "author"), language="lang")
    assert choose(path, label="lang") == Columns("text", ("lang",))
    assert choose(path, group_column="author") == Columns(
        "text", ("label",), language="lang", group="author"
    )


def test_a_label_column_with_the_name_of_texts_is_not_taken_for_the_texts(write: Write) -> None:
    path = table(write, "post,review", TEXTS, ("good", "bad"))
    assert choose(path, label="review") == Columns("post", ("review",))
    assert choose(path, text_column="post") == Columns("post", ("review",))


def test_a_label_that_is_named_twice_counts_once(write: Write) -> None:
    path = table(write, "text,label", TEXTS, ("a", "b"))
    assert choose(path, label=("label", "label")).labels == ("label",)


@pytest.mark.parametrize(
    ("settings", "what", "where", "remedy"),
    [
        ({"label": "lable"}, "'lable'", "--label, a.csv", "Did you mean label?"),
        ({"label": ("label", "zzz")}, "'zzz'", "--label, a.csv", "existing ones are: text, label."),
        ({"text_column": "TEXT"}, "'TEXT'", "--text-column, a.csv", "Did you mean text?"),
        ({"language_column": "lang"}, "'lang'", "--language-column, a.csv", "text, label."),
        ({"split_column": "[red]"}, "'[red]'", "--split-column, a.csv", "text, label."),
        ({"group_column": ""}, "''", "--group-column, a.csv", "text, label."),
    ],
)
def test_an_unknown_column_is_refused_with_the_nearest_names(
    write: Write, settings: dict[str, object], what: str, where: str, remedy: str
) -> None:
    path = table(write, "text,label", TEXTS, ("a", "b"))
    said = refusal(path, **settings)
    assert said[:2] == (f"There is no column {what}.", where)
    assert said[2].endswith(remedy)


def test_a_table_without_texts_or_without_labels_lists_its_columns(write: Write) -> None:
    assert refusal(table(write, "n,label", ("#",), ("a", "b"))) == (
        "No column looks like texts.",
        "a.csv",
        "Name it with --text-column. Columns: n, label.",
    )
    assert refusal(table(write, "text,n", TEXTS, ("#",))) == (
        "No column looks like labels.",
        "a.csv",
        "Name one with --label. Columns: text, n.",
    )


def test_the_only_column_cannot_be_label_and_text_unless_both_are_said(write: Write) -> None:
    path = table(write, "text", TEXTS)
    assert refusal(path, label="text")[0] == "No column looks like texts."
    assert choose(path, text_column="text", label="text") == Columns("text", ("text",))


@pytest.mark.parametrize(
    ("cells", "mark"),
    [
        (["law;vote", "law", "health"], ";"),
        (["law | vote", "vote"], "|"),
        ([["law"], "vote"], "list"),
        (["law;vote", "press;school"], None),
        (["law", "vote", "law"], None),
        (["yes; " + "very " * 20, "yes"], None),
        ([], None),
    ],
)
def test_values_are_separated_by_a_mark_between_pieces_that_recur(
    cells: list[object], mark: str | None
) -> None:
    assert separator(cells) == mark


@pytest.mark.parametrize("cell", ["", " ", "NA", "N/A", "<NA>", "NaN", "nan", "NULL", "null", []])
def test_missing_values_are_those_of_r_pandas_and_sql(cell: object) -> None:
    assert is_missing(cell)


@pytest.mark.parametrize("cell", ["None", "none", "0", "-", "Nan", ["a"]])
def test_what_can_be_a_label_is_not_missing(cell: object) -> None:
    assert not is_missing(cell)


def test_names_are_shown_with_their_control_characters_visible(write: Write) -> None:
    path = write("a.csv", "n\x1b[2J,label\n1,a\n2,b\n")
    assert read_table(path).frame.columns.tolist()[0] == "n\x1b[2J"
    assert refusal(path)[2] == "Name it with --text-column. Columns: n\\x1b[2J, label."
