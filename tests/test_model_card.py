"""Model cards: what they say, and whether the hub would take their metadata.

The hub's own check answers over the network. What of it is in huggingface_hub runs here (the YAML
block as the hub's server finds it, the fields, the model index); the rest are its published rules:
identifiers of licences, codes of languages, names of tasks, ids of models.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard
from huggingface_hub.repocard import REGEX_YAML_BLOCK, metadata_load
from huggingface_hub.repocard_data import model_index_to_eval_results
from huggingface_hub.utils import validate_repo_id

from llm_tool.logs.archive import Archive, read_session
from llm_tool.trainers.card import hub_id, licence
from llm_tool.trainers.model_sources import catalogue
from tests.conftest import FINISHED

# https://huggingface.co/docs/hub/repositories-licenses, those that encoders have.
LICENCES = {
    "apache-2.0", "mit", "openrail", "afl-3.0", "bsd", "bsd-2-clause", "bsd-3-clause", "cc",
    "cc0-1.0", "cc-by-2.0", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0",
    "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-4.0",
    "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "gpl-3.0", "lgpl-3.0", "agpl-3.0",
    "unknown", "other",
}  # fmt: skip


def check_metadata(folder: Path) -> dict[str, Any]:
    """Fail unless a card's metadata are such as the hub takes; return them."""
    text = (folder / "README.md").read_text("utf-8")
    block = REGEX_YAML_BLOCK.search(text)
    assert block
    facts = yaml.safe_load(block[2])
    assert facts == metadata_load(folder / "README.md")
    card = ModelCard.load(folder / "README.md")
    assert str(card) == text  # as huggingface_hub itself would write it
    assert card.data.to_dict() == facts
    assert set(facts) <= {
        "language", "license", "library_name", "tags", "base_model", "metrics", "pipeline_tag",
        "model-index",
    }  # fmt: skip
    assert facts["pipeline_tag"] == "text-classification"
    assert facts["library_name"] == "transformers"
    assert all(re.fullmatch("[a-z]{2}", code) for code in facts.get("language", []))
    assert facts.get("license", "other") in LICENCES
    if "base_model" in facts:
        validate_repo_id(facts["base_model"])
    if "model-index" in facts:
        (model,) = facts["model-index"]
        for result in model["results"]:
            assert result["task"]["type"] == "text-classification"
            assert {"type", "name"} <= set(result["dataset"])
            for metric in result["metrics"]:
                assert metric["type"] in {"f1", "accuracy"}
                assert 0 <= metric["value"] <= 1
        name, results = model_index_to_eval_results(facts["model-index"])
        assert name == model["name"]
        assert len(results) == 2
    return dict(facts)


@pytest.fixture(scope="module")
def archive(finished: Path) -> Archive:
    return read_session(finished / "training_logs", FINISHED)


def test_every_saved_model_has_a_card_with_metadata_that_the_hub_takes(archive: Archive) -> None:
    for training in archive.done:
        result = training.ended
        assert result
        assert result.test
        facts = check_metadata(Path(result.saved_model_path))
        assert facts["language"] == ["en", "fr"]
        assert "base_model" not in facts  # a folder of the user's is no model of the hub
        assert "license" not in facts
        (measured,) = facts["model-index"][0]["results"]
        assert measured["dataset"] == {"name": "tweets.csv", "type": "private", "split": "test"}
        assert [m["value"] for m in measured["metrics"]] == [
            round(result.test.f1_macro, 4),
            round(result.test.accuracy, 4),
        ]


def rows(card: str) -> dict[str, list[str]]:
    """Return the rows of a card's tables by their first cell."""
    lines = [line for line in card.split("\n") if line.startswith("|")]
    split = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return {cells[0]: cells[1:] for cells in split}


@pytest.mark.skipif(
    os.environ["HF_HUB_OFFLINE"] != "0", reason="asks the hub itself: set HF_HUB_OFFLINE=0 for it"
)
def test_the_hubs_own_check_takes_the_metadata(archive: Archive) -> None:
    for training in archive.done:
        assert training.ended
        ModelCard.load(Path(training.ended.saved_model_path) / "README.md").validate()


def test_a_card_says_data_scores_use_and_limits_as_they_are_recorded(archive: Archive) -> None:
    training = archive.trainings[0]
    result, started = training.ended, training.started
    assert result
    assert result.test
    assert started
    folder = Path(result.saved_model_path)
    card = (folder / "README.md").read_text("utf-8")

    shown = rows(card)
    split = training.split()
    for one in result.test.classes:
        counts = split[split["true"] == one.name]["part"].value_counts()
        scores = [
            f"{value:.3f}" for value in (one.precision, one.recall, one.f1) if value is not None
        ]
        assert shown[one.name] == [
            *scores,
            *(f"{counts[p]}" for p in ("train", "validation", "test")),
        ]
    for spoken in result.test.languages:
        assert shown[spoken.language][:2] == [f"{spoken.accuracy:.3f}", f"{spoken.f1_macro:.3f}"]
    facts = json.loads((folder / "training.json").read_text("utf-8"))
    assert shown["learning_rate"] == [f"{facts['settings']['learning_rate']}"]
    assert shown["seed"] == [f"{training.job.seed}"]
    assert shown["session"] == [f"{FINISHED}, j0001"]
    for fact in (
        f"{started.train_rows} texts to train on, {started.validation_rows} to validate with",
        f"macro F1 {result.test.f1_macro:.3f}, 95 % interval {result.f1_macro_low:.3f} to",
        archive.facts["runs"][0]["dataset"]["sha256"],
        "It knows the languages EN, FR",
        f"Of a text over {started.max_length} tokens it reads the beginning",
        "not validated for decisions about individual people",
    ):
        assert fact in card
    weak = [one.name for one in result.test.classes if one.f1 is not None and one.f1 < 0.6]
    assert (f"Weak (F1 below 0.6): {', '.join(weak)}." in card) == bool(weak)


def test_the_lines_of_a_card_that_use_the_model_do(
    archive: Archive, capsys: pytest.CaptureFixture[str]
) -> None:
    result = archive.trainings[0].ended
    assert result
    card = (Path(result.saved_model_path) / "README.md").read_text("utf-8")
    (snippet,) = re.findall(r"```python\n(.*?)```", card, re.S)

    exec(snippet.replace("path/to/this/folder", result.saved_model_path), {})

    said = capsys.readouterr().out
    for name in result.job.task.classes:
        assert f"'label': '{name}'" in said


HOSTILE = ("---", "a: [b", "| x |\n---", "<script>alert(1)</script>", "no", "# title", "yes: *a")


def test_names_are_neither_yaml_nor_markdown(
    tmp_path: Path, tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = hostile_card(tmp_path, tiny_bert)

    facts = check_metadata(card.parent)
    text = card.read_text("utf-8")
    assert facts["model-index"][0]["name"].startswith("---")
    body = text.split("\n---\n", 1)[1]
    assert "\n---\n" not in body
    assert "<script>" not in body
    assert body.count("\n# ") == 1
    table = [line for line in body.split("\n") if line.startswith("|")]
    names = [re.split(r"(?<!\\)\|", line)[1].strip() for line in table]
    for name in (
        r"\---",
        r"a: \[b",
        r"\| x \|\\n---",
        r"\<script\>alert(1)\</script\>",
        r"\# title",
    ):
        assert name in names
    assert facts.get("language") is None  # "no" is no language here, and `1<2` none at all


def hostile_card(tmp_path: Path, tiny_bert: Path) -> Path:
    """Return the card of a model whose classes, key and language have hostile names."""
    import numpy as np

    from llm_tool.data.tokens import Examples, JobData
    from llm_tool.plan import Job, Task
    from llm_tool.trainers.bert_base import run_training
    from llm_tool.trainers.pretrained import load_model, load_tokenizer

    tokenizer, _ = load_tokenizer(tiny_bert)
    count = 2 * len(HOSTILE)
    part = Examples(
        token_ids=[np.asarray(tokenizer(f"good {i}")["input_ids"]) for i in range(count)],
        labels=np.arange(count) % len(HOSTILE),
        languages=["1<2"] * count,
        rows=range(count),
        ids=[f"{i}" for i in range(count)],
    )
    job = Job(Task("---", "", HOSTILE, ("1<2",)), str(tiny_bert), "m|m", "1<2")
    result = run_training(
        load_model(tiny_bert, HOSTILE, 1),
        tokenizer,
        JobData(part, replace(part), replace(part)),
        job,
        logs_dir=str(tmp_path / "logs"),
        models_dir=str(tmp_path / "models"),
        on_event=[].append,
    )
    return Path(result.saved_model_path) / "README.md"


def test_a_base_model_is_named_as_the_hub_knows_it_and_its_licence_only_if_it_is_known() -> None:
    assert hub_id("embedded") == "sentence-transformers/all-MiniLM-L6-v2"
    assert licence("embedded") == "apache-2.0"
    assert hub_id("bert-base-uncased") == "google-bert/bert-base-uncased"
    assert hub_id("almanach/camembert-base") == "almanach/camembert-base"
    assert licence("almanach/camembert-base") == "mit"
    assert hub_id("someone/roberta-base") == "someone/roberta-base"
    assert licence("someone/roberta-base") == ""  # not FacebookAI's
    assert licence("GroNLP/hateBERT") == ""  # whose page says none
    assert hub_id("./roberta-base") == licence("./roberta-base") == ""
    assert hub_id("no id at all") == ""


def test_the_licences_of_the_catalogue_are_identifiers_of_the_hub() -> None:
    assert {licence(entry.id) or "unknown" for entry in catalogue()} <= LICENCES
