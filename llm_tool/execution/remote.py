"""Hand the jobs of a run to a cluster, follow them, and see each of them through.

The jobs do not need this process. It can go at any time; the next one asks the scheduler where
they are, and their journals how far they got.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from llm_tool.config import RunConfig
from llm_tool.data.dataset import Dataset
from llm_tool.errors import StoppedError, StudioError
from llm_tool.events import ClusterSeen, JobEnded, JobFailed, Observer, RunningJob
from llm_tool.execution.cluster import Place, Scheduler
from llm_tool.execution.collector import Collector
from llm_tool.execution.prepared import prepare_jobs
from llm_tool.execution.slurm import MEMORY, TIME, SlurmScheduler
from llm_tool.execution.submissions import Submissions
from llm_tool.logs.claim import Claim
from llm_tool.logs.facts import read_facts
from llm_tool.logs.session import Session
from llm_tool.plan import Job, Parts
from llm_tool.stopping import detachable
from llm_tool.text import plural, shell_word, visible

_POLL, _SLOWEST = 2.0, 30.0  # seconds between two looks: for few jobs, and at most
_JOBS_A_SECOND = 400  # for so many more jobs, the next look is a second later
# A job is lost when it is missing from so many looks in a row: one of them can come while it is
# given back to the queue, or before a network's file system shows the end of its journal.
_LOOKS = 2
# Jobs whose journals are read at once: all that 10,000 jobs recorded is a gigabyte of events, and
# none of it would be shown before the last was read.
_AT_ONCE = 250
_SHOWN = 20  # lines of a lost job's output
_READ = 20_000  # bytes of it, from its end
# What to ask for more of, by why a job was lost.
_MORE = {MEMORY: " --set slurm_memory=…", TIME: " --set slurm_time=…"}
_NAMED = 3  # scripts that the user has to submit


def train_on_cluster(
    trainings: Sequence[tuple[Job, Parts]],
    dataset: Dataset,
    config: RunConfig,
    session: Session,
    show: Observer,
    scheduler: Scheduler | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> Iterator[JobEnded | JobFailed]:
    """Yield the result of each job as it comes, recorded and shown; other events go to ``show``.

    Jobs that are in the queue already, because another process handed them over, are followed;
    the others are submitted. One that is lost is submitted again, ``slurm_resubmit`` times at most.

    Args:
        trainings: The jobs, with their ids, and their rows.
        dataset: The rows of all jobs.
        config: The settings; ``threads`` is decided.
        session: Where to record.
        show: Told each event after it was recorded, and how the jobs stand.
        scheduler: The cluster; SLURM where none is given.
        pause: What waits between two looks, for some seconds.

    Raises:
        StudioError: The cluster refuses the jobs.
        StoppedError: The user submits the jobs, and none of those that are not done is in the
            queue.
        KeyboardInterrupt: The user stopped the run; its jobs were taken out of the queue.
        Detached: Nobody follows the run any more; its jobs go on.
    """
    scheduler = scheduler or SlurmScheduler(session, config)
    collector = Collector(session, [job for job, _ in trainings])
    jobs: dict[str, Job] = {}
    with detachable():
        try:
            ready, unready = prepare_jobs(trainings, dataset, config, session, show)
            jobs |= {job.id: job for job, _ in ready}
            before = _done_before(trainings, session)
            owner = _Owner(jobs, before, config, session, show, scheduler, collector, pause)
            for failure in unready:
                yield owner.fail(failure)
            yield from owner.follow()
        except BaseException as ended:
            with suppress(StudioError):  # what ended the run matters more
                if isinstance(ended, KeyboardInterrupt):
                    scheduler.cancel([job.id for job, _ in trainings])
                for some in _pieces(list(jobs.values())):  # those without an end
                    collector.collect(some)
                collector.finish()
            raise
        collector.finish()


def _done_before(trainings: Sequence[tuple[Job, Parts]], session: Session) -> int:
    """Return how many jobs of a run were done before these."""
    own = {job.id for job, _ in trainings}
    runs = read_facts(session.folder)["runs"]
    whole = next((run["jobs"] for run in runs if own & set(run["jobs"])), own)
    return len(whole) - len(own)


def _pieces(jobs: Sequence[Job]) -> Iterator[Sequence[Job]]:
    """Cut jobs into those whose journals are read at once."""
    for start in range(0, len(jobs), _AT_ONCE):
        yield jobs[start : start + _AT_ONCE]


@dataclass
class _Owner:
    """What the process that follows a run knows of its jobs; ``open`` are those without an end."""

    open: dict[str, Job]
    done: int
    config: RunConfig
    session: Session
    show: Observer
    scheduler: Scheduler
    collector: Collector
    pause: Callable[[float], None]
    failed: int = 0
    news: list[str] = field(default_factory=list)
    seen: ClusterSeen | None = None
    silent_since: str = ""  # when the scheduler stopped answering
    most: int | None = None  # jobs in the queue that the cluster takes, once it refused some
    missed: Counter[str] = field(default_factory=Counter)  # looks in a row without the job
    before: dict[str, int] = field(default_factory=dict)  # submissions that do not count as new
    is_first: bool = True

    def __post_init__(self) -> None:
        known = Submissions(self.session)
        self.by_hand = any(known.is_by_hand(job_id) for job_id in self.open)

    def fail(self, failure: JobFailed) -> JobFailed:
        """Record and show how a job failed that could not say so itself."""
        self.open.pop(failure.job.id, None)
        self.failed += 1
        self.session.record(failure)
        self.show(failure)
        return failure

    def follow(self) -> Iterator[JobEnded | JobFailed]:
        """Yield the results of all jobs, as they come."""
        places: Mapping[str, Place] = {}
        while self.open:
            answer = self.scheduler.look()
            places = places if answer is None else answer
            yield from self._collect(answer, places)
            if answer is not None and self.open:
                yield from self._see_through(places)
            self._tell(answer, places)
            if self.open:
                self.pause(min(_SLOWEST, _POLL + len(self.open) / _JOBS_A_SECOND))

    def _collect(
        self, answer: Mapping[str, Place] | None, places: Mapping[str, Place]
    ) -> Iterator[JobEnded | JobFailed]:
        """Show what came to the journals of jobs that are not waiting; yield their results.

        At first that is all that they say. While the scheduler does not answer, only those are
        asked that ran at its last answer: the others would be asked in vain, all of them.
        """
        at_first, self.is_first = self.is_first, False
        running = {job_id for job_id, place in places.items() if place.state == "running"}
        if at_first:
            jobs = list(self.open.values())
        elif answer is None:
            jobs = [job for job in self.open.values() if job.id in running]
        else:
            jobs = [j for j in self.open.values() if j.id in running or j.id not in places]
        for some in _pieces(jobs):
            yield from self._collect_from(some, places, at_first=at_first)

    def _collect_from(
        self, jobs: Sequence[Job], places: Mapping[str, Place], *, at_first: bool
    ) -> Iterator[JobEnded | JobFailed]:
        """Show what came to some journals; yield the results that are among it.

        A failure that is there at first was that of an earlier attempt: the job is tried again,
        unless the user is the one to do that.
        """
        ends: dict[str, Job] = {}
        for event in self.collector.collect(jobs):
            again = not self.by_hand or event.job.id in places
            if isinstance(event, JobFailed) and at_first and again:
                continue
            self.show(event)
            if isinstance(event, JobEnded | JobFailed):
                ends[event.job.id] = event.job
        for job_id, job in ends.items():
            state = self.collector.state(job)
            if state.ended is not None:
                self.done += 1
                yield self._end(job_id, state.ended)
            elif state.failed is not None:
                self.failed += 1
                self.session.count_failure()
                yield self._end(job_id, state.failed)

    def _end(self, job_id: str, result: JobEnded | JobFailed) -> JobEnded | JobFailed:
        del self.open[job_id]
        return result

    def _see_through(self, places: Mapping[str, Place]) -> Iterator[JobFailed]:
        """Submit what is not in the queue, or say why that is not done any more."""
        for job_id in places:
            self.missed[job_id] = 0
            if job_id in self.open and job_id not in self.before:
                self.before[job_id] = self.scheduler.submissions(job_id) - 1
        missing = [job_id for job_id in self.open if job_id not in places]
        self.missed.update(missing)
        if self.by_hand:
            self._check_by_hand(missing)
            return
        new, lost = [], []
        for job_id in missing:
            if job_id not in self.before:
                new.append(job_id)
            elif self.missed[job_id] >= _LOOKS:
                if self._times(job_id) > self.config.slurm_resubmit:
                    yield self.fail(self._lost(job_id))
                else:
                    lost.append(job_id)
        self._submit([*new, *lost], places)

    def _check_by_hand(self, missing: Sequence[str]) -> None:
        """Refuse to wait for jobs that only the user can submit."""
        gone = [job_id for job_id in missing if self.missed[job_id] >= _LOOKS]
        if len(gone) < len(self.open):
            return
        self._tell({}, {})
        raise StoppedError(
            f"The session has {plural(len(gone), 'job')} to do, and none is in the queue.",
            where=visible(str(self.session.cluster_folder)),
            remedy=f"They are yours to submit: {self._sbatch(gone)}. What is done is not done "
            f"again. Then follow them: {self.session.resume_command}",
        )

    def _sbatch(self, job_ids: Sequence[str]) -> str:
        """Return the words with which the user submits jobs."""
        scripts = Submissions(self.session).scripts(job_ids)
        if not scripts:
            return "with sbatch, and the scripts that llm-tool export wrote"
        rest = ", and the other scripts that llm-tool export wrote" * (len(scripts) > _NAMED)
        return "; ".join(f"sbatch {shell_word(path)}" for path in scripts[:_NAMED]) + rest

    def _times(self, job_id: str) -> int:
        """Return how many times a job was handed over, as far as that counts here."""
        return self.scheduler.submissions(job_id) - self.before[job_id]

    def _submit(self, job_ids: Sequence[str], places: Mapping[str, Place]) -> None:
        """Hand jobs over, as many as may be in the queue beside those that are.

        Raises:
            StudioError: The cluster refuses one, with none in the queue.
        """
        job_ids = job_ids[: self._room(len(places))]
        if not job_ids:
            return
        why = {job_id: self._why(job_id) for job_id in job_ids if job_id in self.before}
        before = {job_id: self.scheduler.submissions(job_id) for job_id in job_ids}
        try:
            self.scheduler.submit(job_ids)
            if self.most is not None:
                self.most += len(job_ids)
        except StudioError as error:
            job_ids = self._refused(job_ids, error)
        for job_id in job_ids:
            self.missed[job_id] = 0
            # What was taken with an error was never confirmed, and does not count by itself.
            counted = min(before[job_id], self.scheduler.submissions(job_id) - 1)
            self.before.setdefault(job_id, counted)
            if job_id in why:
                count = f"{self._times(job_id) - 1} of {self.config.slurm_resubmit}"
                self.news.append(f"{why[job_id]} It was submitted again ({count}).")

    def _room(self, queued: int) -> int | None:
        """Return how many jobs may be handed over beside those in the queue; ``None``: any."""
        most = [] if self.most is None else [self.most]
        if queued and self.config.slurm_parallel:  # each array keeps to the limit only by itself
            most.append(self.config.slurm_parallel)
        return max(0, min(most) - queued) if most else None

    def _refused(self, job_ids: Sequence[str], error: StudioError) -> Sequence[str]:
        """Return which jobs were taken though the cluster refused them, all or the last of them.

        It may take fewer: first as many as were in the queue then, or one; after that twice as many
        each time, until it refuses again.

        Raises:
            StudioError: It was one, with none in the queue.
        """
        now = self.scheduler.look()
        if now is None:  # the next answer will say which were taken
            return []
        if not now and len(job_ids) == 1:
            raise error
        if self.most is None:
            self.news.append(f"{error.what} The others wait until fewer are in the queue.")
        self.most = len(now) or 1
        if not now:
            self._submit(job_ids, now)
        return [job_id for job_id in job_ids if job_id in now]

    def _why(self, job_id: str) -> str:
        """Return a sentence on how a job was lost."""
        because = self.scheduler.why_lost(job_id)
        job = self.open[job_id]
        seed = f" · seed {job.seed}" if self.config.seeds else ""
        return f"{visible(job.title)}{seed} was lost{because and f': {because}'}."

    def _lost(self, job_id: str) -> JobFailed:
        """Return how a job failed that was lost too often, with the end of what it printed.

        A process that the scheduler only believes dead ends at its next look: its journal is to
        have one writer.
        """
        Claim(self.session.run_folder(self.open[job_id]))
        path = self.scheduler.output(job_id)
        times = plural(self._times(job_id), "time")
        because = self.scheduler.why_lost(job_id)
        what = f"The job was lost {times} before its end{because and f', at last as {because}'}."
        return JobFailed(
            self.open[job_id],
            what="\n".join([what, *end_of(path)]),
            where=path,
            remedy=f"Try it again with: {self.session.resume_command}{_MORE.get(because, '')}",
        )

    def _tell(self, answer: Mapping[str, Place] | None, places: Mapping[str, Place]) -> None:
        """Show how the jobs stand, when that is not as it was."""
        if answer is not None:
            self.silent_since = ""
            reasons = Counter(place.reason for place in places.values() if place.reason)
            waiting = next((reason for reason, _ in reasons.most_common(1)), "")
        else:
            self.silent_since = self.silent_since or datetime.now().strftime("%H:%M:%S")
            waiting = f"SLURM has not answered since {self.silent_since}"
        running = tuple(
            self._running(job, places[job.id])
            for job in self.open.values()
            if job.id in places and places[job.id].state == "running"
        )
        queued = len(self.open) - len(running)
        seen = ClusterSeen(queued, running, self.done, self.failed, waiting, tuple(self.news))
        self.news.clear()
        if seen != self.seen:
            self.seen = seen
            self.show(seen)

    def _running(self, job: Job, place: Place) -> RunningJob:
        state = self.collector.state(job)
        return RunningJob(job, place.node, state.epoch, state.epochs, state.f1_macro)


def end_of(path: str) -> tuple[str, ...]:
    """Return the last lines of a file that a job wrote, as a terminal may show them."""
    if not path:
        return ()
    with suppress(OSError), Path(path).open("rb") as file:
        file.seek(max(0, file.seek(0, 2) - _READ))
        lines = file.read().decode("utf-8", "replace").splitlines()
        return tuple(deque((visible(line) for line in lines if line.strip()), maxlen=_SHOWN))
    return ()
