"""Cells of JSON as language models return it: what can be read in one way only is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llm_tool.data.json_cells import read_list, read_object
from tests.test_schemes import arranged, as_csv, load, refusal, values

Write = Callable[..., Path]
EXPECTED = {"sentiment": "pos", "themes": ["eco", "law"]}


@pytest.mark.parametrize(
    "cell",
    [
        '{"sentiment": "pos", "themes": ["eco", "law"]}',
        "{'sentiment': 'pos', 'themes': ['eco', 'law']}",
        "{'sentiment': \"pos\", 'themes': ['eco', 'law',],}",
        '{"sentiment": "pos", "themes": ["eco", "law",]}',
        '  {\n  "sentiment": "pos",\n  "themes": ["eco", "law"]\n}\n',
        '```json\n{"sentiment": "pos", "themes": ["eco", "law"]}\n```',
        "Sure!\n```python\n{'sentiment': 'pos', 'themes': ['eco', 'law']}\n```\nAnything else?",
        'Here it is: {"sentiment": "pos", "themes": ["eco", "law"]}. It\'s "pos".',
        '"{\\"sentiment\\": \\"pos\\", \\"themes\\": [\\"eco\\", \\"law\\"]}"',
        '\ufeff{"sentiment": "pos", "themes": ["eco", "law"]}',
    ],
)
def test_an_object_is_read_as_models_write_it(cell: str) -> None:
    assert read_object(cell) == EXPECTED


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("{'a': None, 'b': True, 'c': false}", {"a": None, "b": True, "c": False}),
        ("{'a': -1, 'b': 2.5e3, 'c': NaN,}", {"a": -1, "b": 2500.0, "c": None}),
        ('{"a": "two\nlines"}', {"a": "two\nlines"}),
        (r"{'a': 'it\'s', 'b': '\u00e9'}", {"a": "it's", "b": "é"}),
        (r'{"a": "\ud83d\ude00",}', {"a": "😀"}),
        ('{"a": {"b": [1, {"c": 2}]}}', {"a": {"b": [1, {"c": 2}]}}),
        ("{}", {}),
    ],
)
def test_values_keep_what_they_are(cell: str, value: dict[str, Any]) -> None:
    assert read_object(cell) == value


@pytest.mark.parametrize(
    "cell",
    [
        '{"sentiment": "pos", "themes": ["eco"',  # cut off
        '{"sentiment": "pos" "tone": "neg"}',  # no comma
        "{'themes': ['eco' 'law']}",  # which Python would join
        '{"sentiment": "pos", "sentiment": "neg"}',  # which Python would forget
        "{'a': 1, 'a': 2,}",
        '{"a": 1} {"a": 2}',
        '```json\n{"a": 1}\n```\nor\n```json\n{"a": 2}\n```',
        '[{"a": 1}]',
        "{sentiment: pos}",
        '{"a": undefined}',
        "{'a': 'b'",
        "{'a': it's}",
        "{'a', 'b'}",
        "{'a': ('b', 'c')}",
        "{'a': f'b'}",
        "{'a': b'b'}",
        "{'a': '''b'''}",
        r"{'a': '\d'}",
        "{'a': 0x1f}",
        "{'a': 1 + 1}",
        "{'a': [,]}",
        "{,}",
        "{'a': __import__('os').getcwd()}",
        '{"a": 1} # or [2]',
        "“pos”",
        "pos",
        "42",
        "",
        "{",
        "}{",
        "{'a': \x00}",
        "[" * 5_000,
        "{'a':" * 5_000,
        '{"a":' * 100_000,
    ],
)
def test_what_can_be_read_in_several_ways_or_in_none_is_malformed(cell: str) -> None:
    assert read_object(cell) is None


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("['eco', 'law']", ["eco", "law"]),
        ('["eco"]', ["eco"]),
        ("[]", []),
        ("[1, None]", [1, None]),
        ("['eco' 'law']", None),
        ("[['eco']]", None),
        ("eco", None),
        ("{'a': 1}", None),
    ],
)
def test_a_list_is_read_if_it_is_one_of_plain_values(cell: str, value: object) -> None:
    assert read_list(cell) == value


CELLS = [
    '{"sentiment": "pos", "themes": ["eco", "law"], "sure": true, "score": 0.5}',
    "{'sentiment': 'neg', 'themes': [], 'sure': False, 'score': None}",
    '{"sentiment": "neg", "themes": ["eco"]',
    "",
    '```json\n{"themes": "law", "meta": {"lang": "en", "by": {"x": 1}}}\n```',
    "I cannot say.",
]
ROWS = [[f"a{i}", f"the film number {i} was long", cell] for i, cell in enumerate(CELLS)]


def test_each_key_of_the_json_becomes_a_column(write: Write) -> None:
    path = write("a.csv", as_csv(["id", "text", "annotation"], ROWS))
    keys = ("sentiment", "themes", "sure", "score", "meta.lang", "meta.by")
    dataset = load(path, label=keys)
    assert values(dataset) == {
        "sentiment": [("pos",), ("neg",), (), (), (), ()],
        "themes": [("eco", "law"), (), (), (), ("law",), ()],
        "sure": [("true",), ("false",), (), (), (), ()],
        "score": [("0.5",), (), (), (), (), ()],
        "meta.lang": [(), (), (), (), ("en",), ()],
        "meta.by": [(), (), (), (), ('{"x": 1}',), ()],
    }
    assert {name for name, key in dataset.keys.items() if key.multi} == {"themes"}
    # A malformed or empty cell says nothing; an empty list says: none of them.
    assert dataset.keys["themes"].uncoded == {2, 3, 5}
    assert dataset.ids == ("a0", "a1", "a2", "a3", "a4", "a5")
    assert dataset.notes == (
        "Labels: JSON in the column 'annotation': 6 keys, sentiment, themes, sure, score, "
        "meta.lang, meta.by.",
        "annotation: 2 cells are malformed and taken for no value (rows 4, 7).",
    )


def test_naming_the_column_of_json_names_all_its_keys(write: Write) -> None:
    path = write("a.csv", as_csv(["id", "text", "annotation"], ROWS[:2]))
    assert list(load(path, label="annotation").keys) == ["sentiment", "themes", "sure", "score"]
    assert list(load(path, label=("themes", "annotation")).keys)[:2] == ["themes", "sentiment"]
    assert list(load(path, label="annotation", scheme="columns").keys) == ["annotation"]


def test_a_key_may_have_the_name_of_its_own_column(write: Write) -> None:
    rows = [[f"the film number {i} was long", json.dumps({"tone": "ab"[i % 2]})] for i in range(4)]
    path = write("a.csv", as_csv(["text", "tone"], rows))
    for settings in ({}, {"label": "tone"}):
        dataset = load(path, **settings)
        assert values(dataset) == {"tone": [("a",), ("b",), ("a",), ("b",)]}
        assert dataset.notes == ("Labels: JSON in the column 'tone': 1 key, tone.",)


def test_a_column_of_written_lists_becomes_one_of_lists(write: Write) -> None:
    cells = ["['eco', 'law']", "[]", "['law']", "", "law; vote", '["vote"]']
    rows = [[f"the film number {i} was long", cell] for i, cell in enumerate(cells)]
    dataset = load(write("a.csv", as_csv(["text", "themes"], rows)))
    key = dataset.keys["themes"]
    assert key.values == (("eco", "law"), (), ("law",), (), (), ("vote",))
    assert key.uncoded == {3, 4}
    assert dataset.notes == (
        "Labels: lists in the column 'themes'.",
        "themes: 1 cell is malformed and taken for no value (row 6).",
    )


def test_a_key_never_takes_the_name_of_another_column(write: Write) -> None:
    cell = json.dumps({"text": "x", "tone": "a", "Tone": "b", "annotation": "c", "": "d"})
    rows = [[f"the film number {i} was long", "t", cell] for i in range(3)]
    dataset = load(
        write("a.csv", as_csv(["text", "tone", "annotation"], rows)),
        label=("tone", "annotation.text", "annotation.tone", "Tone", "annotation", "annotation."),
    )
    assert values(dataset, 1) == {
        "tone": [("t",)],
        "annotation.text": [("x",)],
        "annotation.tone": [("a",)],
        "Tone": [("b",)],
        "annotation": [("c",)],
        "annotation.": [("d",)],
    }
    assert dataset.texts[0] == "the film number 0 was long"


def test_keys_that_differ_only_in_case_or_blanks_stay_two_and_are_said(write: Write) -> None:
    rows = [
        [f"the film number {i} was long", json.dumps({key: "a"})]
        for i, key in enumerate(["tone", "Tone", "tone ", "mood"])
    ]
    notes = load(write("a.csv", as_csv(["text", "out"], rows)), label="tone").notes
    assert notes[1:3] == (
        "out: the keys 'tone' and 'Tone' are two columns, and differ only in case, blanks or "
        "accents.",
        "out: the keys 'tone' and 'tone ' are two columns, and differ only in case, blanks or "
        "accents.",
    )


def test_0_1_values_within_json_are_read_as_both(write: Write) -> None:
    rows = [
        [
            f"the film number {i} was long",
            json.dumps({"themes": {"eco": i % 2 == 0, "law": i % 3 == 0, "vote": i % 5 == 1}}),
        ]
        for i in range(12)
    ]
    path = write("a.csv", as_csv(["text", "out"], rows))
    assert [change.scheme for change in arranged(path).changes] == ["json", "indicators"]
    for settings in ({}, {"label": "out"}, {"label": "themes"}):
        dataset = load(path, **settings)
        assert values(dataset, 4) == {"themes": [("eco", "law"), ("vote",), ("eco",), ("law",)]}


@pytest.mark.parametrize(
    "cells",
    [
        ["{not json}", "{neither}"],
        ['{"a": 1}', "pos", "neg"],
        ["[sic] a word", "[1] a note"],
        ["42", "1"],
        ['{"a": 1', '{"a": 1'],
    ],
)
def test_columns_that_are_mostly_not_json_stay(write: Write, cells: list[str]) -> None:
    rows = [[f"the film number {i} was long", cell] for i, cell in enumerate(cells)]
    assert arranged(write("a.csv", as_csv(["text", "x"], rows))).changes == ()


def test_texts_that_are_json_stay_texts_unless_they_are_named(write: Write) -> None:
    rows = [["a long comment here", '{"a": "x"}', '{"b": "y"}'] for _ in range(3)]
    path = write("a.csv", as_csv(["said", "content", "other"], rows))
    assert [c.made for c in arranged(path, text_column="other").changes] == []
    assert arranged(path).made == {"other": ("b",)}
    assert arranged(path, scheme="json", label=("content", "b")).made == {"content": ("a",)}


def test_json_with_keys_that_differ_from_row_to_row_stays(write: Write) -> None:
    rows = [[f"the film number {i} was long", json.dumps({f"k{i}": "a"})] for i in range(201)]
    path = write("a.csv", as_csv(["text", "out"], rows))
    assert arranged(path).changes == ()
    assert refusal(path, scheme="json", label="out") == (
        "The JSON in the column 'out' has 201 different keys.",
        "a.csv",
        "Keys become columns. Write what differs from row to row as values.",
    )


def test_asking_for_json_where_there_is_none_is_refused(write: Write) -> None:
    path = write("a.csv", as_csv(["text", "out"], [["the film was long", "pos"]] * 3))
    assert refusal(path, scheme="json") == (
        "No column holds JSON.",
        "a.csv",
        "Name it with --label. Columns: text, out.",
    )
    assert refusal(path, scheme="json", label="out")[0] == "No cell of the column 'out' holds JSON."


def test_json_that_is_mostly_malformed_can_be_asked_for(write: Write) -> None:
    cells = ['{"tone": "pos"}', "I cannot say.", "Nor here.", "{"]
    rows = [[f"the film number {i} was long", cell] for i, cell in enumerate(cells)]
    path = write("a.csv", as_csv(["text", "out"], rows))
    assert arranged(path).changes == ()
    dataset = load(path, scheme="json", label="out")
    assert values(dataset) == {"tone": [("pos",), (), (), ()]}
    assert dataset.notes[-1] == (
        "out: 3 cells are malformed and taken for no value (rows 3, 4, 5)."
    )
