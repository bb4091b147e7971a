"""Yes-or-no tasks: their rows, their one split, what is too small; each alone or in one encoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

from llm_tool.data.dataset import Dataset
from llm_tool.plan import Job, Plan, Task
from tests.test_mode_plans import EMBEDDED, Write, made, plan, refusal, rows_of, table, tasks


def each_part(plan: Plan) -> Iterator[tuple[Task, Sequence[int]]]:
    for job, parts in zip(plan.jobs, plan.parts, strict=True):
        yield from product(job.tasks, parts.named().values())


def positives(dataset: Dataset, task: Task, rows: Sequence[int]) -> int:
    return sum(task.label_value in dataset.keys[task.label_key].values[row] for row in rows)


def check_one_split(dataset: Dataset, plan: Plan) -> None:
    """Check that no text is in two parts of any two jobs, and that all parts have yes and no."""
    part_of: dict[int, str] = {}
    for parts in plan.parts:
        for name, rows in parts.named().items():
            assert all(part_of.setdefault(row, name) == name for row in rows)
    for task, rows in each_part(plan):
        assert 0 < positives(dataset, task, rows) < len(rows)


def test_all_one_vs_all_tasks_share_one_split_with_yes_and_no_in_every_part() -> None:
    _, dataset, own = made("demo", "distributed", label=("sentiment", "policy_areas"))
    assert len(own.jobs) == 11
    assert len({repr(parts) for parts in own.parts}) == 1
    assert rows_of(own.parts[0]) == list(range(600))
    check_one_split(dataset, own)


def test_a_model_for_each_language_has_yes_and_no_in_every_part_of_its_rows(
    write: Write,
) -> None:
    # Three rows of each language have the label: the fewest that can be in three parts.
    areas = ["law;tax" if i < 6 else ("tax", "vote")[i % 4 // 2] for i in range(60)]
    path = table(write, lang=["en", "fr"] * 30, areas=areas)
    _, dataset, own = made(path, "distributed", languages="per-language")
    assert [(job.task.label_value, job.language) for job in own.jobs] == [
        *product(("law", "tax", "vote"), ("EN", "FR"))
    ]
    check_one_split(dataset, own)
    for job, parts in zip(own.jobs, own.parts, strict=True):
        assert rows_of(parts) == [
            r for r, own in enumerate(dataset.languages) if own == job.language
        ]


def test_a_label_that_nearly_every_row_has_is_missing_from_some_of_every_part(
    write: Write,
) -> None:
    for seed in range(10):
        areas = [("law;vote", "law;tax")[i % 2] if i > 2 else "tax" for i in range(60)]
        _, dataset, own = made(table(write, areas=areas), "distributed", seed=seed)
        assert tasks(own) == ["areas=law", "areas=tax", "areas=vote"]
        check_one_split(dataset, own)


def test_rows_without_a_value_are_negatives_and_counted(write: Write) -> None:
    areas = [("law;tax", "law", "tax", "", "")[i % 5] for i in range(60)]
    _, dataset, own = made(table(write, areas=areas, tone=["a", "b"] * 30), "hybrid")
    assert tasks(own) == ["tone", "areas=law", "areas=tax"]
    for job, parts in zip(own.jobs, own.parts, strict=True):
        assert rows_of(parts) == list(range(60))
        if job.kind == "one-vs-all":
            assert positives(dataset, job.task, rows_of(parts)) == 24
            empty = [[r for r in rows if not areas[r]] for rows in parts.named().values()]
            assert list(map(len, empty)) == [17, 4, 3]
    assert own.notes == ("areas: 24 rows without a value: no to every label.",)


def test_a_multi_class_task_leaves_out_the_rows_without_a_value_and_says_so(
    write: Write,
) -> None:
    tone = [("a", "b", "")[i % 3] for i in range(60)]
    areas = ["law;tax", "law", "tax"] * 20
    own = plan(table(write, tone=tone, areas=areas), "hybrid")
    assert [len(rows_of(parts)) for parts in own.parts] == [40, 60, 60]
    assert own.notes == ("tone: 20 rows left out: no value.",)


def areas_with_a_rare_one(count: int = 40, rare: int = 2) -> list[str]:
    return ["law;rare" if i < rare else ("law", "tax;law", "tax")[i % 3] for i in range(count)]


def test_a_value_in_too_few_rows_is_an_error_that_brings_its_own_remedy(write: Write) -> None:
    path = table(write, areas=areas_with_a_rare_one())
    error = refusal(path, "distributed")
    assert (error.what, error.where, error.remedy) == (
        "Labels with too few rows with or without them to be in training, validation and test: "
        "rare (2).",
        "column 'areas'",
        "Label more rows, or leave these labels out: --set small_classes=drop.",
    )
    own = plan(path, "distributed", **error.fix)
    assert tasks(own) == ["areas=law", "areas=tax"]
    assert rows_of(own.parts[0]) == list(range(40))
    assert own.notes == ("areas: not trained where too few rows have it or not: rare (2).",)


def test_a_value_that_hardly_a_row_lacks_is_as_small_as_one_that_hardly_a_row_has(
    write: Write,
) -> None:
    areas = [("law;tax", "law")[i % 2] if i > 1 else "tax" for i in range(40)]
    assert refusal(table(write, areas=areas), "distributed").what.endswith("test: law (38).")


def test_small_values_are_shortened_made_harmless_and_counted_beyond_eight(write: Write) -> None:
    rare = ["x" * 60, "a\x1b[2J", *(f"r{i}" for i in range(8))]
    areas = [f"law;{rare[i]}" if i < len(rare) else ("law", "tax")[i % 2] for i in range(60)]
    what = refusal(table(write, areas=areas), "distributed").what
    assert what == (
        "Labels with too few rows with or without them to be in training, validation and test: "
        "a\\x1b[2J (1), r0 (1), r1 (1), r2 (1), r3 (1), r4 (1), r5 (1), r6 (1), …."
    )


def test_groups_can_be_what_is_too_few(write: Write) -> None:
    areas = [("law", "tax;vote", "vote", "tax;law")[i % 4] for i in range(60)]
    authors = [i % 2 for i in range(60)]
    error = refusal(table(write, areas=areas, author=authors), "distributed", group_column="author")
    assert error.what.startswith("Labels with too few rows or groups with or without them to be")


def test_dropping_leaves_a_label_out_only_where_it_is_too_small(write: Write) -> None:
    # All rows with "rare" are in English: there it can be learnt, in French it cannot.
    languages = ["en" if i < 30 else "fr" for i in range(60)]
    areas = ["law;rare" if i < 8 else ("law", "tax", "law;tax")[i % 3] for i in range(60)]
    path = table(write, lang=languages, areas=areas)
    settings: dict[str, object] = {"languages": "per-language"}
    assert refusal(path, "distributed", **settings).what.endswith("and test: rare (8).")
    _, dataset, own = made(path, "distributed", small_classes="drop", **settings)
    assert [(job.task.label_value, job.language) for job in own.jobs] == [
        ("law", "EN"),
        ("law", "FR"),
        ("rare", "EN"),
        ("tax", "EN"),
        ("tax", "FR"),
    ]
    assert {job.task.languages for job in own.jobs} == {("EN", "FR")}
    check_one_split(dataset, own)

    shared = plan(path, "distributed", small_classes="drop", shared_encoder=True, **settings)
    assert [(job.language, job.task.classes) for job in shared.jobs] == [
        ("EN", ("law", "rare", "tax")),
        ("FR", ("law", "tax")),
    ]


def test_leaving_out_every_value_leaves_nothing_to_learn(write: Write) -> None:
    # Every label is in two rows: enough for training and validation, not for a test.
    path = table(write, tone=[f"tone {i // 2}" for i in range(12)])
    assert len(plan(path, "distributed", test_share=0).jobs) == 6
    error = refusal(path, "distributed", small_classes="drop")
    assert (error.what, error.where) == ("No label has enough rows to learn.", "column 'tone'")


def test_a_split_column_is_shared_by_all_labels_and_its_notes_are_given_once(
    write: Write,
) -> None:
    split = [("train", "train", "train", "test")[i % 4] for i in range(60)]
    areas = [("law", "tax;vote", "vote")[i % 3] for i in range(60)]
    _, dataset, own = made(table(write, areas=areas, split=split), "distributed")
    assert len({repr(parts) for parts in own.parts}) == 1
    assert own.parts[0].test == [row for row in range(60) if split[row] == "test"]
    assert own.notes == ("The split column has no validation rows: taken from its training rows.",)
    check_one_split(dataset, own)


def test_without_a_test_share_there_is_no_test_and_a_label_needs_only_two_parts(
    write: Write,
) -> None:
    path = table(write, areas=areas_with_a_rare_one())
    own = plan(path, "distributed", test_share=0)
    assert tasks(own) == ["areas=law", "areas=rare", "areas=tax"]
    assert {len(parts.test) for parts in own.parts} == {0}


def test_a_shared_encoder_is_one_job_for_each_scope_and_seed(tweets: Path) -> None:
    alone = plan(tweets, "distributed")
    shared = plan(tweets, "distributed", shared_encoder=True)
    (job,) = shared.jobs
    assert job.labels == job.tasks == tuple(j.task for j in alone.jobs)
    assert job.task == Task("areas", "", ("health", "law", "vote"), ("EN", "FR"))
    assert (job.kind, job.title) == ("multi-label", f"areas · {EMBEDDED} · MULTI")
    assert shared.parts == alone.parts[:1]
    assert shared.notes == alone.notes

    models = ("EN=a", "FR=b")
    several = plan(tweets, "distributed", shared_encoder=True, model=models, seeds=(1, 2))
    assert [(j.model, j.language, j.seed) for j in several.jobs] == [
        ("a", "EN", 1),
        ("a", "EN", 2),
        ("b", "FR", 1),
        ("b", "FR", 2),
    ]
    assert {j.labels for j in several.jobs} == {job.labels}


def test_a_shared_encoder_names_labels_by_their_value_unless_two_columns_have_it(
    write: Write,
) -> None:
    path = table(
        write,
        mine=[("a;b", "b", "a")[i % 3] for i in range(60)],
        yours=[("b", "c")[i % 2] for i in range(60)],
    )
    own = plan(path, "distributed", label=("mine", "yours"), shared_encoder=True)
    (job,) = own.jobs
    assert job.task.label_key == "mine+yours"
    assert job.task.classes == ("a", "mine=b", "yours=b", "c")
    assert [(t.label_key, t.label_value) for t in job.labels] == [
        ("mine", "a"),
        ("mine", "b"),
        ("yours", "b"),
        ("yours", "c"),
    ]
    assert job.of(job.labels[2]) == Job(
        Task("yours", "b", ("not_b", "b")), "embedded", EMBEDDED, "", 42
    )


def test_a_shared_encoder_stands_beside_the_multi_class_models_of_a_hybrid_run(
    tweets: Path,
) -> None:
    own = plan(tweets, "hybrid", shared_encoder=True)
    assert [(job.task.category, job.kind) for job in own.jobs] == [
        ("sentiment", "multi-class"),
        ("topic", "multi-class"),
        ("areas", "multi-label"),
    ]


def test_a_benchmark_of_shared_encoders_compares_them_whole(tweets: Path) -> None:
    own = plan(tweets, "benchmark", label="areas", model=("a", "b"), shared_encoder=True)
    assert [(job.model, job.kind, len(job.labels)) for job in own.jobs] == [
        ("a", "multi-label", 3),
        ("b", "multi-label", 3),
    ]
