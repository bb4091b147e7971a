"""A session read back as far as its files go, when some of them are damaged or gone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from llm_tool.errors import StudioError
from llm_tool.logs.archive import Archive, Training, read_session
from llm_tool.logs.facts import JOBS, SESSION, read_facts
from llm_tool.logs.journal import JOURNAL, job_number, read_attempts
from llm_tool.logs.session import Session
from llm_tool.text import plural, visible

_BROKEN = (StudioError, OSError, LookupError, TypeError, ValueError, AttributeError)


def open_session(logs_dir: str | Path, session_id: str) -> tuple[Archive, tuple[str, ...]]:
    """Read a session back, from its journals alone where the rest is damaged.

    Returns:
        The session, and a sentence for each thing that is missing. Where session.json cannot be
        read, the status is ``damaged`` and ``facts`` is empty.

    Raises:
        StudioError: There is no such session, or nothing of it can be read.
    """
    folder = Session(logs_dir, session_id).folder
    try:
        archive = read_session(logs_dir, session_id)
    except _BROKEN as error:
        archive = _from_journals(folder)
        if not archive.trainings:
            if isinstance(error, StudioError):
                raise
            raise StudioError(
                "The session's files are damaged.", where=visible(str(folder))
            ) from error
        gone = SESSION if not archive.facts else JOBS
        lost = "what was configured" if not archive.facts else "the plan"
        note = f"{gone} is missing or damaged: {lost} is not known."
        return archive, (f"{note} The trainings are read from their journals.",)
    return archive, tuple(_missing(archive))


def _from_journals(folder: Path) -> Archive:
    facts = _readable_facts(folder)
    status = str(facts.get("status", "damaged"))
    trainings = []
    for path in folder.glob(f"*/runs/*/{JOURNAL}"):
        try:
            record = read_attempts(path)
        except OSError:
            continue
        if record is not None:
            trainings.append(
                Training(
                    folder.name, path.parents[2].name, path.parent, record.job, {},
                    record.started, tuple(record.epochs), record.ended, record.failed,
                )
            )  # fmt: skip
    trainings.sort(key=lambda one: (one.category, job_number(one.job.id)))
    return Archive(folder.name, folder, status, facts, tuple(trainings))


def _readable_facts(folder: Path) -> dict[str, Any]:
    try:
        facts = read_facts(folder)
        if all(isinstance(run["config"], dict) for run in facts["runs"]):
            return facts
    except _BROKEN:
        pass
    return {}


def _missing(archive: Archive) -> Iterator[str]:
    planned = {job_id for run in archive.facts["runs"] for job_id in run["jobs"]}
    torn = planned - {training.job.id for training in archive.trainings}
    if torn:
        yield f"{JOBS} is torn: {_named(sorted(torn))} cannot be read."
    if archive.status == "done":
        lost = [one.job.id for one in archive.trainings if one.ended is None]
        if lost:
            yield f"There is no result of {_named(lost)}: its journal is missing or torn."


def _named(jobs: Sequence[str]) -> str:
    first = ", ".join(map(visible, jobs[:3]))
    return first if len(jobs) <= 3 else f"{first} and {plural(len(jobs) - 3, 'more job')}"
