"""Run a plan on this machine; a job that fails does not stop the others."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from llm_tool.config import RunConfig
from llm_tool.data.dataset import Dataset
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
from llm_tool.execution.resources import share_out
from llm_tool.execution.runner import Runner
from llm_tool.execution.workers import train_in_workers
from llm_tool.logs.journal import job_number
from llm_tool.logs.session import Session
from llm_tool.plan import Job, Parts, Plan


@dataclass(frozen=True)
class Outcome:
    """What came of a run: the jobs that are done, and those that failed, in the plan's order."""

    done: tuple[JobEnded, ...]
    failed: tuple[JobFailed, ...]


def run_plan(
    plan: Plan, dataset: Dataset, config: RunConfig, session: Session, *observers: Observer
) -> Outcome:
    """Train the jobs of a plan and return what came of them.

    Events are recorded in the session first and then handed to the observers. With several
    workers, jobs are trained in processes of their own, and their events come as they happen.

    Raises:
        StudioError: The logs folder cannot be written. Failures of single jobs are events.
        KeyboardInterrupt: The user stopped the run; what was recorded is kept.
    """
    config = share_out(config, len(plan.jobs))
    show = shielded(*observers)
    about = {"name": dataset.name, "sha256": dataset.sha256}
    started = time.perf_counter()
    done: list[JobEnded] = []
    failed: list[JobFailed] = []
    status: Status = "failed"
    try:
        with session.run(plan.jobs, config.model_dump(mode="json"), about) as jobs:
            models = Path(config.models_dir) / session.id
            workers = config.workers or 1
            show(RunStarted(session.id, plan.mode, str(session.folder), str(models), jobs, workers))
            trainings = list(zip(jobs, plan.parts, strict=True))
            with closing(_results(trainings, dataset, config, session, show)) as results:
                for result in results:
                    if isinstance(result, JobEnded):
                        done.append(result)
                    else:
                        failed.append(result)
                        in_order(session.record, show)(result)
        status = "failed" if failed else "done"
    except KeyboardInterrupt:
        status = "interrupted"
        raise
    finally:
        seconds = time.perf_counter() - started
        show(RunEnded(session.id, status, len(done), len(failed), seconds))
    return Outcome(
        tuple(sorted(done, key=lambda result: job_number(result.job.id))),
        tuple(sorted(failed, key=lambda result: job_number(result.job.id))),
    )


def _results(
    trainings: Sequence[tuple[Job, Parts]],
    dataset: Dataset,
    config: RunConfig,
    session: Session,
    show: Observer,
) -> Generator[JobEnded | JobFailed]:
    """Yield the result of each job when it is there; closed, it ends what it began."""
    if config.workers and config.workers > 1:
        yield from train_in_workers(trainings, dataset, config, session, show)
        return
    runner = Runner(dataset, config, session)
    for job, parts in trainings:
        yield runner.train(job, parts, show)
