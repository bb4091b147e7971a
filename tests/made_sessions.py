"""Sessions of any size and kind, recorded without training: only their numbers are invented."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from llm_tool.events import EpochEnded, JobEnded, JobFailed, JobStarted
from llm_tool.logs.archive import Archive, read_session
from llm_tool.logs.session import Session
from llm_tool.plan import Job, Task
from llm_tool.trainers.metrics import score

MADE = "20260203_040506"


class StopHereError(Exception):
    """What ends a run that is to look interrupted."""


def made_session(
    logs_dir: Path,
    tasks: Sequence[Task],
    *,
    models: Sequence[str] = ("bert",),
    seeds: Sequence[int] = (1,),
    epochs: int = 3,
    test_rows: int = 24,
    train_loss: float = 0.9,
    failed: Sequence[str] = (),
    begun: Sequence[str] = (),
    waiting: Sequence[str] = (),
    config: dict[str, object] | None = None,
    data: str = "tweets.csv",
) -> Archive:
    """Record a session with a training for each task, model and seed, and read it back.

    Args:
        logs_dir: Folder of the logs.
        tasks: With their classes and languages.
        models: Their names.
        seeds: Of the trainings.
        epochs: Of each training.
        test_rows: Of each training; the validation has ten.
        train_loss: Of the first epoch.
        failed: Ids of the jobs that fail after an epoch.
        begun: Ids of the jobs that do not come to an end.
        waiting: Ids of the jobs that do not begin.
        config: Settings of the run; by default those of a run started from Python.
        data: Name of the table.
    """
    jobs = [
        Job(task, model, model, "MULTI" if len(task.languages) > 1 else "", seed)
        for task, model, seed in product(tasks, models, seeds)
    ]
    session = Session(logs_dir, MADE)
    about = {"name": data, "sha256": "ab" * 32}
    with suppress(StopHereError), session.run(jobs, config or {"epochs": epochs}, about) as named:
        for number, job in enumerate(named):
            if job.id in waiting:
                continue
            _record(session, job, epochs, test_rows, train_loss, number)
            if job.id in failed:
                session.record(JobFailed(job, "The disk burnt.", where="rack 3", remedy="Cool it."))
            elif job.id not in begun:
                _finish(session, job, number)
        if begun or waiting:
            raise StopHereError
    return read_session(logs_dir, MADE)


def _record(
    session: Session, job: Job, epochs: int, test_rows: int, train_loss: float, number: int
) -> None:
    started = JobStarted(
        job, "20260203_040507", 40, 10, test_rows, epochs, 16, 5e-5, 128, 2, "f1_macro", "cpu",
        "float32", 1_000_000,
    )  # fmt: skip
    session.record(started)
    rows = _predictions(job.task, test_rows, number)
    rows.to_parquet(session.run_folder(job) / "predictions.parquet")
    parts = ["train"] * 40 + rows["part"].tolist()
    labels, spoken = job.task.classes, job.task.languages or ("",)
    split = pd.DataFrame(
        {
            "row": range(len(parts)),
            "id": [f"t{i}" for i in range(len(parts))],
            "part": parts,
            "language": [spoken[i % len(spoken)] for i in range(40)] + rows["language"].tolist(),
            "true": [labels[i % len(labels)] for i in range(40)] + rows["true"].tolist(),
        }
    )
    split.to_parquet(session.run_folder(job) / "split.parquet")
    scores = _scores(job.task, rows[rows["part"] == "validation"])
    for epoch in range(1, epochs + 1):
        better = replace(scores, f1_macro=min(0.99, scores.f1_macro + epoch / 50))
        session.record(
            EpochEnded(
                job, epoch, "20260203_040508", train_loss / epoch, 1.1 / epoch, better, 1e-5, 2.0,
                900.0, "f1_macro", better.f1_macro, is_best=True,
            )
        )  # fmt: skip


def _finish(session: Session, job: Job, number: int) -> None:
    rows = pd.read_parquet(session.run_folder(job) / "predictions.parquet")
    own = rows[rows["part"] == "test"]
    test = _scores(job.task, own) if len(own) else None
    best = session.records(job)[0]
    assert best
    assert best.best
    low, high = (0.31, 0.72) if test else (None, None)
    threshold = 0.4321 if job.task.label_value else None
    session.record(
        JobEnded(
            job, best.best, 6.0 + number, test, low, high, "models/x", threshold, 1_000_000, 900.0
        )
    )


def _predictions(task: Task, test_rows: int, number: int) -> pd.DataFrame:
    rng = np.random.default_rng(number)
    parts = ["validation"] * 10 + ["test"] * test_rows
    true = [task.classes[i % len(task.classes)] for i in range(len(parts))]
    right = rng.random(len(parts)) < 0.7
    other = rng.choice(np.asarray(task.classes, dtype=object), len(parts))
    spoken = task.languages or ("",)
    predicted = [t if ok else o for t, ok, o in zip(true, right, other, strict=True)]
    rest = 0.2 / (len(task.classes) - 1)
    shares = {
        f"probability_{name}": [0.8 if own == name else rest for own in predicted]
        for name in task.classes
    }
    return pd.DataFrame(
        {
            "row": range(40, 40 + len(parts)),
            "id": [f"t{40 + i}" for i in range(len(parts))],
            "part": parts,
            "language": [spoken[i % len(spoken)] for i in range(len(parts))],
            "true": true,
            "predicted": predicted,
            **shares,
        }
    )


def _scores(task: Task, rows: pd.DataFrame):  # noqa: ANN202 - Scores
    position = {name: i for i, name in enumerate(task.classes)}
    true, predicted = (
        rows[column].map(position).to_numpy(dtype=np.int64) for column in ("true", "predicted")
    )
    return score(true, predicted, task.classes, task.languages, rows["language"].tolist())
