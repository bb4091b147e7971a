"""trackio: an SQLite database for each session, in a folder beside the sessions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from llm_tool.events import Status
from llm_tool.trackers.tracking import Metrics, TrackedRun

if TYPE_CHECKING:
    from trackio.sqlite_storage import SQLiteStorage


class TrackioStore:
    """Writes ``{folder}/{session}.db``; ``TRACKIO_DIR=… trackio show`` shows it.

    Straight into its storage: ``trackio.init`` prints to standard output, watches the machine and
    has one run at a time.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()

    @property
    def _storage(self) -> type[SQLiteStorage]:
        from trackio import sqlite_storage

        # It reads TRACKIO_DIR once, when it is loaded; sessions can lie in several folders.
        vars(sqlite_storage)["TRACKIO_DIR"] = self._folder
        return sqlite_storage.SQLiteStorage

    def begin(self, run: TrackedRun) -> None:
        """Start a run anew."""
        self._storage.delete_run(run.session_id, _name(run), run_id=_id(run))

    def log(self, run: TrackedRun, epoch: int, metrics: Metrics) -> None:
        """Add the numbers of an epoch."""
        self._write(run, epoch, metrics, "running")

    def end(self, run: TrackedRun, metrics: Metrics, status: Status) -> None:
        """Add the numbers of the end."""
        self._write(run, int(metrics.get("best_epoch", 0)), metrics, status)

    def _write(self, run: TrackedRun, step: int, metrics: Metrics, status: str) -> None:
        config = {**run.settings, "status": status, "_Group": run.category}
        self._storage.bulk_log(
            run.session_id, _name(run), [dict(metrics)],
            steps=[step], config=config, run_id=_id(run),
        )  # fmt: skip


def _id(run: TrackedRun) -> str:
    return f"{run.category}/{run.job_id}"


def _name(run: TrackedRun) -> str:
    return f"{run.category} {run.name}"
