"""Settings as text: YAML files, and ``KEY=VALUE`` on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from llm_tool.config import RunConfig
from llm_tool.errors import StudioError
from llm_tool.text import visible
from llm_tool.yaml_text import read_yaml, write_yaml

# What reading YAML can raise: also a date or a number that is none, and too many brackets.
_NOT_YAML = (yaml.YAMLError, ValueError, RecursionError)


def read_config(path: Path) -> dict[str, Any]:
    """Return the keys of a YAML file.

    Raises:
        StudioError: The file cannot be read, is not YAML, or is not a set of keys.
    """
    where = visible(str(path))
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or a NUL in the name
        raise StudioError(f"The configuration cannot be read: {error}", where=where) from error
    try:
        keys = read_yaml(text)
    except _NOT_YAML as error:
        raise StudioError(f"The configuration is not YAML: {error}", where=where) from error
    if not isinstance(keys, dict):
        raise StudioError(
            "The configuration is not a set of keys.",
            where=where,
            remedy="Write one `key: value` a line, as in configs/quick.yaml.",
        )
    return {str(key): value for key, value in keys.items()}


def config_text(config: RunConfig) -> str:
    """Return a configuration as commented YAML, which ``read_config`` takes back unchanged."""
    fields = RunConfig.model_fields
    keys = {"mode": config.mode, "data": config.data} | config.chosen()
    lines = [f"# llm-tool train {config.mode} --config THIS_FILE"]
    for name, value in keys.items():
        lines.append(f"\n# {fields[name].description}")
        plain = list(value) if isinstance(value, tuple) else value
        lines.append(write_yaml({name: plain}))
    return "\n".join(lines) + "\n"


def write_config(config: RunConfig, path: Path) -> None:
    """Write a configuration as YAML; a file that is there is not replaced.

    Raises:
        StudioError: The file is there, or cannot be written.
    """
    where = visible(str(path))
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(config_text(config))
    except FileExistsError:
        raise StudioError(
            "There is a file of this name.", where=where, remedy="Choose another name."
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) else error
        raise StudioError(f"The settings cannot be saved: {reason}.", where=where) from error


def parse_assignment(text: str) -> dict[str, Any]:
    """Return ``KEY=VALUE`` as a key with its value read as YAML.

    Raises:
        StudioError: There is no ``=``, or the value is not YAML.
    """
    key, equals, value = text.partition("=")
    if not equals:
        what = f"--set {visible(text)}: there is no '='."
        raise StudioError(what, remedy="Write --set KEY=VALUE.")
    try:
        return {key.strip(): read_yaml(value)}
    except _NOT_YAML as error:
        raise StudioError(f"--set {visible(text)}: the value is not YAML: {error}") from error
