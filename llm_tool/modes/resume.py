"""From an interrupted run back to its data and plan, or the reason why that cannot be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_tool.config import RunConfig, make_config
from llm_tool.data.dataset import data_sha256
from llm_tool.errors import StudioError
from llm_tool.execution.submissions import Submissions
from llm_tool.logs.facts import SESSION, fingerprint, read_facts, versions
from llm_tool.logs.presence import status_of
from llm_tool.logs.session import Session
from llm_tool.modes.planning import prepare
from llm_tool.slurm_settings import ASKED_ANEW
from llm_tool.text import shell_word, visible

if TYPE_CHECKING:
    from llm_tool.data.dataset import Dataset
    from llm_tool.data.readers.rows import Progress
    from llm_tool.plan import Plan


@dataclass(frozen=True)
class Restored:
    """A run to go on with: everything that ``run_plan`` takes, and what the user should know."""

    number: int
    config: RunConfig
    dataset: Dataset
    plan: Plan
    notes: tuple[str, ...] = ()


def unfinished(session: Session) -> list[int]:
    """Return the places of the session's runs that are not done.

    Raises:
        StudioError: There is no such session, or it cannot be read.
    """
    runs = read_facts(session.folder)["runs"]
    return [number for number, run in enumerate(runs) if status_of(run) != "done"]


def restore(
    session: Session,
    number: int,
    on_progress: Progress | None = None,
    changes: Mapping[str, Any] | None = None,
) -> Restored:
    """Load the data of a run again and plan it again, exactly as they were.

    Args:
        session: Its session.
        number: Its place among the runs of the session.
        on_progress: Told how many bytes of the table are read, and of how many.
        changes: What its jobs ask of the cluster from now on.

    Raises:
        StudioError: Data or settings were changed, or are not where they were; or ``changes`` are
            of what numbers depend on.
    """
    facts = read_facts(session.folder)
    run = facts["runs"][number]
    where = visible(str(session.folder / SESSION))
    if "mode" not in run["config"]:
        raise StudioError(
            "This run was started from Python, with a model of its own.",
            where=where,
            remedy="Start it again from there, with this session_id.",
        )
    if fingerprint(run) != run.get("fingerprint"):
        raise StudioError(
            "The settings of the run were changed since it was started.",
            where=where,
            remedy="What is done was done with the old ones. Undo the change, or train anew.",
        )
    _check_folder(run, session)
    # Runs that were started before there was this setting did not look for near duplicates.
    config = make_config({"near_duplicates": "ignore"}, run["config"], where=where)
    if changes:
        _check_changes(changes, config, session, run["jobs"])
        config = make_config(config.model_dump(), dict(changes))
    if data_sha256(config) != run["dataset"]["sha256"]:
        raise StudioError(
            "The data are not those that the run was started with: the file was changed.",
            where=visible(config.data),
            remedy="Bring that file back, or train anew: "
            + " ".join(map(shell_word, config.command())),
        )
    dataset, plan = prepare(config, on_progress)
    if plan.jobs != tuple(replace(job, id="") for job in session.jobs(number)):
        raise StudioError(
            "The same data and settings give another plan now.",
            where=visible(str(session.folder)),
            remedy=f"The run was planned with llm-tool {facts['versions']['llm-tool']}: resume it "
            "with that version, or train anew.",
        )
    return Restored(number, config, dataset, plan, tuple(_changes(facts["versions"])))


def _check_changes(
    changes: Mapping[str, Any], config: RunConfig, session: Session, jobs: Sequence[str]
) -> None:
    """Refuse to go on with another training than the one that was begun."""
    others = sorted(set(changes) - ASKED_ANEW)
    if others:
        raise StudioError(
            f"A run goes on with the settings that it was started with; {visible(others[0])} is "
            "one of them.",
            remedy=f"What can be changed: {', '.join(sorted(ASKED_ANEW))}. For the rest, train "
            "anew.",
        )
    if config.executor != "slurm":
        raise StudioError(
            f"{min(changes)} is for jobs on a cluster, and the run is on this machine.",
            remedy="Leave it out, or train anew with --executor slurm.",
        )
    if any(map(Submissions(session).is_by_hand, jobs)):
        raise StudioError(
            f"{min(changes)} is for jobs that this tool submits; those of the run are yours.",
            where=visible(str(session.cluster_folder)),
            remedy="Change it in the scripts that llm-tool export wrote.",
        )


def _check_folder(run: Mapping[str, Any], session: Session) -> None:
    """Refuse to go on in another folder, where relative paths mean something else."""
    before = Path(run["folder"])
    if before.is_dir() and not before.samefile(Path.cwd()):
        raise StudioError(
            "The run was started in another folder.",
            where=visible(str(before)),
            remedy=f"Go on there: cd {shell_word(str(before))} && llm-tool resume {session.id}",
        )


def _changes(before: Mapping[str, str]) -> Iterator[str]:
    """Yield a warning for each library whose version is another one now."""
    for name, version in versions().items():
        if before.get(name, version) != version:
            yield (
                f"{name} was {before[name]} and is {version} now: numbers can differ a little from "
                "those of an uninterrupted run."
            )
