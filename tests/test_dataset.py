"""The rows that are left after reading: which are kept, under which number, with which labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from llm_tool.config import make_config
from llm_tool.data.dataset import Dataset, load_dataset
from llm_tool.errors import StudioError

Write = Callable[..., Path]
FILLER = "".join(f"a film called {i},{'ab'[i % 2]}\n" for i in range(10))


def load(path: Path | str, **settings: object) -> Dataset:
    return load_dataset(make_config({"data": str(path), **settings}))


def test_the_demo_data_have_600_texts_in_two_languages_and_four_labels() -> None:
    dataset = load("demo")
    assert len(dataset.texts) == len(set(dataset.ids)) == 600
    assert dataset.name == "demo"
    assert dataset.language_list == ("EN", "FR")
    assert {name: key.multi for name, key in dataset.keys.items()} == {
        "specific_themes": False,
        "sentiment": False,
        "political_parties": False,
        "policy_areas": True,
    }
    assert dataset.notes == ()


def test_a_dataset_has_one_entry_a_row_in_every_sequence(tweets: Path) -> None:
    dataset = load(tweets, group_column="topic")
    sequences = (dataset.texts, dataset.ids, dataset.languages, dataset.groups, dataset.parts)
    assert {len(s) for s in sequences} == {60}
    assert {len(key.values) for key in dataset.keys.values()} == {60}
    assert dataset.ids[:2] == ("t0", "t1")
    assert dataset.languages[:4] == ("EN", "EN", "FR", "FR")
    assert dataset.groups[:3] == ("law", "health", "climate")
    assert set(dataset.parts) == {""}
    assert dataset.keys["areas"].values[:2] == (("law", "vote"), ("health",))
    assert dataset.keys["sentiment"].counts == {"positive": 30, "negative": 30}


@pytest.mark.parametrize(
    "cell",
    ["", "  ", "NaN", "NULL", "\x01\x02\x1b", "\u200b\u200e", '"\n"', "\u2028", "\ufeff"],
)
def test_a_row_without_a_readable_text_is_left_out_by_its_number(write: Write, cell: str) -> None:
    dataset = load(write("a.csv", f"text,label\na film,a\n{cell},b\n{FILLER}"))
    assert len(dataset.texts) == 11
    assert dataset.notes == ("1 row (3) left out: no text.",)


def test_blank_lines_and_cells_of_two_lines_keep_the_row_numbers_of_a_spreadsheet(
    write: Write,
) -> None:
    content = 'text,label\none film,a\n\n,b\n\n"two\nfilms",b\n,a\n\n' + FILLER
    dataset = load(write("a.csv", content))
    assert dataset.notes == ("2 rows (4, 7) left out: no text.",)
    assert dataset.ids[:3] == ("2", "6", "9")
    assert dataset.texts[1] == "two\nfilms"


def test_a_header_far_down_is_still_the_header(write: Write) -> None:
    dataset = load(write("a.csv", "\n" * 200_001 + "text;label\n" + FILLER.replace(",", ";")))
    assert dataset.columns.text == "text"
    assert dataset.ids[0] == "200003"


def test_many_rows_without_a_text_are_counted_and_the_first_five_named(write: Write) -> None:
    dataset = load(write("a.csv", "text,label\n" + ",a\n" * 1_200 + FILLER))
    assert dataset.notes == ("1,200 rows (2, 3, 4, 5, 6, …) left out: no text.",)


@pytest.mark.parametrize(
    "text",
    ["x" * 100_000, "good\x1b[31m film", "a\u202efilm", "[red]film[/red]", "=1+1", "👍", "النص"],
)
def test_a_strange_text_is_kept_as_it_is(write: Write, text: str) -> None:
    dataset = load(write("a.csv", f"text,label\n{text},a\n{FILLER}"), text_column="text")
    assert dataset.texts[0] == text
    assert dataset.notes == ()


def test_a_late_nul_in_a_table_becomes_a_replacement_character(write: Write) -> None:
    dataset = load(write("a.csv", "text,label\n" + FILLER * 40 + "a \0 film,a\n"))
    assert dataset.texts[-1] == "a � film"


def test_a_table_without_any_text_is_refused(write: Write) -> None:
    path = write("a.csv", "text,label\n,a\nNaN,b\n ,a\n")
    with pytest.raises(StudioError, match="No row has a text in the column 'text'") as caught:
        load(path, label="label")
    assert caught.value.where == str(path)
    assert caught.value.remedy == "Choose another column with --text-column."


@pytest.mark.parametrize("label", ["../../x", "[red]", "=1+1", "CON", "L" * 300, "\x1b[2J", "None"])
def test_a_strange_label_is_a_label_like_any_other(write: Write, label: str) -> None:
    dataset = load(write("a.csv", f"text,label\na film, {label} \n{FILLER}"), label="label")
    assert dataset.keys["label"].values[0] == (label,)
    assert not dataset.keys["label"].multi


def test_a_missing_label_is_no_value(write: Write) -> None:
    rows = "text,label\n" + "".join(f"film {c!r},{c}\n" for c in ("", "NA", "NaN", "null"))
    assert load(write("a.csv", rows + FILLER)).keys["label"].values[:5] == ((), (), (), (), ("a",))


@pytest.mark.parametrize("mark", [";", "|", " ; "])
def test_separated_values_are_split_stripped_and_counted_once_a_row(
    write: Write, mark: str
) -> None:
    content = f"text,areas\nfilm 1,law{mark}vote{mark}law\nfilm 2,vote\nfilm 3,{mark}\nfilm 4,law\n"
    key = load(write("a.csv", content), label="areas", text_column="text").keys["areas"]
    assert key.multi
    assert key.values == (("law", "vote"), ("vote",), (), ("law",))


def test_cells_of_json_become_text_or_lists_of_text(write: Write) -> None:
    lines = (
        '{"text": "film 1", "areas": ["law", " law", null, ""], "n": 1, "yes": true}\n'
        '{"text": "film 2", "areas": [], "n": 2.5, "yes": false}\n'
        '{"text": "film 3", "areas": "specialist", "n": null, "extra": {"why": [1, {"a": 2}]}}\n'
        '{"text": null, "areas": null}\n'
    )
    path = write("a.jsonl", lines)
    dataset = load(path, label=("areas", "n", "yes", "why"))
    assert {name: key.values for name, key in dataset.keys.items()} == {
        "areas": (("law",), (), ("specialist",)),
        "n": (("1",), ("2.5",), ()),
        "yes": (("true",), ("false",), ()),
        "why": ((), (), ("1", '{"a": 2}')),
    }
    assert dataset.notes == ("1 row (4) left out: no text.",)


def test_what_json_can_spell_and_no_file_can_hold_is_replaced(write: Write) -> None:
    path = write(
        "a.jsonl", '{"text": "a\\u0000 \\ud800 \\ud83d\\ude00", "l\\udc00": ["\\u0000b"]}\n'
    )
    dataset = load(path, text_column="text", label="l�")
    assert dataset.texts == ("a� � 😀",)
    assert dataset.keys["l�"].values == (("�b",),)


def test_keys_inside_an_object_become_columns_and_none_hides_another(write: Write) -> None:
    path = write("a.jsonl", '{"text": "x", "a": {"k": 1, "only": 2}, "b": {"k": 3, "text": "y"}}\n')
    dataset = load(path, text_column="text", label=("a.k", "only", "b.k", "b.text"))
    values = {name: key.values for name, key in dataset.keys.items()}
    assert values == {"a.k": (("1",),), "only": (("2",),), "b.k": (("3",),), "b.text": (("y",),)}


def test_parts_and_languages_are_read_in_any_case(write: Write) -> None:
    rows = ["text,label,Lang,split"]
    for i, (part, lang) in enumerate(
        [("Train", "en"), ("VAL", "EN "), ("testing", "pt-br"), ("", ""), ("dev", "NA")]
    ):
        rows.append(f"a long film {i},{'ab'[i % 2]},{lang},{part}")
    dataset = load(write("a.csv", "\n".join(rows)), split_column="split")
    assert dataset.parts == ("train", "validation", "test", "", "validation")
    assert dataset.languages == ("EN", "EN", "PT-BR", "", "")
    assert dataset.language_list == ("EN", "PT-BR")


@pytest.mark.parametrize("settings", [{}, {"split_column": "split"}])
def test_an_unknown_part_is_refused_by_its_row(write: Write, settings: dict[str, str]) -> None:
    parts = ["train", "test", "", "hold\x1bout", "other"]
    rows = "".join(f"a long film {i},{'ab'[i % 2]},{part}\n" for i, part in enumerate(parts))
    path = write("a.csv", "text,label,split\n,a,train\n\n" + rows)
    with pytest.raises(StudioError) as caught:
        load(path, **settings)
    assert caught.value.what == "The split column says 'hold\\x1bout'."
    assert caught.value.where == f"{path}, row 7"
    assert caught.value.remedy == (
        "Its values are train, validation and test; or give --split-column none."
    )


def test_the_same_bytes_have_the_same_checksum(write: Write) -> None:
    one, other = write("a.csv", "text,label\n" + FILLER), write("b.csv", "text,label\n" + FILLER)
    assert load(one).sha256 == load(other).sha256
    assert load(write("c.csv", "text,label\n" + FILLER + "x,a\n")).sha256 != load(one).sha256
