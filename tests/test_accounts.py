"""Where the rows of a file go: it adds up in every mode, and is shown."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from llm_tool.modes import MODES
from llm_tool.modes.planned import describe
from llm_tool.plan import Account, Plan
from llm_tool.studio.panels import show_plan
from tests.test_mode_plans import Write, made

ROWS = 240


def awkward(write: Write, *, split: bool) -> Path:
    """Write a table with rows that every reason leaves out: no text, no value, no part, copies."""
    chance = Random(3)
    rare = {11: "rare", 12: "scarce", 43: "odd", 46: "single"}
    lines = ["text,lang,tone,areas" + ",split" * split]
    for i in range(ROWS):
        text = "" if i % 31 == 5 else f"the film number {i - i % 9 // 8} was good"
        language = "en" if i in rare else chance.choice(["en", "en", "fr", "fr", "de"])
        tone = "" if i % 13 == 2 else rare.get(i, chance.choice(["good", "bad"]))
        areas = chance.choice(["law;tax", "law", "tax", ""])
        part = chance.choice(["train", "train", "validation", "test", ""])
        lines.append(",".join([text, language, tone, areas, *[part] * split]))
    return write("a.csv", "\n".join(lines) + "\n")


def check_adds_up(plan: Plan) -> None:
    """Check that accounts add up, and that the jobs' parts are what they say."""
    assert plan.accounts
    sizes = {tuple(len(rows) for rows in parts.named().values()) for parts in plan.parts}
    for account in plan.accounts:
        assert account.rows == ROWS
        assert sum(account.parts.values()) + sum(account.left_out.values()) == ROWS
        assert all(count > 0 for count in (*account.parts.values(), *account.left_out.values()))
        if not any(job.fold for job in plan.jobs):
            names = ("train", "validation", "test")
            assert tuple(account.parts.get(name, 0) for name in names) in sizes


@pytest.mark.parametrize("mode", MODES)
@given(
    split=st.booleans(),
    folds=st.none() | st.integers(2, 3),
    languages=st.sampled_from([None, "per-language", "two"]),
    small=st.sampled_from(["drop", "merge"]),
    test_share=st.sampled_from([0.0, 0.15]),
    shared=st.booleans(),
)
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_the_rows_of_every_plan_add_up(
    write: Write,
    mode: str,
    split: bool,
    folds: int | None,
    languages: str | None,
    small: str,
    test_share: float,
    shared: bool,
) -> None:
    keys: dict[str, object] = {"small_classes": small, "test_share": test_share, "folds": folds}
    if languages == "two":
        keys["model"] = ("EN=embedded", "FR=embedded")
    elif languages:
        keys["languages"] = languages
    if shared and mode == "distributed":
        keys["shared_encoder"] = True
    if split:
        del keys["folds"]
    if split or languages:  # a merged class can be too small for one of the parts or languages
        keys["small_classes"] = "drop"
    _, dataset, plan = made(awkward(write, split=split), mode, **keys)
    check_adds_up(plan)
    # Whatever the accounts say is in a part is in a part of some job of that task and scope.
    for job, parts in zip(plan.jobs, plan.parts, strict=True):
        rows = [row for own in parts.named().values() for row in own]
        assert len(rows) == len(set(rows))
        assert {dataset.languages[row] for row in rows} <= (
            {"EN", "FR", "DE"} if job.language == "MULTI" else {job.language}
        )


def test_each_reason_has_its_count(write: Write) -> None:
    path = awkward(write, split=True)
    keys: dict[str, object] = {"model": ("EN=embedded", "FR=embedded"), "small_classes": "drop"}
    _, dataset, plan = made(path, "quick", **keys)
    english, french = plan.accounts
    assert (english.tasks, french.tasks) == (("tone EN",), ("tone FR",))
    others = sum(language != "EN" for language in dataset.languages)
    assert english.left_out["of other languages"] == others
    assert english.left_out["without a text"] == 8
    assert set(english.left_out) == {
        "of other languages",
        "without a text",
        "without a value",
        "without a part in the split column",
        "with a text or group that is also in a later part",
        "of classes with too few rows",
    }
    assert english.left_out["of classes with too few rows"] == 4


def test_accounts_that_are_the_same_are_one(write: Write) -> None:
    _, _, plan = made(awkward(write, split=False), "distributed")
    (account,) = plan.accounts
    assert account.tasks == ("law", "tax")
    assert account.left_out == {"without a text": 8}


def test_an_account_is_a_line() -> None:
    parts = {"train": 1838, "validation": 323, "test": 870}
    reasons = {"of other languages": 6066, "without a value": 2}
    account = Account(("tone EN", "theme EN", "c", "d", "e"), 9099, parts, reasons)
    assert describe(account, named=False) == (
        "9,099 rows: 1,838 train, 323 validation, 870 test; left out 6,068: "
        "6,066 of other languages, 2 without a value."
    )
    assert describe(account, named=True).startswith("tone EN, theme EN, c and 2 more: 9,099 rows:")


def shown(path: Path, mode: str, **keys: object) -> str:
    config, dataset, plan = made(path, mode, **keys)
    sink = StringIO()
    console = Console(file=sink, width=200, markup=False, highlight=False, emoji=False)
    show_plan(console, plan, config, dataset)
    return sink.getvalue()


def test_the_plan_shows_an_account_only_where_something_is_left_out(
    write: Write, tweets: Path
) -> None:
    assert "rows:" not in shown(tweets, "quick")
    text = shown(awkward(write, split=False), "quick", small_classes="drop", folds=3)
    lines = [line for line in text.splitlines() if line.startswith(f"{ROWS} rows: ")]
    assert lines == [
        "240 rows: 210 in 3 folds, each tested once; left out 30: 18 without a value, "
        "4 of classes with too few rows, 8 without a text."
    ]
