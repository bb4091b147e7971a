"""What a model folder promises and what it holds, read before anything is built from it.

A folder is somebody else's: its configuration can ask for any amount of memory and time, point
to files elsewhere, or have other packages fetch and run code. No torch here.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from llm_tool.errors import StudioError
from llm_tool.text import visible

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
_LARGEST_CONFIG, _LARGEST_TEXT = 10_000_000, 200_000_000  # bytes; real ones reach 0.1 and 40 MB
# What every encoder has at least one of, by the names that the families give it.
_SIZES = re.compile(
    r"(hidden|intermediate|embedding|vocab)_size|d_model|dim|(hidden|emb)_dim"
    r"|(num_hidden|num|n)_layers?|(num_attention|n)_heads?|max_position_embeddings"
)
# Each of these is built one by one, so that a number alone costs time: real ones stay below 100.
_COUNTS = re.compile("layer|head|group|block")
_MOST, _MOST_LABELS = 1_000, 100_000
# By these transformers leaves plain numbers for something else. Any other way to compute the
# attention can be a package on the hub, with code that runs.
_REFUSED = ("quantization_config", "transformers_weights")
_BUILT_IN = (None, "eager", "sdpa")


def count_numbers(folder: Path) -> int:
    """Check the files of a model folder and return how many numbers its weights hold.

    Raises:
        StudioError: The configuration asks for what no encoder has, a file is too large to be
            what its name says, or the weights are not whole safetensors in this folder.
    """
    try:
        for path in folder.iterdir():
            if path.suffix in {".json", ".txt", ".model"}:
                _check_file(path)
        if (folder / "adapter_config.json").exists():
            raise ValueError("this is an adapter, not a whole model.")
        _check_config(_read(folder / "config.json"))
        return sum(_numbers_in(folder / name) for name in _weight_files(folder))
    except (OSError, ValueError, RecursionError, SafetensorError) as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise StudioError(
            f"The model cannot be loaded: {visible(reason)}",
            where=visible(str(folder)),
            remedy="Download or save it again, or choose another model.",
        ) from error


def _check_file(path: Path) -> None:
    largest = _LARGEST_CONFIG if path.name.endswith("config.json") else _LARGEST_TEXT
    if not path.is_file():
        raise ValueError(f"{path.name} is not a file.")
    if path.stat().st_size > largest:
        raise ValueError(f"{path.name} has {path.stat().st_size:,} bytes.")


def _read(path: Path) -> dict[str, Any]:
    content = json.loads(path.read_text("utf-8"))
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} is not a JSON object.")
    return content


def _check_config(config: dict[str, Any]) -> None:
    for key, value in _settings(config):
        if not _is_possible(key, value):
            raise ValueError(f"config.json has {key}: {json.dumps(value)[:60]}")


def _settings(value: object, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the settings of a configuration and of those within it, by their own names."""
    if isinstance(value, dict):
        for name, part in value.items():
            if name not in {"id2label", "label2id"}:  # whose keys are anybody's
                yield name, part
                yield from _settings(part, name)
    elif isinstance(value, list):
        for part in value:
            yield key, part
            yield from _settings(part, key)


def _is_possible(key: str, value: object) -> bool:
    """Tell whether an encoder can have a setting, and transformers can follow it safely."""
    if key in _REFUSED:
        return value is None
    if key.endswith("_implementation"):
        return value in _BUILT_IN
    whole = value if isinstance(value, int) and not isinstance(value, bool) else None
    if _SIZES.fullmatch(key) and value is not None and (whole is None or whole < 1):
        return False
    if key.endswith("num_labels"):
        return whole is None or whole <= _MOST_LABELS
    return not _COUNTS.search(key) or whole is None or whole <= _MOST


def _weight_files(folder: Path) -> list[str]:
    """Return the names of the files that transformers takes the weights from."""
    if (folder / WEIGHTS).is_file():
        return [WEIGHTS]
    if not (folder / INDEX).is_file():
        raise ValueError(f"there is no {WEIGHTS}.")
    parts = _read(folder / INDEX).get("weight_map")
    names = sorted(set(map(str, parts.values()))) if isinstance(parts, dict) else []
    if not names:
        raise ValueError(f"{INDEX} names no files.")
    for name in names:
        # A name, not a path: the folder may be full of links, as the hub's cache is.
        if re.search(r"[/\\:\0]", name) or not name.endswith(".safetensors"):
            raise ValueError(f"{INDEX} names {name!r}, which is not safetensors in the folder.")
    return names


def _numbers_in(path: Path) -> int:
    if not path.is_file():
        raise ValueError(f"{path.name} is not a file.")
    # Opening it reads the header alone, and checks it against the size of the file.
    with safe_open(path, framework="numpy") as weights:
        shapes = [weights.get_slice(name).get_shape() for name in weights.keys()]  # noqa: SIM118
    return sum(math.prod(shape) for shape in shapes)
