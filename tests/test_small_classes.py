"""Classes with too few rows: refused, left out or made one; how few are too few; copies."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from llm_tool.config import make_config
from llm_tool.events import JobEnded
from llm_tool.execution.local import run_plan
from llm_tool.logs import Session, read_metrics
from llm_tool.modes.planning import prepare
from tests.test_mode_plans import Write, made, plan, refusal, rows_of, table

MERGE: dict[str, object] = {"small_classes": "merge", "label": "tone"}


def test_small_classes_become_one_class_with_all_their_rows(write: Write) -> None:
    path = table(write, tone=["a", "b"] * 20 + ["c", "c", "d", "e"])
    own = plan(path, "quick", **MERGE)
    assert own.jobs[0].task.classes == ("a", "b", "other")
    assert rows_of(own.parts[0]) == list(range(44))
    assert own.merged == {"tone": {"c": "other", "d": "other", "e": "other"}}
    assert own.notes == (
        "tone: classes with too few rows are one class 'other': c (2), d (1), e (1).",
    )
    config = make_config({"data": str(path), **MERGE})
    dataset, _ = prepare(config)
    values = [dataset.keys["tone"].values[row] for row in range(40, 44)]
    assert values == [("other",)] * 4
    for rows in own.parts[0].named().values():
        assert {dataset.keys["tone"].values[row][0] for row in rows} == {"a", "b", "other"}


def test_the_error_brings_both_ways_out_where_there_are_several_classes(write: Write) -> None:
    path = table(write, tone=["a", "b"] * 20 + ["c", "d", "e"])
    error = refusal(path, "quick", label="tone")
    assert error.remedy == (
        "Make them one class (--set small_classes=merge), or leave their rows out: "
        "--set small_classes=drop."
    )
    classes = {
        what: plan(path, "quick", label="tone", **keys).jobs[0].task.classes
        for what, keys in error.fixes.items()
    }
    assert classes == {
        "leave their rows out": ("a", "b"),
        "make them one class": ("a", "b", "other"),
    }
    one = refusal(table(write, tone=["a", "b"] * 20 + ["c"]), "quick", label="tone")
    assert one.fixes == {"do that": {"small_classes": "drop"}}


def test_a_class_of_the_data_that_is_called_other_stays_apart(write: Write) -> None:
    path = table(write, tone=["a", "other", "other_2"] * 20 + ["c", "d", "e"])
    assert plan(path, "quick", **MERGE).jobs[0].task.classes == ("a", "other", "other_2", "other_3")


@pytest.mark.parametrize("rare", [["c"], ["c", "d"]])
def test_what_is_too_small_even_as_one_class_is_refused(write: Write, rare: list[str]) -> None:
    error = refusal(table(write, tone=["a", "b"] * 20 + rare), "quick", **MERGE)
    assert error.what.startswith("Classes with too few rows to be in training, validation and test")
    assert error.remedy == (
        "There is nothing to merge them with: leave their rows out with "
        "--set small_classes=drop, or label more."
    )
    assert error.fix == {"small_classes": "drop"}


def test_merging_every_class_leaves_nothing_to_learn(write: Write) -> None:
    error = refusal(table(write, tone=list("aabbccdd")), "quick", **MERGE)
    assert error.what == "The column 'tone' has 1 class to learn; it takes two."


def test_yes_or_no_labels_cannot_be_merged(write: Write) -> None:
    areas = ["law;tax", "law", "tax"] * 12 + ["rare;tax"]
    error = refusal(table(write, areas=areas), "distributed", small_classes="merge")
    assert error.what.endswith("rare (1).")
    assert error.remedy == (
        "Yes-or-no labels cannot be merged. Label more rows, or leave these labels out: "
        "--set small_classes=drop."
    )


def test_a_merged_class_is_trained_and_written_like_any_other(
    write: Write, tiny_bert: Path, tmp_path: Path
) -> None:
    path = table(write, tone=["a", "b"] * 20 + ["c", "c", "d", "e"])
    config = make_config(
        {
            **MERGE,
            "data": str(path),
            "model": str(tiny_bert),
            "epochs": 1,
            "threads": 1,
            "logs_dir": str(tmp_path / "logs"),
            "models_dir": str(tmp_path / "models"),
        }
    )
    dataset, own = prepare(config)
    session = Session(config.logs_dir)
    (ended,) = run_plan(own, dataset, config, session).done
    assert isinstance(ended, JobEnded)
    best = read_metrics(session.folder / "tone" / "best.csv")
    assert {"support_a", "support_b", "support_other"} <= set(best.columns)
    assert best["support_other"].tolist() == [1]


def test_every_part_has_as_many_rows_of_each_class_as_was_asked_for(write: Write) -> None:
    tone = ["a", "b"] * 60 + ["c"] * 15
    path = table(write, tone=tone)
    least: dict[str, object] = {"label": "tone", "min_per_part": 5}
    for seed in range(5):
        own = plan(path, "quick", seed=seed, **least)
        counts = [Counter(tone[row] for row in rows) for rows in own.parts[0].named().values()]
        # c has as many rows as that takes; a and b keep their shares.
        assert [own["c"] for own in counts] == [5, 5, 5]
        assert [own["a"] for own in counts] == [42, 9, 9]
    error = refusal(path, "quick", **{**least, "min_per_part": 6})
    assert error.what == (
        "Classes with too few rows to be with 6 in each of training, validation and test: c (15)."
    )
    areas = ["law;tax", "law", "tax"] * 20 + ["rare;tax"] * 8
    path = table(write, areas=areas)
    assert len(plan(path, "distributed", min_per_part=2).jobs) == 3
    error = refusal(path, "distributed", min_per_part=3)
    assert error.what.endswith("with 3 in each of training, validation and test: rare (8).")


SENTENCE = "the minister said today that the new climate law will be voted on before the summer"


def test_copies_of_one_text_count_once_and_the_error_says_so(write: Write) -> None:
    path = table(write, tone=["a", "b"] * 30 + ["c"] * 6)
    lines = path.read_text("utf-8").splitlines()
    lines[-6:] = [f"{SENTENCE} {i},c" for i in range(6)]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    error = refusal(path, "quick", label="tone", validation_share=0.3, test_share=0.3)
    assert error.what.endswith("in training, validation and test: c (6).")
    assert error.remedy.endswith(
        "Texts that are nearly the same count once; --set near_duplicates=ignore counts each."
    )
    own = plan(path, "quick", label="tone", near_duplicates="ignore")
    assert rows_of(own.parts[0]) == list(range(66))
    assert own.notes == ()


def with_near(write: Write, count: int, near: int) -> Path:
    """Write so many different texts, the last of which are nearly the same."""
    texts = [f"{' '.join(f'w{i}x{j}' for j in range(8))}" for i in range(count - near)]
    texts += [f"{SENTENCE} {i}" for i in range(near)]
    rows = "".join(f"{text},{'ab'[i % 2]}\n" for i, text in enumerate(texts))
    return write("a.csv", "text,tone\n" + rows)


def test_near_duplicates_are_in_one_part_and_counted(write: Write) -> None:
    path = with_near(write, 100, 6)
    for seed in range(8):
        own = plan(path, "quick", seed=seed)
        assert sum(bool({*range(94, 100)} & {*rows}) for rows in own.parts[0].named().values()) == 1
        assert own.notes == ("tone: 6 rows stay together with a near duplicate of theirs.",)
    apart = [plan(path, "quick", seed=seed, near_duplicates="ignore") for seed in range(8)]
    sides = [
        [{*range(94, 100)} & {*rows} for rows in own.parts[0].named().values()] for own in apart
    ]
    assert any(sum(map(bool, own)) > 1 for own in sides)
    assert all(own.notes == () for own in apart)


def test_what_is_the_same_for_several_columns_is_noted_once(write: Write) -> None:
    path = with_near(write, 100, 6)
    frame = pd.read_csv(path)
    frame.assign(topic=["c", "d", "d", "c"] * 25).to_csv(path, index=False)
    assert plan(path, "quick").notes == (
        "tone, topic: 6 rows stay together with a near duplicate of theirs.",
    )


def test_copies_without_end_leave_something_to_divide(write: Write) -> None:
    own = plan(with_near(write, 100, 60), "quick")
    assert [len(rows) for rows in own.parts[0].named().values()] == pytest.approx(
        [70, 15, 15], abs=4
    )
    kept, alone = own.notes
    assert kept.endswith("rows stay together with a near duplicate of theirs.")
    assert alone.endswith(
        "can be in another part than a near duplicate of theirs: together they are too many for a "
        "part."
    )


def test_near_duplicates_across_a_split_column_stay_and_are_counted(write: Write) -> None:
    rows = [f"{' '.join(f'w{i}x{j}' for j in range(8))}" for i in range(40)]
    rows[0], rows[25], rows[39] = f"{SENTENCE} 1", f"{SENTENCE} 2", f"{SENTENCE} 3"
    parts = ["train"] * 24 + ["validation"] * 8 + ["test"] * 8
    path = table(write, tone=["a", "b"] * 20, split=parts)
    frame = pd.read_csv(path).assign(text=rows)
    path.write_text(frame.to_csv(index=False), "utf-8")
    own = plan(path, "quick")
    assert [len(part) for part in own.parts[0].named().values()] == [24, 8, 8]
    assert own.notes == (
        "tone: 2 texts of training or validation have a near duplicate in a later part, as the "
        "split column says.",
    )
    assert made(path, "quick", near_duplicates="ignore")[-1].notes == ()
