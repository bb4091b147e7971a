"""Prepare what the jobs of a run need, where there is a network and the data; and start one."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from llm_tool.config import RunConfig
from llm_tool.data.dataset import Dataset
from llm_tool.data.tokens import TokenStore
from llm_tool.errors import DiskError, StudioError
from llm_tool.events import JobFailed, Observer, Preparing
from llm_tool.execution.prepared_files import Manifest, PreparedFolder, PreparedModel
from llm_tool.logs.facts import JOBS, read_facts
from llm_tool.logs.files import disk_errors
from llm_tool.logs.journal import job_number
from llm_tool.logs.session import Session
from llm_tool.plan import Job, Parts
from llm_tool.slurm_settings import ASKED_ANEW
from llm_tool.text import visible

if TYPE_CHECKING:
    from llm_tool.execution.runner import Runner

Training = tuple[Job, Parts]
_PIECE = 2000  # texts that are tokenised between two words on how far that is


def job_command(session: Session, job_id: str) -> list[str]:
    """Return the words that train one job, from any folder and on any node."""
    plan = str((session.folder / JOBS).absolute())
    words = [sys.executable, "-m", "llm_tool", "job", "run", plan]
    return [*words, "--index", str(job_number(job_id) - 1)]


def prepared_folder(session: Session, job: Job) -> PreparedFolder:
    """Return the folder with what is prepared for the run of a job.

    Raises:
        StudioError: No run of the session has the job.
    """
    runs = read_facts(session.folder)["runs"]
    number = next((n for n, run in enumerate(runs) if job.id in run["jobs"]), None)
    if number is None:
        raise StudioError(
            f"No run of the session has the job {visible(job.id)}.",
            where=visible(str(session.folder)),
            remedy="It was planned by a run that never started: start that again.",
        )
    return PreparedFolder(session.cluster_folder / f"run-{number}")


def prepare_jobs(
    trainings: Sequence[Training],
    dataset: Dataset,
    config: RunConfig,
    session: Session,
    show: Observer = lambda _: None,
) -> tuple[list[Training], list[JobFailed]]:
    """Write what jobs need, unless it is there; return those that can be trained, and the others.

    Models are found, or downloaded, and texts are tokenised, once for all jobs. A job whose model
    cannot be had fails here, as it would on this machine. ``workers`` and ``threads`` of the
    settings are decided.

    Args:
        trainings: The jobs, with their ids, and their rows.
        dataset: The rows of all jobs.
        config: The settings.
        session: Their session, in which their run is entered.
        show: Told what is being prepared, and how far that is.

    Raises:
        DiskError: The folder cannot be written.
    """
    from llm_tool.execution.runner import Runner

    if not trainings:
        return [], []
    folder = prepared_folder(session, trainings[0][0])
    before = folder.read()
    if before is not None and not _is_of(before, dataset, config):
        before = None
    known = before.jobs if before else {}
    preparation = _Preparation(Runner(dataset, config, session), show)
    for training in trainings:
        if training[0].id not in known:
            preparation.add(training)
    if preparation.ready or before is None:
        for training in trainings:
            if training[0].id in known:
                preparation.add(training)
        preparation.write(folder)
    failed = {job.id for job in (failure.job for failure in preparation.failed)}
    return [own for own in trainings if own[0].id not in failed], preparation.failed


def _is_of(manifest: Manifest, dataset: Dataset, config: RunConfig) -> bool:
    """Tell whether what was prepared is of these data and settings, and of the models as they are.

    Models that are no longer there, or were changed, are looked for anew.
    """
    kept = {name: one for name, one in manifest.config.items() if name not in ASKED_ANEW}
    about = config.model_dump(mode="json", exclude=set(ASKED_ANEW)), dataset.sha256
    return about == (kept, manifest.sha256) and all(
        _mark(Path(model.folder)) == model.mark for model in manifest.models.values()
    )


def _mark(folder: Path) -> str:
    """Return what the files of a model are known by: names, sizes, times."""
    try:
        stats = sorted((path.name, path.stat()) for path in folder.iterdir())
    except OSError:
        return ""
    facts = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
    return hashlib.sha256(repr(facts).encode()).hexdigest()


@dataclass
class _Tokens:
    """The rows that jobs need under one tokenizer; ``chunked`` are those read in windows."""

    store: TokenStore
    rows: set[int] = field(default_factory=set)
    chunked: set[int] = field(default_factory=set)
    looked_at: set[int] = field(default_factory=set)  # places of splits


@dataclass
class _Preparation:
    """What is gathered from job to job, to be written at the end."""

    runner: Runner
    show: Observer
    ready: list[Training] = field(default_factory=list)
    failed: list[JobFailed] = field(default_factory=list)
    _tokens: list[_Tokens] = field(default_factory=list)
    _models: dict[str, PreparedModel] = field(default_factory=dict)
    _splits: _Distinct = field(default_factory=lambda: _Distinct())
    _jobs: dict[str, int] = field(default_factory=dict)
    _asked_for: set[str] = field(default_factory=set)

    def add(self, training: Training) -> None:
        """Find the model of a job and tokenise its rows; note it as ready, or as failed.

        Raises:
            DiskError: Nothing more can be written, whatever the job.
        """
        from llm_tool.execution.runner import failure

        job, parts = training
        try:
            place = self._splits.place(parts)
            self._tokenise(job, parts, place)
        except DiskError:
            raise
        except Exception as error:  # noqa: BLE001 - reported; the other jobs go on
            self.failed.append(failure(job, error, self.runner.session))
            return
        self.ready.append(training)
        self._jobs[job.id] = place

    def _tokenise(self, job: Job, parts: Parts, place: int) -> None:
        from llm_tool.trainers.model_trainer import long_rows

        self._announce(job)
        encoder, config = self.runner.find(job.model), self.runner.config
        stores = [own.store for own in self._tokens]
        if encoder.tokens not in stores:
            stores.append(encoder.tokens)
            self._tokens.append(_Tokens(encoder.tokens))
        number = stores.index(encoder.tokens)
        if job.model not in self._models:
            folder = encoder.folder.absolute()
            self._models[job.model] = PreparedModel(str(folder), _mark(folder), number)
        own = self._tokens[number]
        if place in own.looked_at:
            return
        rows = [row for part in parts.named().values() for row in part if row not in own.rows]
        for start in range(0, len(rows), _PIECE):
            if start:
                self.show(Preparing(f"tokenising for {job.model_name}", start / len(rows)))
            own.store.token_ids(rows[start : start + _PIECE])
        long, how = long_rows(parts, own.store, config)
        if how == "chunk":
            own.store.windows(sorted(long), config.window_overlap)
            own.chunked |= long
        own.rows.update(*parts.named().values())
        own.looked_at.add(place)

    def _announce(self, job: Job) -> None:
        """Say that a model is looked for, the first time."""
        from llm_tool.trainers.model_sources import is_here

        if job.model not in self._asked_for:
            self._asked_for.add(job.model)
            verb = "loading" if is_here(job.model) else "downloading"
            self.show(Preparing(f"{verb} {job.model_name}"))

    def write(self, folder: PreparedFolder) -> None:
        """Write what was gathered.

        Raises:
            DiskError: The folder cannot be written.
        """
        self.show(Preparing("writing what they need"))
        dataset, config = self.runner.dataset, self.runner.config
        keys = sorted({task.label_key for job, _ in self.ready for task in job.tasks})
        with disk_errors(folder.folder, "Preparing the jobs"):
            folder.folder.mkdir(parents=True, exist_ok=True)
            tokens = [
                folder.write_tokens(
                    own.store, sorted(own.rows), sorted(own.chunked), config.window_overlap
                )
                for own in self._tokens
            ]
            manifest = Manifest(
                config=config.model_dump(mode="json"),
                sha256=dataset.sha256,
                rows=folder.write_rows(dataset, keys),
                keys=tuple(keys),
                parts=folder.write_parts(self._splits.every),
                tokens=tuple(tokens),
                models=self._models,
                jobs=self._jobs,
            )
            folder.finish(manifest)


class _Distinct:
    """Splits, each kept once, whether the same object or only the same rows."""

    def __init__(self) -> None:
        self.every: list[Parts] = []
        self._by_object: dict[int, int] = {}
        self._by_rows: dict[bytes, int] = {}

    def place(self, parts: Parts) -> int:
        """Return the place of a split among all, a new one for one that is not there yet."""
        if id(parts) not in self._by_object:
            rows = hashlib.sha256()
            for name, own in parts.named().items():
                rows.update(f"{name} {len(own)} ".encode())
                rows.update(np.asarray(own, dtype=np.int32).tobytes())
            place = self._by_rows.setdefault(rows.digest(), len(self.every))
            if place == len(self.every):
                self.every.append(parts)
            self._by_object[id(parts)] = place
        return self._by_object[id(parts)]
