"""Finished sessions made in memory: trainings whose predictions a test chooses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from llm_tool.logs.archive import Archive, Training
from llm_tool.plan import Task
from tests.test_events import STARTED, made_end, made_epoch, made_job


@dataclass(frozen=True)
class Made(Training):
    """A training with the predictions that it was given."""

    table: pd.DataFrame = field(default_factory=pd.DataFrame)

    def predictions(self) -> pd.DataFrame:
        return self.table


def table(
    true: Sequence[str],
    predicted: Sequence[str],
    *,
    rows: Sequence[int] | None = None,
    languages: Sequence[str] | None = None,
    part: str = "test",
    **probabilities: Sequence[float],
) -> pd.DataFrame:
    """Return predictions as a training writes them."""
    rows = range(len(true)) if rows is None else rows
    columns: dict[str, Any] = {
        "row": list(rows),
        "id": [f"t{row}" for row in rows],
        "part": part,
        "language": list(languages) if languages is not None else "EN",
        "true": list(true),
        "predicted": list(predicted),
    }
    shares = {f"probability_{name}": list(values) for name, values in probabilities.items()}
    return pd.DataFrame(columns | shares)


def training(
    predictions: pd.DataFrame | None,
    *,
    model: str = "org/a",
    seed: int = 1,
    fold: int = 0,
    session: str = "s1",
    run: str = "j0001",
    data: str = "d1",
    task: Task | None = None,
    language: str = "MULTI",
    val: float = 0.5,
    threshold: float | None = None,
    **config: object,
) -> Made:
    """Return a training of a session; without predictions it has no result."""
    if task is None:
        seen = [] if predictions is None else {*predictions["true"], *predictions["predicted"]}
        task = Task("sentiment", "", tuple(sorted(seen)), ("EN", "FR"))
    job = made_job(
        task=task,
        model=model,
        model_name=model.rpartition("/")[-1],
        seed=seed,
        fold=fold,
        language=language,
    )
    settings = {"mode": "benchmark", "epochs": 3, "batch_size": 16, **config}
    dataset = {"name": f"{data}.csv", "sha256": data}
    about = {"config": settings, "dataset": dataset, "jobs": [run]}
    started = replace(STARTED, job=job, epochs=settings["epochs"])
    made = Made(session, task.category, Path(session) / job.id, job, about, started)
    if predictions is None:
        return made
    ended = made_end(made_epoch(job, f1=val), threshold=threshold, parameters=7)
    return replace(made, ended=ended, table=predictions)


def archive(*trainings: Training) -> Archive:
    """Return the session of some trainings."""
    session = trainings[0].session_id
    return Archive(session, Path(session), "done", {}, trainings)


def noisy(
    true: Sequence[str], right: float, seed: int, classes: Sequence[str] = ("bad", "good")
) -> list[str]:
    """Return predictions of which about a share is right."""
    rng = np.random.default_rng(seed)
    other = rng.choice(classes, len(true))
    return [str(x) for x in np.where(rng.random(len(true)) < right, true, other)]
