"""MLflow: an SQLite database beside the sessions, an experiment for each category of each."""

from __future__ import annotations

import logging
import os
import re
import sqlite3
import time
from contextlib import closing
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from filelock import FileLock

from llm_tool.events import Status
from llm_tool.logs.files import whole
from llm_tool.trackers.tracking import Metrics, TrackedRun

if TYPE_CHECKING:
    from mlflow import MlflowClient

DATABASE = "mlflow.db"
_STATUSES = {"done": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}
_NOT_IN_NAMES = re.compile(r"[^\w.\- :/]")
_LONGEST_NAME, _LONGEST_VALUE = 250, 6000
_JOB = "llm_tool.job"


class MlflowStore:
    """Writes ``mlflow.db``; ``mlflow ui --backend-store-uri sqlite:///…`` shows it.

    Through a client of its own, so that several runs can be under way at once.
    """

    def __init__(self, logs_dir: Path) -> None:
        self._folder = logs_dir.resolve()
        self._runs: dict[tuple[str, str], str] = {}
        self._experiments: dict[tuple[str, str], str] = {}

    @cached_property
    def _client(self) -> MlflowClient:
        self._folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self._folder / f".{DATABASE}.lock"):
            if not (self._folder / DATABASE).exists():
                _create(self._folder / DATABASE)
        return _client_of(self._folder / DATABASE)

    def _experiment(self, run: TrackedRun) -> str:
        place = run.session_id, run.category
        if place not in self._experiments:
            name = "/".join(place)
            known = self._client.get_experiment_by_name(name)
            self._experiments[place] = (
                known.experiment_id
                if known
                else self._client.create_experiment(name, (self._folder / "mlflow").as_uri())
            )
        return self._experiments[place]

    def begin(self, run: TrackedRun) -> None:
        """Start a run anew; an earlier one of the job goes to the deleted ones."""
        from mlflow.entities import Param

        experiment = self._experiment(run)
        of_the_job = f"tags.`{_JOB}` = '{run.job_id}'"
        for earlier in self._client.search_runs([experiment], of_the_job):
            self._client.delete_run(earlier.info.run_id)
        tags = {_JOB: run.job_id, "session": run.session_id, "category": run.category}
        started = self._client.create_run(experiment, tags=tags, run_name=run.name)
        self._runs[run.category, run.job_id] = started.info.run_id
        params = [Param(name, value[:_LONGEST_VALUE]) for name, value in run.settings.items()]
        self._client.log_batch(started.info.run_id, params=params)

    def log(self, run: TrackedRun, epoch: int, metrics: Metrics) -> None:
        """Add the numbers of an epoch."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        own = self._runs[run.category, run.job_id]
        named = zip(metric_names(metrics), metrics.values(), strict=True)
        numbers = [Metric(name, float(value), now, epoch) for name, value in named]
        for first in range(0, len(numbers), 1000):  # as many as it takes at once
            self._client.log_batch(own, metrics=numbers[first : first + 1000])

    def end(self, run: TrackedRun, metrics: Metrics, status: Status) -> None:
        """Add the numbers of the end."""
        if metrics:
            self.log(run, int(metrics.get("best_epoch", 0)), metrics)
        own = self._runs.pop((run.category, run.job_id))
        if status != "detached":  # else it is running still
            self._client.set_terminated(own, _STATUSES[status])


def _client_of(database: Path) -> MlflowClient:
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # read when it is loaded
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic"):  # what they do to a new database is no news
        logging.getLogger(name).setLevel(logging.WARNING)
    store = f"sqlite:///{database.as_posix()}"
    return MlflowClient(tracking_uri=store, registry_uri=store)


def _create(database: Path) -> None:
    """Make a new database, whole or not at all.

    MLflow makes one in a hundred steps and waits for the disk after each, which can take half a
    minute: here the disk is waited for once.
    """
    from sqlalchemy import Engine, event

    def hurry(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA synchronous = OFF")

    event.listen(Engine, "connect", hurry)
    try:
        with TemporaryDirectory(ignore_cleanup_errors=True) as folder, whole(database) as new:
            _client_of(Path(folder) / DATABASE)
            source, target = sqlite3.connect(Path(folder) / DATABASE), sqlite3.connect(new)
            with closing(source), closing(target):
                source.backup(target)
    finally:
        event.remove(Engine, "connect", hurry)


def metric_names(metrics: Metrics) -> list[str]:
    """Return names that MLflow takes: it knows letters, digits and a few signs, and no ``..``."""
    names: list[str] = []
    for metric in metrics:
        kind, slash, label = metric.partition("/")
        plain = re.sub(r"^\.+$", "_", _NOT_IN_NAMES.sub("_", label.replace("/", "_")))
        name = f"{kind}{slash}{plain or '_' * bool(slash)}"[:_LONGEST_NAME]
        number = 2
        base = name
        while name in names:
            name = f"{base[: _LONGEST_NAME - 5]} {number}"
            number += 1
        names.append(name)
    return names
