"""What a learning curve plans: nested shares of the training rows, shown, estimated, stored."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from llm_tool.execution.estimate import estimate
from llm_tool.execution.space import needed
from llm_tool.modes import MODES
from llm_tool.studio.panels import show_plan
from tests.test_learning_curve import SHARES, console
from tests.test_mode_plans import Write, made, table


@pytest.mark.parametrize("mode", MODES)
def test_in_every_mode_each_job_is_planned_for_four_shares_with_the_same_validation_and_test(
    tweets: Path, mode: str
) -> None:
    _, _, whole = made(tweets, mode)
    _, _, plan = made(tweets, mode, learning_curve=True)

    assert [job.share for job in plan.jobs] == SHARES * len(whole.jobs)
    assert [replace(job, share=1.0) for job in plan.jobs[3::4]] == list(whole.jobs)
    assert plan.parts[3::4] == whole.parts
    assert plan.accounts == whole.accounts
    for start in range(0, len(plan.jobs), 4):
        four = plan.parts[start : start + 4]
        assert len({(tuple(p.validation), tuple(p.test)) for p in four}) == 1
        rows = [set(parts.train) for parts in four]
        assert all(smaller < larger for smaller, larger in pairwise(rows))
        for share, own in zip(SHARES, rows, strict=True):
            assert len(own) == pytest.approx(share * len(rows[-1]), abs=4)


def test_each_share_has_its_part_of_every_class_and_language(write: Write) -> None:
    tone = ["a", "b", "b", "c", "c", "c", "c", "c"] * 50
    path = table(write, tone=tone, lang=["en", "fr", "fr", "fr"] * 100)
    _, dataset, plan = made(path, "quick", label="tone", learning_curve=True)
    cells = [
        Counter((tone[row], dataset.languages[row]) for row in parts.train) for parts in plan.parts
    ]
    for share, own in zip(SHARES, cells, strict=True):
        for cell, count in cells[-1].items():
            assert own[cell] == pytest.approx(share * count, abs=2)


def test_seeds_draw_other_shares_and_rival_models_learn_from_the_same(tweets: Path) -> None:
    models = ("embedded", "google-bert/bert-base-uncased")
    _, _, plan = made(
        tweets, "benchmark", label="topic", model=models, seeds=(1, 2), learning_curve=True
    )
    rows = {
        (job.model, job.seed, job.share): tuple(parts.train)
        for job, parts in zip(plan.jobs, plan.parts, strict=True)
    }
    for share in SHARES[:3]:
        assert rows[models[0], 1, share] == rows[models[1], 1, share]
        assert rows[models[0], 1, share] != rows[models[0], 2, share]
    assert rows[models[0], 1, 1.0] == rows[models[0], 2, 1.0]


def test_folds_and_labels_of_a_shared_encoder_have_shares_too(tweets: Path) -> None:
    _, dataset, plan = made(tweets, "distributed", shared_encoder=True, folds=2,
                            learning_curve=True)  # fmt: skip
    assert [(job.kind, job.fold, job.share) for job in plan.jobs] == [
        ("multi-label", fold, share) for fold in (1, 2) for share in SHARES
    ]
    values = dataset.keys["areas"].values
    assert {value for row in plan.parts[0].train for value in values[row]} == {
        "law", "vote", "health"
    }  # fmt: skip


@pytest.mark.parametrize(
    "keys",
    [{}, {"mode": "distributed"}, {"small_classes": "merge", "min_per_part": 2}],
)
def test_the_smallest_share_has_a_row_of_every_class_however_rare(
    write: Write, keys: dict[str, object]
) -> None:
    path = table(write, tone=["a", "b"] * 30 + ["rare"] * 4 + ["odd"] * 4)
    settings = {"mode": "quick", "label": "tone", "learning_curve": True, **keys}
    _, dataset, plan = made(path, **settings)
    for job, parts in zip(plan.jobs, plan.parts, strict=True):
        merged = plan.merged.get("tone", {})
        values = [dataset.keys["tone"].values[row][0] for row in parts.train]
        wanted = {job.task.label_value} if job.task.label_value else set(job.task.classes)
        assert {merged.get(value, value) for value in values} >= wanted


def test_the_plan_shows_the_shares_and_prints_the_flag(tweets: Path) -> None:
    config, dataset, plan = made(tweets, "custom", label="sentiment", learning_curve=True)
    out, sink = console()
    show_plan(out, plan, config, dataset)
    text = sink.getvalue()
    lines = [line.split() for line in text.splitlines() if line.startswith("sentim")]
    assert [" ".join(line[4:6]) for line in lines] == ["25 %", "50 %", "75 %", "100 %"]
    assert "4 multi-class jobs" in text
    assert "Learning curve: only models that learn from all their rows are saved." in text
    assert "-l sentiment --learning-curve" in text
    assert max(map(len, text.split("Same thing")[0].splitlines())) <= 80


def test_disk_is_needed_only_for_the_model_of_all_rows(tiny_bert: Path, tweets: Path) -> None:
    keys = {"label": "sentiment", "model": str(tiny_bert)}
    config, _, plan = made(tweets, "quick", **keys, learning_curve=True)
    _, _, whole = made(tweets, "quick", **keys)
    assert needed(plan.jobs, config) == needed(whole.jobs, config)


def test_the_estimate_counts_smaller_shares_as_the_shorter_trainings_that_they_are(
    tiny_bert: Path, tweets: Path
) -> None:
    config, dataset, plan = made(
        tweets, "quick", label="sentiment", model=str(tiny_bert), learning_curve=True, workers=1
    )
    taken = estimate(plan, dataset, config)
    seconds = [one or 0.0 for one in taken.job_seconds]
    assert 0 < seconds[0] < seconds[1] < seconds[2] < seconds[3]
    assert taken.seconds == pytest.approx(sum(seconds), abs=seconds[3])
