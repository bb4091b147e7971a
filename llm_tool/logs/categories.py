"""The folder of each category: given once, and never to two of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from llm_tool.logs.files import unique_name
from llm_tool.plan import Task

# What else there is in a session's folder.
_FILES = ("session.json", "jobs.jsonl", ".lock", "tensorboard")


def assign_folders(known: list[dict[str, str]], tasks: Iterable[Task]) -> list[dict[str, str]]:
    """Return the categories with a folder for every task; folders once given stay.

    A label value that belongs to several keys of the session is not a name: its folder is
    ``{key}_{value}``, but for the first of runs that came before.
    """
    categories = [dict(c) for c in known]
    held = [(c["label_key"], c["label_value"]) for c in categories]
    every = dict.fromkeys([*held, *((task.label_key, task.label_value) for task in tasks)])
    names = [Task(*pair).category for pair in every]
    for key, value in every:
        if (key, value) in held:
            continue
        name = Task(key, value).category
        ambiguous = bool(value) and names.count(name) > 1
        raw = f"{key}_{value}" if ambiguous else name
        folder = unique_name(raw, {*_FILES, *(c["folder"] for c in categories)})
        categories.append({"label_key": key, "label_value": value, "folder": folder})
    return categories


def folders_of(facts: Mapping[str, Any]) -> dict[tuple[str, str], str]:
    """Return the folder of each label column and value that a session knows."""
    return {(c["label_key"], c["label_value"]): c["folder"] for c in facts["categories"]}
