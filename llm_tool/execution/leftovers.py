"""What jobs that are over leave in their session's folder though nobody needs it any more."""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path

from llm_tool.execution.prepared import prepared_folder
from llm_tool.execution.submissions import Submissions
from llm_tool.logs.session import Session
from llm_tool.plan import Job

_STARTERS = (".pkl", ".sh")  # submitit's: what a job is to do, and the script of its array
_PRINTED = re.compile(r"\d+(?:_(\d+))?_\d+_log\.(?:out|err)")  # array, its task, its process


def tidy_up(session: Session, jobs: Sequence[Job], done: Collection[str]) -> None:
    """Take away what the jobs of a run were given, when all of them are over.

    What was prepared, with the tokens of the user's texts, stays while one of them failed: whoever
    resumes the run needs it. What a job printed goes when it is done; the journals have its facts.

    Args:
        session: The session.
        jobs: All jobs of the run.
        done: The ids of those that are not failed.
    """
    own, known = {job.id for job in jobs}, Submissions(session)
    for submission in map(known.named, known):
        if submission is not None and own.issuperset(submission.jobs):
            folder = known.folder(submission)
            take_away(folder)
            for path in _files(folder):
                if (place := _PRINTED.fullmatch(path.name)) is None:
                    continue
                if submission.jobs[int(place[1] or 0)] in done:
                    _remove(path)
            _remove_folder(folder)
    for job_id in done:
        _remove(session.cluster_folder / f"{job_id}.log")
    if own.issubset(done) and jobs:
        shutil.rmtree(prepared_folder(session, jobs[0]).folder, ignore_errors=True)
    _remove_folder(session.cluster_folder / "jobs")
    _remove_folder(session.cluster_folder)


def take_away(folder: Path) -> None:
    """Take away what jobs of a submission are started with, but nothing of what they printed."""
    for path in _files(folder):
        if path.suffix in _STARTERS:
            _remove(path)


def _files(folder: Path) -> list[Path]:
    with suppress(OSError):
        return list(folder.iterdir())
    return []


def _remove(path: Path) -> None:
    with suppress(OSError):  # nothing depends on it
        path.unlink()


def _remove_folder(path: Path) -> None:
    """Remove a folder that is empty."""
    with suppress(OSError):
        path.rmdir()
