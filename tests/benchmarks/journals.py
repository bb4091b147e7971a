"""Journals of any number of jobs, as trainings write them: only their numbers are invented."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from llm_tool.events import (
    ClassScore,
    EpochEnded,
    JobEnded,
    JobEvent,
    JobStarted,
    LanguageScore,
    Scores,
    to_json,
)
from llm_tool.logs.session import Session, timestamp
from llm_tool.plan import Job, Task

LANGUAGES = ("EN", "FR", "DE")
MODELS = ("org/bert-base", "org/roberta-base", "org/xlm-roberta-base", "org/camembert-base")
_FIRST = datetime(2026, 1, 2, 3, 4, 5)


def plan_of(categories: int, models: int) -> list[Job]:
    """Return the jobs of a distributed run: for each label value as many, of four models."""
    values = [f"theme {number}" for number in range(categories)]
    tasks = [Task("themes", value, (f"not_{value}", value), LANGUAGES) for value in values]
    return [
        Job(task, MODELS[n % 4], MODELS[n % 4], "MULTI", seed=n // 4)
        for task in tasks
        for n in range(models)
    ]


def events_of(job: Job, epochs: int, begins: float = 0.0, lasts: float = 60.0) -> list[JobEvent]:
    """Return what a training writes into its journal.

    Args:
        job: What is trained.
        epochs: How many.
        begins: When, in seconds.
        lasts: How long an epoch takes, in seconds.
    """
    rng = np.random.default_rng(int(job.id[1:]))
    started = JobStarted(
        job, _moment(begins), 4_000, 500, 500, epochs, 16, 2e-5, 512, 12, "f1_macro", "cuda",
        "bfloat16", 109_483_778,
    )  # fmt: skip
    ended: list[EpochEnded] = []
    for epoch in range(1, epochs + 1):
        scores = _scores(job.task, rng)
        ended.append(
            EpochEnded(
                job, epoch, _moment(begins + epoch * lasts), *rng.random(2), scores,
                2e-5 / epoch, lasts * float(rng.random()), 9_000 * float(rng.random()), "f1_macro",
                scores.f1_macro,
                is_best=all(scores.f1_macro > one.selection_value for one in ended),
            )
        )  # fmt: skip
    best = next(one for one in reversed(ended) if one.is_best)
    path = f"models/20260102_030405/{job.task.category}/{job.id}"
    test = _scores(job.task, rng)
    end = JobEnded(job, best, lasts * epochs, test, *rng.random(2), path, 0.5, 109_483_778, 9_000.0)
    return [started, *ended, end]


def write_journal(session: Session, job: Job, epochs: int) -> int:
    """Write the journal of a job that is done; return its bytes."""
    (path,) = session.journals(job)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.write_bytes(b"".join(map(line, events_of(job, epochs))))


def line(event: JobEvent) -> bytes:
    """Return an event as a journal has it."""
    return to_json(event).encode() + b"\n"


def add(path: Path, *events: JobEvent) -> int:
    """Write events at the end of a journal, without waiting for the disk; return their bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        return file.write(b"".join(map(line, events)))


def more_epochs(job: Job) -> Iterator[EpochEnded]:
    """Yield one epoch after the other of a job that never ends."""
    _, first, *_ = events_of(job, 1)
    assert isinstance(first, EpochEnded)
    number, seed = 0, int(job.id[1:])
    while True:
        number += 1
        yield replace(first, epoch=number, is_best=(number + seed) % 2 == 0)


def _moment(seconds: float) -> str:
    return timestamp(_FIRST + timedelta(seconds=seconds))


def _scores(task: Task, rng: np.random.Generator) -> Scores:
    classes = [ClassScore(name, *rng.random(3).tolist(), 250) for name in task.classes]
    languages = [LanguageScore(name, *rng.random(2).tolist(), 166) for name in task.languages]
    return Scores(*rng.random(5).tolist(), tuple(classes), tuple(languages))
