"""What each mode plans: which tasks, classes, models, seeds and rows, and what it says about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path

import pandas as pd
import pytest

from llm_tool.config import RunConfig, make_config
from llm_tool.data.dataset import Dataset, load_dataset
from llm_tool.errors import StudioError
from llm_tool.modes import MODES
from llm_tool.modes.planning import PLANNERS, plan_run, prepare
from llm_tool.plan import Parts, Plan, Task

Write = Callable[..., Path]
EMBEDDED = "all-MiniLM-L6-v2"


def made(data: Path | str, mode: str, **settings: object) -> tuple[RunConfig, Dataset, Plan]:
    config = make_config({"data": str(data), "mode": mode, **settings})
    dataset = load_dataset(config)
    return config, dataset, plan_run(config, dataset)


def plan(data: Path | str, mode: str, **settings: object) -> Plan:
    return made(data, mode, **settings)[-1]


def refusal(data: Path | str, mode: str, **settings: object) -> StudioError:
    with pytest.raises(StudioError) as caught:
        plan(data, mode, **settings)
    return caught.value


def tasks(plan: Plan) -> list[str]:
    """Return the tasks in order, once each: ``key``, or ``key=value`` for one value."""
    names = ["=".join(filter(None, (j.task.label_key, j.task.label_value))) for j in plan.jobs]
    return list(dict.fromkeys(names))


def table(write: Write, **columns: Sequence[object]) -> Path:
    """Write a table with these columns beside one text a row."""
    size = len(next(iter(columns.values())))
    texts = [f"the film number {i} was good" for i in range(size)]
    return write("a.csv", pd.DataFrame({"text": texts, **columns}).to_csv(index=False))


def rows_of(parts: Parts) -> list[int]:
    return sorted(row for own in parts.named().values() for row in own)


SINGLE = ["sentiment", "topic"]
AREAS = ["areas=health", "areas=law", "areas=vote"]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("quick", SINGLE),
        ("reinforced", SINGLE),
        ("benchmark", SINGLE + AREAS),
        ("custom", SINGLE + AREAS),
        ("hybrid", SINGLE + AREAS),
        ("distributed", AREAS),
    ],
)
def test_every_mode_chooses_tasks_by_the_kind_of_the_columns(
    tweets: Path, mode: str, expected: list[str]
) -> None:
    own = plan(tweets, mode)
    assert own.mode == mode
    assert tasks(own) == expected
    assert [job.kind for job in own.jobs] == [
        "one-vs-all" if "=" in name else "multi-class" for name in expected
    ]
    assert {(job.model, job.model_name, job.language, job.seed) for job in own.jobs} == {
        ("embedded", EMBEDDED, "MULTI", 42)
    }


def test_every_mode_of_the_menu_has_a_planner() -> None:
    assert list(MODES) == list(PLANNERS)


def test_reinforced_plans_what_quick_does_and_works_on_weak_classes(tweets: Path) -> None:
    quick, reinforced = made(tweets, "quick"), made(tweets, "reinforced")
    assert reinforced[-1].jobs == quick[-1].jobs
    assert reinforced[-1].parts == quick[-1].parts
    assert (quick[0].reinforces, reinforced[0].reinforces) == (False, True)
    assert all(made(tweets, mode, reinforced=True)[0].reinforces for mode in MODES)


def test_a_binary_task_has_the_classes_no_and_yes_and_the_languages_of_all_rows(
    tweets: Path,
) -> None:
    own = plan(tweets, "distributed")
    assert [job.task for job in own.jobs] == [
        Task("areas", value, (f"not_{value}", value), ("EN", "FR"))
        for value in ("health", "law", "vote")
    ]
    assert [job.task.category for job in own.jobs] == ["health", "law", "vote"]


@pytest.mark.parametrize(
    ("mode", "settings", "expected"),
    [
        ("quick", {"one_vs_all": "areas"}, SINGLE + AREAS),
        ("quick", {"label": ("sentiment", "areas"), "one_vs_all": "areas"}, ["sentiment", *AREAS]),
        ("quick", {"label": "areas", "one_vs_all": "areas"}, AREAS),
        (
            "reinforced",
            {"label": "sentiment", "one_vs_all": "sentiment"},
            ["sentiment=negative", "sentiment=positive"],
        ),
        (
            "hybrid",
            {"one_vs_all": ("topic",), "label": ("topic", "sentiment")},
            ["sentiment", "topic=climate", "topic=health", "topic=law"],
        ),
        ("distributed", {"multi_class": "sentiment"}, ["sentiment", *AREAS]),
        (
            "distributed",
            {"label": ("sentiment", "topic"), "multi_class": "topic"},
            ["topic", "sentiment=negative", "sentiment=positive"],
        ),
        (
            "distributed",
            {"one_vs_all": "sentiment"},
            ["sentiment=negative", "sentiment=positive", *AREAS],
        ),
        ("custom", {"label": "topic", "multi_class": "topic", "multi_class_limit": 2}, ["topic"]),
        (
            "benchmark",
            {"label": "sentiment", "one_vs_all": "sentiment"},
            ["sentiment=negative", "sentiment=positive"],
        ),
    ],
)
def test_the_strategy_of_a_column_can_be_chosen_in_every_mode(
    tweets: Path, mode: str, settings: dict[str, object], expected: list[str]
) -> None:
    assert tasks(plan(tweets, mode, **settings)) == expected


@pytest.mark.parametrize(
    ("mode", "settings", "said"),
    [
        (
            "hybrid",
            {"multi_class": "areas"},
            (
                "The column 'areas' holds several values a row.",
                "--multi-class",
                "One model can tell its values apart only where each row has one: use "
                "--one-vs-all.",
            ),
        ),
        (
            "custom",
            {"one_vs_all": "topics"},
            (
                "'topics' is not a label column of this run.",
                "--one-vs-all",
                "Did you mean topic?",
            ),
        ),
        (
            "hybrid",
            {"label": "sentiment", "multi_class": "areas"},
            (
                "'areas' is not a label column of this run.",
                "--multi-class",
                "The label ones are: sentiment.",
            ),
        ),
        (
            "quick",
            {"shared_encoder": True},
            (
                "A shared encoder has nothing to share: no column is trained one-vs-all.",
                "--shared-encoder",
                "Name one with --one-vs-all COLUMN, or use the mode distributed.",
            ),
        ),
        (
            "distributed",
            {"multi_class": "areas"},
            (
                "The column 'areas' holds several values a row.",
                "--multi-class",
                "One model can tell its values apart only where each row has one: use "
                "--one-vs-all.",
            ),
        ),
    ],
)
def test_strategies_that_do_not_fit_are_refused(
    tweets: Path, mode: str, settings: dict[str, object], said: tuple[str, str, str]
) -> None:
    error = refusal(tweets, mode, **settings)
    assert (error.what, error.where, error.remedy) == said


def test_a_column_cannot_have_both_strategies(tweets: Path) -> None:
    error = refusal(tweets, "hybrid", multi_class=("topic", "sentiment"), one_vs_all="topic")
    assert error.what == "'topic' is both in multi_class and in one_vs_all."


@pytest.mark.parametrize(("limit", "kind"), [(2, "one-vs-all"), (3, "multi-class")])
@pytest.mark.parametrize("mode", ["hybrid", "custom", "benchmark"])
def test_a_column_with_more_values_than_the_limit_is_trained_one_vs_all(
    tweets: Path, mode: str, limit: int, kind: str
) -> None:
    own = plan(tweets, mode, label=("sentiment", "topic"), multi_class_limit=limit)
    kinds = {(job.task.label_key, job.kind) for job in own.jobs}
    assert kinds == {("sentiment", "multi-class"), ("topic", kind)}


def test_the_limit_is_for_modes_that_choose_by_column(tweets: Path) -> None:
    for mode in ("quick", "reinforced"):
        assert tasks(plan(tweets, mode, multi_class_limit=2)) == SINGLE


def test_what_a_mode_leaves_out_is_said(tweets: Path) -> None:
    french = f"{EMBEDDED} was not pretrained on FR."
    assert plan(tweets, "quick").notes == (french, "Not trained: areas (several values a row).")
    assert plan(tweets, "distributed").notes == (
        french,
        "Not trained: sentiment, topic (one value a row).",
    )
    assert plan(tweets, "hybrid").notes == (french,)


def test_distributed_takes_what_it_is_given_and_all_columns_where_none_is_multi_valued(
    tweets: Path, write: Write
) -> None:
    assert tasks(plan(tweets, "distributed", label=("sentiment", "areas"))) == [
        "sentiment=negative",
        "sentiment=positive",
        *AREAS,
    ]
    path = table(write, tone=["warm", "cold"] * 20, place=["here", "there", "there", "here"] * 10)
    own = plan(path, "distributed")
    assert tasks(own) == ["tone=cold", "tone=warm", "place=here", "place=there"]
    assert own.notes == ()


def test_jobs_come_by_task_then_model_then_seed_with_multi_class_before_one_vs_all(
    tweets: Path,
) -> None:
    own = plan(tweets, "benchmark", label=("areas", "topic"), model=("a", "b"), seeds=(7, 3))
    names = ["topic", *AREAS]
    assert [
        ("=".join(filter(None, (job.task.label_key, job.task.label_value))), job.model, job.seed)
        for job in own.jobs
    ] == list(product(names, "ab", (7, 3)))


def test_a_benchmark_has_a_job_for_every_model_key_and_seed_of_each_language(
    tweets: Path,
) -> None:
    models = ("EN=a", "EN=b", "FR=c")
    own = plan(tweets, "benchmark", label=("sentiment", "topic"), model=models, seeds=(1, 2))
    assert [(j.task.label_key, j.language, j.model, j.seed) for j in own.jobs] == [
        (key, language, model, seed)
        for key in ("sentiment", "topic")
        for language, model in (("EN", "a"), ("EN", "b"), ("FR", "c"))
        for seed in (1, 2)
    ]
    assert own.notes == ()


def test_all_seeds_and_models_of_a_task_learn_the_same_rows_and_are_tested_on_the_same(
    tweets: Path,
) -> None:
    own = plan(tweets, "benchmark", label="sentiment", model=("a", "b"), seeds=(1, 2, 3))
    assert len(own.parts) == 6
    assert len({repr(parts) for parts in own.parts}) == 1
    one = plan(tweets, "quick", label="sentiment")
    assert own.parts[0] == one.parts[0]
    assert plan(tweets, "quick", label="sentiment", seed=1).parts[0] != one.parts[0]


def test_seeds_train_every_job_of_any_mode_once_each(tweets: Path) -> None:
    for mode in MODES:
        once, thrice = plan(tweets, mode), plan(tweets, mode, seeds=(5, 6, 7))
        assert [job.seed for job in thrice.jobs] == [5, 6, 7] * len(once.jobs)
        assert tasks(thrice) == tasks(once)


def test_only_a_benchmark_takes_several_models_for_the_same_rows(tweets: Path) -> None:
    assert len(plan(tweets, "benchmark", label="topic", model=("a", "b")).jobs) == 2
    for mode in set(MODES) - {"benchmark"}:
        error = refusal(tweets, mode, model=("a", "b"))
        assert error.what.startswith(f"{mode} trains one model, or one for each language; 2 were")


@pytest.mark.parametrize(
    ("models", "notes"),
    [
        (("camembert-base",), ["camembert-base was not pretrained on EN."]),
        (("EN=roberta-base", "FR=camembert-base"), []),
        (
            ("FR=roberta-base", "EN=camembert-base"),
            [
                "roberta-base was not pretrained on FR.",
                "camembert-base was not pretrained on EN.",
            ],
        ),
        (("xlm-roberta-base",), []),
        (("someone/unheard-of",), []),
    ],
)
def test_a_model_that_was_not_pretrained_on_a_language_of_its_rows_is_named(
    tweets: Path, models: tuple[str, ...], notes: list[str]
) -> None:
    assert list(plan(tweets, "quick", label="topic", model=models).notes) == notes


def test_each_rival_is_warned_of_once(tweets: Path) -> None:
    own = plan(tweets, "benchmark", model=("camembert-base", "roberta-base", "xlm-roberta-base"))
    assert own.notes == (
        "camembert-base was not pretrained on EN.",
        "roberta-base was not pretrained on FR.",
    )


def prepared(data: Path | str, **settings: object) -> tuple[Dataset, Plan]:
    return prepare(make_config({"data": str(data), **settings}))


def test_a_model_that_cannot_be_had_is_a_note_in_a_benchmark_and_stays_in_its_plan(
    tweets: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    gone = tmp_path / "gone"
    settings = {"label": "topic", "model": (str(gone), str(tiny_bert)), "mode": "benchmark"}
    _, own = prepared(tweets, **settings)
    assert [job.model for job in own.jobs] == [str(gone), str(tiny_bert)]
    assert own.notes == (f"{gone} will be skipped: There is no such model folder.",)


def test_a_benchmark_of_models_none_of_which_can_be_had_is_refused(
    tweets: Path, tmp_path: Path
) -> None:
    models = tuple(str(tmp_path / name) for name in ("one", "two"))
    with pytest.raises(StudioError, match=r"There is no such model folder.*two"):
        prepared(tweets, label="topic", model=models, mode="benchmark")


def test_the_other_modes_are_refused_for_one_model_that_cannot_be_had(
    tweets: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    models = (f"EN={tiny_bert}", f"FR={tmp_path / 'gone'}")
    for mode in set(MODES) - {"benchmark"}:
        with pytest.raises(StudioError, match="There is no such model folder"):
            prepared(tweets, model=models, mode=mode)


@pytest.fixture(scope="module")
def unnamed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the demo data without their language column."""
    demo = load_dataset(make_config({}))
    path = tmp_path_factory.mktemp("unnamed") / "demo.csv"
    frame = pd.DataFrame(
        {"text": demo.texts, "sentiment": [own[0] for own in demo.keys["sentiment"].values]}
    )
    frame.to_csv(path, index=False)
    return path


FOUND = "Languages detected in the texts: EN 300 rows (mean confidence 1.00), FR 300 (1.00)."


@pytest.mark.parametrize(
    "settings",
    [
        {"languages": "per-language"},
        {"model": ("EN=embedded", "fr=embedded")},
        {"languages": "per-language", "language_column": "Detect"},
    ],
)
def test_languages_are_found_out_where_models_need_them_and_no_column_says_them(
    unnamed: Path, settings: dict[str, object]
) -> None:
    dataset, own = prepared(unnamed, **settings)
    assert [job.language for job in own.jobs] == ["EN", "FR"]
    assert [len(rows_of(parts)) for parts in own.parts] == [300, 300]
    assert own.jobs[0].task.languages == dataset.language_list == ("EN", "FR")
    assert own.notes[0] == FOUND


def test_languages_are_found_out_when_that_is_asked_for(unnamed: Path) -> None:
    dataset, own = prepared(unnamed, language_column="detect")
    assert [job.language for job in own.jobs] == ["MULTI"]
    assert own.jobs[0].task.languages == ("EN", "FR")
    assert own.notes == (FOUND, f"{EMBEDDED} was not pretrained on FR.")

    given, _ = prepared("demo", language_column="detect")
    assert given.columns.language is None
    assert given.notes == (FOUND,)
    assert given.languages == dataset.languages


def test_languages_are_not_found_out_without_need(unnamed: Path) -> None:
    dataset, own = prepared(unnamed)
    assert dataset.language_list == own.jobs[0].task.languages == own.notes == ()


def test_a_language_column_is_believed(write: Write, tweets: Path) -> None:
    dataset, own = prepared(tweets, label="topic", languages="per-language")
    assert (dataset.languages[:4], dataset.notes) == (("EN", "EN", "FR", "FR"), ())
    assert [job.language for job in own.jobs] == ["EN", "FR"]

    # A column that is called like the wish is a column.
    path = table(write, detect=["xx", "yy"] * 30, tone=[("a", "b")[i % 4 // 2] for i in range(60)])
    dataset, _ = prepared(path, language_column="detect", label="tone")
    assert (dataset.language_list, dataset.notes) == (("XX", "YY"), ())


def test_who_says_that_there_is_no_language_column_gets_no_guess(unnamed: Path) -> None:
    with pytest.raises(StudioError, match="Without a language column there cannot be"):
        prepared(unnamed, languages="per-language", language_column="none")
