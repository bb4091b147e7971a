"""Prediction: what is said of each row, by which model, and in which columns."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, softmax

from llm_tool.data.languages import Sorter
from llm_tool.data.loaders import read_table
from llm_tool.errors import StudioError
from llm_tool.inference import predictor
from llm_tool.inference.columns import group_models
from llm_tool.inference.models import Output, SavedModel
from tests.conftest import FINISHED, tweets_csv
from tests.predicting import Trained, copy_with, plain_logits, run_request, train_all


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path) -> Trained:
    return train_all(tmp_path_factory.mktemp("predicting"), tiny_bert)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def texts_of(path: Path) -> list[str]:
    return [row["text"] for row in rows_of(path)]


def column(path: Path, name: str) -> list[float]:
    return [float(row[name]) for row in rows_of(path)]


def test_a_model_of_classes_says_what_transformers_says(trained: Trained, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    run_request([trained.english], trained.table, out, probabilities=True)
    shares = softmax(plain_logits(trained.english, texts_of(trained.table)), axis=1)
    for i, name in enumerate(("negative", "positive")):
        ours = column(out, f"sentiment_probability_{name}")
        np.testing.assert_allclose(ours, shares[:, i], atol=1e-5)
    labels = [row["sentiment_label"] for row in rows_of(out)]
    assert labels == [("negative", "positive")[i] for i in shares.argmax(axis=1)]
    np.testing.assert_allclose(column(out, "sentiment_probability"), shares.max(axis=1), atol=1e-5)


def test_a_yes_or_no_model_decides_by_its_threshold(trained: Trained, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    run_request([trained.yes_or_no], trained.table, out, probabilities=True)
    yes = softmax(plain_logits(trained.yes_or_no, texts_of(trained.table)), axis=1)[:, 1]
    facts = json.loads((trained.yes_or_no / "training.json").read_text("utf-8"))
    threshold = facts["thresholds"]["health"]
    labels = [row["health_label"] for row in rows_of(out)]
    for label, probability in zip(labels, yes, strict=True):
        if abs(probability - threshold) > 1e-6:
            assert label == ("health" if probability >= threshold else "not_health")
    np.testing.assert_allclose(column(out, "health_probability"), yes, atol=1e-5)
    np.testing.assert_allclose(column(out, "health_probability_not_health"), 1 - yes, atol=1e-5)


def test_a_shared_encoder_fills_columns_for_each_label(trained: Trained, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    ended, _ = run_request([trained.shared], trained.table, out)
    shares = expit(plain_logits(trained.shared, texts_of(trained.table)))
    names = json.loads((trained.shared / "config.json").read_text("utf-8"))["id2label"]
    facts = json.loads((trained.shared / "training.json").read_text("utf-8"))
    assert len(names) == 3
    for i, name in names.items():
        np.testing.assert_allclose(column(out, f"{name}_probability"), shares[:, int(i)], atol=1e-5)
        said = [row[f"{name}_label"] for row in rows_of(out)]
        assert ended.tally.labels[name] == {n: said.count(n) for n in (f"not_{name}", name)}
        sure = np.abs(shares[:, int(i)] - facts["thresholds"][name]) > 1e-6
        yes = shares[:, int(i)] >= facts["thresholds"][name]
        assert [s == name for s, known in zip(said, sure, strict=True) if known] == list(yes[sure])


@pytest.mark.parametrize(("threshold", "label"), [(0.0, "health"), (1.1, "not_health")])
def test_the_threshold_is_that_of_the_folder(
    trained: Trained, tmp_path: Path, threshold: float, label: str
) -> None:
    def change(facts: dict[str, Any], config: dict[str, Any]) -> None:
        facts["thresholds"] = {"health": threshold}

    model = copy_with(trained.yes_or_no, tmp_path / "model", change)
    ended, _ = run_request([model], trained.table, tmp_path / "out.csv")
    assert ended.tally.labels["health"][label] == 60


def test_a_classifier_from_elsewhere_says_its_likeliest_class(
    tiny_bert: Path, trained: Trained, tmp_path: Path
) -> None:
    out = tmp_path / "out.csv"
    run_request([tiny_bert], trained.table, out)
    likeliest = plain_logits(tiny_bert, texts_of(trained.table)).argmax(axis=1)
    assert [r["tiny-bert_label"] for r in rows_of(out)] == [f"LABEL_{i}" for i in likeliest]


HOSTILE = [
    "good film",
    'the "very" bad, film',
    "=1+1 good",
    "good\nfilm\r\nbad",
    "a lone\rreturn",
    "",
    "  NA ",
    "été 😀 [bold]x[/]",
]


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_every_column_of_the_input_comes_back_as_it_was_and_in_order(
    trained: Trained, tmp_path: Path, ending: str
) -> None:
    data, out = tmp_path / "in.csv", tmp_path / f"out{ending}"
    with data.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "=cmd", "n"])
        writer.writerows([text, "-1+1", i] for i, text in enumerate(HOSTILE))
    before = read_table(data).frame
    ended, _ = run_request([trained.english], data, out)
    after = read_table(out).frame
    assert list(after.columns) == [*before.columns, "sentiment_label", "sentiment_probability"]
    for name in before.columns:
        assert after[name].tolist() == before[name].tolist()
    without = [i for i, label in enumerate(after["sentiment_label"]) if not label]
    assert without == [5, 6]
    assert [after["sentiment_probability"][i] for i in without] == ["", ""]
    assert ended.tally.empty == 2


def test_parquet_and_json_keep_their_types(trained: Trained, tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "id": [1, 2],
            "text": ["good film", None],
            "day": pd.to_datetime(["2024-01-01", "2024-01-02"]),
            "kind": pd.Categorical(["a", "b"]),
            "share": [0.5, float("nan")],
            "more": [{"x": 1}, {"x": 2}],
        }
    )
    data, out = tmp_path / "in.parquet", tmp_path / "out.parquet"
    frame.to_parquet(data)
    run_request([trained.english], data, out)
    after = pd.read_parquet(out)
    pd.testing.assert_frame_equal(after[list(frame.columns)], pd.read_parquet(data))
    lines = tmp_path / "out.jsonl"
    run_request([trained.english], data, lines)
    first, second = (json.loads(line) for line in lines.read_text("utf-8").splitlines())
    assert first | {"sentiment_label": "", "sentiment_probability": 0} == {
        "id": 1, "text": "good film", "day": "2024-01-01", "kind": "a", "share": 0.5,
        "more": {"x": 1}, "sentiment_label": "", "sentiment_probability": 0,
    }  # fmt: skip
    assert second["share"] is second["sentiment_label"] is second["sentiment_probability"] is None
    again = tmp_path / "again.jsonl"
    run_request([trained.yes_or_no], lines, again)
    assert json.loads(again.read_text("utf-8").splitlines()[0]).items() > first.items()


def test_a_label_that_is_a_formula_is_none_in_a_spreadsheet(
    trained: Trained, tmp_path: Path
) -> None:
    names = ["=1+1", "[bold]@x,\n"]

    def change(facts: dict[str, Any], config: dict[str, Any]) -> None:
        config["id2label"] = dict(enumerate(names))
        config["label2id"] = {name: i for i, name in enumerate(names)}
        facts["result"]["job"]["task"] |= {"classes": names, "label_key": "=key"}

    model = copy_with(trained.english, tmp_path / "model", change)
    run_request([model], trained.table, tmp_path / "out.csv", probabilities=True)
    rows = rows_of(tmp_path / "out.csv")
    assert {row["'=key_label"] for row in rows} <= {"'=1+1", names[1]}
    assert f"'=key_probability_{names[1]}" in rows[0]
    run_request([model], trained.table, tmp_path / "out.jsonl")
    first = json.loads((tmp_path / "out.jsonl").read_text("utf-8").splitlines()[0])
    assert first["=key_label"] in names


def test_a_column_of_the_input_is_never_overwritten(trained: Trained, tmp_path: Path) -> None:
    data = tmp_path / "in.jsonl"
    row = {"text": "good film", "sentiment_label": {"mine": "kept"}}
    data.write_text(json.dumps(row), "utf-8")
    _, seen = run_request([trained.english], data, tmp_path / "out.jsonl")
    after = json.loads((tmp_path / "out.jsonl").read_text("utf-8"))
    assert after["sentiment_label"] == {"mine": "kept"}
    assert after["sentiment_2_label"] in ("negative", "positive")
    assert "sentiment_2_" in seen[0].notes[0]


def test_models_of_one_category_have_columns_of_their_own(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = sorted((finished / "models" / FINISHED / "sentiment").iterdir())
    made = []

    class Counted(predictor.TokenStore):
        def __init__(self, *given: object) -> None:
            made.append(given)
            super().__init__(*given)

    monkeypatch.setattr(predictor, "TokenStore", Counted)
    ended, _ = run_request(models, finished / "tweets.csv", tmp_path / "out.csv")
    labels = [name for name in ended.columns if name.endswith("_label")]
    assert len(models) == len(set(labels)) == 4
    assert all("bert" in name for name in labels)
    assert len(made) == 1  # they cut texts alike: these are tokenised once


def test_rows_go_to_the_model_of_their_language(trained: Trained, tmp_path: Path) -> None:
    data = tmp_path / "in.csv"
    data.write_text(tweets_csv().replace(",en,", ",EN-gb,", 1).replace(",en,", ",de,", 1), "utf-8")
    models = [trained.english, trained.french]
    ended, seen = run_request(models, data, tmp_path / "out.csv")
    assert ended.columns == ("sentiment_label", "sentiment_probability")
    assert seen[0].language_column == "lang"
    assert ended.tally.unrouted == {"sentiment": {"DE": 1}}
    own = {"EN": trained.english, "EN-GB": trained.english, "FR": trained.french}
    expected = {name: plain_logits(model, texts_of(data)) for name, model in own.items()}
    for i, row in enumerate(rows_of(tmp_path / "out.csv")):
        if row["lang"] == "de":
            assert row["sentiment_label"] == row["sentiment_probability"] == ""
        else:
            share = softmax(expected[row["lang"].upper()][i]).max()
            assert float(row["sentiment_probability"]) == pytest.approx(share, abs=1e-5)


def test_languages_are_detected_where_no_column_says_them(trained: Trained, tmp_path: Path) -> None:
    texts = [
        "The minister said today that the new law on public health was a very good idea.",
        "La ministre a dit hier que la nouvelle loi sur les écoles était une bonne idée.",
        "Der Minister sagte heute, dass das neue Gesetz über die Schulen sehr gut sei.",
    ]
    data = tmp_path / "in.csv"
    data.write_text("text\n" + "\n".join(f'"{text}"' for text in texts), "utf-8")
    ended, seen = run_request([trained.english, trained.french], data, tmp_path / "out.csv")
    assert seen[0].language_column == "detect"
    assert ended.tally.unrouted == {"sentiment": {"DE": 1}}
    assert [bool(r["sentiment_label"]) for r in rows_of(tmp_path / "out.csv")] == [1, 1, 0]
    sorter = Sorter(["EN", "FR"])
    assert [sorter.language(text) for text in (*texts, "12 !", "")] == ["EN", "FR", "DE", "", ""]


def saved(name: str, language: str, category: str = "tone") -> SavedModel:
    return SavedModel(
        Path(f"{name}-{language}-{category}"), name, language,
        (Output(category, ("a", "b"), None, category),), multi_label=False,
    )  # fmt: skip


def test_a_model_of_many_languages_takes_what_no_other_is_for() -> None:
    (group,) = group_models([saved("x", "EN"), saved("y", "MULTI"), saved("z", "FR")])
    assert [group.model_for(name) for name in ("EN", "FR", "en", "DE", "", "FR_ca")] == [
        0, 2, 1, 1, 1, 2,
    ]  # fmt: skip


def test_models_that_compete_in_one_language_do_not_answer_together() -> None:
    models = [saved("x", "EN"), saved("x", "FR"), saved("y", "EN"), saved("y", "FR")]
    assert [group.positions for group in group_models(models)] == [(0, 1), (2, 3)]
    models = [saved("x", "EN"), saved("y", "EN"), saved("x", "EN", "topic")]
    assert [group.positions for group in group_models(models)] == [(0,), (1,), (2,)]
    with pytest.raises(StudioError, match="twice"):
        group_models([saved("x", "EN"), saved("x", "EN")])


def long_model(trained: Trained, target: Path, how: str) -> Path:
    def change(facts: dict[str, Any], config: dict[str, Any]) -> None:
        facts["settings"] |= {"max_length": 12, "long_documents": how, "window_overlap": 0.5}

    return copy_with(trained.english, target, change)


@pytest.mark.parametrize("how", ["truncate", "chunk", "exclude"])
def test_long_texts_are_read_as_in_training(trained: Trained, tmp_path: Path, how: str) -> None:
    words = ["good", "film", "was", "the", "bad", "book", "law", "vote", "press", "fine"]
    texts = [" ".join(words[:4]), " ".join(words + words[:8])]  # 4 and 18 tokens, room for 10
    data = tmp_path / "in.csv"
    data.write_text("text\n" + "\n".join(texts) + "\n", "utf-8")
    model, out = long_model(trained, tmp_path / "model", how), tmp_path / "out.csv"
    ended, _ = run_request([model], data, out, probabilities=True)
    long = rows_of(out)[1]
    if how == "exclude":
        assert set(long.values()) == {texts[1], ""}
        assert ended.tally.excluded == {"sentiment": 1}
        return
    every = texts[1].split()
    parts = {"truncate": [every[:10]], "chunk": [every[:10], every[5:15], every[10:18]]}[how]
    logits = plain_logits(trained.english, [" ".join(part) for part in parts]).mean(axis=0)
    assert float(long["sentiment_probability_positive"]) == pytest.approx(
        softmax(logits)[1], abs=1e-5
    )
    assert ended.tally.cut == ({"sentiment": 1} if how == "truncate" else {})


def test_eight_bits_say_what_they_cost(trained: Trained, tmp_path: Path) -> None:
    models = [trained.english, trained.shared]
    _, seen = run_request(models, trained.table, tmp_path / "out.csv", int8=True)
    costs = [event for event in seen if event.event == "cost_measured"]
    assert sorted(cost.category for cost in costs) == ["health", "law", "sentiment", "vote"]
    first = next(cost for cost in costs if cost.category == "sentiment")
    assert (first.texts, first.judged) == (60, 60)
    assert 0.5 <= first.same <= 1
    assert 0 < first.difference < 0.05
    assert first.f1_macro is not None
    run_request([trained.english], trained.table, tmp_path / "exact.csv")
    exact = column(tmp_path / "exact.csv", "sentiment_probability")
    rounded = column(tmp_path / "out.csv", "sentiment_probability")
    assert rounded != exact
    np.testing.assert_allclose(rounded, exact, atol=first.difference + 1e-5)


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def adapter(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{}", "utf-8")


def torn(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def without_facts(folder: Path) -> None:
    (folder / "training.json").write_text('{"result": {}}', "utf-8")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (pickled, "no safetensors"),
        (adapter, "adapter"),
        (torn, "cannot be loaded"),
        (without_facts, "training.json is damaged"),
        (lambda folder: (folder / "config.json").unlink(), "not a model"),
    ],
)
def test_what_is_no_sound_model_is_refused(
    trained: Trained, tmp_path: Path, damage: Callable[[Path], None], said: str
) -> None:
    model = copy_with(trained.english, tmp_path / "model", lambda *_: None)
    damage(model)
    with pytest.raises(StudioError, match=said) as caught:
        run_request([model], trained.table, tmp_path / "out.csv")
    assert caught.value.remedy
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_an_encoder_without_a_trained_head_is_refused(trained: Trained, tmp_path: Path) -> None:
    from llm_tool.trainers.model_sources import locate

    with pytest.raises(StudioError, match="not trained to classify"):
        run_request([locate("embedded")], trained.table, tmp_path / "out.csv")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("out", "more", "said"),
    [
        ("out.xlsx", {}, "not written"),
        ("out", {}, "no ending"),
        ("gone/out.csv", {}, "no folder"),
        ("there.csv", {}, "there already"),
        ("out.csv", {"text_column": "texte"}, "no column 'texte'"),
        ("out.csv", {"language_column": "langue"}, "no column 'langue'"),
        ("out.csv", {"language_column": "none"}, "one language each"),
        ("out.csv", {"sheet": "2"}, "no choice"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_done(
    trained: Trained, tmp_path: Path, out: str, more: dict[str, str], said: str
) -> None:
    (tmp_path / "there.csv").write_text("mine", "utf-8")
    models = [trained.english, trained.french]
    with pytest.raises(StudioError, match=said):
        run_request(models, trained.table, tmp_path / out, **more)
    assert [path.name for path in tmp_path.iterdir()] == ["there.csv"]
    assert (tmp_path / "there.csv").read_text("utf-8") == "mine"


def test_the_table_itself_is_never_the_output(trained: Trained, tmp_path: Path) -> None:
    data = tmp_path / "in.csv"
    data.write_text(tweets_csv(), "utf-8")
    with pytest.raises(StudioError, match="place of the table"):
        run_request([trained.english], data, data, overwrite=True)
    assert data.read_text("utf-8") == tweets_csv()
