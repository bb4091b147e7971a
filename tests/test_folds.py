"""Cross-validation: each row is tested once, each fold is a job, and the means are shown."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from llm_tool.analysis.ranking import over_folds, rank
from llm_tool.config import make_config
from llm_tool.errors import StudioError
from llm_tool.events import EpochEnded, JobEnded, RunEnded, RunStarted, from_json, to_json
from llm_tool.logs import Session
from llm_tool.logs.facts import planned
from llm_tool.logs.summary import describe
from llm_tool.modes import MODES
from llm_tool.modes.resume import unfinished
from llm_tool.plan import Plan
from llm_tool.studio.panels import show_plan
from llm_tool.studio.results import show_result
from tests.test_events import made_end, made_epoch, made_job, made_scores
from tests.test_local_run import Runner
from tests.test_mode_plans import Write, made, refusal, rows_of, table
from tests.test_resume import Resumed, interrupt, stop_at, tables


@pytest.fixture
def runner(tmp_path: Path, tweets: Path, tiny_bert: Path) -> Runner:
    return Runner(tmp_path, tweets, (str(tiny_bert),))


def rows_tested(plan: Plan) -> dict[tuple[object, ...], list[int]]:
    """Return the test rows of all folds of each task, model, scope and seed."""
    rows: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for job, parts in zip(plan.jobs, plan.parts, strict=True):
        rows[job.task, job.model, job.language, job.seed] += parts.test
    return rows


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_trains_each_task_once_for_each_fold_and_tests_each_row_once(
    tweets: Path, mode: str
) -> None:
    _, _, whole = made(tweets, mode)
    _, dataset, plan = made(tweets, mode, folds=4)
    assert [replace(job, fold=0) for job in plan.jobs[::4]] == list(whole.jobs)
    assert [job.fold for job in plan.jobs] == [1, 2, 3, 4] * len(whole.jobs)
    for rows in rows_tested(plan).values():
        assert sorted(rows) == list(range(60))
    for parts in plan.parts:
        assert rows_of(parts) == list(range(60))
        assert {len(parts.test), len(parts.validation)} <= {*range(6, 18)}
        languages = Counter(dataset.languages[row] for row in parts.test)
        assert abs(languages["EN"] - languages["FR"]) <= 4


def test_models_for_each_language_with_seeds_have_folds_of_their_rows(tweets: Path) -> None:
    _, dataset, plan = made(
        tweets, "quick", label="sentiment", languages="per-language", seeds=(1, 2), folds=3
    )
    assert [(job.language, job.seed, job.fold) for job in plan.jobs] == [
        (language, seed, fold) for language in ("EN", "FR") for seed in (1, 2) for fold in (1, 2, 3)
    ]
    for (_, _, language, _), rows in rows_tested(plan).items():
        own = [row for row, its in enumerate(dataset.languages) if its == language]
        assert sorted(rows) == own
    # The folds are those of --seed: seeds are compared on the same rows.
    assert plan.parts[:3] == plan.parts[3:6]


def test_a_shared_encoder_has_folds_too(tweets: Path) -> None:
    _, _, plan = made(tweets, "distributed", shared_encoder=True, folds=3)
    assert [(job.kind, job.fold) for job in plan.jobs] == [("multi-label", n) for n in (1, 2, 3)]


def test_folds_and_a_split_column_do_not_go_together(write: Write) -> None:
    path = table(write, tone=["a", "b"] * 30, split=["train"] * 40 + ["test"] * 20)
    error = refusal(path, "quick", folds=3)
    assert (error.what, error.where, error.remedy) == (
        "The file says which rows are for training and for the test; folds would mix them.",
        "--folds, split column 'split'",
        "Give --split-column none to make folds of all rows, or leave out --folds.",
    )
    _, _, plan = made(path, "quick", folds=3, split_column="none")
    assert len(plan.jobs) == 3


def test_a_class_with_fewer_rows_than_folds_is_refused_with_what_to_do(write: Write) -> None:
    path = table(write, tone=["a", "b"] * 20 + ["c"] * 4)
    error = refusal(path, "quick", folds=5)
    assert error.what == (
        "Classes with too few rows to be in training, validation and test of each of 5 folds: "
        "c (4)."
    )
    assert error.remedy == (
        "Merge them in your file, or leave their rows out: --set small_classes=drop. "
        "Or use fewer folds."
    )
    assert len(made(path, "quick", folds=4)[-1].jobs) == 4
    areas = ["law;tax", "law", "tax"] * 12 + ["rare;law"] * 3 + ["tax"] * 3
    error = refusal(table(write, areas=areas), "distributed", folds=4)
    assert error.what.endswith(
        "to be in training, validation and test of each of 4 folds: rare (3)."
    )
    assert error.remedy.endswith("small_classes=drop. Or use fewer folds.")


def test_two_folds_have_two_rows_of_each_class_for_training_and_validation(write: Write) -> None:
    # The fourth row of c has the text of a row of a: as a unit of two it weighs more.
    tone = ["a", "b"] * 20 + ["c"] * 4
    path = table(write, tone=tone)
    frame = pd.read_csv(path)
    frame.loc[43, "text"] = frame.loc[0, "text"]
    path.write_text(frame.to_csv(index=False), "utf-8")
    for seed in range(20):
        _, _, plan = made(path, "quick", folds=2, seed=seed)
        for parts in plan.parts:
            assert all("c" in {tone[row] for row in rows} for rows in parts.named().values())


def test_folds_leave_rows_to_train_on_and_decide_the_share_of_the_test(tweets: Path) -> None:
    with pytest.raises(StudioError) as caught:
        make_config({"folds": 2, "validation_share": 0.5})
    assert caught.value.what == "validation_share and 2 folds leave no training rows."
    _, _, plan = made(tweets, "quick", folds=3, test_share=0.3)
    assert "test_share is not used: each of the 3 folds is the test once." in plan.notes


def test_each_fold_is_a_job_with_its_own_row_split_and_model(runner: Runner) -> None:
    outcome = runner.run(folds=2, epochs=1)

    assert [ended.job.fold for ended in outcome.done] == [1, 2]
    best = runner.table("best.csv")
    assert list(best["model_identifier"]) == ["j0001-fold1", "j0002-fold2"]
    assert best["test_f1_macro"].notna().all()
    assert [Path(path).name for path in best["saved_model_path"]] == [
        "tiny-bert-MULTI",
        "tiny-bert-MULTI-j0002",
    ]
    rows: list[int] = []
    for job_id in ("j0001", "j0002"):
        folder = runner.session / "sentiment" / "runs" / job_id
        split = pq.read_table(folder / "split.parquet").to_pandas()
        assert sorted(split["row"]) == list(range(60))
        rows += list(split.loc[split["part"] == "test", "row"])
        predicted = pq.read_table(folder / "predictions.parquet").to_pandas()
        assert set(predicted.loc[predicted["part"] == "test", "row"]) == set(
            split.loc[split["part"] == "test", "row"]
        )
    assert sorted(rows) == list(range(60))
    facts = json.loads((runner.session / "session.json").read_text("utf-8"))
    settings = facts["runs"][0]["config"]
    assert (settings["folds"], settings["seed"], settings["validation_share"]) == (2, 42, 0.15)
    lines = (runner.session / "jobs.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["fold"] for line in lines] == [1, 2]


def test_a_saved_split_can_be_used_again_as_a_split_column(runner: Runner) -> None:
    runner.run(epochs=1)
    saved = pd.read_parquet(runner.session / "sentiment" / "runs" / "j0001" / "split.parquet")
    tweets = pd.read_csv(runner.tweets)
    tweets["split"] = tweets["id"].map(saved.set_index("id")["part"])
    again = runner.folder / "again.csv"
    tweets.to_csv(again, index=False)

    _, _, plan = made(again, "quick", label="sentiment")

    for part, rows in plan.parts[0].named().items():
        assert list(rows) == sorted(saved.loc[saved["part"] == part, "row"])


def test_an_interrupted_cross_validation_goes_on_with_the_folds_that_are_left(
    runner: Runner,
) -> None:
    runner.run(learning_rate=1e-2, folds=2)
    whole = tables(runner.session)
    (runner.folder / "logs").rename(runner.folder / "before")

    resumed: Resumed = interrupt(runner, stop_at(JobEnded), folds=2)
    outcome = resumed.go_on()

    assert [ended.job.fold for ended in outcome.done] == [1, 2]
    assert [e.job.fold for e in resumed.told if isinstance(e, EpochEnded)] == [2, 2]
    again = tables(runner.session)
    assert again.keys() == whole.keys()
    for name, one in whole.items():
        pd.testing.assert_frame_equal(again[name], one)
    assert unfinished(Session(runner.folder / "logs", runner.session.name)) == []


def test_jobs_that_an_older_version_wrote_have_no_fold(tmp_path: Path) -> None:
    event = made_end(made_epoch(made_job()))
    written = json.loads(to_json(event))
    del written["job"]["fold"]
    assert (
        from_json(json.dumps(written | {"best": {**written["best"], "job": written["job"]}}))
        == event
    )
    path = tmp_path / "jobs.jsonl"
    path.write_text(json.dumps(written["job"]) + "\n", "utf-8")
    assert list(planned(path)) == [made_job()]


def fold_results(model: str, scores: list[float], seed: int = 1) -> list[JobEnded]:
    """Return a result for each fold of a model, its test score a tenth below validation."""
    done = []
    for fold, f1 in enumerate(scores, start=1):
        job = made_job(model=model, model_name=model, seed=seed, fold=fold)
        test = replace(made_scores(job), f1_macro=f1 - 0.1)
        done.append(made_end(made_epoch(job, f1=f1), test=test))
    return done


def test_the_mean_over_folds_has_the_spread_of_the_folds() -> None:
    mean = over_folds(fold_results("a", [0.5, 0.6, 0.9]))
    assert (mean.val, mean.test) == (pytest.approx(2 / 3), pytest.approx(2 / 3 - 0.1))
    # Bessel's correction, as for seeds.
    assert mean.val_spread == mean.test_spread == pytest.approx(0.208167, abs=1e-6)
    assert (mean.trainings, mean.folds, mean.seeds) == (3, 3, 1)


def test_a_model_that_lacks_a_fold_comes_after_one_that_has_all() -> None:
    (ranking,) = rank([*fold_results("a", [0.5, 0.6]), *fold_results("b", [0.9])])
    assert [(s.model, s.complete) for s in ranking.standings] == [("a", True), ("b", False)]


def test_folds_of_two_seeds_are_four_repeats() -> None:
    done = [*fold_results("a", [0.4, 0.6], seed=1), *fold_results("a", [0.5, 0.5], seed=2)]
    ((standing,),) = (ranking.standings for ranking in rank(done))
    assert (standing.trainings, standing.seeds, standing.folds) == (4, 2, 2)
    assert standing.val_spread == pytest.approx(0.0816497, abs=1e-6)


def test_the_result_shows_means_over_folds_and_titles_and_lines_name_the_fold() -> None:
    done = [*fold_results("a", [0.5, 0.6, 0.9]), *fold_results("b", [0.7, 0.7, 0.7])]
    run = RunStarted("s", "benchmark", "logs/s", "models/s", tuple(r.job for r in done))
    sink = StringIO()
    console = Console(file=sink, width=80, markup=False, highlight=False, emoji=False)
    show_result(console, run, done, [], RunEnded("s", "done", 6, 6, 0, 1))
    lines = sink.getvalue().splitlines()
    assert "trainings a model; ± standard deviation over folds." in lines
    begin = next(i for i, line in enumerate(lines) if " Result " in line)
    assert [line.rstrip() for line in lines[begin + 1 : begin + 5]] == [
        "category   model  scope  folds  val macro F1 ±  test macro F1 ±",
        "sentiment  a      MULTI      3   0.667 ± 0.208    0.567 ± 0.208",
        "sentiment  b      MULTI      3   0.700 ± 0.000    0.600 ± 0.000",
        "Means over the folds, ± their standard deviation.",
    ]
    assert done[1].job.title == "sentiment · a · MULTI · fold 2"
    assert done[1].job.name == "j0001-fold2"
    assert describe(done[1]).startswith("sentiment · a · MULTI · fold 2: best epoch 1")


def test_the_plan_shows_the_folds(tweets: Path) -> None:
    config, dataset, plan = made(tweets, "quick", label="sentiment", folds=3)
    sink = StringIO()
    console = Console(file=sink, width=80, markup=False, highlight=False, emoji=False)
    show_plan(console, plan, config, dataset)
    text = sink.getvalue()
    lines = [line.split() for line in text.splitlines() if line.startswith(("category", "sentim"))]
    assert lines[0][4:] == ["fold", "train", "val", "test", "epochs"]
    assert [line[4] for line in lines[1:]] == ["1", "2", "3"]
    assert "3 multi-class jobs, seed 42, 3 folds" in text
    assert "--folds 3" in text
