"""Model folders of strangers: nothing in one runs, and one that cannot be is refused at once."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from llm_tool.errors import StudioError
from llm_tool.trainers.model_sources import check, is_folder, locate, model_name
from llm_tool.trainers.pretrained import load_model, load_tokenizer

INDEX = "model.safetensors.index.json"


@pytest.fixture
def folder(tiny_bert: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_bert, tmp_path / "model")


def change(path: Path, **keys: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | keys), "utf-8")


def refusals(folder: Path) -> list[str]:
    """Return what is said of a model and of its tokenizer, each at once."""
    said = []
    for load in (load_tokenizer, lambda path: load_model(path, ("a", "b"), seed=1)):
        started = time.perf_counter()
        with pytest.raises(StudioError) as caught:
            load(folder)
        assert time.perf_counter() - started < 5
        assert caught.value.where == str(folder)
        assert caught.value.remedy
        said.append(caught.value.what)
    return said


SIZES = ("hidden_size", "num_hidden_layers", "vocab_size", "intermediate_size",
         "num_attention_heads", "max_position_embeddings")  # fmt: skip


@pytest.mark.parametrize("value", [0, -1, "many", 1.5, True, [1], 10**9, 10**30], ids=str)
@pytest.mark.parametrize("key", SIZES)
def test_a_size_that_no_encoder_has_is_refused_before_anything_is_built(
    folder: Path, key: str, value: object
) -> None:
    change(folder / "config.json", **{key: value})

    for said in refusals(folder):
        assert said.startswith(("The model cannot be loaded: ", "The weights do not fit the model"))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("type_vocab_size", 10**8),
        ("num_labels", 10**6),
        ("_num_labels", 10**6),
        ("num_hidden_layers", 5_000),
        ("text_config", {"inner": [{"n_layers": 10**6}]}),
        ("attn_implementation", "somebody/kernel"),
        ("_attn_implementation", {"": "somebody/kernel"}),
        ("quantization_config", {"quant_method": "bitsandbytes"}),
        ("transformers_weights", "../other.safetensors"),
        ("model_type", "../bert"),
        ("model_type", 5),
        ("id2label", {"x": "y"}),
    ],
)
def test_a_setting_that_costs_too_much_or_points_elsewhere_is_refused(
    folder: Path, key: str, value: object
) -> None:
    change(folder / "config.json", **{key: value})

    refusals(folder)


def test_names_of_labels_are_no_sizes(folder: Path) -> None:
    change(folder / "config.json", label2id={"dim": 0, "layer": 5_000}, id2label={"0": "dim"})

    assert load_model(folder, ("a", "b"), seed=1).config.id2label == {0: "a", 1: "b"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[" * 100_000, "recursion"),
        ('{"a":' * 100_000, "recursion"),
        ("[]", "not a JSON object"),
        ("", "Expecting value"),
        ('{"hidden_size": ' + "9" * 5_000 + "}", "digits"),
        ('{"a": 1}' + " " * 20_000_000, "20,000,008 bytes"),
    ],
    ids=["brackets", "braces", "list", "empty", "digits", "spaces"],
)
def test_a_configuration_that_is_no_reasonable_json_is_refused(
    folder: Path, content: str, said: str
) -> None:
    (folder / "config.json").write_text(content)

    assert all(said in what for what in refusals(folder))


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("exploded",)


def pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps(Bomb()))


def zipped(path: Path) -> None:
    torch.save({"bert.embeddings": Bomb()}, path)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def lying(path: Path) -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [10**6, 10**6], "data_offsets": [0, 4]}})
    path.write_bytes(len(header).to_bytes(8, "little") + header.encode() + b"\0" * 4)


def endless(path: Path) -> None:
    path.write_bytes(b"\xff" * 8 + b"{}")


def missing(path: Path) -> None:
    path.rename(path.with_name("other.safetensors"))


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)  # reading it would wait for ever


@pytest.mark.parametrize("spoil", [pickled, zipped, cut, lying, endless, missing, pipe])
def test_weights_that_are_no_whole_safetensors_are_refused_and_never_run(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Path], None]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(folder / "model.safetensors", folder / "pytorch_model.bin")
    spoil(folder / "model.safetensors")
    pickled(folder / "pytorch_model.bin")

    assert all(said.startswith("The model cannot be loaded: ") for said in refusals(folder))
    assert os.listdir(tmp_path) == ["model"]  # noqa: PTH208


def test_a_folder_with_pickled_weights_alone_is_refused(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    pickled(folder / "pytorch_model.bin")

    refusals(folder)
    for function in (check, locate):
        with pytest.raises(StudioError, match="no safetensors weights"):
            function(str(folder))


def test_an_adapter_is_refused_for_it_names_another_model(folder: Path) -> None:
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "../other"}')

    assert all("adapter" in said for said in refusals(folder))


EVIL = "from pathlib import Path\nPath({!r}).write_text('ran')\nclass Evil: pass\n"


def test_code_in_a_folder_is_never_run(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    for name in ("evil.py", "modeling_bert.py", "configuration_bert.py", "__init__.py"):
        (folder / name).write_text(EVIL.format(str(tmp_path / "ran")))
    classes = {"AutoConfig": "evil.Evil", "AutoModelForSequenceClassification": "evil.Evil"}
    change(folder / "config.json", auto_map=classes)
    change(
        folder / "tokenizer_config.json",
        auto_map={"AutoTokenizer": ["evil.Evil", "evil.Evil"]},
        tokenizer_class="Evil",
    )

    assert load_tokenizer(folder)[1] == 64
    assert load_model(folder, ("a", "b"), seed=1).config.num_labels == 2
    change(folder / "config.json", model_type="evil")  # which nothing but its code knows
    refusals(folder)
    assert not (tmp_path / "ran").exists()


def in_two(folder: Path, first: str = "a.safetensors") -> None:
    """Divide the weights into two files, as large models are saved."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    parts = {first: names[:20], "b.safetensors": names[20:]}
    for part, own in parts.items():
        save_file({name: tensors[name] for name in own}, folder / part, {"format": "pt"})
    where = {name: part for part, own in parts.items() for name in own}
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": where}))


def test_weights_in_several_files_and_behind_links_are_loaded(folder: Path, tmp_path: Path) -> None:
    whole = load_model(folder, ("a", "b"), seed=1).state_dict()
    in_two(folder)
    cache = tmp_path / "cache" / "snapshots" / "c0ffee"  # as the hub's cache is: links to blobs
    cache.mkdir(parents=True)
    for number, path in enumerate(folder.iterdir()):
        shutil.copy(path, tmp_path / "cache" / f"blob{number}")
        (cache / path.name).symlink_to(f"../../blob{number}")

    assert load_tokenizer(cache)[1] == 64
    for name, tensor in load_model(cache, ("a", "b"), seed=1).state_dict().items():
        assert torch.equal(tensor, whole[name]), name


@pytest.mark.parametrize(
    "name", ["../a.safetensors", "{}/a.safetensors", "..\\a.safetensors", "a.bin", "c.safetensors"]
)
def test_an_index_that_names_a_file_elsewhere_or_of_another_kind_is_refused(
    folder: Path, tmp_path: Path, name: str
) -> None:
    in_two(folder)
    text = (folder / INDEX).read_text("utf-8")
    (folder / INDEX).write_text(text.replace('"a.safetensors"', json.dumps(name.format(tmp_path))))
    for there in (tmp_path / "a.safetensors", folder / "a.bin"):
        shutil.copy(folder / "a.safetensors", there)

    assert all(said.startswith("The model cannot be loaded: ") for said in refusals(folder))


@pytest.mark.parametrize("content", ["{", "[]", '{"weight_map": []}', "{}"])
def test_an_index_that_is_none_is_refused(folder: Path, content: str) -> None:
    in_two(folder)
    (folder / INDEX).write_text(content)

    refusals(folder)


@pytest.mark.parametrize("longest", [-1, 0, 2, "x", [1], True])
def test_a_tokenizer_of_no_possible_length_is_refused(folder: Path, longest: object) -> None:
    change(folder / "tokenizer_config.json", model_max_length=longest)

    with pytest.raises(StudioError, match=r"cannot be loaded|takes -?[0-9] tokens"):
        load_tokenizer(folder)


def test_a_tokenizer_with_tokens_that_the_model_does_not_know_is_refused(folder: Path) -> None:
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text("utf-8"))
    tokenizer["model"]["vocab"]["film"] = 10**6
    path.write_text(json.dumps(tokenizer), "utf-8")

    with pytest.raises(StudioError, match="has a token 1,000,000, the model knows tokens below 43"):
        load_tokenizer(folder)


def test_a_model_answers_by_name_whatever_its_configuration_says(folder: Path) -> None:
    change(folder / "config.json", return_dict=False)

    model = load_model(folder, ("a", "b"), seed=1)
    assert model(input_ids=torch.tensor([[2, 3]])).logits.shape == (1, 2)


@pytest.mark.parametrize(
    "model",
    ["~nobody/x", "x" * 10_000, "./" + "x" * 10_000, "lab/" + "x" * 500, "../..", "/dev/null",
     "\u202e/x", "[red]/x", "a\x1bb", "=1+1", "lab/../x", "C:\\x", "\\\\host\\x"],
)  # fmt: skip
def test_a_name_that_is_no_model_is_an_error_and_nothing_worse(model: str) -> None:
    assert is_folder(model) in {True, False}
    assert isinstance(model_name(model), str)
    for function in (check, locate):
        with pytest.raises(StudioError):
            function(model)


def test_a_link_that_leads_to_itself_is_no_model(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)

    assert model_name(str(loop)) == "loop"
    with pytest.raises(StudioError, match="no such model folder"):
        locate(str(loop))
