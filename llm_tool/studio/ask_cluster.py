"""Questions about where to train: on this machine, or on a cluster, and what a job asks of it."""

from __future__ import annotations

from llm_tool.slurm_settings import SlurmSettings
from llm_tool.studio.ask_settings import change_settings
from llm_tool.studio.ask_training import ask_setting
from llm_tool.studio.draft import SKIP, Draft, Step, keep
from llm_tool.studio.machine import find_cluster
from llm_tool.studio.wizard import BACK, Option
from llm_tool.text import visible

_MORE = (
    "slurm_account", "slurm_constraint", "slurm_parallel", "slurm_setup", "slurm_nodes",
    "processes", "slurm_resubmit",
)  # fmt: skip


def ask_where(draft: Draft) -> object:
    """Ask whether to train on this machine or on its cluster, where it has one."""
    draft.cluster = find_cluster()
    answer: object = "local"
    if draft.cluster is not None:
        options: list[Option] = [("on this machine", "local"), ("on the SLURM cluster", "slurm")]
        answer = draft.asker.choose(
            "Where to train?", options, default=draft.settings.get("executor", "local")
        )
    if answer is not BACK:  # what would do nothing there is not kept
        idle = ("workers",) if answer == "slurm" else (*SlurmSettings.model_fields, "processes")
        for name in idle:
            draft.settings.pop(name, None)
    kept = keep(draft, "executor", answer, unless="local")
    return kept if draft.cluster is not None else SKIP


def on_cluster(draft: Draft) -> bool:
    """Tell whether a cluster was chosen."""
    return draft.settings.get("executor") == "slurm"


def ask_partition(draft: Draft) -> object:
    """Ask for the partition, where there are several or nobody knows."""
    found = draft.cluster
    if not on_cluster(draft) or found is None or len(found.partitions) == 1:
        return SKIP
    if not found.partitions:
        return ask_setting(
            draft, "slurm_partition", "Which partition? (empty: what the cluster gives)"
        )
    options: list[Option] = [
        (f"{visible(name)}{'  (default)' * (name == found.default)}", name)
        for name in found.partitions
    ]
    before = draft.settings.get("slurm_partition", found.default)
    answer = draft.asker.choose("Which partition?", options, default=before)
    return keep(draft, "slurm_partition", answer, unless=found.default)


def _step(name: str, question: str) -> Step:
    """Return a step that asks for one setting as text."""

    def ask(draft: Draft) -> object:
        return ask_setting(draft, name, question) if on_cluster(draft) else SKIP

    return ask


def ask_more(draft: Draft) -> object:
    """Offer what few jobs need, in a list."""
    if not on_cluster(draft):
        return SKIP
    return change_settings(draft, _MORE, "Anything else for the cluster?", "no: go on")


# Asked one after the other; all but the first only for a cluster.
CLUSTER: tuple[Step, ...] = (
    ask_where,
    ask_partition,
    _step("slurm_time", "Time limit of a job? (as 4:00:00; empty: what the cluster gives)"),
    _step("slurm_memory", "Memory of a job? (as 16G; empty: what the cluster gives)"),
    _step("slurm_cpus", "CPUs of a job? (empty: what the cluster gives)"),
    _step("slurm_gpus", "GPUs of a job? (empty: none)"),
    ask_more,
)
