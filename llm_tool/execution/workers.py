"""Train jobs in several processes at once, each with its share of the cores or a GPU of its own.

Each worker records what it trains, under the session's lock, and then tells its owner, who shows
it. So what was recorded does not depend on the owner, and a worker that dies costs its own job.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import TYPE_CHECKING

from llm_tool.config import RunConfig
from llm_tool.data.dataset import Dataset
from llm_tool.errors import DiskError
from llm_tool.events import Event, JobEnded, JobFailed, Observer
from llm_tool.execution.resources import visible_gpus
from llm_tool.logs.session import Session
from llm_tool.plan import Job, Parts
from llm_tool.stopping import stoppable

if TYPE_CHECKING:
    from llm_tool.execution.runner import Runner

_ENDS_WITHIN = 5.0  # seconds that a stopped worker has to end before it is killed


@dataclass(frozen=True)
class _Result:
    """The last thing that a worker says of a job."""

    value: JobEnded | JobFailed


@dataclass(frozen=True)
class _Stopped:
    """The last thing that a worker says when nothing more can be written: what, where, remedy."""

    what: str
    where: str
    remedy: str


@dataclass
class _Worker:
    process: SpawnProcess
    connection: Connection
    job: Job | None = None

    def give(self, job: Job, parts: Parts) -> None:
        self.job = job
        with suppress(OSError):  # a worker that is dead says so when it is listened to
            self.connection.send((job, parts))


def train_in_workers(
    trainings: Sequence[tuple[Job, Parts]],
    dataset: Dataset,
    config: RunConfig,
    session: Session,
    show: Observer,
) -> Iterator[JobEnded | JobFailed]:
    """Yield the result of each job as it comes; events in between go to ``show``.

    Workers are spawned, never forked, so that each loads its libraries anew. However the caller
    ends, the workers end with it.

    Args:
        trainings: The jobs, with their ids, and their rows.
        dataset: The rows of all jobs.
        config: The settings; ``workers`` and ``threads`` are decided.
        session: Where to record.
        show: Told each event after it was recorded.

    Raises:
        DiskError: A worker found that nothing more can be written.
    """
    queue = deque(trainings)
    gpus = visible_gpus()
    workers: dict[int, _Worker] = {}

    def start(number: int) -> None:
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        gpu = gpus[number % len(gpus)] if gpus else None
        place = str(session.logs_dir), session.id
        process = context.Process(
            target=_work, args=(there, dataset, config, place, gpu), daemon=True
        )
        with _ctrl_c_held():  # until it is known to those who end it
            process.start()
            there.close()  # so that the end of the worker is the end of the pipe
            workers[number] = _Worker(process, here)

    def hand_over(number: int) -> None:
        """Give a worker the next job, and a job that a dead worker cannot take to a new one."""
        if queue:
            job, parts = queue.popleft()
            if not workers[number].process.is_alive():
                workers[number].connection.close()
                start(number)
            workers[number].give(job, parts)

    try:
        for number in range(config.workers or 1):
            start(number)
        for number in workers:
            hand_over(number)
        while busy := {n: w for n, w in workers.items() if w.job}:
            ready = wait([worker.connection for worker in busy.values()])
            for number, worker in busy.items():
                result = _heard(worker, show) if worker.connection in ready else None
                if result is not None:
                    yield result
                    hand_over(number)
    finally:
        _stop(list(workers.values()))


@contextmanager
def _ctrl_c_held() -> Iterator[None]:
    """Hold Ctrl-C back; a process that is started meanwhile never sees one before it ignores it."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # when it starts, it lets signals through
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _heard(worker: _Worker, show: Observer) -> JobEnded | JobFailed | None:
    """Take one message of a worker; return the result of its job if that is what it says."""
    try:
        message: Event | _Result | _Stopped = worker.connection.recv()
    except (EOFError, OSError):
        message = _Result(_died(worker))
    if isinstance(message, _Stopped):
        worker.job = None
        raise DiskError(message.what, where=message.where, remedy=message.remedy)
    if not isinstance(message, _Result):
        show(message)
        return None
    worker.job = None
    return message.value


def _died(worker: _Worker) -> JobFailed:
    worker.process.join(_ENDS_WITHIN)
    code = worker.process.exitcode or 0
    how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
    if worker.job is None:
        raise RuntimeError("a worker without a job cannot fail at it")
    return JobFailed(
        worker.job,
        what=f"The worker process ended unexpectedly ({how}).",
        remedy="Often memory ran out: give fewer --workers, or a smaller --batch-size.",
    )


def _stop(workers: Sequence[_Worker]) -> None:
    """End the workers: idle ones are told, busy ones stopped; what they recorded is kept."""
    for worker in workers:
        worker.connection.close()
        if worker.job is not None:
            worker.process.terminate()
    for worker in workers:
        worker.process.join(_ENDS_WITHIN)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()


def _work(
    connection: Connection,
    dataset: Dataset,
    config: RunConfig,
    place: tuple[str, str],
    gpu: str | None,
) -> None:
    """Be a worker, from the first job to the last."""
    try:
        # Ctrl-C and the loss of the terminal reach every process of it; the owner decides for all.
        with stoppable(ignore=("SIGINT", "SIGHUP")):
            threading.Thread(target=end_with_owner, daemon=True).start()
            if gpu is not None:
                os.environ["CUDA_VISIBLE_DEVICES"] = gpu  # read when torch is loaded, hereafter
            from llm_tool.execution.runner import Runner

            _train_all(connection, Runner(dataset, config, Session(*place)))
    except KeyboardInterrupt:
        raise SystemExit(128 + signal.SIGTERM) from None


def end_with_owner() -> None:
    """End this process when its owner is gone: another one may resume its session."""
    owner = multiprocessing.parent_process()
    if owner is not None:
        owner.join()
        os._exit(1)


def _train_all(connection: Connection, runner: Runner) -> None:
    """Train the jobs that come through the connection until it closes."""

    def tell(event: object) -> None:
        try:
            connection.send(event)
        except OSError:  # the owner is gone: nobody waits for the rest
            os._exit(1)

    while True:
        try:
            job, parts = connection.recv()
        except (EOFError, OSError):
            return
        try:
            tell(_Result(runner.train(job, parts, tell)))
        except DiskError as error:
            tell(_Stopped(error.what, error.where, error.remedy))
            return
