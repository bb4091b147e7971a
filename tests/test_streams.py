"""A streamed table is the table that is read whole, and so is what is wrong with it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from llm_tool.data.columns import guess_columns
from llm_tool.data.loaders import read_table
from llm_tool.data.streams import TableStream, open_stream
from llm_tool.errors import StudioError

ROWS = 1_203
RECORDS = [
    {"id": i, "text": f"text {i}, café\nline", "tags": ["a", "b"][: i % 3], "who": {"x": i % 7}}
    | ({"late": True} if i == 700 else {})
    for i in range(ROWS)
]


def csv_bytes() -> bytes:
    lines = [f'{i},"text {i}, café\nline",{"a;b" if i % 2 else ""}' for i in range(ROWS)]
    return ("id,text,tags\n" + "\n".join(lines) + "\n").encode()


def json_lines() -> bytes:
    return "\n".join(json.dumps(record) for record in RECORDS).encode()


def columns_of(stream: TableStream) -> dict[str, list[object]]:
    columns: dict[str, list[object]] = {name: [] for name in stream.names}
    for batch in stream.batches():
        assert {len(cells) for cells in batch.columns.values()} == {batch.count}
        for name, cells in batch.columns.items():
            columns[name].extend(cells)
    return columns


@pytest.mark.parametrize(
    "name", ["a.csv", "a.csv.gz", "a.jsonl", "a.parquet", "a.feather", "a.json"]
)
def test_a_table_is_the_same_piece_by_piece(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    frame = pd.DataFrame(RECORDS)
    writers: dict[str, Callable[[], object]] = {
        "a.csv": lambda: path.write_bytes(csv_bytes()),
        "a.csv.gz": lambda: path.write_bytes(gzip.compress(csv_bytes())),
        "a.jsonl": lambda: path.write_bytes(json_lines()),
        "a.parquet": lambda: frame.to_parquet(path, row_group_size=400),
        "a.feather": lambda: frame.to_feather(path),
        "a.json": lambda: path.write_text(json.dumps(RECORDS), "utf-8"),
    }
    writers[name]()
    whole, stream = read_table(path), open_stream(path)
    assert (stream.how, stream.sha256, stream.count) == (whole.how, whole.sha256, ROWS)
    assert list(stream.names) == list(whole.frame.columns)
    for _ in range(2):  # as often as one likes
        for column, cells in columns_of(stream).items():
            assert cells == whole.frame[column].tolist()
    assert guess_columns(stream.head) == guess_columns(whole)
    assert stream.in_memory is (name == "a.json")
    assert stream.lists == (frozenset({"tags"}) if "csv" not in name else frozenset())


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "text,label\n" + "good,a\n" * 900 + "bad,b,c\n"),
        ("a.csv", "text,label\n" + "good,a\n" * 900 + '"bad,b\n' * 3),
        ("a.csv", "text,label\n"),
        ("a.csv", "text,label\n" + "good,a\nbad,b\n" * 400 + '"x,a\ngood,b\nlast",a\n'),
        ("a.csv", ""),
        ("a.jsonl", '{"text": "a"}\n' * 600 + "{"),
        ("a.jsonl", "\n"),
        ("a.parquet", "PAR1 no such thing PAR1"),
        ("a.csv.gz", "no archive"),
        ("gone/a.csv", None),
        ("a.pkl", "x"),
    ],
)
def test_what_is_wrong_is_said_in_the_same_words(
    tmp_path: Path, name: str, content: str | None
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_text(content, "utf-8")
    said = []
    for reader in (read_table, open_stream):
        with pytest.raises(StudioError) as caught:
            reader(path)
        said.append((caught.value.what, caught.value.where, caught.value.remedy))
    assert said[0] == said[1]


def test_a_table_of_books_keeps_few_of_them_to_judge_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text\n" + ("word " * 4_000 + "\n") * 1_200, "utf-8")
    stream = open_stream(path)
    assert stream.count == 1_200
    assert len(stream.head.frame) == 499
