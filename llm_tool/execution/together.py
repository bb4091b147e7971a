"""Train the jobs of a run one after the other, each by several processes of this machine."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from llm_tool.config import RunConfig
from llm_tool.data.dataset import Dataset
from llm_tool.events import JobEnded, JobFailed, Observer
from llm_tool.execution.collector import Collector
from llm_tool.execution.launch import first_steps, launcher
from llm_tool.execution.prepared import job_command, prepare_jobs
from llm_tool.execution.remote import end_of
from llm_tool.logs.files import disk_errors
from llm_tool.logs.session import Session
from llm_tool.observers import in_order
from llm_tool.plan import Job, Parts
from llm_tool.text import visible

_LOOKS_EVERY = 0.5  # seconds
_ENDS_WITHIN = 60.0  # seconds that a stopped job has to save where it is


def train_together(
    trainings: Sequence[tuple[Job, Parts]],
    dataset: Dataset,
    config: RunConfig,
    session: Session,
    show: Observer,
) -> Iterator[JobEnded | JobFailed]:
    """Yield the result of each job, recorded and shown; other events go to ``show``.

    Each is the command that a cluster would run, and is followed by its journal. However the caller
    ends, the job under way is paused, and can be gone on with.

    Args:
        trainings: The jobs, with their ids, and their rows.
        dataset: The rows of all jobs.
        config: The settings.
        session: Where to record.
        show: Told each event after it was recorded.

    Raises:
        StudioError: Accelerate is not installed.
        DiskError: Nothing more can be written.
    """
    launcher(config)
    tell = in_order(session.record, show)
    ready, unready = prepare_jobs(trainings, dataset, config, session, show)
    for failure in unready:
        tell(failure)
        yield failure
    collector = Collector(session, [job for job, _ in ready])
    try:
        for job, _ in ready:
            output = session.cluster_folder / f"{job.id}.log"
            collector.collect([job])  # what an earlier attempt told
            code = _run(job, session, collector, show, output)
            state = collector.state(job)
            if state.ended is not None:
                yield state.ended
            elif state.failed is not None:
                session.count_failure()
                yield state.failed
            else:
                failure = _broken_off(job, code, output, session)
                tell(failure)
                yield failure
    finally:
        collector.finish()


def _run(job: Job, session: Session, collector: Collector, show: Observer, output: Path) -> int:
    """Run a job to its end, and show what it records; return its exit code."""
    with disk_errors(output, "Starting a job"), output.open("ab") as file:
        process = subprocess.Popen(
            job_command(session, job.id),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,  # Ctrl-C is for this process, which then pauses the job
            preexec_fn=first_steps(),
        )
    try:
        code: int | None = None
        while code is None:
            with suppress(subprocess.TimeoutExpired):
                code = process.wait(_LOOKS_EVERY)
            for event in collector.collect([job]):
                show(event)
        return code
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(_ENDS_WITHIN)
            except subprocess.TimeoutExpired:
                process.kill()


def _broken_off(job: Job, code: int, output: Path, session: Session) -> JobFailed:
    what = f"The processes of the job ended without a result, with code {code}."
    return JobFailed(
        job,
        what="\n".join([what, *end_of(str(output))]),
        where=visible(str(output)),
        remedy=f"Go on with it: {session.resume_command}",
    )
