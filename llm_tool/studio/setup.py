"""Set up a run by questions: each mode has its own; then show the plan and start."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from llm_tool.config import RunConfig
from llm_tool.config_files import write_config
from llm_tool.errors import StudioError
from llm_tool.modes.planning import prepare
from llm_tool.studio.ask_cluster import CLUSTER
from llm_tool.studio.ask_data import (
    ask_file,
    ask_id,
    ask_labels,
    ask_language,
    ask_scheme,
    ask_split,
    ask_text,
)
from llm_tool.studio.ask_models import ask_model, ask_models, ask_scope
from llm_tool.studio.ask_settings import ask_settings
from llm_tool.studio.ask_training import (
    ask_epochs,
    ask_reinforced,
    ask_seeds,
    ask_shared,
    ask_strategy,
    ask_workers,
)
from llm_tool.studio.check import look_over
from llm_tool.studio.draft import SKIP, Draft, Step
from llm_tool.studio.panels import show_plan
from llm_tool.studio.runs import measure
from llm_tool.studio.theme import show_error
from llm_tool.studio.wizard import BACK, Back

if TYPE_CHECKING:
    from llm_tool.data.dataset import Dataset
    from llm_tool.plan import Plan

    Ready = tuple[RunConfig, Dataset, Plan]

_DATA: tuple[Step, ...] = (
    ask_file, ask_scheme, ask_text, ask_labels, ask_language, ask_split, ask_id, ask_scope,
    look_over,
)  # fmt: skip
_REST: dict[str, tuple[Step, ...]] = {
    "quick": (ask_model, ask_epochs, ask_reinforced, *CLUSTER),
    "benchmark": (ask_models, ask_seeds, ask_epochs, ask_reinforced, *CLUSTER),
    "custom": (ask_strategy, ask_model, *CLUSTER, ask_settings),
    "distributed": (ask_model, ask_shared, *CLUSTER, ask_workers, ask_epochs, ask_reinforced),
    "hybrid": (ask_strategy, ask_model, ask_epochs, ask_reinforced, *CLUSTER),
    "reinforced": (ask_model, ask_epochs, ask_reinforced, *CLUSTER),
}


def set_up(draft: Draft, first: Step = ask_file) -> Ready | None:
    """Ask for everything that a run needs; ``None`` when the user goes back to the menu.

    Args:
        draft: What is known already; its mode says which questions there are.
        first: The question to begin with; going back from it leaves.
    """
    steps = _DATA + _REST[draft.settings["mode"]]
    begin = steps.index(first)
    position, direction = begin, 1
    while position >= begin:
        if position < len(steps):
            outcome = steps[position](draft)
            if outcome is BACK:
                direction = -1
            elif outcome is not SKIP:
                direction = 1
            position += direction
            continue
        ready = _confirm(draft)
        if not isinstance(ready, Back):
            return ready
        position, direction = len(steps) - 1, -1
    return None


def _confirm(draft: Draft) -> Ready | Back | None:
    """Show the plan and ask whether to start; returns what to run, ``None`` or ``BACK``."""
    try:
        config = draft.config
        dataset, plan = prepare(config)
        if config.executor == "slurm":
            _check_cluster(config)
    except StudioError as error:
        show_error(draft.console, error)
        ways = list(error.fixes)
        options = [*((way, way) for way in ways), ("go back and change something", BACK)]
        way = draft.asker.choose("What now?", options, ways[0]) if ways else BACK
        if way in ways:
            draft.settings.update(error.fixes[way])
            return _confirm(draft)
        return BACK
    taken = measure(plan, dataset, config, talk=draft.console, warmup=draft.warmup)
    show_plan(draft.console, plan, config, dataset, taken)
    while True:
        answer = draft.asker.choose(
            "Start?",
            [
                ("start training", "start"),
                ("go back and change something", BACK),
                ("save the settings to a file", "save"),
                ("menu", "menu"),
            ],
            default="start",
        )
        if answer == "save":
            _save(draft, config)
            continue
        if answer == "start":
            return config, dataset, plan
        return None if answer == "menu" else BACK


def _check_cluster(config: RunConfig) -> None:
    """Refuse what a cluster would refuse, while the answers can still be changed."""
    from llm_tool.execution.slurm import check_request, check_submitit

    check_submitit()
    check_request(config)


def _save(draft: Draft, config: RunConfig) -> None:
    """Ask for a file name and write the settings there, for ``--config``."""
    name = draft.asker.text("Name of the file:", f"{config.mode}.yaml")
    if name is BACK or not name.strip():
        return
    path = Path(name.strip()).expanduser()
    try:
        write_config(config, path)
    except StudioError as error:
        show_error(draft.console, error)
        return
    draft.console.print(f"Saved. Next time: llm-tool train {config.mode} --config {path}")
