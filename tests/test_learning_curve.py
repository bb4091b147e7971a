"""Learning curves: trained on shares of the training rows, and read without claiming too much."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
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
)
from llm_tool.analysis.ranking import rank, winners
from llm_tool.config import make_config
from llm_tool.events import EpochEnded, JobEnded, RunEnded, RunStarted
from llm_tool.execution.local import Outcome
from llm_tool.logs.archive import Archive, read_session
from llm_tool.logs.facts import planned
from llm_tool.logs.summary import describe as describe_event
from llm_tool.plan import Job
from llm_tool.studio.learning_curve import show_curves
from llm_tool.studio.results import show_result
from tests.conftest import tweets_csv
from tests.test_events import made_end, made_epoch, made_job
from tests.test_local_run import Runner
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
    (curve,) = learning_curves(archive.trainings)

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
    (curve,) = learning_curves(archive_of(runner).trainings)
    for point, result in zip(curve.points, outcome.done, strict=True):
        assert result.f1_macro_low == pytest.approx(point.low, abs=0.01)
        assert result.f1_macro_high == pytest.approx(point.high, abs=0.01)
        assert point.spread is None


def test_a_curve_of_folds_tests_every_row_once_and_one_of_labels_is_there_for_each(
    runner: Runner,
) -> None:
    runner.run(mode="distributed", label=("areas",), shared_encoder=True, folds=2, epochs=1,
               learning_curve=True)  # fmt: skip
    curves = learning_curves(archive_of(runner).trainings)
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
    (curve,) = learning_curves(archive_of(runner).trainings)
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

    assert learning_curves(read_session(finished / "training_logs", FINISHED).trainings) == ()


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
            made_curve((0.0, -0.09, 0.09, None), rows=40),
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
