"""Settings: what is accepted, what is derived, what is said about a wrong one."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from llm_tool.command_words import FLAGS
from llm_tool.config import RunConfig, TrainingSettings, make_config
from llm_tool.config_files import parse_assignment, read_config, write_config
from llm_tool.errors import StudioError, nearest
from llm_tool.modes import MODES

words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)
names = st.lists(words, max_size=3).map(tuple)
chosen = st.fixed_dictionaries(
    {},
    optional={
        "data": words,
        "text_column": words,
        "mode": st.sampled_from(list(MODES)),
        "label": names,
        "multi_class": names.map(lambda own: tuple(f"{name} m" for name in own)),
        "one_vs_all": names,
        "model": st.lists(words.filter(str.strip), min_size=1, max_size=3).map(tuple),
        "language_column": st.none() | words,
        "languages": st.sampled_from([None, "per-language", "multilingual"]),
        "epochs": st.none() | st.integers(1, 99),
        "learning_rate": st.none() | st.floats(1e-9, 1),
        "validation_share": st.floats(0.01, 0.4),
        "test_share": st.floats(0, 0.4),
        "folds": st.none() | st.integers(3, 9),
        "learning_curve": st.booleans(),
        "near_duplicates": st.sampled_from(["together", "ignore"]),
        "small_classes": st.sampled_from(["error", "drop", "merge"]),
        "min_per_part": st.integers(1, 9),
        "monitor": st.sampled_from(["f1_macro", "val_loss"]),
        "seed": st.integers(0, 2**32 - 1),
        "seeds": st.lists(st.integers(0, 2**32 - 1), max_size=3, unique=True).map(tuple),
        "reinforced": st.sampled_from([None, True]),
        "reinforced_oversampling": st.floats(1, 9),
        "shared_encoder": st.booleans(),
        "session_id": st.none() | words,
        "slurm_time": st.sampled_from([None, "90", "4:00:00", "0:10", "1-12"]),
        "slurm_memory": st.sampled_from([None, "16G", "16000"]),
        "slurm_setup": st.lists(words.filter(lambda line: not {*line} & {*"\r\n"})).map(tuple),
    },
)


@given(keys=chosen)
def test_what_was_chosen_makes_the_same_configuration_again(keys: dict[str, object]) -> None:
    config = make_config(keys)
    again = config.chosen()
    assert make_config(again) == config
    assert {*again} <= {*keys}
    assert all(keys[name] == value for name, value in again.items())


@given(keys=chosen)
def test_a_configuration_survives_yaml(keys: dict[str, object]) -> None:
    config = make_config(keys)
    saved = yaml.safe_dump(config.model_dump(mode="json"))
    assert make_config(yaml.safe_load(saved)) == config


@pytest.mark.parametrize(
    ("keys", "command"),
    [
        ({}, "llm-tool train quick demo"),
        ({"data": "my tweets.csv"}, "llm-tool train quick 'my tweets.csv'"),
        (
            {"data": "a.csv", "label": ("x", "y"), "model": ("EN=a", "FR=b"), "epochs": 3},
            "llm-tool train quick a.csv -l x -l y -m EN=a -m FR=b --epochs 3",
        ),
        ({"data": "-x.csv"}, "llm-tool train quick ./-x.csv"),
        ({"text_column": "-t"}, "llm-tool train quick demo -t-t"),
        ({"language_column": "--x"}, "llm-tool train quick demo --language-column=--x"),
        ({"delimiter": ";"}, "llm-tool train quick demo --delimiter ';'"),
        (
            {"small_classes": "drop", "test_share": 0.2},
            "llm-tool train quick demo --set test_share=0.2 --set small_classes=drop",
        ),
        (
            {"session_id": "20260101_120000"},
            "llm-tool train quick demo --session-id 20260101_120000",
        ),
        (
            {"mode": "custom", "multi_class": "a b", "one_vs_all": ("c", "d"), "epochs": 1},
            "llm-tool train custom demo --multi-class 'a b' --one-vs-all c --one-vs-all d "
            "--epochs 1",
        ),
        (
            {"mode": "benchmark", "model": ("a", "b"), "seeds": (3, 1, 2), "reinforced": True},
            "llm-tool train benchmark demo -m a -m b --reinforced --seeds 3,1,2",
        ),
        (
            {"mode": "distributed", "shared_encoder": True, "reinforced": False, "workers": 2},
            "llm-tool train distributed demo --shared-encoder --no-reinforced --workers 2",
        ),
        (
            {"mode": "reinforced", "reinforced_threshold": 0.5, "class_weights": "balanced"},
            "llm-tool train reinforced demo --set class_weights=balanced "
            "--set reinforced_threshold=0.5",
        ),
    ],
)
def test_the_printed_command_asks_for_what_differs_from_the_defaults(
    keys: dict[str, object], command: str
) -> None:
    assert shlex.join(make_config(keys).command()) == command


@given(keys=chosen)
def test_every_value_behind_set_is_read_back_as_it_was(keys: dict[str, object]) -> None:
    config = make_config(keys)
    words = config.command()
    assigned = [words[i + 1] for i, word in enumerate(words[:-1]) if word == "--set"]
    flags = {name: value for name, value in config.chosen().items() if name in FLAGS}
    given = {"mode": config.mode, "data": config.data} | flags
    assert make_config(given, *map(parse_assignment, assigned)) == config


HOSTILE = (
    "module load 'cuda/12.1'  # not a comment: [yet]",
    'export GREETING="it\'s $(date) `id`, a: {b}"; set -e',
    "- ? ! & * | > % @",
    "  source ~/env/bin/activate",
    "yes",
    "4:00",
    "\ttabs\tand \u2028 and 🎉",
)


def test_lines_of_shell_come_back_from_the_command_and_from_a_file_as_they_were(
    tmp_path: Path,
) -> None:
    config = make_config({"executor": "slurm", "slurm_setup": HOSTILE, "slurm_time": "4:00:00"})

    pasted = shlex.join(config.command()).removeprefix("llm-tool train quick demo ")
    words = shlex.split(pasted)
    assert words[:2] == ["--executor", "slurm"]
    assert words[2::2] == ["--set", "--set"]
    assert make_config({"executor": "slurm"}, *map(parse_assignment, words[3::2])) == config

    write_config(config, tmp_path / "a.yaml")
    assert make_config(read_config(tmp_path / "a.yaml")) == config


def test_times_and_accounts_are_read_as_they_are_written(write: Callable[..., Path]) -> None:
    path = write("a.yaml", "slurm_time: 4:00:00\nslurm_account: 4711\nslurm_memory: 16000\n")
    config = make_config(read_config(path), parse_assignment("slurm_setup=module load cuda"))
    assert (config.slurm_time, config.slurm_account) == ("4:00:00", "4711")
    assert (config.slurm_memory, config.slurm_setup) == ("16000", ("module load cuda",))
    block = write("b.yaml", "slurm_setup: |\n  module load cuda\n  . env/bin/activate\n")
    assert make_config(read_config(block)).slurm_setup == ("module load cuda", ". env/bin/activate")
    assert make_config({"slurm_time": 90}).slurm_time == "90"


def test_later_layers_win_key_by_key() -> None:
    config = make_config({"epochs": 2, "seed": 1}, {"epochs": 4}, {"label": "topic"})
    assert (config.epochs, config.seed, config.label) == (4, 1, ("topic",))


@pytest.mark.parametrize(
    ("key", "remedy"),
    [
        ("batch-size", "Did you mean batch_size?"),
        ("Epochs", "Did you mean epochs?"),
        ("one_vs_one", "Did you mean one_vs_all?"),
        ("lables", "Did you mean label, languages?"),
        ("", "The known ones are: epochs, batch_size, "),
        ("zzz", "The known ones are: epochs, batch_size, "),
    ],
)
def test_an_unknown_setting_names_the_nearest(key: str, remedy: str) -> None:
    with pytest.raises(StudioError) as caught:
        make_config({key: 1}, where="my.yaml")
    assert caught.value.what == f"There is no setting {key!r}."
    assert caught.value.where == "my.yaml"
    assert caught.value.remedy.startswith(remedy)


@pytest.mark.parametrize(
    ("keys", "what", "remedy"),
    [
        ({"epochs": 0}, "epochs: Input should be greater than or equal to 1.", "Passes over"),
        ({"epochs": "many"}, "epochs: Input should be a valid integer", "Passes over"),
        ({"learning_rate": 2}, "learning_rate: Input should be less than", "Peak learning rate"),
        ({"learning_rate": float("nan")}, "learning_rate: Input should be", "Peak learning rate"),
        ({"seed": -1}, "seed: Input should be greater than or equal to 0.", "Seed of split"),
        (
            {"mode": "fast"},
            "mode: Input should be 'quick', 'benchmark', 'custom', 'distributed', 'hybrid' or "
            "'reinforced'.",
            "The run mode.",
        ),
        ({"seeds": "1,x"}, "seeds: Input should be a valid integer", "Train once with each"),
        ({"seeds": [1, 2, 1]}, "seeds: a seed is given twice.", "Train once with each"),
        (
            {"multi_class": ["a", "b"], "one_vs_all": "b"},
            "'b' is both in multi_class and in one_vs_all.",
            "",
        ),
        (
            {"mode": "reinforced", "reinforced": False},
            "the mode reinforced cannot go without its reinforced phase.",
            "",
        ),
        ({"multi_class_limit": 1}, "multi_class_limit: Input should be greater", "Single-valued"),
        ({"reinforced_threshold": 0}, "reinforced_threshold: Input should be", "Classes with a"),
        ({"monitor": "f1"}, "monitor: Input should be 'f1_macro', 'f1_weighted'", "Validation"),
        ({"label": 3}, "label: Input should be a valid tuple.", "Label columns"),
        ({"model": []}, "model: Tuple should have at least 1 item", "Hub id, folder or `embedded`"),
        ({"language_column": False}, "language_column: Input should be a valid string.", "Column"),
        ({"validation_share": 0}, "validation_share: Input should be greater than 0.", "Share"),
        ({"slurm_time": "4h"}, "slurm_time: '4h' is no time limit.", "Time limit of a job, as"),
        ({"slurm_time": "90\n"}, "slurm_time: '90\\n' is no time limit.", "Time limit"),
        ({"slurm_time": True}, "slurm_time: Input should be a valid string.", "Time limit"),
        ({"slurm_memory": "16 GB"}, "slurm_memory: '16 GB' is no amount of memory.", "Memory of"),
        ({"slurm_partition": "a b"}, "slurm_partition: 'a b' is not one word.", "Partition that"),
        ({"slurm_account": "a\n#"}, "slurm_account: 'a\\n#' is not one word.", "Account that"),
        ({"slurm_constraint": ""}, "slurm_constraint: '' is not one word.", "Features that"),
        ({"slurm_gpus": -1}, "slurm_gpus: Input should be greater than or equal to 0.", "GPUs"),
        (
            {"validation_share": 0.5, "test_share": 0.5},
            "validation_share and test_share leave no training rows.",
            "",
        ),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_what_the_setting_means(
    keys: dict[str, object], what: str, remedy: str
) -> None:
    with pytest.raises(StudioError) as caught:
        make_config(keys, where="my.yaml")
    assert caught.value.what.startswith(what)
    assert caught.value.where == "my.yaml"
    assert caught.value.remedy.startswith(remedy)


def test_every_setting_has_a_sentence_and_none_can_be_changed() -> None:
    for name, field in RunConfig.model_fields.items():
        assert (field.description or "").endswith("."), name
    with pytest.raises(ValueError, match="frozen"):
        make_config().epochs = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("epochs=3", {"epochs": 3}),
        ("learning_rate=2e-5", {"learning_rate": "2e-5"}),
        (" label = [a, b]", {"label": ["a", "b"]}),
        ("text_column=a=b", {"text_column": "a=b"}),
        ("patience=", {"patience": None}),
    ],
)
def test_an_assignment_is_a_key_and_a_value_of_yaml(text: str, expected: dict[str, object]) -> None:
    assert parse_assignment(text) == expected
    make_config(parse_assignment(text))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("epochs", "--set epochs: there is no '='."),
        ("label=[a", "--set label=[a: the value is not YAML: "),
        ("seed=2024-99-99", "--set seed=2024-99-99: the value is not YAML: "),
        ("seed=" + "[" * 5_000, "--set seed=[[["),
        ("\x1b[2J", "--set \\x1b[2J: there is no '='."),
    ],
)
def test_an_assignment_that_is_none_is_refused(text: str, what: str) -> None:
    with pytest.raises(StudioError) as caught:
        parse_assignment(text)
    assert caught.value.what.startswith(what)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"- a\n- b\n", "The configuration is not a set of keys."),
        (b"", "The configuration is not a set of keys."),
        (b"epochs: [1\n", "The configuration is not YAML: "),
        (b"a: \x00\n", "The configuration is not YAML: "),
        (b"[" * 5_000, "The configuration is not YAML: "),
        (b"seed: 2024-99-99\n", "The configuration is not YAML: "),
        (b"seed: " + b"9" * 5_000, "The configuration is not YAML: "),
        (b"data: !!python/object/apply:os.abort []\n", "The configuration is not YAML: "),
        (b"label: caf\xe9\n", "The configuration cannot be read: "),
        (None, "The configuration cannot be read: "),
    ],
)
def test_a_configuration_that_cannot_be_read_is_named(
    write: Callable[..., Path], tmp_path: Path, content: bytes | None, what: str
) -> None:
    path = tmp_path / "a.yaml" if content is None else write("a.yaml", content)
    with pytest.raises(StudioError) as caught:
        read_config(path)
    assert caught.value.what.startswith(what)
    assert caught.value.where == str(path)


def test_the_keys_of_a_file_are_read(write: Callable[..., Path]) -> None:
    path = write("a.yaml", "label: thème\nepochs: 3\n1: x\n")
    assert read_config(path) == {"label": "thème", "epochs": 3, "1": "x"}


@pytest.mark.parametrize(
    ("rows", "hidden", "expected"),
    [
        (999, 384, (5, 16, 1.5e-4)),
        (1000, 384, (3, 32, 1.5e-4)),
        (999, 768, (5, 16, 5e-5)),
        (1000, 512, (3, 32, 5e-5)),
    ],
)
def test_unset_training_settings_follow_from_the_data_and_the_model(
    rows: int, hidden: int, expected: tuple[int, int, float]
) -> None:
    derived = TrainingSettings().resolved(rows, hidden)
    assert (derived.epochs, derived.batch_size, derived.learning_rate) == expected
    assert derived.reinforced_learning_rate == expected[2] / 2
    own = TrainingSettings(epochs=1, batch_size=2, learning_rate=1e-3)
    half = own.model_copy(update={"reinforced_learning_rate": 5e-4})
    assert own.resolved(rows, hidden) == half
    assert half.resolved(rows, hidden) == half


@pytest.mark.parametrize("given", ["3,1, 2", [3, 1, 2], (3, 1, 2), ["3", "1", "2"]])
def test_seeds_are_a_list_or_one_text(given: object) -> None:
    assert make_config({"seeds": given}).seeds == (3, 1, 2)
    assert make_config({"seeds": 7}).seeds == (7,)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, False),
        ({"reinforced": True}, True),
        ({"reinforced": False}, False),
        ({"mode": "reinforced"}, True),
        ({"mode": "reinforced", "reinforced": True}, True),
        ({"mode": "benchmark", "reinforced": True}, True),
    ],
)
def test_weak_classes_are_worked_on_in_their_mode_or_when_asked(
    keys: dict[str, object], expected: bool
) -> None:
    assert make_config(keys).reinforces is expected


def test_the_nearest_names_are_shown_else_the_first_twelve() -> None:
    many = [f"option{i}" for i in range(20)]
    assert nearest("colour", ["color", "size"]) == "Did you mean color?"
    assert nearest("", many).endswith("option10, option11, ….")
    assert nearest("x", []) == ""


def test_an_error_reads_as_one_line() -> None:
    error = StudioError("It is wrong.", where="row 3", remedy="Change it.")
    assert str(error) == "It is wrong. (row 3) Change it."
    assert str(StudioError("It is wrong.")) == "It is wrong."


@pytest.mark.parametrize("text", ["caf\udce9.csv", "a\0b", "\ud800", "\0"])
@pytest.mark.parametrize("key", ["data", "logs_dir", "models_dir", "model", "label", "encoding"])
def test_a_text_that_no_file_can_hold_is_refused(key: str, text: str) -> None:
    with pytest.raises(StudioError) as caught:
        make_config({key: text})

    shown = text.encode("unicode_escape").decode()
    assert caught.value.what == f"{key}: '{shown}' is not valid Unicode, or holds a NUL."
    assert caught.value.remedy


@pytest.mark.parametrize("folder", ["", "  "])
@pytest.mark.parametrize("key", ["logs_dir", "models_dir"])
def test_a_folder_without_a_name_is_refused(key: str, folder: str) -> None:
    with pytest.raises(StudioError, match=f"{key}: a folder has no name"):
        make_config({key: folder})


@pytest.mark.parametrize("name", ["a\0.yaml", "\udce9.yaml", "x" * 300])
def test_settings_are_neither_read_from_nor_saved_under_a_name_that_no_file_can_have(
    tmp_path: Path, name: str
) -> None:
    for use in (read_config, lambda path: write_config(make_config(), path / "in" / "no" / "such")):
        with pytest.raises(StudioError) as caught:
            use(tmp_path / name)
        str(caught.value).encode()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("model", ["", "  "])
def test_a_model_without_a_name_is_refused(model: str) -> None:
    with pytest.raises(StudioError, match="a model has no name"):
        make_config({"model": model})


def test_the_readme_or_a_flag_names_every_setting() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
    unnamed = set(RunConfig.model_fields) - set(FLAGS) - {"mode", "data"}
    assert [name for name in sorted(unnamed) if f"`{name}`" not in readme] == []
    assert all(field.description for field in RunConfig.model_fields.values())
