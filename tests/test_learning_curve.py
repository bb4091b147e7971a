"""Learning curves: trained on shares of the training rows, and read without claiming too much."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from io import StringIO
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from sklearn.metrics import f1_score

from llm_tool.analysis.learning_curve import (
    Curve,
    Gain,
    Point,
    describe,
    expected_gain,
    learning_curves,
    macro_f1_draws,
)
from llm_tool.analysis.ranking import rank, winners
from llm_tool.config import make_config
from llm_tool.events import EpochEnded, JobEnded, RunEnded, RunStarted
from llm_tool.execution.estimate import estimate
from llm_tool.execution.local import Outcome
from llm_tool.execution.space import needed
from llm_tool.logs.archive import Archive, read_session
from llm_tool.logs.facts import planned
from llm_tool.logs.summary import describe as describe_event
from llm_tool.modes import MODES
from llm_tool.plan import Job
from llm_tool.studio.learning_curve import show_curves
from llm_tool.studio.panels import show_plan
from llm_tool.studio.results import show_result
from tests.conftest import tweets_csv
from tests.test_events import made_end, made_epoch, made_job
from tests.test_local_run import Runner
from tests.test_mode_plans import Write, made, table
from tests.test_resume import Resumed, interrupt, stop_at, tables

SHARES = [0.25, 0.5, 0.75, 1.0]


@pytest.fixture
def runner(tmp_path: Path, tweets: Path, tiny_bert: Path) -> Runner:
    return Runner(tmp_path, tweets, (str(tiny_bert),))


@pytest.fixture(scope="module")
def curved(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path) -> tuple[Runner, Outcome]:
    """Return a run, only to be read, of two seeds with a learning curve, and its outcome."""
    folder = tmp_path_factory.mktemp("curved")
    (folder / "tweets.csv").write_text(tweets_csv(), "utf-8")
    runner = Runner(folder, folder / "tweets.csv", (str(tiny_bert),))
    outcome = runner.run(
        learning_curve=True,
        seeds=(1, 2),
        test_share=0.4,
        epochs=4,
        batch_size=8,
        learning_rate=1e-2,
    )
    return runner, outcome


def archive_of(runner: Runner) -> Archive:
    return read_session(runner.folder / "logs", runner.session.name)


def console(width: int = 80) -> tuple[Console, StringIO]:
    sink = StringIO()
    return Console(file=sink, width=width, markup=False, highlight=False, emoji=False), sink


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


def test_only_the_model_of_all_rows_is_saved_under_the_name_it_would_have_alone(
    curved: tuple[Runner, Outcome],
) -> None:
    runner, _ = curved
    best = runner.table("best.csv")
    names = [f"j{n:04d}{'' if n % 4 == 0 else f'-{25 * (n % 4)}%'}" for n in range(1, 9)]
    assert best["model_identifier"].tolist() == names
    saved = [Path(path).name for path in best["saved_model_path"] if path]
    assert saved == ["tiny-bert-MULTI", "tiny-bert-MULTI-j0008"]
    assert (best["saved_model_path"] != "").tolist() == [False, False, False, True] * 2
    (folder,) = (runner.folder / "models").glob("*/sentiment")
    assert sorted(path.name for path in folder.iterdir()) == sorted(saved)


def test_lines_of_a_smaller_share_name_it_and_say_that_it_is_not_saved(
    curved: tuple[Runner, Outcome],
) -> None:
    line = describe_event(curved[1].done[1])
    assert line.startswith("sentiment · tiny-bert · MULTI · 50 % of the rows: best epoch")
    assert line.endswith("; not saved")


def test_a_benchmark_ranks_only_what_learned_from_all_rows(curved: tuple[Runner, Outcome]) -> None:
    done = curved[1].done
    assert rank(done) == rank([result for result in done if result.job.share == 1])
    assert winners(rank(done)) == (done[0].job.model,)
    assert rank(done[:3]) == []


def test_a_curve_has_the_scores_of_its_trainings(curved: tuple[Runner, Outcome]) -> None:
    archive = archive_of(curved[0])
    (curve,) = learning_curves(archive)

    assert (curve.category, curve.model_name, curve.language) == ("sentiment", "tiny-bert", "MULTI")
    assert (curve.part, curve.scored_rows, curve.seeds) == ("test", 24, 2)
    assert [point.share for point in curve.points] == SHARES
    for point in curve.points:
        own = [one for one in archive.done if one.job.share == point.share]
        tests = [one.ended.test.f1_macro for one in own if one.ended and one.ended.test]
        assert point.score == pytest.approx(np.mean(tests))
        assert point.spread == pytest.approx(np.std(tests, ddof=1))
        assert point.val == pytest.approx(
            np.mean([one.ended.best.scores.f1_macro for one in own if one.ended])
        )
        assert {one.started.train_rows for one in own if one.started} == {point.rows}
        assert point.low - 1e-9 <= point.score <= point.high + 1e-9
    test = archive.trainings[0].predictions().query("part == 'test'")
    assert curve.baseline == pytest.approx(
        f1_score(test["true"], [test["true"].mode()[0]] * len(test), average="macro")
    )
    assert curve.gain
    assert curve.gain.value == pytest.approx(curve.points[3].score - curve.points[1].score)
    assert curve.gain.spread is not None


def test_the_interval_of_a_point_is_that_of_the_job_itself(runner: Runner) -> None:
    outcome = runner.run(learning_curve=True, test_share=0.4, learning_rate=1e-2)
    (curve,) = learning_curves(archive_of(runner))
    for point, result in zip(curve.points, outcome.done, strict=True):
        assert result.f1_macro_low == pytest.approx(point.low, abs=0.05)
        assert result.f1_macro_high == pytest.approx(point.high, abs=0.05)
        assert point.spread is None


def test_a_curve_of_folds_tests_every_row_once_and_one_of_labels_is_there_for_each(
    runner: Runner,
) -> None:
    runner.run(mode="distributed", label=("areas",), shared_encoder=True, folds=2, epochs=1,
               learning_curve=True)  # fmt: skip
    curves = learning_curves(archive_of(runner))
    assert [(curve.category, curve.scored_rows) for curve in curves] == [
        (name, 60) for name in ("health", "law", "vote")
    ]
    assert [len(curve.points) for curve in curves] == [4, 4, 4]


def test_an_interrupted_curve_goes_on_and_shares_that_are_not_done_are_left_out(
    runner: Runner,
) -> None:
    runner.run(learning_curve=True, learning_rate=1e-2)
    whole = tables(runner.session)
    (runner.folder / "logs").rename(runner.folder / "before")

    resumed: Resumed = interrupt(runner, stop_at(JobEnded, 3), learning_curve=True)
    (curve,) = learning_curves(archive_of(runner))
    assert [point.share for point in curve.points] == SHARES[:3]
    assert (curve.gain, curve.verdict) == (None, "unknown")
    assert describe(curve).endswith("not every share was trained.")

    resumed.go_on()
    assert [e.job.share for e in resumed.told if isinstance(e, EpochEnded)] == [1.0, 1.0]
    for name, one in tables(runner.session).items():
        pd.testing.assert_frame_equal(whole[name], one)


def test_jobs_that_an_older_version_wrote_learn_from_all_rows(tmp_path: Path) -> None:
    line = {name: value for name, value in vars(made_job()).items() if name not in ("share",)}
    path = tmp_path / "jobs.jsonl"
    path.write_text(json.dumps({**line, "task": vars(line["task"])}) + "\n", "utf-8")
    assert list(planned(path)) == [made_job()]


def test_a_session_without_a_learning_curve_has_none(finished: Path) -> None:
    from tests.conftest import FINISHED

    assert learning_curves(read_session(finished / "training_logs", FINISHED)) == ()


def made_curve(
    gain: tuple[float, float, float, float | None] | None = (0.04, 0.01, 0.07, None),
    *,
    rows: int = 500,
    low: float = 0.7,
    **changes: object,
) -> Curve:
    scores = (0.6, 0.7, 0.72, 0.74)
    points = [
        Point(share, round(400 * share), 0.7, score, low, 0.8, None)
        for share, score in zip(SHARES, scores, strict=True)
    ]
    curve = Curve(
        "tone", "m", "m", "EN", "test", rows, 1, tuple(points), 0.4,
        gain and Gain(*gain), next_gain=0.021,
    )  # fmt: skip
    return replace(curve, **changes)


@pytest.mark.parametrize(
    ("curve", "verdict", "said"),
    [
        (
            made_curve(),
            "yes",
            "More labels would probably pay: twice the rows (200 to 400) brought +0.040 test macro "
            "F1 [+0.010, +0.070]. A power law through the points expects about +0.02 of doubling "
            "them again, a rough guess. One seed was trained: --seeds 1,2,3 would show how much of "
            "it is chance.",
        ),
        (
            made_curve((0.001, -0.004, 0.006, 0.002), seeds=3),
            "no",
            "More labels alone would hardly pay: twice the rows (200 to 400) brought +0.001 test "
            "macro F1 [-0.004, +0.006], and the next doubling seldom brings more than the last.",
        ),
        (made_curve((0.03, -0.01, 0.07, None)), "unknown", "on 500 test rows that can be chance."),
        (
            made_curve((0.0, 0.0, 0.0, None), rows=40),
            "unknown",
            "on 40 test rows that can be chance.",
        ),
        (
            made_curve((0.03, 0.01, 0.05, 0.04), seeds=2),
            "unknown",
            "seeds differ more than that (± 0.040): more of them would help.",
        ),
        (
            made_curve((0.001, -0.002, 0.004, 0.03), seeds=2),
            "unknown",
            "seeds differ more than that (± 0.030): more of them would help.",
        ),
        (made_curve((-0.05, -0.08, -0.02, None)), "unknown", "not stable: try more --seeds."),
        (
            made_curve(low=0.39),
            "unknown",
            "the model is not surely better than always giving the most frequent class (macro F1 "
            "0.400).",
        ),
        (
            made_curve(part="validation", next_gain=None),
            "yes",
            "[+0.010, +0.070]. Validation rows also chose the epoch. One seed was trained: --seeds "
            "1,2,3 would show how much of it is chance.",
        ),
        (made_curve(None), "unknown", "not every share was trained."),
    ],
)
def test_a_curve_says_no_more_than_its_points_bear(curve: Curve, verdict: str, said: str) -> None:
    assert curve.verdict == verdict
    assert describe(curve).endswith(said)


def test_scores_and_their_draws_agree_with_scikit_learn_on_drawn_rows() -> None:
    rng = np.random.default_rng(1)
    true = rng.choice(3, size=90, p=[0.6, 0.3, 0.1])
    predicted = np.where(rng.random((2, 90)) < [[0.6], [0.8]], true, rng.choice(3, size=(2, 90)))

    exact, draws = macro_f1_draws(true, predicted, 3)

    assert exact == pytest.approx([f1_score(true, own, average="macro") for own in predicted])
    slowly = []
    for _ in range(400):
        of_class = [np.flatnonzero(true == i) for i in range(3)]
        rows = np.concatenate([rng.choice(own, size=len(own)) for own in of_class])
        slowly.append([f1_score(true[rows], own[rows], average="macro") for own in predicted])
    reference = np.array(slowly)
    assert draws.shape == (1000, 2)
    assert draws.mean(axis=0) == pytest.approx(reference.mean(axis=0), abs=0.01)
    assert draws.std(axis=0) == pytest.approx(reference.std(axis=0), rel=0.15)
    # The same rows for both: what they have in common goes out of their difference.
    gain, reference_gain = (np.diff(one, axis=1).std() for one in (draws, reference))
    assert gain == pytest.approx(reference_gain, rel=0.15)


def test_a_known_power_law_is_found_again() -> None:
    rows = np.array([100, 200, 300, 400])
    scores = 1 - (0.1 + 2 * rows**-0.5)
    expected = 2 * (400**-0.5 - 800**-0.5)
    assert expected_gain(rows.tolist(), scores.tolist()) == pytest.approx(expected, abs=2e-3)
    assert expected_gain([100, 200, 400], [0.5, 0.6, 0.65]) is None
    assert expected_gain(rows.tolist(), [0.6, 0.6, 0.5, 0.5]) is None


def test_a_run_ends_with_its_curve_above_a_result_of_the_whole_models(
    curved: tuple[Runner, Outcome],
) -> None:
    runner, outcome = curved
    jobs = tuple(result.job for result in outcome.done)
    run = RunStarted(runner.session.name, "quick", str(runner.session), "models/s", jobs)
    out, sink = console()
    show_result(out, run, outcome.done, [], RunEnded(run.session_id, "done", 8, 8, 0, 1))
    lines = sink.getvalue().splitlines()
    assert lines[0].strip("─ ") == "Learning curve · sentiment · tiny-bert · MULTI"
    assert lines[1].split("  ")[0] == "share"
    assert [line.split()[0] for line in lines[2:6]] == ["25", "50", "75", "100"]
    begin = next(i for i, line in enumerate(lines) if " Result " in line)
    assert [line.split()[3] for line in lines[begin + 2 : begin + 4]] == ["1", "2"]
    assert lines[begin + 4].startswith("✓ 8 of 8 jobs done")
    assert max(map(len, lines[: begin + 5])) <= 80  # paths below are never cut


def test_many_curves_are_one_table_and_names_in_it_are_only_shown() -> None:
    out, sink = console()
    curves = [made_curve(category=f"[red]\x1b[31mlabel {n}") for n in range(4)]
    show_curves(out, curves)
    lines = sink.getvalue().splitlines()
    assert "\x1b" not in sink.getvalue()
    assert lines[1].split()[-3:] == ["more", "labels", "pay"]
    assert [line.split()[-5:] for line in lines[2:6]] == [
        ["0.600", "0.700", "0.720", "0.740", "probably"]
    ] * 4
    assert max(map(len, lines)) <= 80


def test_a_result_whose_curve_cannot_be_read_is_still_shown(tmp_path: Path) -> None:
    job: Job = made_job(share=0.5)
    result = made_end(made_epoch(job))
    run = RunStarted("20260101_000000", "quick", str(tmp_path / "20260101_000000"), "m", (job,))
    out, sink = console()
    show_result(out, run, [result], [], RunEnded("s", "done", 1, 1, 0, 1))
    assert "There is no such session." in sink.getvalue()
    assert "✓ 1 of 1 jobs done" in sink.getvalue()


def test_the_setting_is_off_by_default_and_survives_the_command_line() -> None:
    assert make_config({}).learning_curve is False
    assert make_config({"learning_curve": True}).command()[-1] == "--learning-curve"
