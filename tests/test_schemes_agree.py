"""The same labelled texts, written in each scheme, make the same dataset; no row is lost."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_tool.config import RunConfig, make_config
from llm_tool.config_files import config_text, read_config
from llm_tool.data.dataset import Dataset
from llm_tool.data.label_keys import composed
from llm_tool.modes.planning import prepare
from llm_tool.text import visible
from tests.test_schemes import LONG, YES_NO, arranged, as_csv, as_lines, load, long_rows, with_texts

Write = Callable[..., Path]
REAL = Path(__file__).parents[2] / "shared" / "data"
# Labels that spreadsheets, terminals, Rich, JSON and paths would each do something with.
LABELS = ("eco", "law", "vote", "=1+1", "[red]x[/red]", "../../up", "\x1b[2J", "a'b", 'a"b', "{x}",
          "None", "0", "\u202egood", "L" * 300, "é", "n\nn")  # fmt: skip
TONES = ("pos", "neg", "mixed", "=cmd()", "[b]")
Document = tuple[str, list[str]]  # tone, themes

documents = st.lists(
    st.tuples(st.sampled_from(TONES), st.lists(st.sampled_from(LABELS), unique=True, max_size=4)),
    min_size=2,
    max_size=12,
)


def text_of(number: int) -> str:
    return f"the film number {number} was long"


def in_columns(docs: Sequence[Document]) -> tuple[str, str]:
    lines = [
        {"id": f"d{n}", "text": text_of(n), "tone": tone, "themes": themes}
        for n, (tone, themes) in enumerate(docs)
    ]
    return "a.jsonl", as_lines(*lines)


def in_indicators(docs: Sequence[Document]) -> tuple[str, str]:
    rows = [
        [f"d{n}", text_of(n), tone, *("01"[label in themes] for label in LABELS)]
        for n, (tone, themes) in enumerate(docs)
    ]
    return "a.csv", as_csv(["id", "text", "tone", *(f"themes: {one}" for one in LABELS)], rows)


def in_long_format(docs: Sequence[Document]) -> tuple[str, str]:
    rows = [
        [f"d{n}", text_of(n), key, value]
        for n, (tone, themes) in enumerate(docs)
        for key, value in [("tone", tone), *(("themes", theme) for theme in themes)]
    ]
    return "a.csv", as_csv(["id", "text", "variable", "value"], rows)


def in_json(docs: Sequence[Document]) -> tuple[str, str]:
    rows = [
        [f"d{n}", text_of(n), json.dumps({"tone": tone, "themes": themes})]
        for n, (tone, themes) in enumerate(docs)
    ]
    return "a.csv", as_csv(["id", "text", "annotation"], rows)


def in_python(docs: Sequence[Document]) -> tuple[str, str]:
    rows = [
        [f"d{n}", text_of(n), f"Here: { ({'tone': tone, 'themes': themes})!r}"]
        for n, (tone, themes) in enumerate(docs)
    ]
    return "a.csv", as_csv(["id", "text", "annotation"], rows)


SCHEMES = {
    in_indicators: {"scheme": "indicators"},
    in_long_format: {"scheme": "long"},
    in_json: {"scheme": "json"},
    in_python: {},
}


def facts(dataset: Dataset) -> dict[str, Any]:
    """Return what a dataset holds, whatever the order in which a row's labels were written."""
    return {
        "ids": dataset.ids,
        "texts": dataset.texts,
        "values": {name: [sorted(own) for own in key.values] for name, key in dataset.keys.items()},
        "uncoded": [key.uncoded for key in dataset.keys.values()],
    }


@settings(max_examples=60, deadline=None)
@given(documents)
def test_the_same_labels_in_each_scheme_make_the_same_dataset(docs: list[Document]) -> None:
    with tempfile.TemporaryDirectory() as folder:

        def read(written: tuple[str, str], **own: object) -> Dataset:
            path = Path(folder) / written[0]
            path.write_bytes(written[1].encode("utf-8"))
            own = {"id_column": "id", "label": ("tone", "themes"), **own}
            return load(path, **own)

        expected = facts(read(in_columns(docs)))
        assert expected["values"]["themes"] == [
            sorted(composed(one) for one in themes) for _, themes in docs
        ]
        for write_in, own in SCHEMES.items():
            if write_in is in_long_format and not any(themes for _, themes in docs):
                continue  # nothing says that there is a key of this name
            found = facts(read(write_in(docs), **own))
            assert found == expected, write_in.__name__


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["d1", "d2", "d3", ""]),
            st.sampled_from(["tone", "theme", "", "NA"]),
            st.sampled_from(["a", "b", "", "NaN"]),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_every_row_of_a_long_table_is_in_a_text_or_said_to_be_left_out(
    rows: list[tuple[str, str, str]],
) -> None:
    lines = [
        [unit, f"the film {unit or n} was long", key, value]
        for n, (unit, key, value) in enumerate(rows)
    ]
    lines.append(["d9", "the film d9 was long", "tone", "a"])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.csv"
        path.write_text(as_csv(["id", "text", "variable", "value"], lines), "utf-8")
        found = arranged(path, scheme="long")
    frame = found.table.frame
    units = len({line[0] for line in lines if line[0]}) + sum(not line[0] for line in lines)
    assert len(frame) == len(found.table.row_numbers) == units
    assert len(set(found.table.row_numbers)) == units
    written = {
        (line[0] or str(n), line[2], line[3])
        for n, line in enumerate(lines)
        if line[2] in ("tone", "theme") and line[3] in ("a", "b")
    }
    kept = [
        (row["id"] or str(number - 2), key, value)
        for number, (_, row) in zip(found.table.row_numbers, frame.iterrows(), strict=True)
        for key in ("tone", "theme")
        for value in _as_list(row.get(key, ""))
    ]
    assert sorted(kept) == sorted(written)
    keyless = [n + 2 for n, line in enumerate(lines) if line[2] in ("", "NA") and line[3] in "ab"]
    keyless = [number for number in keyless if lines[number - 2][3]]
    notes = [note for note in found.notes if "left out: a value without a key" in note]
    assert bool(notes) == bool(keyless)
    if keyless:
        count = f"{len(keyless)} row{'s' * (len(keyless) > 1)}"
        shown = ", ".join(map(str, keyless[:5])) + (", …" if len(keyless) > 5 else "")
        assert notes[0].startswith(f"{count} ({shown}) left out")


def _as_list(cell: object) -> Iterator[str]:
    yield from cell if isinstance(cell, list) else [str(cell)] if cell else []


@pytest.mark.parametrize("write_in", SCHEMES)
def test_what_is_recognised_is_said_in_nothing_that_a_terminal_acts_on(
    write: Write, write_in: Callable[[Sequence[Document]], tuple[str, str]]
) -> None:
    docs = [(TONES[i % 5], [LABELS[i % 16], LABELS[(3 * i + 1) % 16]]) for i in range(32)]
    found = arranged(write(*write_in(docs)))
    assert len(found.changes) == 1
    said = [
        *found.notes,
        *(part for change in found.changes for e in change.examples for part in e),
    ]
    for line in said:
        assert visible(line) == line
        assert len(line) < 800


# ── from the command line to the plan ─────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("content", "chosen"),
    [
        (with_texts(["t_eco", "t_law", "t_war"], *YES_NO), {"scheme": "indicators"}),
        (with_texts(["t_eco", "t_law", "t_war"], *YES_NO), {"label": ("t",)}),
        (with_texts(["t_eco", "t_law", "t_war"], *YES_NO), {"scheme": "columns"}),
        (as_csv(LONG, long_rows(30)), {}),
        (as_csv(LONG, long_rows(30)), {"scheme": "long"}),
        (
            as_csv([*LONG[:3], "-what", "it is"], long_rows(30)),
            {"key_column": "-what", "value_column": "it is"},
        ),
    ],
)
def test_a_scheme_comes_back_from_its_command_and_from_its_file(
    write: Write, tmp_path: Path, content: str, chosen: dict[str, Any]
) -> None:
    from typer.testing import CliRunner

    from llm_tool.cli.app import app

    path = write("a.csv", content)
    config = make_config({"data": str(path), "mode": "hybrid", "small_classes": "drop", **chosen})
    saved = tmp_path / "again.yaml"
    words = [*config.command()[1:], "--save-config", str(saved), "--dry-run"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert make_config(read_config(saved)) == config
    (tmp_path / "text.yaml").write_text(config_text(config), "utf-8")
    assert make_config(read_config(tmp_path / "text.yaml")) == config
    if chosen.get("scheme") != "columns":
        assert "Labels: " in result.output


def test_a_scheme_that_does_not_exist_is_refused() -> None:
    from typer.testing import CliRunner

    from llm_tool.cli.app import app

    result = CliRunner().invoke(app, ["train", "quick", "demo", "--scheme", "wide"])
    assert result.exit_code == 2
    assert "scheme: Input should be 'auto', 'columns', 'indicators', 'long' or 'json'" in (
        " ".join(result.output.split())
    )


def uncoded_table(write: Write, more: str = "") -> RunConfig:
    """Return a run on 48 texts of which 8 are not coded for ``t``, nor 4 of them for ``u``."""
    cells = [["1", "0"], ["0", "1", "1"]]
    rows = []
    for i in range(48):
        own = [one[i % len(one)] for one in cells] if i % 6 else ["", ""]
        other = [one[(i + 1) % len(one)] for one in cells] if i % 12 else ["", ""]
        rows.append([f"the film number {i} was long", *own, *other])
    path = write("a.csv", as_csv(["text", "t_eco", "t_law", "u_eco", "u_law"], rows))
    return make_config({"data": str(path), "mode": "distributed"} | json.loads(more or "{}"))


def test_texts_that_nobody_coded_are_no_negatives_of_one_vs_all_models(write: Write) -> None:
    dataset, plan = prepare(uncoded_table(write))
    assert len(dataset.texts) == 48
    for job, parts in zip(plan.jobs, plan.parts, strict=True):
        rows = [row for own in parts.named().values() for row in own]
        wanted = [i for i in range(48) if i % (6 if job.task.label_key == "t" else 12)]
        assert sorted(rows) == wanted
    assert {own.tasks: own.left_out for own in plan.accounts} == {
        ("t=eco", "t=law"): {"not coded": 8},
        ("u=eco", "u=law"): {"not coded": 4},
    }


def test_one_network_for_all_labels_learns_texts_that_were_coded_for_all(write: Write) -> None:
    _, plan = prepare(uncoded_table(write, '{"shared_encoder": true}'))
    ((job, parts),) = zip(plan.jobs, plan.parts, strict=True)
    rows = [row for own in parts.named().values() for row in own]
    assert sorted(rows) == [i for i in range(48) if i % 6]
    assert len(job.labels) == 4
    assert [own.left_out for own in plan.accounts] == [{"not coded": 8}]


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the public data sets are not in {REAL}")
def test_published_tables_are_the_same_in_every_scheme(write: Write) -> None:
    path = REAL / "emotions_multilabel.jsonl"
    plain = load(path, label=("polarity", "emotions"))
    assert plain.notes == ()
    names = sorted({value for own in plain.keys["emotions"].values for value in own})
    cells = zip(
        plain.ids, plain.texts, plain.keys["polarity"].values, plain.keys["emotions"].values,
        strict=True,
    )  # fmt: skip
    rows = [(i, text, (*polarity, "")[0], emotions) for i, text, polarity, emotions in cells]
    wide = as_csv(
        ["id", "text", "polarity", *(f"emotions_{name}" for name in names)],
        [[i, text, p, *("01"[n in own] for n in names)] for i, text, p, own in rows],
    )
    long = as_csv(
        ["id", "text", "variable", "value"],
        [
            [i, text, key, value]
            for i, text, p, own in rows
            for key, value in [("polarity", p), *(("emotions", one) for one in own)]
        ],
    )
    cell = as_csv(
        ["id", "text", "annotation"],
        [[i, text, repr({"polarity": p, "emotions": list(own)})] for i, text, p, own in rows],
    )
    for content in (wide, long, cell):
        dataset = load(write("a.csv", content), label=("polarity", "emotions"))
        assert facts(dataset) == facts(plain)
        assert len(dataset.notes) >= 1
