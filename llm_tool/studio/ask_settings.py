"""Every setting in the user's hands: a list to choose from, each with its value and meaning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args, get_origin

from llm_tool.config import RunConfig
from llm_tool.slurm_settings import SlurmSettings
from llm_tool.studio.ask_training import ask_setting
from llm_tool.studio.draft import Draft, keep
from llm_tool.studio.wizard import BACK, Option
from llm_tool.text import shorten, visible
from llm_tool.yaml_text import as_value

# What other questions ask, and what a launch decides.
_ASKED = {
    *SlurmSettings.model_fields, "executor", "processes",
    "mode", "data", "text_column", "label", "language_column", "id_column", "split_column",
    "multi_class", "one_vs_all", "model", "languages", "logs_dir", "models_dir", "session_id",
}  # fmt: skip
_DONE = "\0done"
_NAME_WIDTH = max(map(len, RunConfig.model_fields))


def ask_settings(draft: Draft) -> object:
    """Let the user change any setting, as many as they like, until they are done."""
    names = [name for name in RunConfig.model_fields if name not in _ASKED]
    return change_settings(draft, names, "Change a setting?", "done: show the plan")


def change_settings(draft: Draft, names: Sequence[str], question: str, done: str) -> object:
    """Offer settings in a list, each with its value, until the user is done."""
    chosen = _DONE
    while True:
        options: list[Option] = [(done, _DONE)]
        room = draft.console.width - len(f"? {question} ") - 1
        options += [(_title(draft, name, room), name) for name in names]
        chosen = draft.asker.choose(question, options, default=chosen)
        if chosen is BACK:
            return BACK
        if chosen == _DONE:
            return None
        _change(draft, chosen)


def _title(draft: Draft, name: str, room: int) -> str:
    field = RunConfig.model_fields[name]
    value = draft.settings.get(name, field.get_default())
    shown = "–" if value is None or value == () else shorten(visible(as_value(value)), 20)
    title = f"{name:{_NAME_WIDTH}} {shown:>8}  {field.description}"
    return title if len(title) <= room else f"{title[: room - 1]}…"


def _change(draft: Draft, name: str) -> object:
    field = RunConfig.model_fields[name]
    choices = _choices(field.annotation)
    if not choices:
        return ask_setting(draft, name, f"{name} (empty: the default). {field.description}")
    default = field.get_default()
    options = [("default" if v is None else str(v).lower(), v) for v in choices]
    answer = draft.asker.choose(
        f"{name}. {field.description}", options, default=draft.settings.get(name, default)
    )
    return keep(draft, name, answer, unless=default)


def _choices(annotation: Any) -> list[Any]:  # noqa: ANN401 - any type there is
    """Return the values that a setting can have, if they can be counted: words, yes or no."""
    if annotation is bool:
        return [True, False]
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    inner = [_choices(one) for one in get_args(annotation) if one is not type(None)]
    optional = type(None) in get_args(annotation)
    return [None, *inner[0]] if optional and inner and inner[0] else []
