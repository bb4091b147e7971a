"""A SLURM cluster as the owner of a session sees it: sbatch, squeue, scancel."""

from __future__ import annotations

import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from importlib.util import find_spec

from llm_tool.config import RunConfig
from llm_tool.errors import StudioError
from llm_tool.execution.cluster import Place
from llm_tool.execution.leftovers import take_away
from llm_tool.execution.sbatch import (
    OUTPUT,
    check_folder,
    options,
    pieces,
    submitit_options,
    waits_for,
)
from llm_tool.execution.slurm_job import become_job
from llm_tool.execution.submissions import Submission, Submissions, new_name
from llm_tool.logs.facts import JOBS
from llm_tool.logs.journal import job_number
from llm_tool.logs.session import Session
from llm_tool.stopping import finishing
from llm_tool.text import visible

_ANSWERS_WITHIN = 60.0  # seconds
_SUBMITTED = (sys.executable, "-u", "-m", "submitit.core._submit")  # as submitit starts a job
_FORMAT = "%T|%K|%N|%j|%r"  # state, place in the array, nodes, name, reason
_RUNNING = {"RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING"}
_QUEUED = {
    "PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESV_DEL_HOLD",
    "SPECIAL_EXIT",
}  # fmt: skip
_LARGEST_ARRAY = 1001  # where the cluster does not say: SLURM's own default
MEMORY, TIME = "memory ran out", "its time limit was over"
# How squeue and sacct say that a job is over, in words.
_ENDS = {
    "BOOT_FAIL": "its node did not start",
    "CANCELLED": "it was cancelled",
    "DEADLINE": "its deadline was over",
    "FAILED": "its process failed",
    "NODE_FAIL": "its node failed",
    "OUT_OF_MEMORY": MEMORY,
    "PREEMPTED": "it had to make room for another job",
    "TIMEOUT": TIME,
}


@dataclass(frozen=True)
class _Row:
    """One line of squeue."""

    submission: str
    job_id: str
    state: str
    node: str
    reason: str


class SlurmScheduler:
    """Hands the jobs of one session to SLURM through submitit; see ``cluster.Scheduler``.

    Nothing depends on what sbatch answers, nor on accounting: jobs are known by the names of their
    submissions, which are on disk before sbatch is called.
    """

    def __init__(self, session: Session, config: RunConfig) -> None:
        """Take the session, and its settings with threads decided."""
        self._session = session
        self._config = config
        self._known = Submissions(session)
        self._ended: dict[tuple[str, str], str] = {}  # by submission and job, as squeue last said

    def submit(self, job_ids: Sequence[str]) -> None:
        """Hand jobs over, in as many arrays as the cluster's largest one asks for.

        Raises:
            StudioError: submitit or sbatch is missing, or the cluster refuses the jobs.
        """
        check_cluster(self._session)
        parallel = self._config.slurm_parallel
        numbers: list[str] = []
        for first, last, share in pieces(len(job_ids), largest_array(), parallel):
            before = waits_for(len(numbers), parallel)
            after = None if before is None else numbers[before]
            numbers.append(self._submit_array(job_ids[first:last], share, after))

    def _submit_array(self, job_ids: Sequence[str], share: int | None, after: str | None) -> str:
        """Submit one array, and return the number that SLURM gave it."""
        from submitit import SlurmExecutor
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        made = self._known.enter(job_ids)
        executor = SlurmExecutor(self._known.folder(made))
        asked = submitit_options(self._config, made.name, share or len(job_ids))
        if after is not None:
            asked["dependency"] = f"afterany:{after}"
        executor.update_parameters(**asked)
        jobs_file = str((self._session.folder / JOBS).absolute())
        indices = [job_number(job_id) - 1 for job_id in job_ids]
        number, refusal = "", None
        # Whoever leaves waits: jobs that were taken find what they are to do only when submitit has
        # put it there, which is after sbatch.
        with finishing(), redirect_stderr(io.StringIO()):  # it prints what it raises
            try:
                taken = executor.map_array(become_job, [jobs_file] * len(indices), indices)
                number = str(taken[0].job_id.partition("_")[0])
                self._known.confirm(made, number)
            except (FailedJobError, FailedSubmissionError) as error:
                refusal = error
                take_away(self._known.folder(made))
        if refusal is not None:
            raise StudioError(
                f"SLURM refuses the jobs: {_said(str(refusal))}",
                remedy="Once it takes them, or with other settings slurm_…, go on: "
                f"{self._session.resume_command} --set slurm_…=…",
            ) from refusal
        return number

    def look(self) -> Mapping[str, Place] | None:
        """Return the jobs that are queued or running; ``None`` when SLURM does not answer."""
        if not self._known:
            return {}
        rows = self._rows()
        if rows is None:
            return None
        places: dict[str, Place] = {}
        for row in rows:
            if row.state in _RUNNING:
                places[row.job_id] = Place("running", node=row.node)
            elif row.state in _QUEUED:  # of two of the same job, the running one
                places.setdefault(row.job_id, Place("queued", reason=row.reason))
            else:
                self._ended[row.submission, row.job_id] = row.state
        return places

    def _rows(self) -> list[_Row] | None:
        """Return what squeue says of this session's jobs, also of those that just ended.

        It is asked for all jobs of the user and told apart here: that is one question to the
        controller however many submissions there are, and no version of SLURM takes an unknown
        state for a mistake.
        """
        told = _ask(
            "squeue", f"--user={os.getuid()}", "--noheader", "--array", "--states=all",
            f"--format={_FORMAT}",
        )  # fmt: skip
        if told is None:
            return None
        rows = []
        for line in told.splitlines():
            state, task, node, name, reason = (*line.split("|", 4), *[""] * 5)[:5]
            submission = self._known.named(name.strip())
            index = int(task) if task.isdigit() else 0  # a submission of one job is no array
            if submission is not None and index < len(submission.jobs):
                why = "" if reason == "None" else reason
                rows.append(_Row(submission.name, submission.jobs[index], state, node, why))
        return rows

    def submissions(self, job_id: str) -> int:
        """Return how many times SLURM took a job, as far as that was written down."""
        return sum(bool(one.cluster_id) for one in self._known.of(job_id))

    def output(self, job_id: str) -> str:
        """Return the path of the file with what a job last wrote; empty when there is none."""
        written = [
            path
            for one in self._known.of(job_id)
            for path in self._known.folder(one).glob(_output_of(one, job_id))
        ]
        return str(max(written, key=lambda path: path.stat().st_mtime)) if written else ""

    def why_lost(self, job_id: str) -> str:
        """Return why a job is in the queue no more, as far as SLURM still says; else empty."""
        own = self._known.of(job_id)
        if not own:
            return ""
        state = self._ended.get((own[-1].name, job_id), "")
        if not state and own[-1].cluster_id:  # SLURM forgets, but its accounting, if there is one
            task = f"_{own[-1].jobs.index(job_id)}" if len(own[-1].jobs) > 1 else ""
            number = f"{own[-1].cluster_id}{task}"
            told = _ask("sacct", "--noheader", "-X", "--parsable2", "--format=State", "-j", number)
            state = next(iter((told or "").split()), "")
        return _ENDS.get(state, "")

    def cancel(self, job_ids: Sequence[str]) -> None:
        """Take jobs out of the queue, and stop those of them that run.

        Those of other runs of the session go on: each submission is of one run.
        """
        rows = self._rows()
        own = {one.name for job_id in job_ids for one in self._known.of(job_id)}
        for name in own if rows is None else own & {row.submission for row in rows}:
            _ask("scancel", f"--user={os.getuid()}", f"--name={name}")


def check_cluster(session: Session) -> None:
    """Make sure that jobs of a session can be handed to SLURM from here.

    Raises:
        StudioError: submitit or a command of SLURM is missing, or the session's folder is of no
            use to it.
    """
    check_submitit()
    for command in ("sbatch", "srun", "squeue"):
        _find(command)
    check_folder(session.cluster_folder)


def check_request(config: RunConfig) -> None:
    """Make sure that there is what jobs ask of the cluster, before anything is prepared for them.

    What may change by itself, as nodes that are down, does not matter: jobs wait for it.

    Raises:
        StudioError: There is no such partition, account, feature or kind of resource.
    """
    asked = [f"--{name.replace('_', '-')}={value}" for name, value in options(config).items()]
    try:
        done = subprocess.run(
            ["sbatch", "--test-only", *asked, "--wrap=true"],
            capture_output=True, text=True, errors="replace", timeout=_ANSWERS_WITHIN,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return  # the submission will tell
    said = re.findall(r"\binvalid .*", done.stderr, re.IGNORECASE)
    if done.returncode and said:
        given = ", ".join(f"{k}={v}" for k, v in config.chosen().items() if k.startswith("slurm_"))
        raise StudioError(
            f"SLURM refuses such jobs: {visible(said[-1])}.",
            where=visible(given),
            remedy="Change what they ask for, the settings slurm_…; sinfo shows what there is.",
        )


def check_queue(session: Session) -> None:
    """Make sure that the jobs of a session can be gone on with from here.

    Raises:
        StudioError: They were handed over, and what became of them cannot be asked here; or see
            ``check_cluster``.
    """
    if not Submissions(session):
        check_cluster(session)
    elif shutil.which("squeue") is None:
        raise StudioError(
            "There is no squeue here: the jobs of the session are on a SLURM cluster, and this "
            "machine is not part of it.",
            where=visible(str(session.folder)),
            remedy="They go on without you. Follow them from the cluster's login node: "
            + session.resume_command,
        )


def check_submitit() -> None:
    """Make sure that submitit is installed.

    Raises:
        StudioError: It is not.
    """
    if find_spec("submitit") is None:
        raise StudioError(
            "submitit, which hands jobs to SLURM, is not installed.",
            remedy='Install it: pip install "llm-tool[slurm]"; or let llm-tool export --sbatch '
            "write scripts that go without it.",
        )


def largest_array() -> int:
    """Return how many jobs an array may have on this cluster."""
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", _ask("scontrol", "show", "config") or "", re.M)
    return max(1, int(found[1])) if found else _LARGEST_ARRAY


def submitit_scripts(config: RunConfig, session: Session, jobs: int) -> list[str]:
    """Return the scripts that ``submit`` would hand over, without a cluster at hand.

    Args:
        config: The settings, threads decided.
        session: The session that the jobs would be of.
        jobs: How many there are.

    Raises:
        StudioError: submitit is missing, or a setting cannot be written into a script.
    """
    check_submitit()
    from submitit.slurm.slurm import _make_sbatch_string

    check_folder(session.cluster_folder)
    scripts = []
    parallel = config.slurm_parallel
    for number, (first, last, share) in enumerate(pieces(jobs, largest_array(), parallel)):
        name = new_name(session)
        folder = session.cluster_folder / "jobs" / name
        count = last - first
        asked = submitit_options(config, name, share or count)
        if (before := waits_for(number, parallel)) is not None:
            asked["dependency"] = f"afterany:(array {before + 1})"
        scripts.append(
            _make_sbatch_string(
                command=shlex.join([*_SUBMITTED, str(folder)]),
                folder=folder,
                map_count=count if count > 1 else None,
                **asked,
            )
        )
    return scripts


def _output_of(submission: Submission, job_id: str) -> str:
    task = submission.jobs.index(job_id)
    named = OUTPUT.replace("%A", "*").replace("%a", str(task))
    return named if len(submission.jobs) > 1 or submission.by_hand else "*_0_log.out"


def _find(command: str) -> None:
    if shutil.which(command) is None:
        raise StudioError(
            f"There is no {command} here: this machine is not part of a SLURM cluster.",
            remedy="Work on the cluster's login node, or train here: --executor local.",
        )


def _ask(*words: str) -> str | None:
    """Return what a command of SLURM prints; ``None`` when it fails or is not there."""
    try:
        done = subprocess.run(
            words,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_ANSWERS_WITHIN,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _said(error: str) -> str:
    """Return the last thing that a command said, on one line."""
    lines = [line for line in error.splitlines() if line.strip()] or ["without a word."]
    return visible(lines[-1].removeprefix("sbatch: ").removeprefix("error: "))
