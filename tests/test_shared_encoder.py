"""One network for all yes-or-no labels: the same files as a model for each, and one folder."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from llm_tool.events import (
    EpochEnded,
    Event,
    JobEnded,
    JobStarted,
    ReinforcementEnded,
    ReinforcementStarted,
    RunEnded,
    RunStarted,
)
from llm_tool.logs.journal import read_events
from llm_tool.plan import Task
from llm_tool.trainers.multi_label_trainer import best_threshold
from tests.conftest import tweets_csv
from tests.test_local_run import Runner
from tests.test_model_card import check_metadata

AREAS = ["health", "law", "vote"]
OPTIONS = {
    "mode": "distributed",
    "label": ("areas",),
    "workers": 1,
    "epochs": 3,
    "learning_rate": 1e-2,
    "batch_size": 8,
    "monitor": "val_loss",  # no two epochs have the same, as they may have of the F1 of few rows
}


@pytest.fixture(scope="module")
def tweets_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "tweets.csv"
    path.write_text(tweets_csv(), "utf-8")
    return path


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, tweets_file: Path, tiny_bert: Path) -> Runner:
    """Return a run in which one network learned all areas."""
    made = Runner(tmp_path_factory.mktemp("shared"), tweets_file, (str(tiny_bert),))
    made.run(**OPTIONS, shared_encoder=True)
    return made


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, tweets_file: Path, tiny_bert: Path) -> Runner:
    """Return a run in which each area has a model of its own."""
    made = Runner(tmp_path_factory.mktemp("alone"), tweets_file, (str(tiny_bert),))
    made.run(**OPTIONS)
    return made


def heard(runner: Runner, kind: type[Event]) -> list[Event]:
    return [event for event in runner.told if isinstance(event, kind)]


def ended(runner: Runner) -> JobEnded:
    (event,) = heard(runner, JobEnded)
    assert isinstance(event, JobEnded)
    return event


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def saved(runner: Runner) -> Path:
    return runner.folder / "models" / runner.session.name / "areas" / "tiny-bert-MULTI"


def test_one_job_leaves_a_category_for_each_label_and_one_model(shared: Runner) -> None:
    assert shared.kinds() == [
        *(RunStarted, JobStarted, EpochEnded, EpochEnded, EpochEnded, JobEnded, RunEnded)
    ]
    assert shared.status() == "done"
    run = ["journal.jsonl", "predictions.parquet", "split.parquet"]
    assert [name for name in files(shared.session) if name != ".lock"] == sorted(
        [
            *("jobs.jsonl", "session.json"),
            *(f"{area}/{name}.csv" for area in AREAS for name in ("training", "best")),
            *(f"{area}/runs/j0001/{name}" for area in AREAS for name in run),
        ]
    )
    assert [p.parent for p in (shared.folder / "models").rglob("config.json")] == [saved(shared)]
    for area in AREAS:
        assert shared.table("best.csv", area)["saved_model_path"].tolist() == [str(saved(shared))]


def test_the_files_of_a_label_have_the_columns_of_a_model_of_its_own(
    shared: Runner, alone: Runner
) -> None:
    for area in AREAS:
        for name in ("training.csv", "best.csv"):
            heads = [
                (run.session / area / name).read_text("utf-8").splitlines()[:5]
                for run in (shared, alone)
            ]
            assert heads[0] == heads[1]
            assert heads[0][1:3] == [f"# category: {area}", f"# classes: not_{area} | {area}"]
            table = shared.table(name, area)
            assert set(table["label_key"]) == {"areas"}
            assert set(table["label_value"]) == {area}
            assert set(table["language"]) == {"MULTI"}
            assert set(table["model_name"]) == {"tiny-bert"}
        assert shared.table(category=area)["epoch"].tolist() == [1, 2, 3]


def test_every_label_is_split_as_for_a_model_of_its_own(shared: Runner, alone: Runner) -> None:
    for number, area in enumerate(AREAS, start=1):
        one = pd.read_parquet(shared.session / area / "runs" / "j0001" / "split.parquet")
        other = pd.read_parquet(alone.session / area / "runs" / f"j{number:04d}" / "split.parquet")
        pd.testing.assert_frame_equal(one, other)
        assert one["part"].value_counts().to_dict() == {"train": 42, "validation": 9, "test": 9}


def test_an_epoch_is_the_mean_of_its_labels_which_share_the_best_one(shared: Runner) -> None:
    epochs = [event for event in shared.told if isinstance(event, EpochEnded)]
    assert len({epoch.selection_value for epoch in epochs}) > 1
    for epoch in epochs:
        assert [own.job.task.category for own in epoch.labels] == AREAS
        assert epoch.monitor == "mean_val_loss"
        assert epoch.selection_value == epoch.val_loss
        for name in ("train_loss", "val_loss"):
            assert getattr(epoch, name) == fmean(getattr(own, name) for own in epoch.labels)
        for name in ("accuracy", "precision_macro", "recall_macro", "f1_macro", "f1_weighted"):
            mean = fmean(getattr(own.scores, name) for own in epoch.labels)
            assert getattr(epoch.scores, name) == mean
        positive = [own.scores.classes[1] for own in epoch.labels]
        assert [(c.name, c.f1, c.support) for c in epoch.scores.classes] == [
            (area, c.f1, c.support) for area, c in zip(AREAS, positive, strict=True)
        ]
        for number, language in enumerate(epoch.scores.languages):
            own = [label.scores.languages[number] for label in epoch.labels]
            assert language.accuracy == fmean(one.accuracy or 0.0 for one in own)
            assert {one.support for one in own} == {language.support}
        same = {(own.selection_value, own.monitor, own.is_best) for own in epoch.labels}
        assert same == {(epoch.selection_value, epoch.monitor, epoch.is_best)}
    best = min(epochs, key=lambda epoch: epoch.selection_value).epoch
    for area in AREAS:
        row = shared.table("best.csv", area).iloc[0]
        assert row["epoch"] == best
        assert row["selection_metric"] == "mean_val_loss"


def test_the_rows_of_a_label_hold_its_own_scores(shared: Runner) -> None:
    epochs = [event for event in shared.told if isinstance(event, EpochEnded)]
    for number, area in enumerate(AREAS):
        table = shared.table(category=area)
        own = [epoch.labels[number] for epoch in epochs]
        for name in ("train_loss", "val_loss"):
            assert table[name].tolist() == pytest.approx([getattr(e, name) for e in own], rel=1e-5)
        for column, at in ((f"f1_not_{area}", 0), (f"f1_{area}", 1)):
            assert table[column].tolist() == pytest.approx(
                [e.scores.classes[at].f1 for e in own], rel=1e-5
            )
        assert table[f"support_{area}"].tolist() == [own[0].scores.classes[1].support] * 3
    losses = [tuple(shared.table(category=area)["val_loss"]) for area in AREAS]
    assert len(set(losses)) == 3


def test_plain_transformers_give_every_label_its_recorded_probability(shared: Runner) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(saved(shared))
    tokenizer = AutoTokenizer.from_pretrained(saved(shared))
    assert model.config.problem_type == "multi_label_classification"
    assert model.config.id2label == dict(enumerate(AREAS))
    assert model.config.label2id == {area: i for i, area in enumerate(AREAS)}
    texts = pd.read_csv(shared.tweets)["text"]

    for number, area in enumerate(AREAS):
        recorded = pd.read_parquet(shared.session / area / "runs" / "j0001" / "predictions.parquet")
        assert recorded["part"].tolist() == ["validation"] * 9 + ["test"] * 9
        batch = tokenizer(texts[recorded["row"]].tolist(), padding=True, return_tensors="pt")
        with torch.inference_mode():
            shares = torch.sigmoid(model(**batch).logits)[:, number].numpy()
        np.testing.assert_allclose(recorded[f"probability_{area}"], shares, atol=1e-5)
        np.testing.assert_allclose(recorded[f"probability_not_{area}"], 1 - shares, atol=1e-5)


def test_every_label_has_a_threshold_from_its_validation_rows(shared: Runner) -> None:
    facts = json.loads((saved(shared) / "training.json").read_text("utf-8"))

    assert list(facts["thresholds"]) == AREAS
    for own in ended(shared).labels:
        area = own.job.task.category
        assert facts["thresholds"][area] == own.threshold
        recorded = pd.read_parquet(shared.session / area / "runs" / "j0001" / "predictions.parquet")
        yes = recorded[f"probability_{area}"] >= own.threshold
        names = yes.map({True: area, False: f"not_{area}"})
        assert recorded["predicted"].tolist() == names.tolist()
        rows = recorded["part"] == "validation"
        shares = recorded.loc[rows, f"probability_{area}"].to_numpy(dtype=np.float64)
        logits = np.stack([np.zeros(len(shares)), np.log(shares / (1 - shares))], axis=1)
        labels = (recorded.loc[rows, "true"] == area).to_numpy(dtype=np.int64)
        assert best_threshold(logits, labels) == pytest.approx(own.threshold, abs=1e-6)
    metadata = check_metadata(saved(shared))
    assert metadata["tags"] == ["text-classification", "llm-tool-studio", "multi-label"]
    card = (saved(shared) / "README.md").read_text("utf-8")
    assert "A multi-label text classifier" in card
    for area, value in facts["thresholds"].items():
        (row,) = (line for line in card.splitlines() if line.startswith(f"| {area} |"))
        assert row.split(" | ")[4] == f"{value:.4f}"


def test_a_label_is_tested_by_itself_and_the_whole_by_the_mean(shared: Runner) -> None:
    result = ended(shared)

    assert result.test is not None
    assert (result.threshold, result.f1_macro_low, result.f1_macro_high) == (None, None, None)
    for own in result.labels:
        row = shared.table("best.csv", own.job.task.category).iloc[0]
        assert own.test is not None
        assert row["test_f1_macro"] == pytest.approx(own.test.f1_macro, rel=1e-5)
        assert row["f1_macro_low"] <= row["test_f1_macro"] <= row["f1_macro_high"]
    means = fmean(own.test.f1_macro for own in result.labels if own.test)
    assert result.test.f1_macro == means


def test_the_journal_of_a_label_tells_its_own_story(shared: Runner) -> None:
    for number, area in enumerate(AREAS):
        journal = shared.session / area / "runs" / "j0001" / "journal.jsonl"
        events = list(read_events(journal))
        own = [event.labels[number] for event in shared.told if isinstance(event, EpochEnded)]
        assert events[1:] == [*own, ended(shared).labels[number]]
        assert isinstance(events[0], JobStarted)
        assert {event.job.task.category for event in events} == {area}
        assert {event.job.labels for event in events} == {()}


def test_a_shared_encoder_for_each_language_has_a_folder_of_its_own(
    tmp_path: Path, tweets_file: Path, tiny_bert: Path
) -> None:
    runner = Runner(tmp_path, tweets_file, (f"EN={tiny_bert}", f"FR={tiny_bert}"))
    runner.run(**{**OPTIONS, "epochs": 1}, shared_encoder=True, small_classes="drop")

    for area in AREAS:
        table = runner.table("best.csv", area)
        assert table["language"].tolist() == ["EN", "FR"]
        assert [Path(path).name for path in table["saved_model_path"]] == [
            *("tiny-bert-EN", "tiny-bert-FR")
        ]
        supports = table[["EN_support", "FR_support"]].to_numpy()
        assert (supports > 0).tolist() == [[True, False], [False, True]]


@pytest.fixture
def same_values(tmp_path: Path) -> Path:
    """Return a table with two columns that have the same values."""
    lines = ["text,tone,stance,topic"]
    for i in range(48):
        tone, stance = ("yes", "no")[i % 2], ("yes", "no", "maybe")[i % 3]
        lines.append(f"the film was {tone} and {stance} {i},{tone},{stance},{'ab'[i // 2 % 2]}")
    (tmp_path / "same.csv").write_text("\n".join(lines), "utf-8")
    return tmp_path / "same.csv"


def test_the_same_value_of_two_columns_is_two_labels(
    tmp_path: Path, same_values: Path, tiny_bert: Path
) -> None:
    runner = Runner(tmp_path, same_values, (str(tiny_bert),))
    runner.run(
        **{**OPTIONS, "label": ("tone", "stance"), "epochs": 1, "text_column": "text"},
        shared_encoder=True,
    )

    (event,) = heard(runner, RunStarted)
    assert isinstance(event, RunStarted)
    (job,) = event.jobs
    names = ("tone=no", "tone=yes", "maybe", "stance=no", "stance=yes")
    assert job.task == Task("tone+stance", "", names)
    folders = ["maybe", "stance_no", "stance_yes", "tone_no", "tone_yes"]
    assert sorted(p.name for p in runner.session.iterdir() if p.is_dir()) == folders
    paths = {runner.table("best.csv", name)["saved_model_path"].item() for name in folders}
    model = runner.folder / "models" / runner.session.name / "tone+stance" / "tiny-bert"
    assert paths == {str(model)}
    config = AutoModelForSequenceClassification.from_pretrained(model).config
    assert config.id2label == dict(enumerate(names))
    facts = json.loads((model / "training.json").read_text("utf-8"))
    assert list(facts["thresholds"]) == list(names)
    assert runner.table("best.csv", "stance_no")[
        ["label_key", "label_value"]
    ].to_numpy().tolist() == [["stance", "no"]]


def test_the_weak_labels_of_a_shared_encoder_are_reinforced(
    tmp_path: Path, tweets_file: Path, tiny_bert: Path
) -> None:
    runner = Runner(tmp_path, tweets_file, (str(tiny_bert),))
    runner.run(
        **{**OPTIONS, "epochs": 1, "learning_rate": 1e-6, "monitor": "f1_macro"},
        shared_encoder=True,
        reinforced=True,
        reinforced_epochs=2,
    )

    (started,) = heard(runner, ReinforcementStarted)
    (over,) = heard(runner, ReinforcementEnded)
    assert isinstance(started, ReinforcementStarted)
    assert isinstance(over, ReinforcementEnded)
    assert {weak.name for weak in started.weak} <= set(AREAS)
    assert [gain.name for gain in over.gains] == AREAS
    assert over.monitor == "mean_f1_macro"
    epochs = [event for event in runner.told if isinstance(event, EpochEnded)]
    assert epochs[0].selection_value == fmean(own.scores.f1_macro for own in epochs[0].labels)
    assert over.before == epochs[0].selection_value
    assert over.after == max(epoch.selection_value for epoch in epochs[1:])
    for area in AREAS:
        table = runner.table(category=area)
        assert table["epoch"].tolist() == [1, 2, 3]
        assert table["training_phase"].tolist() == ["normal", "reinforced", "reinforced"]
        journal = read_events(runner.session / area / "runs" / "j0001" / "journal.jsonl")
        kinds = [type(event) for event in journal]
        assert kinds.count(ReinforcementStarted) == kinds.count(ReinforcementEnded) == 1


@pytest.mark.parametrize("shared_encoder", [True, False])
def test_a_label_starts_from_how_frequent_it_is(
    tmp_path: Path, tweets_file: Path, tiny_bert: Path, shared_encoder: bool
) -> None:
    runner = Runner(tmp_path, tweets_file, (str(tiny_bert),))
    still = {"epochs": 1, "learning_rate": 1e-9}
    runner.run(**{**OPTIONS, **still}, shared_encoder=shared_encoder)

    for area, rows in (("health", 20), ("law", 20), ("vote", 40)):  # of 60
        (predictions,) = (runner.session / area).glob("runs/*/predictions.parquet")
        guesses = pd.read_parquet(predictions)[f"probability_{area}"]
        assert guesses.mean() == pytest.approx(rows / 60, abs=0.07)
