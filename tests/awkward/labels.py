"""Labels as researchers write them: files of each scheme, and what is learned from them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

Values = Sequence[tuple[str, ...]]
TEXTS = ("the vote on the budget", "a film about the sea", "no word of the law", "rain today")


@dataclass(frozen=True)
class Labelled:
    """A file and what is made of it: the values of each row for each key, and what is said."""

    name: str
    content: str
    covers: str
    keys: Mapping[str, Values]
    notes: tuple[str, ...] = ()
    parts: tuple[str, ...] = ("", "", "", "")

    def make(self, folder: Path) -> Path:
        """Make the file in a folder; return its path."""
        path = folder / self.name
        path.write_text(self.content, "utf-8")
        return path


def _csv(header: str, *cells: str) -> str:
    rows = (f"{text},{own}\n" for text, own in zip(TEXTS, cells, strict=True))
    return f"text,{header}\n" + "".join(rows)


def _lines(name: str, *values: object) -> str:
    pairs = zip(TEXTS, values, strict=True)
    return "".join(json.dumps({"text": text, name: own}) + "\n" for text, own in pairs)


TONES = [("pos",), ("neg",), ("pos",), ("neg",)]
TOPICS = [("eco", "law"), ("law",), (), ("eco", "law")]
_LONG = "id,text,variable,value\n" + "".join(
    f"{i},{text},tone,{tone[0]}\n" + "".join(f"{i},{text},topic,{topic}\n" for topic in topics)
    for i, (text, tone, topics) in enumerate(zip(TEXTS, TONES, TOPICS, strict=True), start=1)
)

LABELS = [
    Labelled("one.csv", _csv("tone", "pos", "neg", "pos", "neg"), "one column", {"tone": TONES}),
    Labelled(
        "several.csv",
        _csv("tone,place", "pos,sea", "neg,town", "pos,sea", "neg,town"),
        "several columns",
        {"tone": TONES, "place": [("sea",), ("town",), ("sea",), ("town",)]},
    ),
    Labelled(
        "semicolons.csv",
        _csv("topics", "eco; law", "law", "", "eco;law"),
        "a separator",
        {"topics": TOPICS},
    ),
    Labelled(
        "bars.csv", _csv("topics", "eco|law", "law", "", "eco|law"), "a separator",
        {"topics": TOPICS},
    ),
    Labelled(
        "zero-one.csv",
        _csv("theme_eco,theme_law,theme_art", "1,0,0", "0,1,1", "0,0,0", ",,"),
        "0/1 columns",
        {"theme": [("eco",), ("law", "art"), (), ()]},
        (
            "Labels: one 0/1 column per label: theme_eco, theme_law, theme_art (3 labels of "
            "'theme').",
            "theme: none of the labels in 1 row (4).",
            "theme: not coded, all cells empty, in 1 row (5).",
        ),
    ),
    Labelled(
        "yes-no.csv",
        _csv("tone.pos,tone.neg", "yes,no", "no,yes", "yes,no", "no,yes"),
        "0/1 columns of which one is 1",
        {"tone": TONES},
        (
            "Labels: one 0/1 column per label: tone.pos, tone.neg (2 labels of 'tone', one in each "
            "row).",
        ),
    ),
    Labelled(
        "crosses.csv",
        _csv("theme: eco,theme: law", "x,x", ",x", ",", "x,x"),
        "columns with crosses",
        {"theme": TOPICS},
        (
            "Labels: one 0/1 column per label: theme: eco, theme: law (2 labels of 'theme').",
            "theme: no mark in 1 row (4): none of the labels, or not coded; the file does not "
            "tell.",
        ),
    ),
    Labelled(
        "long.csv",
        _LONG,
        "long format",
        {"tone": TONES, "topic": TOPICS},
        (
            "Labels: long format: 'variable' names the key, 'value' the value; 9 rows are 4 texts; "
            "2 keys: tone, topic (several values a text).",
        ),
    ),
    Labelled(
        "model.jsonl",
        _lines(
            "answer",
            '{"tone": "pos", "themes": ["eco", "law"]}',
            "{'tone': 'neg', 'themes': []}",
            '```json\n{"tone": "pos", "themes": ["law"]}\n```',
            '{"tone": "neg", "themes": ["eco"',
        ),
        "cells of JSON as language models return it",
        {
            "tone": [("pos",), ("neg",), ("pos",), ()],
            "themes": [("eco", "law"), (), ("law",), ()],
        },
        (
            "Labels: JSON in the column 'answer': 2 keys, tone, themes.",
            "answer: 1 cell is malformed and taken for no value (row 4).",
        ),
    ),
    Labelled(
        "label.jsonl",
        _lines("label", "pos", "neg", "pos", None),
        "JSONL with label",
        {"label": [("pos",), ("neg",), ("pos",), ()]},
    ),
    Labelled(
        "labels-list.jsonl",
        _lines("labels", ["eco", "law"], ["law"], [], ["eco", "law"]),
        "JSONL with labels as a list",
        {"labels": TOPICS},
    ),
    Labelled(
        "labels-object.jsonl",
        _lines(
            "labels",
            {"tone": "pos", "themes": ["eco", "law"]},
            {"tone": "neg", "themes": ["law"]},
            {"tone": "pos"},
            {"tone": "neg", "themes": ["eco", "law"]},
        ),
        "JSONL with labels as an object",
        {"tone": TONES, "themes": TOPICS},
    ),
    Labelled(
        "split.csv",
        _csv("tone,split", "pos,train", "neg,train", "pos,dev", "neg,test"),
        "already split",
        {"tone": TONES},
        parts=("train", "train", "validation", "test"),
    ),
]  # fmt: skip
