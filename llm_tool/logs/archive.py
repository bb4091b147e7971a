"""What a session left, read back: every training with its epochs, result and predictions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_tool.errors import StudioError
from llm_tool.events import EpochEnded, JobEnded, JobFailed, JobStarted
from llm_tool.logs.facts import read_facts
from llm_tool.logs.journal import JOURNAL, read_attempts
from llm_tool.logs.presence import whole_status
from llm_tool.logs.session import Session
from llm_tool.plan import Job
from llm_tool.text import visible

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Training:
    """One training as one category knows it: of a shared encoder, one of its labels.

    ``category`` is the name of the category's folder, ``folder`` that of the training's own files,
    ``run`` what session.json says of its run: ``config``, ``dataset``, ``started``, ``ended``.
    ``started`` is ``None`` for a job that has not begun, ``ended`` unless it is done, ``failed``
    unless its last attempt failed.
    """

    session_id: str
    category: str
    folder: Path
    job: Job
    run: Mapping[str, Any]
    started: JobStarted | None = None
    epochs: tuple[EpochEnded, ...] = ()
    ended: JobEnded | None = None
    failed: JobFailed | None = None

    def predictions(self) -> pd.DataFrame:
        """Return a row for each validation and test row, as ``save_predictions`` wrote them.

        Raises:
            StudioError: They are not there, or cannot be read.
        """
        return self._read("predictions.parquet")

    def split(self) -> pd.DataFrame:
        """Return ``row``, ``id`` and ``part`` of every row of the training.

        Raises:
            StudioError: They are not there, or cannot be read.
        """
        return self._read("split.parquet")

    def _read(self, name: str) -> pd.DataFrame:
        import pandas as pd

        path = self.folder / name
        try:
            return pd.read_parquet(path)
        except (OSError, ValueError) as error:  # pyarrow's own errors are both
            raise StudioError(
                f"{name} of {visible(self.job.id)} cannot be read: it is missing or damaged.",
                where=visible(str(path)),
                remedy="Bring the file back, or train that model again.",
            ) from error


@dataclass(frozen=True)
class Archive:
    """A session as its files say; ``trainings`` are in the plan's order.

    ``facts`` is session.json: ``started``, ``ended``, ``host``, ``versions``, ``git``, ``runs``.
    """

    id: str
    folder: Path
    status: str
    facts: Mapping[str, Any]
    trainings: tuple[Training, ...]

    @property
    def done(self) -> tuple[Training, ...]:
        """The trainings that have a result."""
        return tuple(training for training in self.trainings if training.ended)

    def by_category(self) -> dict[str, list[Training]]:
        """Return the trainings of each category's folder."""
        categories: dict[str, list[Training]] = {}
        for training in self.trainings:
            categories.setdefault(training.category, []).append(training)
        return categories


def read_session(logs_dir: str | Path, session_id: str) -> Archive:
    """Read a session back from its folder.

    Raises:
        StudioError: There is no such session, or its session.json is damaged.
    """
    session = Session(logs_dir, session_id)
    facts = read_facts(session.folder)
    trainings = [
        _training(session, job.of(task), run)
        for number, run in enumerate(facts["runs"])
        for job in session.jobs(number)
        for task in job.tasks
    ]
    status = whole_status(facts["runs"])
    return Archive(session.id, session.folder, status, facts, tuple(trainings))


def _training(session: Session, job: Job, run: Mapping[str, Any]) -> Training:
    folder = session.run_folder(job)
    path = folder / JOURNAL
    training = Training(session.id, folder.parents[1].name, folder, job, run)
    record = read_attempts(path) if path.exists() else None
    if record is None:
        return training
    return replace(
        training,
        started=record.started,
        epochs=tuple(record.epochs),
        ended=record.ended,
        failed=record.failed,
    )
