"""The three checks that the mission names, trained for real."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from llm_tool.config import make_config
from llm_tool.events import Event
from llm_tool.execution.local import Outcome, run_plan
from llm_tool.logs import Session, read_metrics
from llm_tool.modes.planning import prepare
from tests.conftest import WORDS


def train(settings: dict[str, object], folder: Path, session: Session | None = None) -> Outcome:
    config = make_config({"models_dir": str(folder / "models"), **settings})
    dataset, plan = prepare(config)
    session = session or Session(folder / "training_logs")
    return run_plan(plan, dataset, config, session)


@pytest.fixture
def rivals(tiny_bert: Path, tmp_path: Path) -> list[str]:
    """Return two model folders."""
    folders = [tmp_path / "rivals" / name for name in ("tiny-en", "tiny-fr")]
    for folder in folders:
        shutil.copytree(tiny_bert, folder)
    return [str(folder) for folder in folders]


def test_quick_with_two_models_in_two_languages_logs_both_in_one_file_a_category(
    tweets: Path, rivals: list[str], tmp_path: Path
) -> None:
    english, french = rivals
    outcome = train(
        {
            "data": str(tweets),
            "label": ["sentiment", "topic"],
            "model": [f"EN={english}", f"FR={french}"],
            "epochs": 2,
        },
        tmp_path,
    )

    assert len(outcome.done) == 4
    (session,) = (tmp_path / "training_logs").iterdir()
    assert sorted(p.name for p in session.iterdir() if p.is_dir()) == ["sentiment", "topic"]
    for category in ("sentiment", "topic"):
        rows = read_metrics(session / category / "training.csv")
        assert rows["model_name"].tolist() == ["tiny-en"] * 2 + ["tiny-fr"] * 2
        assert rows["language"].tolist() == ["EN"] * 2 + ["FR"] * 2
        assert rows["epoch"].tolist() == [1, 2, 1, 2]
        # Each model is scored on its own rows, in the columns of the whole category.
        assert rows["EN_f1_macro"].notna().tolist() == [True, True, False, False]
        assert rows["FR_f1_macro"].notna().tolist() == [False, False, True, True]
        assert rows["FR_support"].tolist()[:2] == [0, 0]
        best = read_metrics(session / category / "best.csv")
        assert best["model_name"].tolist() == ["tiny-en", "tiny-fr"]
        for path in best["saved_model_path"]:
            assert (Path(path) / "model.safetensors").is_file()


def twelve_keys(write: Callable[..., Path]) -> Path:
    """Return a table with six columns of single values and six of several values a row."""
    single = [f"single{k}" for k in range(6)]
    several = [f"several{k}" for k in range(6)]
    lines = [",".join(["text", *single, *several])]
    for i in range(48):
        text = " ".join(WORDS[(i * step) % 30] for step in (1, 7, 11))
        one = [f"{'no' if (i >> (k % 3)) % 2 else 'yes'}{k}" for k in range(6)]
        many = [[f"a{k};b{k}", f"a{k}", f"b{k}", ""][(i + k) % 4] for k in range(6)]
        lines.append(",".join([text, *one, *many]))
    return write("keys.csv", "\n".join(lines) + "\n")


def test_hybrid_with_six_multi_class_and_six_one_vs_all_keys_gives_each_category_a_folder(
    write: Callable[..., Path], rivals: list[str], tmp_path: Path
) -> None:
    data = str(twelve_keys(write))
    session = Session(tmp_path / "training_logs")
    keys = [f"{kind}{k}" for kind in ("single", "several") for k in range(6)]
    settings = {"mode": "hybrid", "data": data, "label": keys, "epochs": 1}

    for model in rivals:  # two runs of one session: the files are added to
        outcome = train({**settings, "model": model}, tmp_path, session)
        assert len(outcome.done) == 6 + 12
        assert not outcome.failed

    multi_class = [f"single{k}" for k in range(6)]
    one_vs_all = [f"{letter}{k}" for letter in "ab" for k in range(6)]
    folders = {p.name for p in session.folder.iterdir() if p.is_dir()}
    assert folders == {*multi_class, *one_vs_all}
    for category in folders:
        rows = read_metrics(session.folder / category / "training.csv")
        assert rows["model_name"].tolist() == ["tiny-en", "tiny-fr"]
        assert len(read_metrics(session.folder / category / "best.csv")) == 2
        key, value = rows["label_key"][0], rows["label_value"][0]
        if category in one_vs_all:
            assert (key, value) == (f"several{category[1]}", category)
            assert {f"f1_{category}", f"f1_not_{category}"} <= set(rows.columns)
        else:
            assert key == category
            assert {f"f1_yes{key[-1]}", f"f1_no{key[-1]}"} <= set(rows.columns)
    facts = json.loads((session.folder / "session.json").read_text())
    assert [run["status"] for run in facts["runs"]] == ["done", "done"]


def test_reinforced_rows_go_on_in_the_same_training_csv(
    tweets: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    config = make_config(
        {
            "mode": "reinforced",
            "data": str(tweets),
            "label": "sentiment",
            "model": str(tiny_bert),
            "epochs": 3,
            "reinforced_threshold": 1.0,
            "reinforced_epochs": 2,
            "models_dir": str(tmp_path / "models"),
        }
    )
    dataset, plan = prepare(config)
    session = Session(tmp_path / "training_logs")
    events: list[Event] = []

    run_plan(plan, dataset, config, session, events.append)

    rows = read_metrics(session.folder / "sentiment" / "training.csv")
    assert rows["epoch"].tolist() == [1, 2, 3, 4, 5]
    assert rows["training_phase"].tolist() == ["normal"] * 3 + ["reinforced"] * 2
    assert rows["model_name"].nunique() == 1
    best = read_metrics(session.folder / "sentiment" / "best.csv")
    assert len(best) == 1
    assert best["f1_macro"][0] == rows["f1_macro"].max()
    assert best["epoch"][0] == rows["epoch"][rows["f1_macro"].idxmax()]
    names = [event.event for event in events]
    assert names.count("reinforcement_started") == names.count("reinforcement_ended") == 1
    folders = [p.name for p in session.folder.iterdir() if p.is_dir()]
    assert folders == ["sentiment"]
