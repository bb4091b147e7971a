"""A training session: one dated folder for everything since the studio was launched."""

from __future__ import annotations

import json
import platform
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, replace
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from filelock import FileLock

from llm_tool import __version__
from llm_tool.errors import StudioError
from llm_tool.events import (
    EpochEnded,
    Event,
    JobEnded,
    JobEvent,
    JobFailed,
    Status,
    per_category,
)
from llm_tool.logs import journal
from llm_tool.logs.files import disk_errors, replacing, unique_name
from llm_tool.logs.metrics_csv import CategoryCsv
from llm_tool.plan import Job, Task
from llm_tool.text import visible

_ID = re.compile(r"\d{8}_\d{6}(_\d+)?")
_FILES = ("session.json", "jobs.jsonl", ".lock")
_PACKAGES = ("torch", "transformers", "tokenizers", "numpy", "pandas", "scikit-learn")


def timestamp(moment: datetime | None = None) -> str:
    """Return a moment (now, if none is given) as YYYYMMDD_HHMMSS, local time."""
    return (moment or datetime.now()).strftime("%Y%m%d_%H%M%S")


class Session:
    """The folder of a session, made when its first run starts.

    ``record`` is the observer that writes: the journal first, then the CSVs that follow from it.
    """

    def __init__(
        self, logs_dir: str | Path = "training_logs", session_id: str | None = None
    ) -> None:
        """Name a new session by the time, or join the session ``session_id``.

        Raises:
            StudioError: ``session_id`` is not of the form YYYYMMDD_HHMMSS.
        """
        if session_id is not None and not _ID.fullmatch(session_id):
            raise StudioError(
                f"'{visible(session_id)}' is not a session id.",
                remedy="Session ids look like 20261122_140501.",
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
        return FileLock(self.folder / ".lock")

    @contextmanager
    def run(
        self, jobs: Iterable[Job], config: Mapping[str, Any], dataset: Mapping[str, Any]
    ) -> Iterator[tuple[Job, ...]]:
        """Enter a run into the session, give its jobs with their ids, and enter how it ended.

        Args:
            jobs: The planned jobs, in order.
            config: The resolved configuration, JSON-ready.
            dataset: Name and hash of the data, JSON-ready.

        Raises:
            StudioError: The logs folder cannot be written.
        """
        self._failed = 0
        self._categories = {}  # an interrupted run may have left them behind the journals
        named, run = self._start_run(jobs, {"config": config, "dataset": dataset})
        status: Status = "failed"
        try:
            yield named
            status = "failed" if self._failed else "done"
        except KeyboardInterrupt:
            status = "interrupted"
            raise
        finally:
            self._end_run(run, status)

    def _start_run(
        self, jobs: Iterable[Job], about: Mapping[str, Any]
    ) -> tuple[tuple[Job, ...], int]:
        self._create()
        with disk_errors(self.folder, "Starting the run"), self._lock():
            facts = self._read()
            path = self.folder / "jobs.jsonl"
            lines = path.read_text("utf-8").splitlines() if path.exists() else []
            named = tuple(replace(j, id=f"j{n:04d}") for n, j in enumerate(jobs, len(lines) + 1))
            lines += [json.dumps(asdict(job)) for job in named]
            with replacing(path) as file:  # whole: the ids go on from the number of lines
                file.writelines(f"{line}\n" for line in lines)
            tasks = [task for job in named for task in job.tasks]
            facts["categories"] = _assign_folders(facts["categories"], tasks)
            run = {"status": "running", "started": timestamp(), "ended": None, **about}
            facts["runs"].append(run | {"jobs": [job.id for job in named]})
            facts |= {"status": "running", "ended": None}
            self._write(facts)
        self._folders = _folders(facts)
        return named, len(facts["runs"]) - 1

    def _end_run(self, number: int, status: Status) -> None:
        with disk_errors(self.folder, "Ending the run"), self._lock():
            facts = self._read()
            facts["runs"][number] |= {"status": status, "ended": timestamp()}
            still = any(run["status"] == "running" for run in facts["runs"])
            if not still:
                facts |= {"status": status, "ended": timestamp()}
            self._write(facts)

    def _read(self) -> dict[str, Any]:
        path = self.folder / "session.json"
        if path.exists():
            facts: dict[str, Any] = json.loads(path.read_text("utf-8"))
            return facts
        return {
            "id": self.id,
            "status": "running",
            "started": timestamp(),
            "ended": None,
            "host": platform.node(),
            "versions": _versions(),
            "git": _git_state(),
            "categories": [],
            "runs": [],
        }

    def _write(self, facts: Mapping[str, Any]) -> None:
        with replacing(self.folder / "session.json") as file:
            json.dump(facts, file, indent=2)
            file.write("\n")

    def jobs(self) -> tuple[Job, ...]:
        """Return every job that was entered into the session, in the order of their ids."""
        from pydantic import TypeAdapter

        job = TypeAdapter(Job)
        lines = (self.folder / "jobs.jsonl").read_bytes().splitlines()
        return tuple(job.validate_json(line) for line in lines)

    def category_name(self, task: Task) -> str:
        """Return the name of the folder of a task's category."""
        category = (task.label_key, task.label_value)
        if category not in self._folders:  # the run was started by another object or process
            self._folders = _folders(self._read())
        return self._folders[category]

    def category_folder(self, task: Task) -> Path:
        """Return the folder of a task's category."""
        return self.folder / self.category_name(task)

    def run_folder(self, job: Job) -> Path:
        """Return the folder of a job, for a shared encoder that of its first label."""
        return self.category_folder(job.tasks[0]) / "runs" / job.id

    def record(self, event: Event) -> None:
        """Write an event of a job to its journal, then bring the category's CSVs up to date.

        Raises:
            StudioError: The logs folder cannot be written.
        """
        if not isinstance(event, JobEvent):
            return
        self._failed += isinstance(event, JobFailed)
        with disk_errors(self.folder, "Writing the logs"), self._lock():
            for own in per_category(event):
                journal.append(self.run_folder(own.job), own)
                if isinstance(own, EpochEnded | JobEnded):
                    folder = self.category_folder(own.job.task)
                    self._categories.setdefault(folder, CategoryCsv(folder)).update(own)


def _assign_folders(known: list[dict[str, str]], tasks: Iterable[Task]) -> list[dict[str, str]]:
    """Return the categories with a folder for every task; folders once given stay.

    A label value that belongs to several keys of the session is not a name: its folder is
    ``{key}_{value}``, but for the first of runs that came before.
    """
    categories = [dict(c) for c in known]
    held = [(c["label_key"], c["label_value"]) for c in categories]
    every = dict.fromkeys([*held, *((task.label_key, task.label_value) for task in tasks)])
    names = [Task(*pair).category for pair in every]
    for key, value in every:
        if (key, value) in held:
            continue
        name = Task(key, value).category
        ambiguous = bool(value) and names.count(name) > 1
        raw = f"{key}_{value}" if ambiguous else name
        folder = unique_name(raw, {*_FILES, *(c["folder"] for c in categories)})
        categories.append({"label_key": key, "label_value": value, "folder": folder})
    return categories


def _folders(facts: Mapping[str, Any]) -> dict[tuple[str, str], str]:
    return {(c["label_key"], c["label_value"]): c["folder"] for c in facts["categories"]}


def _versions() -> dict[str, str]:
    installed = {"llm-tool": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            installed[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return installed


def _git_state() -> dict[str, Any] | None:
    """Return commit and cleanliness of the working folder's repository, if it is in one."""

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], capture_output=True, text=True, timeout=5, check=True
        )
        return done.stdout.strip()

    try:
        return {
            "commit": git("rev-parse", "HEAD"),
            "clean": not git("status", "--porcelain", "--untracked-files=no"),
        }
    except (OSError, subprocess.SubprocessError):
        return None
