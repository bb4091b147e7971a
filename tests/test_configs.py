"""The sample configurations: each plans on the demo data and trains; saved ones come back."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from llm_tool.config import RunConfig, make_config
from llm_tool.config_files import config_text, read_config, write_config
from llm_tool.errors import StudioError
from llm_tool.events import EpochEnded, Event
from llm_tool.execution.local import run_plan
from llm_tool.logs import Session, read_metrics
from llm_tool.modes import MODES
from llm_tool.modes.planning import prepare
from llm_tool.trainers.model_sources import catalogue

FOLDER = Path(__file__).parents[1] / "configs"
FILES = sorted(FOLDER.glob("*.yaml"))
each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def test_every_mode_has_a_file_of_its_name() -> None:
    assert {path.stem for path in FILES} == set(MODES)
    assert sorted(FOLDER.iterdir()) == FILES


# Of each mode's jobs: category, kind, language scope and seed.
PLANS: dict[str, list[tuple[str, str, str, int]]] = {
    "quick": [("sentiment", "multi-class", "EN", 42), ("sentiment", "multi-class", "FR", 42)],
    "benchmark": [("sentiment", "multi-class", "MULTI", seed) for seed in (1, 2)],
    "distributed": [
        (area, "one-vs-all", "MULTI", 42)
        for area in (
            *("agriculture", "culture", "economy", "environment", "foreign_affairs"),
            *("infrastructure", "justice", "welfare"),
        )
    ],
    "hybrid": [
        ("specific_themes", "multi-class", "MULTI", 42),
        ("sentiment+policy_areas", "multi-label", "MULTI", 42),
    ],
    "reinforced": [("sentiment", "multi-class", "MULTI", 42)],
    "custom": [
        (category, kind, language, 7)
        for category, kind in (("sentiment", "multi-class"), ("policy_areas", "multi-label"))
        for language in ("EN", "FR")
    ],
}


@each_file
def test_a_file_plans_its_mode_on_the_demo_data(path: Path) -> None:
    keys = read_config(path)
    config = make_config(keys, where=str(path))
    assert (config.mode, config.data) == (path.stem, "demo")
    assert set(keys) <= set(RunConfig.model_fields)
    dataset, plan = prepare(config)
    assert (len(dataset.texts), plan.mode) == (600, path.stem)
    assert [(j.task.category, j.kind, j.language, j.seed) for j in plan.jobs] == PLANS[path.stem]
    assert {job.model for job in plan.jobs} == {"embedded"}


@each_file
def test_a_file_is_short_work_and_says_how_to_run_it(path: Path) -> None:
    text = path.read_text("utf-8")
    assert f"#   llm-tool train {path.stem} --config configs/{path.name}\n" in text
    config = make_config(read_config(path))
    assert config.epochs is not None
    assert config.epochs <= 2
    assert max(map(len, text.splitlines())) <= 110


def settings_in(path: Path) -> dict[str, Any]:
    """Return the settings of a file, those in comments below its heading too."""
    body = path.read_text("utf-8").partition("\n\n")[2]
    without_marks = re.sub(r"^# (?=\w+: )", "", body, flags=re.MULTILINE)
    keys: dict[str, Any] = yaml.safe_load(without_marks)
    return keys


def test_the_custom_file_shows_every_setting_there_is() -> None:
    assert set(settings_in(FOLDER / "custom.yaml")) == set(RunConfig.model_fields)


@each_file
def test_what_stands_in_a_comment_can_be_used_as_it_is(path: Path) -> None:
    assert make_config(settings_in(path)).mode == path.stem


def test_the_rivals_that_the_benchmark_file_suggests_are_in_the_catalogue() -> None:
    text = (FOLDER / "benchmark.yaml").read_text("utf-8")
    rivals = re.findall(r"^  # - (\S+)", text, flags=re.MULTILINE)
    assert len(rivals) == 2
    assert set(rivals) <= {entry.id for entry in catalogue()}


@each_file
def test_a_file_trains(path: Path, tiny_bert: Path, tmp_path: Path) -> None:
    keys = read_config(path)
    config = make_config(
        keys,
        {
            "model": [name.replace("embedded", str(tiny_bert)) for name in keys["model"]],
            "epochs": 1,
            "workers": 1,
            "threads": 1,
            "logs_dir": str(tmp_path / "logs"),
            "models_dir": str(tmp_path / "models"),
        },
    )
    dataset, plan = prepare(config)
    told: list[Event] = []
    session = Session(config.logs_dir)
    outcome = run_plan(plan, dataset, config, session, told.append)

    assert outcome.failed == ()
    assert len(outcome.done) == len(plan.jobs)
    assert all((Path(ended.saved_model_path) / "config.json").is_file() for ended in outcome.done)
    phases = {event.training_phase for event in told if isinstance(event, EpochEnded)}
    assert phases == ({"normal", "reinforced"} if config.reinforces else {"normal"})
    for job in plan.jobs:
        for task in job.tasks:
            table = read_metrics(session.category_folder(task) / "best.csv")
            assert job.language in table["language"].tolist()


# What YAML, a shell or a spreadsheet could take for something else than text.
LOOKS = [
    *("1", "1e5", "1.5e-4", "0x1F", "1_000", "12:30:00", "2026-01-01", "no", "on", "Null", "~"),
    *("", " ", "none", "NaN", ".inf", "- a", "a: b", "a #b", "#", "'", '"', "[", "{}", "&a"),
    *("*a", "!t", "|", ">", "%", "@", "`", "?", "a\nb", "a\n\n b\n", "\ta", "\x85", "\u2028"),
    *(
        "\x00",
        "\x1b",
        "\ufeff",
        "a\xa0",
        "é",
        "e\u0301",
        "\U0001f600",
        "日本",
        "x " * 600,
        "<<",
        "=",
    ),
]


def given_values(name: str) -> st.SearchStrategy[object]:
    """Return a strategy for what a setting can be."""
    texts = st.sampled_from(LOOKS) | st.text(max_size=20)
    of_kind: dict[str, st.SearchStrategy[object]] = {
        "mode": st.sampled_from(list(MODES)),
        "monitor": st.sampled_from(["f1_macro", "f1_weighted", "accuracy", "val_loss"]),
        "precision": st.sampled_from([None, "float32", "bfloat16"]),
        "class_weights": st.sampled_from(["none", "balanced"]),
        "small_classes": st.sampled_from(["error", "drop"]),
        "long_documents": st.sampled_from([None, "truncate", "chunk", "exclude"]),
        "oversample": st.sampled_from(["none", "balanced"]),
        "languages": st.sampled_from([None, "per-language", "multilingual"]),
        "shared_encoder": st.booleans(),
        "reinforced": st.sampled_from([None, True, False]),
        "seeds": st.lists(st.integers(0, 2**32 - 1), max_size=4, unique=True).map(tuple),
        "model": st.lists(texts.filter(str.strip), min_size=1, max_size=3).map(tuple),
    }
    if name in of_kind:
        return of_kind[name]
    annotation = str(RunConfig.model_fields[name].annotation)
    if "tuple" in annotation:
        return st.lists(texts, max_size=3).map(tuple)
    if "float" in annotation:
        return st.floats(1e-12, 0.4) | st.floats(1, 50) | st.none()
    if "int" in annotation:
        return st.integers(0, 2**32) | st.none()
    return texts | st.none()


any_settings = st.fixed_dictionaries(
    {}, optional={name: given_values(name) for name in RunConfig.model_fields}
)


def the_valid_part(keys: dict[str, object]) -> RunConfig:
    """Return a configuration of those keys that are accepted, one after the other."""
    config = make_config({})
    for key, value in keys.items():
        try:
            config = RunConfig.model_validate({**config.chosen(), key: value})
        except ValidationError:
            continue
    return config


@given(keys=any_settings)
@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@example(keys={"label": ("sentiment",), "seeds": (1, 2), "model": ("EN=a", "FR=b")})
@example(keys={"session_id": "20261122_140501", "text_column": "1e5", "delimiter": "\t"})
def test_a_saved_configuration_is_read_back_equal(
    tmp_path_factory: pytest.TempPathFactory, keys: dict[str, object]
) -> None:
    config = the_valid_part(keys)
    path = tmp_path_factory.mktemp("saved") / "saved.yaml"
    write_config(config, path)

    again = make_config(read_config(path))
    assert again == config
    assert repr(again) == repr(config)  # 1 and 1.0 are equal, and not the same
    assert config_text(again) == config_text(config) == path.read_bytes().decode()


def test_a_saved_configuration_explains_each_of_its_keys() -> None:
    config = make_config({"mode": "hybrid", "label": "a b", "epochs": 3, "multi_class": ["x", "1"]})
    assert config_text(config) == (
        "# llm-tool train hybrid --config THIS_FILE\n"
        "\n"
        "# The run mode.\n"
        "mode: hybrid\n"
        "\n"
        "# The table of texts, or `demo` for the embedded one.\n"
        "data: demo\n"
        "\n"
        "# Passes over the training rows.\n"
        "epochs: 3\n"
        "\n"
        "# Label columns. Default: guessed.\n"
        "label:\n"
        "- a b\n"
        "\n"
        "# Label columns for which one model tells all values apart.\n"
        "multi_class:\n"
        "- x\n"
        "- '1'\n"
    )


def test_a_file_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("epochs: 9\n")
    with pytest.raises(StudioError) as caught:
        write_config(make_config({}), path)
    assert (caught.value.what, caught.value.where) == (
        "There is a file of this name.",
        str(path),
    )
    assert path.read_text() == "epochs: 9\n"
    with pytest.raises(StudioError, match="The settings cannot be saved: No such file"):
        write_config(make_config({}), tmp_path / "nowhere" / "mine.yaml")
