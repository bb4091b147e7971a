"""Questions about the training: strategy of each column, epochs, seeds, workers, weak classes."""

from __future__ import annotations

from typing import Any

from llm_tool.config import make_config
from llm_tool.config_files import parse_assignment
from llm_tool.data.dataset import load_dataset
from llm_tool.errors import StudioError
from llm_tool.modes.build import MULTI_CLASS, by_values
from llm_tool.studio.draft import SKIP, Draft, keep
from llm_tool.studio.theme import Column, print_table, show_error
from llm_tool.studio.wizard import BACK
from llm_tool.text import plural, shorten, visible
from llm_tool.yaml_text import as_value


def ask_strategy(draft: Draft) -> object:
    """Show which columns become multi-class and which one-vs-all, and let the user change it."""
    try:
        keys = load_dataset(draft.config).keys
    except StudioError as error:
        show_error(draft.console, error)
        return BACK
    suggested = {name: by_values(key, draft.config) for name, key in keys.items()}
    asked = {**suggested}
    asked |= dict.fromkeys(draft.settings.get("multi_class", ()), MULTI_CLASS)
    asked |= dict.fromkeys(draft.settings.get("one_vs_all", ()), "one-vs-all")
    columns = [Column("column", flexible=True), Column("values", "right"), Column("trained as")]
    rows = [
        [name, str(len(key.counts)), asked[name] + (", several values a row" * key.multi)]
        for name, key in keys.items()
    ]
    print_table(draft.console, columns, rows)
    single = [name for name, key in keys.items() if not key.multi]
    if not single:
        return SKIP
    answer = draft.asker.choose_several(
        "Which columns does one model learn whole? The others get a model a value.",
        [
            (f"{shorten(visible(n), 40)}  ({plural(len(keys[n].counts), 'value')})", n)
            for n in single
        ],
        [name for name in single if asked[name] == MULTI_CLASS],
        at_least=0,
    )
    if answer is BACK:
        return BACK
    changed = {
        "multi_class": [n for n in answer if suggested[n] != MULTI_CLASS],
        "one_vs_all": [n for n in single if n not in answer and suggested[n] == MULTI_CLASS],
    }
    for setting, names in changed.items():
        keep(draft, setting, tuple(names), unless=())
    return None


def ask_shared(draft: Draft) -> object:
    """Ask whether the labels get a model each, or share one network."""
    answer = draft.asker.choose(
        "One model for each label, or one network for all?",
        [
            ("one model for each label", False),
            ("one network with an output for each label: much faster", True),
        ],
        default=draft.settings.get("shared_encoder", False),
    )
    return keep(draft, "shared_encoder", answer, unless=False)


def ask_workers(draft: Draft) -> object:
    """Ask how many jobs are trained at the same time."""
    if draft.settings.get("shared_encoder") or draft.settings.get("executor") == "slurm":
        return SKIP
    return ask_setting(
        draft, "workers", "How many models at the same time? (empty: what trains them soonest)"
    )


def ask_seeds(draft: Draft) -> object:
    """Ask for the seeds of a benchmark."""
    return ask_setting(
        draft, "seeds", "Train with several seeds? (as 1,2,3; empty: once, with seed 42)"
    )


def ask_epochs(draft: Draft) -> object:
    """Ask for the number of epochs."""
    return ask_setting(
        draft, "epochs", "How many epochs? (empty: 3, or 5 under 1,000 training texts)"
    )


def ask_reinforced(draft: Draft) -> object:
    """Ask whether weak classes are worked on after training; the mode reinforced always does."""
    if draft.settings["mode"] == "reinforced":
        return ask_setting(
            draft,
            "reinforced_threshold",
            "Work on classes with a validation F1 under: (empty: 0.6)",
        )
    answer = draft.asker.choose(
        "Work on weak classes after training?",
        [("no", False), ("yes: more epochs in which weak classes count more", True)],
        default=draft.settings.get("reinforced", False),
    )
    return keep(draft, "reinforced", answer, unless=False)


def ask_setting(draft: Draft, name: str, question: str) -> object:
    """Ask for the value of any setting as text; an empty answer leaves it at its default."""

    def fits(text: str) -> bool | str:
        try:
            make_config(draft.settings, read_value(name, text))
        except StudioError as error:
            return str(error.what)
        return True

    before = draft.settings.get(name, "")
    shown = ",".join(map(str, before)) if name == "seeds" and before else as_value(before)
    shown = "" if before in ("", ()) else shown
    answer = draft.asker.text(question, shown, fits)
    if answer is BACK:
        return BACK
    draft.settings.pop(name, None)
    draft.settings |= read_value(name, answer)
    return None


def read_value(name: str, text: str) -> dict[str, Any]:
    """Return a typed value as a setting, read as ``--set`` reads it; nothing for nothing."""
    if not text.strip():
        return {}
    return {name: text.strip()} if name == "seeds" else parse_assignment(f"{name}={text.strip()}")
