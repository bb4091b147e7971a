"""A training session: one dated folder for everything since the studio was launched."""

from __future__ import annotations

import json
import platform
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from llm_tool.errors import DiskError, StoppedError, StudioError
from llm_tool.events import (
    EpochEnded,
    Event,
    JobEnded,
    JobEvent,
    JobFailed,
    JobStarted,
    Status,
)
from llm_tool.logs import journal
from llm_tool.logs.categories import assign_folders, folders_of
from llm_tool.logs.facts import JOBS, SESSION, fingerprint, git_state, planned, read_facts, versions
from llm_tool.logs.files import disk_errors, locked, replacing
from llm_tool.logs.labels import per_category, recorded_result
from llm_tool.logs.metrics_csv import RUNS, CategoryCsv
from llm_tool.logs.presence import (
    heartbeat,
    is_on_cluster,
    is_over,
    own_process,
    status_of,
    whole_status,
)
from llm_tool.plan import Account, Job, Task
from llm_tool.stopping import Detached, Paused, finishing, leave
from llm_tool.text import shell_word, visible

_ID = re.compile(r"\d{8}_\d{6}(_\d+)?")
LOGS_DIR = "training_logs"


def timestamp(moment: datetime | None = None) -> str:
    """Return a moment (now, if none is given) as YYYYMMDD_HHMMSS, local time."""
    return (moment or datetime.now()).strftime("%Y%m%d_%H%M%S")


def command_line(command: str, *words: str, logs_dir: str | Path) -> str:
    """Return a command about sessions, as it is typed, with the logs folder where it is another."""
    where = ["--logs-dir", str(logs_dir)] if Path(logs_dir) != Path(LOGS_DIR) else []
    return " ".join(map(shell_word, ["llm-tool", command, *words, *where]))


class Session:
    """The folder of a session, made when its first run starts.

    ``record`` is the observer that writes: the journal first, then the CSVs that follow from it.
    """

    def __init__(self, logs_dir: str | Path = LOGS_DIR, session_id: str | None = None) -> None:
        """Name a new session by the time, or join the session ``session_id``.

        Raises:
            StudioError: ``session_id`` is not of the form YYYYMMDD_HHMMSS.
        """
        if session_id is not None and not _ID.fullmatch(session_id):
            raise StudioError(
                f"'{visible(session_id)}' is not a session id.",
                remedy="Session ids look like 20261122_140501; llm-tool sessions lists them.",
            )
        self.logs_dir = Path(logs_dir)
        self._joins = session_id is not None
        self.id = session_id or self._free_id(timestamp())
        self._categories: dict[Path, CategoryCsv] = {}
        self._folders: dict[tuple[str, str], str] = {}
        self._failed = 0

    @property
    def folder(self) -> Path:
        """The session's folder of logs."""
        return self.logs_dir / self.id

    @property
    def cluster_folder(self) -> Path:
        """What jobs on a cluster are given, and their output; no category's folder is hidden."""
        return self.folder / ".cluster"

    def _free_id(self, base: str) -> str:
        number, session_id = 1, base
        while (path := self.logs_dir / session_id).exists() or path.is_symlink():
            number += 1
            session_id = f"{base}_{number}"
        return session_id

    def _create(self) -> None:
        with disk_errors(self.folder, "Making the session's folder"):
            while not self._joins:
                try:
                    self.folder.mkdir(parents=True)
                    self._joins = True
                except FileExistsError:  # another launch in the same second was first
                    self.id = self._free_id(self.id[:15])
            self.folder.mkdir(parents=True, exist_ok=True)

    def _lock(self) -> AbstractContextManager[object]:
        return locked(self.folder / ".lock")

    @property
    def resume_command(self) -> str:
        """The command that goes on with what is not done."""
        return command_line("resume", self.id, logs_dir=self.logs_dir)

    @contextmanager
    def run(
        self,
        jobs: Iterable[Job],
        config: Mapping[str, Any],
        dataset: Mapping[str, Any],
        accounts: Iterable[Account] = (),
    ) -> Iterator[tuple[Job, ...]]:
        """Enter a run into the session, give its jobs with their ids, and enter how it ended.

        Args:
            jobs: The planned jobs, in order.
            config: The resolved configuration, JSON-ready.
            dataset: Name and hash of the data, JSON-ready.
            accounts: Where the rows of the data go.

        Raises:
            StudioError: The logs folder cannot be written.
        """
        process = own_process()
        about: dict[str, Any] = {"config": config, "dataset": dataset}
        if rows := [asdict(account) for account in accounts]:
            about["accounts"] = rows
        named, run = self._start_run(jobs, about, process)
        with self._until_over(run, process):
            yield named

    @contextmanager
    def rerun(self, number: int, asked: dict[str, Any] | None = None) -> Iterator[tuple[Job, ...]]:
        """Open a run of the session again, give all its jobs, and enter how it ended.

        Args:
            number: Its place among the runs of the session.
            asked: Settings with another value from now on, JSON-ready.

        Raises:
            StudioError: A process is still at it, or the logs folder cannot be written.
        """
        process = own_process()
        with self.writing("Starting the run"):
            run = (facts := self._read())["runs"][number]
            if status_of(run) == "running":
                raise StudioError(
                    f"Session {self.id} is still being trained, by process "
                    f"{run['process']['pid']} on {run['process']['machine'].split()[0]}.",
                    remedy="Wait for its end, or stop that process first.",
                )
            self._rebuild()
            self._clean(facts)
            if asked:
                run["config"] |= asked
                run["fingerprint"] = fingerprint(run)
            run |= _running(process)
            self._write(facts)
        self._folders = folders_of(facts)
        with self._until_over(number, process):
            yield self.jobs(number)

    def _start_run(
        self, jobs: Iterable[Job], about: Mapping[str, Any], process: Mapping[str, Any]
    ) -> tuple[tuple[Job, ...], int]:
        self._create()
        with disk_errors(self.folder, "Starting the run"), self._lock():
            facts = self._read()
            self._clean(facts)
            # A kill can come after the plan was written and before the session knows of it.
            known = [job_id for run in facts["runs"] for job_id in run["jobs"]]
            named = tuple(replace(j, id=f"j{n:04d}") for n, j in enumerate(jobs, len(known) + 1))
            every = [*(self.jobs() if known else ()), *named]
            with replacing(self.folder / JOBS) as file:
                file.writelines(f"{json.dumps(asdict(job))}\n" for job in every)
            tasks = [task for job in named for task in job.tasks]
            facts["categories"] = assign_folders(facts["categories"], tasks)
            run = {"status": "running", "started": timestamp(), "folder": str(Path.cwd())}
            run |= {**_running(process), **about, "fingerprint": fingerprint(about)}
            facts["runs"].append(run | {"jobs": [job.id for job in named]})
            self._write(facts)
        self._folders = folders_of(facts)
        self._categories = {}  # an interrupted run may have left them behind the journals
        return named, len(facts["runs"]) - 1

    @contextmanager
    def _until_over(self, number: int, process: Mapping[str, Any]) -> Iterator[None]:
        """Show that a run is alive, and enter how it ended."""
        self._failed = 0
        try:
            with heartbeat(lambda: self._note(number, process, heartbeat=time.time())):
                yield
        except BaseException as error:
            with suppress(DiskError):  # what ended the run matters more
                self._end(number, process, _broken_off(error))
            raise
        else:
            self._end(number, process, "failed" if self._failed else "done")
        finally:
            is_over(process)

    def _end(self, number: int, process: Mapping[str, Any], status: Status) -> None:
        ended = None if status == "detached" else timestamp()
        self._note(number, process, status=status, ended=ended)

    def _note(self, number: int, process: Mapping[str, Any], **facts: object) -> None:
        """Enter facts of a run into session.json, and leave it where another process took it over.

        One that stood still for minutes, with its machine or by Ctrl-Z, counts as gone.
        """
        with self.writing("Writing the logs"):
            whole = self._read()
            if whole["runs"][number]["process"]["attempt"] != process["attempt"]:
                leave()
                return
            whole["runs"][number] |= facts
            self._write(whole)

    @contextmanager
    def writing(self, doing: str) -> Iterator[None]:
        """Write to the session, alone, and to the end.

        Raises:
            DiskError: Its folder is gone, or cannot be written.
        """
        with disk_errors(self.folder, doing), finishing():
            self.check_there()  # before the lock, which would make the folder anew
            with self._lock():
                yield

    def check_there(self) -> None:
        """Refuse to write into a folder that was taken away, as if it were a new one.

        Raises:
            DiskError: It is gone.
        """
        if not (self.folder / SESSION).exists():
            raise DiskError(
                "The session's folder is gone.",
                where=visible(str(self.folder)),
                remedy="Bring it back (a disk that is not mounted?).",
            )

    def check_own(self) -> None:
        """Make sure that it is this process that is to write; see ``JobSession``."""

    def _read(self) -> dict[str, Any]:
        if (self.folder / SESSION).exists():
            return read_facts(self.folder)
        return {
            "id": self.id,
            "status": "running",
            "started": timestamp(),
            "ended": None,
            "host": platform.node(),
            "versions": versions(),
            "git": git_state(),
            "categories": [],
            "runs": [],
        }

    def _write(self, facts: dict[str, Any]) -> None:
        status = whole_status(facts["runs"])
        ends = [run["ended"] or "" for run in facts["runs"]]
        ended = None if status in ("running", "detached") else max(ends)
        facts |= {"status": status, "ended": ended}
        with replacing(self.folder / SESSION) as file:
            json.dump(facts, file, indent=2)
            file.write("\n")

    def jobs(self, run: int | None = None) -> tuple[Job, ...]:
        """Return the jobs of a run of the session, or of all runs, in the order of their ids."""
        runs = self._read()["runs"]
        own = {job_id for each in (runs if run is None else [runs[run]]) for job_id in each["jobs"]}
        return tuple(job for job in planned(self.folder / JOBS) if job.id in own)

    def category_name(self, task: Task) -> str:
        """Return the name of the folder of a task's category."""
        category = (task.label_key, task.label_value)
        if category not in self._folders:  # the run was started by another object or process
            self._folders = folders_of(self._read())
        return self._folders[category]

    def category_folder(self, task: Task) -> Path:
        """Return the folder of a task's category."""
        return self.folder / self.category_name(task)

    def run_folder(self, job: Job) -> Path:
        """Return the folder of a job, for a shared encoder that of its first label."""
        return self.category_folder(job.tasks[0]) / RUNS / job.id

    def records(self, job: Job) -> tuple[journal.JobRecord | None, ...]:
        """Return what the journal of each of a job's tasks says; ``None`` without an epoch."""
        return tuple(
            journal.read_record(path) if path.exists() else None for path in self.journals(job)
        )

    def journals(self, job: Job) -> list[Path]:
        """Return the journal of each of a job's tasks."""
        return [self.run_folder(job.of(task)) / journal.JOURNAL for task in job.tasks]

    def is_finished(self, job: Job) -> bool:
        """Tell whether a job has its result, in all of its categories."""
        return all(path.exists() and journal.is_ended(path) for path in self.journals(job))

    def result(self, job: Job) -> JobEnded | None:
        """Return the result of a job that has it in all of its categories."""
        own = [journal.read_result(path) for path in self.journals(job) if path.exists()]
        ends = [result for result in own if result is not None]
        return recorded_result(job, ends) if len(ends) == len(job.tasks) else None

    def record(self, event: Event) -> None:
        """Write an event of a job to its journal, then bring the category's CSVs up to date.

        Raises:
            DiskError: The logs folder cannot be written.
        """
        if not isinstance(event, JobEvent):
            return
        self._failed += isinstance(event, JobFailed)
        with self.writing("Writing the logs"):
            for own in per_category(event):
                folder = self.run_folder(own.job)
                is_first = not (folder / journal.JOURNAL).exists()
                journal.append(folder, own)
                if isinstance(own, JobStarted) and is_first:
                    continue  # no rows yet
                if isinstance(own, JobStarted | EpochEnded | JobEnded):
                    self.csv(folder.parents[1]).update(own)

    def count_failure(self) -> None:
        """Count a job of the run as failed that another process recorded."""
        self._failed += 1

    def csv(self, folder: Path) -> CategoryCsv:
        """Return the keeper of a category's two files."""
        return self._categories.setdefault(folder, CategoryCsv(folder))

    def repair(self) -> list[str]:
        """Write everything that follows from the journals anew; return the folders it changed.

        Raises:
            StudioError: The session cannot be read, or its folder cannot be written.
        """
        with self.writing("Repairing the session"):
            changed = self._rebuild()
            facts = self._read()
            self._clean(facts)
            for run in facts["runs"]:
                run["status"] = status_of(run)
            self._write(facts)
        return changed

    def _rebuild(self) -> list[str]:
        self._categories = {}
        folders = sorted(path.parent for path in self.folder.glob(f"*/{RUNS}"))
        return [folder.name for folder in folders if self.csv(folder).rebuild()]

    def _clean(self, facts: Mapping[str, Any]) -> None:
        """Take away what a killed process had not finished writing, unless one is at it.

        Jobs of a run on a cluster may be, whoever follows them, until all of them are done.
        """
        runs = facts["runs"]
        if any(is_on_cluster(run) and run["status"] != "done" for run in runs):
            return
        if whole_status(runs) == "running":
            return
        for path in self.folder.rglob(".*.tmp"):
            path.unlink()


def _broken_off(error: BaseException) -> Status:
    """Return how a run stands that did not come to its end."""
    if isinstance(error, Detached):
        return "detached"
    stopped = isinstance(error, KeyboardInterrupt | Paused | DiskError | StoppedError)
    return "interrupted" if stopped else "failed"


def _running(process: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "status": "running",
        "ended": None,
        "process": process,
        "heartbeat": time.time(),
    }
