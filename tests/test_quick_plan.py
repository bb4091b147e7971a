"""What quick mode plans, what it says about it, and what it refuses to plan."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from llm_tool.config import make_config
from llm_tool.data.dataset import load_dataset
from llm_tool.errors import StudioError
from llm_tool.modes.planning import plan_run
from llm_tool.plan import Job, Plan, Task

Write = Callable[..., Path]


def plan(data: Path | str, **settings: object) -> Plan:
    config = make_config({"data": str(data), **settings})
    return plan_run(config, load_dataset(config))


def refusal(data: Path | str, **settings: object) -> tuple[str, str, str]:
    with pytest.raises(StudioError) as caught:
        plan(data, **settings)
    return caught.value.what, caught.value.where, caught.value.remedy


def sizes(made: Plan) -> list[tuple[int, ...]]:
    return [tuple(len(rows) for rows in parts.named().values()) for parts in made.parts]


def labelled(write: Write, counts: dict[str, int]) -> Path:
    """Write a table with so many rows of each class."""
    cells = [label for label, count in counts.items() for _ in range(count)]
    rows = "".join(f"the film number {i},{label}\n" for i, label in enumerate(cells))
    return write("a.csv", "text,label\n" + rows)


def test_the_demo_data_give_three_jobs_and_a_note_on_the_fourth_column() -> None:
    made = plan("demo")
    assert [job.title for job in made.jobs] == [
        "specific_themes · all-MiniLM-L6-v2 · MULTI",
        "sentiment · all-MiniLM-L6-v2 · MULTI",
        "political_parties · all-MiniLM-L6-v2 · MULTI",
    ]
    assert made.jobs[1] == Job(
        Task("sentiment", "", ("negative", "neutral", "positive"), ("EN", "FR")),
        "embedded",
        "all-MiniLM-L6-v2",
        "MULTI",
        seed=42,
    )
    assert sizes(made) == [(420, 91, 89), (419, 91, 90), (420, 91, 89)]
    assert made.mode == "quick"
    assert made.notes == (
        "all-MiniLM-L6-v2 was not pretrained on FR.",
        "Not trained: policy_areas (several values a row).",
    )


def test_planning_needs_no_torch() -> None:
    script = (
        "import sys\n"
        "from llm_tool.config import make_config\n"
        "from llm_tool.data.dataset import load_dataset\n"
        "from llm_tool.modes.planning import plan_run\n"
        "config = make_config({'data': 'demo', 'model': 'embedded'})\n"
        "assert len(plan_run(config, load_dataset(config)).jobs) == 3\n"
        "assert 'torch' not in sys.modules, 'torch was imported'\n"
        "assert 'transformers' not in sys.modules, 'transformers was imported'\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_a_multi_valued_label_is_refused_when_it_is_named(tweets: Path) -> None:
    assert refusal(tweets, label=("sentiment", "areas")) == (
        "The column 'areas' holds several values a row.",
        "--label",
        "Quick trains single-valued columns: choose another one, or give --one-vs-all, or use "
        "the mode distributed.",
    )
    assert plan(tweets).notes == (
        "all-MiniLM-L6-v2 was not pretrained on FR.",
        "Not trained: areas (several values a row).",
    )


def test_a_table_with_only_multi_valued_labels_is_refused(write: Write) -> None:
    rows = "".join(
        f'{{"text": "a long film {i}", "areas": ["law", "{"xy"[i % 2]}"]}}\n' for i in range(9)
    )
    assert refusal(write("a.jsonl", rows)) == (
        "Every label column holds several values a row; quick trains single-valued ones.",
        "areas",
        "Use the mode distributed.",
    )


@pytest.mark.parametrize(("counts", "shown"), [({"a": 12}, "1 class"), ({"": 12}, "no class")])
def test_there_must_be_two_classes_to_learn(
    write: Write, counts: dict[str, int], shown: str
) -> None:
    assert refusal(labelled(write, counts), label="label") == (
        f"The column 'label' has {shown} to learn; it takes two.",
        "--label",
        "Choose another label column.",
    )


@pytest.mark.parametrize(
    ("counts", "shown"),
    [
        ({"a": 12, "b": 12, "c": 1}, "c (1)"),
        ({"a": 12, "[red]": 2, "=1+1": 1}, "=1+1 (1), [red] (2)"),
        ({"a": 1, "b": 1}, "a (1), b (1)"),
        ({"a": 12, "b": 12, "L" * 300: 1}, "L" * 20 + "…" + "L" * 19 + " (1)"),
        ({"a": 12, "x\x1b[2J": 1}, "x\\x1b[2J (1)"),
        (
            {"a": 12, **{f"c{i}": 1 for i in range(9)}},
            ", ".join(f"c{i} (1)" for i in range(8)) + ", …",
        ),
    ],
)
def test_classes_with_too_few_rows_are_named_with_their_counts(
    write: Write, counts: dict[str, int], shown: str
) -> None:
    several = len(counts) - ("a" in counts) - ("b" in counts) > 1 or counts == {"a": 1, "b": 1}
    merge = "Make them one class (--set small_classes=merge)"
    assert refusal(labelled(write, counts), label="label") == (
        f"Classes with too few rows to be in training, validation and test: {shown}.",
        "column 'label'",
        f"{merge if several else 'Merge them in your file'}, or leave their rows out: "
        "--set small_classes=drop.",
    )


def test_small_classes_can_be_left_out_and_are_named(write: Write) -> None:
    path = labelled(write, {"a": 12, "b": 12, "c": 1, "d": 2, "": 1})
    made = plan(path, label="label", small_classes="drop")
    assert made.jobs[0].task.classes == ("a", "b")
    assert sum(sizes(made)[0]) == 24
    assert made.notes == (
        "label: 1 row left out: no value.",
        "label: 3 rows left out: classes with too few rows (c, d).",
    )


def test_leaving_out_every_class_leaves_nothing_to_learn(write: Write) -> None:
    path = labelled(write, {"a": 1, "b": 2})
    what = refusal(path, label="label", small_classes="drop")[0]
    assert what == "The column 'label' has no class to learn; it takes two."


def test_leaving_classes_out_goes_on_until_every_class_is_in_every_part(write: Write) -> None:
    # Leaving out e, whose author also wrote others, leaves d without a row in some part.
    labels, authors = "abbacddbcaedaacdaa", "begabfadgbaehiffda"
    pairs = zip(labels, authors, strict=True)
    rows = "".join(f"a long film {i},{own},{by}\n" for i, (own, by) in enumerate(pairs))
    path = write("a.csv", "text,label,author\n" + rows)
    made = plan(path, label="label", group_column="author", small_classes="drop")
    assert made.notes == (
        "label: 1 row left out: classes with too few rows (e).",
        "label: 4 rows left out: classes with too few rows (d).",
    )
    for own in made.parts[0].named().values():
        assert {labels[row] for row in own} == {"a", "b", "c"}


def test_classes_of_one_author_cannot_be_in_every_part(write: Write) -> None:
    rows = "".join(f"a long film {i},{'ab'[i % 2]},{'xy'[i % 2]}\n" for i in range(40))
    path = write("a.csv", "text,label,author\n" + rows)
    assert refusal(path, label="label", group_column="author")[0] == (
        "Classes with too few rows or groups to be in training, validation and test: "
        "a (20), b (20)."
    )


def test_strange_labels_are_planned_like_any_other(write: Write) -> None:
    strange = ["../../x", "[red]", "=1+1", "CON", "L" * 300]
    made = plan(labelled(write, dict.fromkeys(strange, 8)), label="label")
    assert made.jobs[0].task.classes == tuple(sorted(strange))


def test_a_split_column_without_training_rows_is_refused(write: Write) -> None:
    rows = "".join(f"a long film {i},{'ab'[i % 2]},test\n" for i in range(40))
    path = write("a.csv", "text,label,split\n" + rows)
    assert refusal(path) == (
        "There are no rows for training.",
        "column 'label'",
        "Label more rows, or give --split-column none to split them anew.",
    )
    assert sizes(plan(path, split_column="none")) == [(28, 6, 6)]


def test_what_a_split_column_lacks_and_repeats_is_noted(write: Write) -> None:
    parts = ("train", "train", "train", "train", "test", "test")
    rows = "".join(
        f"a long film {0 if i in {1, 5} else i},{'ab'[i % 2]},{parts[i % 6]}\n" for i in range(48)
    )
    made = plan(write("a.csv", "text,label,split\n" + rows))
    assert sizes(made) == [(26, 4, 16)]
    assert made.notes == (
        "label: 2 rows left out of training or validation: the same text or group is also in a "
        "later part.",
        "label: The split column has no validation rows: taken from its training rows.",
    )
