"""Run a plan in this process, job after job; one that fails does not stop the others."""

from __future__ import annotations

import gc
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from llm_tool.config import RunConfig
from llm_tool.data.dataset import Dataset
from llm_tool.errors import StudioError
from llm_tool.events import (
    JobEnded,
    JobFailed,
    Observer,
    RunEnded,
    RunStarted,
    Status,
    in_order,
    shielded,
)
from llm_tool.logs.files import disk_errors
from llm_tool.logs.session import Session
from llm_tool.plan import Job, Plan
from llm_tool.trainers.model_trainer import Encoder, train_job


@dataclass(frozen=True)
class Outcome:
    """What came of a run: the jobs that are done, and those that failed."""

    done: tuple[JobEnded, ...]
    failed: tuple[JobFailed, ...]


def run_plan(
    plan: Plan, dataset: Dataset, config: RunConfig, session: Session, *observers: Observer
) -> Outcome:
    """Train the jobs of a plan and return what came of them.

    Events are recorded in the session first and then handed to the observers.

    Raises:
        StudioError: The logs folder cannot be written. Failures of single jobs are events.
        KeyboardInterrupt: The user stopped the run; what was recorded is kept.
    """
    show = shielded(*observers)
    about = {"name": dataset.name, "sha256": dataset.sha256}
    started = time.perf_counter()
    done: list[JobEnded] = []
    failed: list[JobFailed] = []
    status: Status = "failed"
    try:
        with session.run(plan.jobs, config.model_dump(mode="json"), about) as jobs:
            models = Path(config.models_dir) / session.id
            show(RunStarted(session.id, plan.mode, str(session.folder), str(models), jobs))
            encoders = {job.model: Encoder(job.model, dataset, config.max_length) for job in jobs}
            for job, parts in zip(jobs, plan.parts, strict=True):
                encoder = encoders[job.model]
                try:
                    done.append(train_job(job, parts, dataset, encoder, config, session, show))
                except Exception as error:  # noqa: BLE001 - reported; the other jobs go on
                    failed.append(_failure(job, error, session))
                    in_order(session.record, show)(failed[-1])
                gc.collect()  # a model is large, and its graph holds cycles
        status = "failed" if failed else "done"
    except KeyboardInterrupt:
        status = "interrupted"
        raise
    finally:
        seconds = time.perf_counter() - started
        show(RunEnded(session.id, status, len(done), len(failed), seconds))
    return Outcome(tuple(done), tuple(failed))


def _failure(job: Job, error: Exception, session: Session) -> JobFailed:
    if isinstance(error, StudioError):
        return JobFailed(job, error.what, error.where, error.remedy)
    path = session.run_folder(job) / "error.txt"
    with disk_errors(path, "Writing the logs"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(traceback.format_exception(error)), "utf-8", "backslashreplace")
    return JobFailed(
        job,
        what=f"{type(error).__name__}: {error}",
        remedy=f"The whole traceback is in {path}.",
    )
