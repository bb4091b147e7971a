"""Tables that hold what no file can: it never gets past the dataset, and no two values merge."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from llm_tool.config import make_config
from llm_tool.data.dataset import Dataset, load_dataset
from llm_tool.data.loaders import read_table
from llm_tool.errors import StudioError
from llm_tool.events import Event, to_json
from llm_tool.execution.local import run_plan
from llm_tool.logs import Session, read_metrics
from llm_tool.logs.journal import read_events
from llm_tool.logs.summary import PlainSummary
from llm_tool.modes.planning import prepare
from llm_tool.studio.display import ResultDisplay, RunDisplay
from llm_tool.studio.panels import show_plan
from llm_tool.text import UNWRITABLE, visible

Write = Callable[..., Path]


def json_lines(*records: dict[str, Any]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def load(path: Path, **settings: object) -> Dataset:
    own = {"data": str(path), "text_column": "text", "label": "label"} | settings
    return load_dataset(make_config(own))


def refusal(path: Path, **settings: object) -> tuple[str, str]:
    """Return what is wrong and where, the folder left out."""
    with pytest.raises(StudioError) as caught:
        load(path, **settings)
    assert caught.value.remedy
    return caught.value.what, caught.value.where.replace(str(path.parent), "").lstrip("/\\")


def test_what_no_file_can_hold_is_replaced_in_every_column(write: Write) -> None:
    bad = "a\ud800\0"
    row = {"text": bad, "label": bad, "lang": bad, "id": bad, "group": bad, "many": [bad, "b"]}
    dataset = load(
        write("a.jsonl", json_lines(row)),
        label=("label", "many"),
        language_column="lang",
        id_column="id",
        group_column="group",
    )

    assert dataset.texts == dataset.ids == dataset.groups == ("a��",)
    assert dataset.languages == ("A��",)
    assert dataset.keys["label"].values == (("a��",),)
    assert dataset.keys["many"].values == (("a��", "b"),)


@pytest.mark.parametrize("text", ["\ud800", "\0 \udfff", "\0\x1b"])
def test_halves_of_characters_alone_are_no_text(write: Write, text: str) -> None:
    rows = ({"text": text, "label": "a"}, {"text": "a film", "label": "b"})
    dataset = load(write("a.jsonl", json_lines(*rows)))

    assert dataset.texts == ("a film",)
    assert dataset.notes == ("1 row (1) left out: no text.",)


@pytest.mark.parametrize("column", ["label", "lang", "id", "group"])
@pytest.mark.parametrize(
    ("one", "other"),
    [("\ud800", "\ud801"), ("a\0", "a\ud800"), ("a�", "a\0"), (["\0"], ["\ud800"])],
)
def test_values_that_would_become_the_same_are_refused_by_their_row(
    write: Write, column: str, one: object, other: object
) -> None:
    plain = {"text": "a film", "label": "x", "lang": "en", "id": "1", "group": "g"}
    rows = [{**plain, column: value} for value in (one, one, other)]
    what, where = refusal(
        write("a.jsonl", json_lines(*rows)),
        language_column="lang",
        id_column="id",
        group_column="group",
    )

    shown = [visible(v if isinstance(v, str) else v[0]) for v in (one, other)]
    assert what == (
        f"'{shown[0]}' and '{shown[1]}' differ only in characters that no file can hold."
    )
    assert where == f"a.jsonl, row 3, column '{column}'"


def test_texts_that_differ_only_in_half_a_character_are_cut_alike_and_kept(write: Write) -> None:
    rows = [{"text": f"a film \ud83d{half}", "label": "a"} for half in ("", "\ud83e")]

    assert load(write("a.jsonl", json_lines(*rows))).texts == ("a film �", "a film ��")


def test_a_late_nul_in_a_label_of_a_csv_is_told_apart_from_what_replaces_it(write: Write) -> None:
    rows = "text,label\n" + "a film,a\n" * 500
    path = write("a.csv", rows + "a film,b\0\n" * 2)

    assert read_table(path).frame["label"].tolist()[-1] == "b\0"
    assert load(path).keys["label"].counts == {"a": 500, "b�": 2}
    what, where = refusal(write("a.csv", rows + "a film,b\0\na film,b�\n"))
    assert what.startswith("'b\\x00' and 'b�' differ only in")
    assert where == "a.csv, row 503, column 'label'"


@pytest.mark.parametrize(("encoding", "raw"), [("utf-7", b"+2AA-"), ("unicode_escape", b"\\ud800")])
def test_an_encoding_that_gives_halves_of_characters_is_refused(
    write: Write, encoding: str, raw: bytes
) -> None:
    path = write("a.csv", b"text,label\na film,a\na film," + raw + b"\n")

    what, where = refusal(path, encoding=encoding)
    assert what == f"Line 3 has half a character when it is read as {encoding}."
    assert where == "a.csv, line 3"


@pytest.mark.parametrize(
    ("record", "name"),
    [
        (dict.fromkeys(("l\ud800", "l\ud801"), 1), "l�"),
        ({"l": 1, " l ": 2}, "l"),
        ({"a.b": 1, "a": {"b": 2}, "b": 3}, "a.b"),
        ({"": 1, "column_2": 2}, "column_2"),
    ],
)
def test_columns_of_json_that_would_become_one_are_refused(
    write: Write, record: dict[str, object], name: str
) -> None:
    path = write("a.jsonl", json_lines({"text": "a film", **record}))

    assert refusal(path) == (f"The column '{name}' occurs 2 times.", "a.jsonl")


def test_a_key_that_json_has_twice_is_refused_by_its_line(write: Write) -> None:
    lines = '{"text": "a", "label": "x"}\n{"text": "a", "label": "x", "label": "y"}\n'

    assert refusal(write("a.jsonl", lines)) == (
        "Line 2 is not JSON: a key occurs twice",
        "a.jsonl, line 2",
    )


def test_a_key_within_an_object_has_the_same_column_in_every_line(write: Write) -> None:
    rows = ({"text": "x", "a": {"k": "1"}}, {"text": "y", "a": {"k": "2"}, "k": "3"})
    dataset = load(write("a.jsonl", json_lines(*rows)), label=("a.k", "k"))

    assert dataset.keys["a.k"].values == (("1",), ("2",))
    assert dataset.keys["k"].values == ((), ("3",))


LABELS = ("../../up", "CON", "con", "=1+1", "\x1b[2J\x1b[31m", "\u202egood", "é", "e\u0301",
          "[red]x[/red]", "L" * 5_000)  # fmt: skip
LANGUAGES = ("../fr", "\x1b[5m")
COLUMN, AREAS = "..\u202e/[b]=label\x1b", "/etc/areas"


def hostile_rows() -> list[dict[str, Any]]:
    """Return rows of which every cell and every name wants to be something else."""
    marks = ("\x1b]0;owned\x07", "\u202e", "[bold]", "=cmd|' /C calc'!A0", "\u200b", "x" * 20_000)
    return [
        {
            "text": f"the film was {('good', 'bad')[i % 2]} {i} {marks[i % len(marks)]}",
            COLUMN: LABELS[i % len(LABELS)],
            AREAS: f"{LABELS[i % 3]};{LABELS[2 + i % 3]}",
            "lang": LANGUAGES[i % 2],
            "id": f"../../{i}\x1b[2J{marks[i % 3]}",
        }
        for i in range(120)
    ]


def as_csv(rows: list[dict[str, Any]]) -> str:
    def cell(text: str) -> str:
        return '"' + text.replace('"', '""') + '"'

    lines = [map(cell, rows[0]), *(map(cell, row.values()) for row in rows)]
    return "".join(",".join(line) + "\r\n" for line in lines)


def as_json_lines(rows: list[dict[str, Any]]) -> str:
    halves = {"text": "\ud800\0", "id": "\0", "lang": "\udfff"}
    return json_lines(*({k: v + halves.get(k, "") for k, v in row.items()} for row in rows))


@pytest.mark.parametrize(("name", "made"), [("a.csv", as_csv), ("a.jsonl", as_json_lines)])
def test_a_table_full_of_hostile_texts_trains_within_its_folders_and_prints_nothing_unsafe(
    write: Write,
    tmp_path: Path,
    tiny_bert: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    made: Callable[[list[dict[str, Any]]], str],
) -> None:
    inside = tmp_path / "in" / "here"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    path = write(name, made(hostile_rows()))
    before = {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    config = make_config(
        {
            "mode": "custom",
            "data": str(path),
            "text_column": "text",
            "label": (COLUMN, AREAS),
            "multi_class": COLUMN,
            "one_vs_all": AREAS,
            "language_column": "lang",
            "id_column": "id",
            "model": str(tiny_bert),
            "epochs": 1,
            "threads": 1,
        }
    )
    plain, drawn = StringIO(), StringIO()
    console = Console(file=drawn, width=100, markup=False)
    events: list[Event] = []

    dataset, plan = prepare(config)
    session = Session(config.logs_dir)
    shows = (PlainSummary(plain), RunDisplay(console), ResultDisplay(console), events.append)
    show_plan(console, plan, config, dataset)
    outcome = run_plan(plan, dataset, config, session, *shows)

    # Everything was trained, each under a name of its own.
    assert outcome.failed == ()
    alone = {unicodedata.normalize("NFC", label) for label in LABELS}
    assert plan.jobs[0].task.classes == tuple(sorted(alone))
    assert {job.task.label_value for job in plan.jobs} == {"", *LABELS[:5]}
    folders = {session.category_name(job.task).casefold() for job in plan.jobs}
    saved = {Path(end.saved_model_path).resolve() for end in outcome.done}
    assert len(folders) == len(saved) == len(plan.jobs) == 6
    # Nothing is anywhere else.
    assert {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()} == before
    assert {p.name for p in inside.iterdir()} == {"training_logs", "models"}
    for folder in (*saved, *(session.category_folder(job.task) for job in plan.jobs)):
        assert folder.resolve().is_relative_to(inside.resolve())
        assert folder.is_dir()
    # What was recorded comes back, and is all that other programs can read.
    for end in outcome.done:
        task = end.job.task
        table = read_metrics(session.category_folder(task) / "training.csv")
        assert set(table["label_key"]) == {task.label_key}
        assert {f"f1_{c}" for c in task.classes} <= set(table.columns)
        assert end in read_events(session.run_folder(end.job) / "journal.jsonl")
    assert not [event for event in events if UNWRITABLE.search(to_json(event))]
    # Nothing that a terminal acts on was printed.
    assert plain.getvalue().count("\n") == 6 * 3 + 1
    for printed in (plain.getvalue(), drawn.getvalue()):
        for line in printed.split("\n"):
            assert visible(line) == line
