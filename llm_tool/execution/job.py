"""One job by itself, on whatever machine: from its line in the plan to its journal and model."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from llm_tool.errors import DiskError, StoppedError, StudioError
from llm_tool.events import JobFailed, Observer
from llm_tool.execution.launch import is_first, is_launched
from llm_tool.logs.claim import Claim, Replaced
from llm_tool.logs.facts import JOBS
from llm_tool.logs.job_session import JobSession
from llm_tool.logs.journal import JOURNAL, is_ended
from llm_tool.observers import in_order
from llm_tool.plan import Job
from llm_tool.stopping import Paused, pause_asked
from llm_tool.text import plural, visible

if TYPE_CHECKING:
    from llm_tool.config import RunConfig
    from llm_tool.data.tokens import Tokenizer, TokenStore
    from llm_tool.events import JobEnded
    from llm_tool.execution.prepared_files import Manifest, PreparedFolder

_PATIENCE = 60  # seconds that the scheduler has for an answer
End = Literal["done", "done before", "failed", "replaced", "paused", "paused at once"]


@dataclass(frozen=True)
class PreparedEncoder:
    """A model's files, its tokenizer, and the tokens of a job's rows, all found out before."""

    folder: Path
    tokenizer: Tokenizer
    tokens: TokenStore


def find_job(plan: Path, index: int) -> tuple[JobSession, Job]:
    """Return a job by its line in a session's plan, and the session as the job sees it.

    Raises:
        StudioError: There is no such plan, or no such line.
    """
    from pydantic import TypeAdapter

    plan, where = plan.absolute(), visible(str(plan))
    try:
        lines = plan.read_bytes().splitlines()
    except OSError as error:
        raise StudioError(
            f"The plan cannot be read: {error.strerror}.",
            where=where,
            remedy=f"Give the {JOBS} of a session: training_logs/SESSION/{JOBS}.",
        ) from error
    session = JobSession(plan.parent.parent, plan.parent.name)
    session.check_there()
    if not 0 <= index < len(lines):
        raise StudioError(
            f"There is no job {index} in the plan.",
            where=where,
            remedy=f"It has {plural(len(lines), 'job')}; --index counts them from 0.",
        )
    try:
        job = TypeAdapter(Job).validate_json(lines[index])
        if job.id != f"j{index + 1:04d}":
            raise ValueError("another job")
    except ValueError as error:
        raise StudioError(
            f"Line {index + 1} of the plan is damaged.",
            where=where,
            remedy=f"Go on where it was planned: {session.resume_command}",
        ) from error
    return session, job


def is_over(session: JobSession, job: Job) -> bool:
    """Tell from the ends of a job's journals whether it is done."""
    paths = [session.run_folder(job.of(task)) / JOURNAL for task in job.tasks]
    return all(path.exists() and is_ended(path) for path in paths)


def prepared_for(session: JobSession, job: Job) -> tuple[PreparedFolder, Manifest]:
    """Return what was prepared for a job.

    Raises:
        StudioError: Nothing was.
    """
    from llm_tool.execution.prepared import prepared_folder

    folder = prepared_folder(session, job)
    manifest = folder.read()
    if manifest is None or job.id not in manifest.jobs:
        raise StudioError(
            f"Nothing is prepared for the job {visible(job.id)}.",
            where=visible(str(folder.folder)),
            remedy="Data and models are prepared where jobs are handed to the cluster, and that "
            f"goes on with: {session.resume_command}",
        )
    return folder, manifest


def train_prepared(
    session: JobSession, job: Job, folder: PreparedFolder, manifest: Manifest, show: Observer
) -> End:
    """Train a job that was prepared, record it, and return how this attempt ended.

    Args:
        session: Its session, as a job sees it.
        job: The job.
        folder: Where it was prepared.
        manifest: What is there.
        show: Told each event after it was recorded.

    Raises:
        StoppedError: Nothing more can be written; another attempt goes on.
        KeyboardInterrupt: The user stopped it; another attempt goes on.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"  # read when the hub's library is loaded, hereafter
    try:
        if is_first():
            session.claim = Claim(session.run_folder(job))
            if is_over(session, job):  # by another attempt, since it was last asked
                session.claim.release()
                return "done before"
        before = _how_far(session, job)
        try:
            result = _train(session, job, folder, manifest, show)
        except Paused:
            return "paused at once" if _how_far(session, job) == before else "paused"
        if isinstance(result, JobFailed):
            in_order(session.record, show)(result)
            return "failed"
        if session.claim:
            session.claim.release()
    except Replaced:
        return "replaced"
    except DiskError as error:
        if _is_replaced(session):  # the other one took away what this one had not finished
            return "replaced"
        raise StoppedError(
            error.what, where=error.where, remedy=f"{error.remedy} Then start the job again."
        ) from error
    return "done"


def _is_replaced(session: JobSession) -> bool:
    try:
        session.check_own()
    except (Replaced, DiskError) as ended:
        return isinstance(ended, Replaced)
    return False


def _train(
    session: JobSession, job: Job, folder: PreparedFolder, manifest: Manifest, show: Observer
) -> JobEnded | JobFailed:
    """Train a job; return its result, which is recorded, or how it failed, which is not."""
    from llm_tool.config import make_config
    from llm_tool.execution.runner import failure
    from llm_tool.trainers.model_trainer import train_job

    try:
        config = make_config(dict(manifest.config))
        parts = folder.parts_of(manifest, job.id)
        every = [row for rows in parts.named().values() for row in rows]
        rows = folder.rows_of(manifest, every, {task.label_key for task in job.tasks})
        encoder = _encoder(folder, manifest, job, every, config)
        if pause_asked() and not is_launched():  # while the libraries were loaded
            raise Paused  # of several processes each would have to know that the others do
        return train_job(job, parts, rows, encoder, config, session, show)
    except DiskError:
        raise
    except Exception as error:  # noqa: BLE001 - recorded
        session.check_own()
        return failure(job, error, session)


def _encoder(
    folder: PreparedFolder, manifest: Manifest, job: Job, rows: list[int], config: RunConfig
) -> PreparedEncoder:
    from llm_tool.execution.prepared_files import check_folder
    from llm_tool.trainers.pretrained import load_tokenizer

    model = manifest.models[job.model]
    files = Path(model.folder)
    check_folder(job.model, files)
    tokenizer, _ = load_tokenizer(files)
    kept = manifest.tokens[model.tokens]
    tokens = folder.tokens_of(kept, tokenizer, rows, config.window_overlap)
    return PreparedEncoder(files, tokenizer, tokens)


def _how_far(session: JobSession, job: Job) -> tuple[int, str]:
    """Return what tells whether a job got further: its epochs, and what its checkpoint says."""
    from llm_tool.trainers.checkpoint import CHECKPOINT

    epochs = min(len(record.epochs) if record else 0 for record in session.records(job))
    path = session.run_folder(job) / CHECKPOINT / f"{CHECKPOINT}.json"
    try:
        index = json.loads(path.read_bytes())
        index.pop("elapsed", None)  # time alone brings nobody further
    except (OSError, ValueError, AttributeError):
        index = None
    return epochs, json.dumps(index)


def requeue() -> str:
    """Give this process's SLURM job back to the queue; return why that failed, else nothing.

    When it succeeds, SLURM soon ends the process.
    """
    try:
        number = os.environ["SLURM_JOB_ID"]
        if "SLURM_ARRAY_TASK_ID" in os.environ:  # the last one of an array has the array's number
            number = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
        answer = subprocess.run(
            ["scontrol", "requeue", number],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE,
        )
    except (OSError, subprocess.SubprocessError, KeyError) as error:
        return f"{type(error).__name__}: {error}"
    return answer.stderr.strip() if answer.returncode else ""
