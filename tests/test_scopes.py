"""Which model learns which rows: one for all, one for each language, or a message why not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from llm_tool.config import make_config
from llm_tool.data.dataset import load_dataset
from llm_tool.errors import StudioError
from llm_tool.modes.planning import plan_run
from llm_tool.modes.scopes import parse_model
from llm_tool.plan import Plan

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


def test_one_model_for_each_language_gives_one_job_for_each(tweets: Path) -> None:
    made = plan(tweets, label="sentiment", model=("en=bert-en", "FR=bert-fr"))
    assert [(job.model, job.language, job.title) for job in made.jobs] == [
        ("bert-en", "EN", "sentiment · bert-en · EN"),
        ("bert-fr", "FR", "sentiment · bert-fr · FR"),
    ]
    languages = load_dataset(make_config({"data": str(tweets)})).languages
    for job, parts in zip(made.jobs, made.parts, strict=True):
        assert all(languages[row] == job.language for own in parts.named().values() for row in own)
    assert sum(map(sum, sizes(made))) == 60
    assert made.notes == ()


def test_one_model_can_be_trained_once_for_each_language(tweets: Path) -> None:
    made = plan(tweets, label="topic", model="bert", languages="per-language")
    assert [job.title for job in made.jobs] == ["topic · bert · EN", "topic · bert · FR"]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"model": ("a", "b")}, ["a MULTI", "b MULTI"]),
        ({"model": ("a", "b", "a")}, ["a MULTI", "b MULTI"]),
        (
            {"model": ("a", "b"), "languages": "per-language"},
            ["a EN", "b EN", "a FR", "b FR"],
        ),
        ({"model": ("EN=a", "FR=c", "EN=b")}, ["a EN", "c FR", "b EN"]),
        ({"model": ("EN=a", "en=b")}, ["a EN", "b EN"]),
    ],
)
def test_rivals_are_several_models_for_the_same_rows(
    tweets: Path, settings: dict[str, object], expected: list[str]
) -> None:
    made = plan(tweets, mode="benchmark", label="sentiment", **settings)
    assert [f"{job.model} {job.language}" for job in made.jobs] == expected
    own_rows: dict[str, list[int]] = {}
    for job, parts in zip(made.jobs, made.parts, strict=True):
        rows = [row for own in parts.named().values() for row in own]
        assert rows == own_rows.setdefault(job.language, rows)
    left_out = "FR" not in own_rows and "MULTI" not in own_rows
    note = "30 rows left out: no model for their language (FR)."
    assert made.notes == ((note,) if left_out else ())


def test_rivals_are_for_all_rows_or_for_each_language_not_both(tweets: Path) -> None:
    assert refusal(tweets, mode="benchmark", model=("a", "b", "EN=c")) == (
        "benchmark trains models for all rows, or for each language; 3 were given.",
        "--model",
        "Give only --model NAME, or only --model LANG=NAME.",
    )


def test_a_language_can_be_a_whole_name(write: Write) -> None:
    named = ("français", "Brazilian Portuguese")
    rows = "".join(f"a long film {i},{'ab'[i % 2]},{named[i % 4 // 2]}\n" for i in range(60))
    path = write("a.csv", "text,label,lang\n" + rows)
    made = plan(path, model=("Français=m", "brazilian portuguese=org/n"))
    assert [(job.model, job.language) for job in made.jobs] == [
        ("m", "FRANÇAIS"),
        ("org/n", "BRAZILIAN PORTUGUESE"),
    ]


def test_a_model_for_one_language_leaves_the_other_rows_out_and_says_so(tweets: Path) -> None:
    made = plan(tweets, label="sentiment", model="FR=bert-fr")
    assert [job.language for job in made.jobs] == ["FR"]
    assert sum(sizes(made)[0]) == 30
    assert made.notes == ("30 rows left out: no model for their language (EN).",)


def test_without_a_language_column_the_scope_is_unknown(tweets: Path) -> None:
    made = plan(tweets, label="sentiment", language_column="none")
    assert made.jobs[0].language == ""
    assert made.jobs[0].title == "sentiment · all-MiniLM-L6-v2"


def test_a_table_in_one_language_is_named_by_it(write: Write) -> None:
    rows = "".join(f"a long film {i},{'ab'[i % 2]},en\n" for i in range(30))
    assert plan(write("a.csv", "text,label,lang\n" + rows)).jobs[0].language == "EN"


@pytest.mark.parametrize(
    ("settings", "what", "where", "remedy"),
    [
        (
            {"model": ("a", "b")},
            "quick trains one model, or one for",
            "--model",
            "Give one --model",
        ),
        ({"model": ("a", "EN=b")}, "quick trains one model, or", "--model", "Give one --model"),
        (
            {"model": "KLI=a"},
            "The data have no language 'KLI'.",
            "--model",
            "They have EN, FR.",
        ),
        ({"model": ("EN=a", "en=b")}, "EN has more than one model.", "--model", ""),
        (
            {"model": "EN=a", "language_column": "none"},
            "The data have no language 'EN'.",
            "--model",
            "Name the language column with --language-column.",
        ),
        (
            {"languages": "per-language", "language_column": "none"},
            "Without a language column there cannot be a model for each language.",
            "--languages per-language",
            "Name the column with --language-column.",
        ),
        (
            {"languages": "multilingual", "model": "EN=a"},
            "One model for all languages was asked for, and a model for each language.",
            "--languages, --model",
            "Give one --model NAME, or leave out --languages multilingual.",
        ),
    ],
)
def test_models_that_do_not_fit_are_refused(
    tweets: Path, settings: dict[str, object], what: str, where: str, remedy: str
) -> None:
    said = refusal(tweets, **settings)
    assert said[0].startswith(what)
    assert said[1] == where
    assert said[2].startswith(remedy)


def test_a_language_with_one_class_cannot_have_a_model_of_its_own(write: Write) -> None:
    rows = "".join(
        f"a long film {i},{'a' if i % 3 == 0 else 'ab'[i % 2]},{'fr' if i % 3 == 0 else 'en'}\n"
        for i in range(60)
    )
    path = write("a.csv", "text,label,lang\n" + rows)
    assert refusal(path, languages="per-language") == (
        "There is only one class to learn.",
        "column 'label', language FR",
        "Leave out that language's model, or train one model for all languages.",
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bert-base-uncased", ("", "bert-base-uncased")),
        ("en=bert", ("EN", "bert")),
        ("pt-BR=org/bert=2", ("PT-BR", "org/bert=2")),
        ("zh_Hant_TW=m", ("ZH_HANT_TW", "m")),
        ("portuguese=m", ("PORTUGUESE", "m")),
        ("中文=m", ("中文", "m")),
        ("models/lr=3e-5", ("", "models/lr=3e-5")),
        ("e=m", ("", "e=m")),
        ("./lr=3e-5", ("", "./lr=3e-5")),
        ("C:\\models\\a=b", ("", "C:\\models\\a=b")),
        ("en=", ("", "en=")),
    ],
)
def test_a_language_before_the_model_is_told_from_a_path(
    text: str, expected: tuple[str, str]
) -> None:
    assert parse_model(text) == expected
