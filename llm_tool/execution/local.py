"""Run a plan, here or on a cluster; a job that fails does not stop the others."""

from __future__ import annotations

import shutil
import time
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from llm_tool.config import RunConfig
from llm_tool.data.dataset import Dataset
from llm_tool.errors import DiskError, StoppedError
from llm_tool.events import JobEnded, JobFailed, Observer, RunEnded, RunStarted, Status
from llm_tool.execution.leftovers import tidy_up
from llm_tool.execution.remote import train_on_cluster
from llm_tool.execution.resources import share_out
from llm_tool.execution.runner import Runner
from llm_tool.execution.slurm import check_cluster, check_queue, check_request
from llm_tool.execution.space import check_space
from llm_tool.execution.together import train_together
from llm_tool.execution.workers import train_in_workers
from llm_tool.logs.journal import job_number
from llm_tool.logs.session import Session
from llm_tool.observers import in_order, shielded
from llm_tool.plan import Job, Parts, Plan
from llm_tool.slurm_settings import ASKED_ANEW
from llm_tool.stopping import Detached, Paused
from llm_tool.trainers.checkpoint import CHECKPOINT


@dataclass(frozen=True)
class Outcome:
    """What came of a run: the jobs that are done, and those that failed, in the plan's order."""

    done: tuple[JobEnded, ...]
    failed: tuple[JobFailed, ...]


def run_plan(
    plan: Plan,
    dataset: Dataset,
    config: RunConfig,
    session: Session,
    *observers: Observer,
    resume: int | None = None,
) -> Outcome:
    """Train the jobs of a plan and return what came of them.

    Events are recorded in the session first and then handed to the observers. With several
    workers, jobs are trained in processes of their own, and their events come as they happen.

    Args:
        plan: The jobs and their rows.
        dataset: The rows.
        config: The settings.
        session: Where to record.
        observers: Told every event.
        resume: Go on with this run of the session instead of a new one; the plan must be its own.

    Raises:
        StudioError: The logs folder cannot be written, there is not enough space for the run, or a
            cluster refuses it. Failures of single jobs are events.
        StoppedError: It cannot be written any more, or the user has to submit jobs; the run can be
            resumed.
        KeyboardInterrupt: The user stopped the run; what was recorded is kept.
        Detached: Nobody follows the run any more; its jobs go on on a cluster.
    """
    config = share_out(config, plan)
    about = {"name": dataset.name, "sha256": dataset.sha256}
    if resume is None:
        if config.executor == "slurm":  # before anything of the run is written
            check_cluster(session)
            check_request(config)
        todo: Sequence[Job] = plan.jobs
        entered = session.run(plan.jobs, config.model_dump(mode="json"), about, plan.accounts)
    else:
        todo = [job for job in session.jobs(resume) if not session.is_finished(job)]
        asked: dict[str, Any] = {}
        if config.executor == "slurm":
            asked = config.model_dump(mode="json", include=set(ASKED_ANEW))
            if todo:
                check_queue(session)
        entered = session.rerun(resume, asked)
    check_space(todo, config, session.logs_dir)
    run = _Run(plan, dataset, config, session, shielded(*observers))
    with entered as jobs:
        run.train(jobs, _finished(session, jobs) if resume is not None else [])
    in_plan_order = partial(sorted, key=lambda result: job_number(result.job.id))
    return Outcome(tuple(in_plan_order(run.done)), tuple(in_plan_order(run.failed)))


def _finished(session: Session, jobs: Sequence[Job]) -> list[JobEnded]:
    """Return the results of the jobs that are finished already."""
    done = []
    for job in jobs:
        result = session.result(job)
        if result is not None:
            done.append(result)
            # A kill can come between the last record and this.
            shutil.rmtree(session.run_folder(job) / CHECKPOINT, ignore_errors=True)
    return done


@dataclass
class _Run:
    """One run of a plan, entered into its session."""

    plan: Plan
    dataset: Dataset
    config: RunConfig
    session: Session
    show: Observer
    done: list[JobEnded] = field(default_factory=list)
    failed: list[JobFailed] = field(default_factory=list)

    def train(self, jobs: Sequence[Job], finished: list[JobEnded]) -> None:
        """Train the jobs that are not finished, and tell how the run ended."""
        started = time.perf_counter()
        self.done = finished
        status: Status = "failed"
        try:
            self._start(jobs)
            before = {result.job.id for result in finished}
            pairs = zip(jobs, self.plan.parts, strict=True)
            trainings = [(job, parts) for job, parts in pairs if job.id not in before]
            self._train(trainings)
            if self.config.executor == "slurm" or self.config.processes > 1:
                tidy_up(self.session, jobs, {result.job.id for result in self.done})
            status = "failed" if self.failed else "done"
        except DiskError as error:
            status = "interrupted"
            raise StoppedError(
                error.what,
                where=error.where,
                remedy=f"{error.remedy} Then go on: {self.session.resume_command}",
            ) from error
        except (KeyboardInterrupt, Paused, StoppedError):
            status = "interrupted"
            raise
        except Detached:
            status = "detached"
            raise
        finally:
            seconds = time.perf_counter() - started
            resume = "" if status == "done" else self.session.resume_command
            ends = len(jobs), len(self.done), len(self.failed)
            self.show(RunEnded(self.session.id, status, *ends, seconds, resume))

    def _start(self, jobs: Sequence[Job]) -> None:
        session, config = self.session, self.config
        models, workers = Path(config.models_dir) / session.id, config.workers or 1
        self.show(
            RunStarted(
                session.id, self.plan.mode, str(session.folder), str(models), tuple(jobs), workers,
                tuple(self.done),
            )
        )  # fmt: skip

    def _train(self, trainings: Sequence[tuple[Job, Parts]]) -> None:
        results = _results(trainings, self.dataset, self.config, self.session, self.show)
        with closing(results):
            for result in results:
                try:
                    self._keep(result)
                except (KeyboardInterrupt, Detached) as asked:
                    results.throw(asked)  # or it would be closed, and not know why

    def _keep(self, result: JobEnded | JobFailed) -> None:
        if isinstance(result, JobEnded):
            self.done.append(result)
            return
        self.failed.append(result)
        if self.config.executor == "local" and self.config.processes == 1:  # others record it
            in_order(self.session.record, self.show)(result)


def _results(
    trainings: Sequence[tuple[Job, Parts]],
    dataset: Dataset,
    config: RunConfig,
    session: Session,
    show: Observer,
) -> Generator[JobEnded | JobFailed]:
    """Yield the result of each job when it is there; closed, it ends what it began."""
    if config.executor == "slurm":
        yield from train_on_cluster(trainings, dataset, config, session, show)
        return
    if config.processes > 1:
        yield from train_together(trainings, dataset, config, session, show)
        return
    if config.workers and config.workers > 1:
        yield from train_in_workers(trainings, dataset, config, session, show)
        return
    runner = Runner(dataset, config, session)
    for job, parts in trainings:
        yield runner.train(job, parts, show)
