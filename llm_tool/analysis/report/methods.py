"""What a methods section says of a run: its facts, then a paragraph of them in two languages.

A statement whose fact the session does not record is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any

from llm_tool.analysis.report.facts import Report, Run
from llm_tool.events import JobStarted
from llm_tool.logs.archive import Training
from llm_tool.plan import Task, distinct_names

Range = tuple[float, float]


@dataclass(frozen=True)
class Model:
    """A model that was trained: its name, its parameters, the languages it was given."""

    name: str
    parameters: int
    language: str


@dataclass(frozen=True)
class Method:
    """How the finished trainings of a run were done; ranges are over its trainings.

    ``keys`` are the classes of each column that one model learned whole, ``labels`` the yes-or-no
    labels. ``long_texts`` are the most texts of a training that are longer than ``max_length``,
    and what was done with them. ``reinforced`` counts the trainings with a reinforced phase and
    those whose result is from it. ``config`` is what the run was asked for, empty for a setting
    that it does not have. ``shares`` are the smaller shares of a learning curve, which nothing else
    here is about.
    """

    data: str
    trainings: int
    keys: tuple[tuple[str, int], ...]
    labels: tuple[str, ...]
    shared_encoder: bool
    thresholds: bool
    models: tuple[Model, ...]
    languages: tuple[str, ...]
    rows: tuple[Range, Range, Range]
    epochs: Range
    batch_size: Range
    learning_rate: Range
    max_length: Range
    long_texts: tuple[tuple[str, int], ...]
    monitor: str
    seeds: tuple[int, ...]
    folds: int
    reinforced: tuple[int, int]
    intervals: bool
    devices: tuple[str, ...]
    precisions: tuple[str, ...]
    config: dict[str, Any]
    versions: dict[str, str]
    shares: tuple[float, ...] = ()


def methods(report: Report) -> list[Method]:
    """Return how each run was done of which something is finished."""
    found = []
    for run, facts in zip(report.runs, report.archive.facts["runs"], strict=True):
        ids = set(facts["jobs"])
        done = [t for t in report.archive.done if t.started and t.job.id in ids]
        own = [t for t in done if not t.job.is_partial]
        shares = tuple(sorted({t.job.share for t in done if t.job.is_partial}))
        if own:
            about = _method(run, own, report.archive.facts.get("versions", {}))
            found.append(replace(about, shares=shares))
    return found


def _method(run: Run, trainings: Sequence[Training], versions: dict[str, str]) -> Method:
    jobs = [training.job for training in trainings]
    started = [training.started for training in trainings if training.started]
    results = [training.ended for training in trainings if training.ended]
    tasks = list(dict.fromkeys(job.task for job in jobs))
    phases = [{epoch.training_phase for epoch in training.epochs} for training in trainings]
    sizes = [(s.train_rows, s.validation_rows, s.test_rows) for s in started]
    train, validation, test = (_range(rows) for rows in zip(*sizes, strict=True))
    parameters = {(r.job.model_name, r.job.language): r.parameters for r in results}
    return Method(
        data=PurePath(run.data).name,
        trainings=len(trainings),
        keys=tuple({t.label_key: len(t.classes) for t in tasks if not t.label_value}.items()),
        labels=_labels(tasks),
        shared_encoder=bool(run.config.get("shared_encoder")),
        thresholds=any(result.threshold is not None for result in results),
        models=tuple(Model(name, size, scope) for (name, scope), size in parameters.items()),
        languages=tuple(dict.fromkeys(language for task in tasks for language in task.languages)),
        rows=(train, validation, test),
        epochs=_over(started, lambda s: s.epochs),
        batch_size=_over(started, lambda s: s.batch_size),
        learning_rate=_over(started, lambda s: s.learning_rate),
        max_length=_over(started, lambda s: s.max_length),
        long_texts=_long_texts(started),
        monitor=started[0].monitor,
        seeds=tuple(dict.fromkeys(job.seed for job in jobs)),
        folds=len({job.fold for job in jobs if job.fold}),
        reinforced=(
            sum("reinforced" in own for own in phases),
            sum(result.best.training_phase == "reinforced" for result in results),
        ),
        intervals=any(result.f1_macro_low is not None for result in results),
        devices=tuple(dict.fromkeys(s.device.split(":")[0] for s in started)),
        precisions=tuple(dict.fromkeys(s.precision for s in started)),
        config=dict(run.config),
        versions=dict(versions),
    )


def _labels(tasks: Iterable[Task]) -> tuple[str, ...]:
    return tuple(distinct_names(task for task in tasks if task.label_value).values())


def _over(started: Iterable[JobStarted], value: Callable[[JobStarted], float]) -> Range:
    return _range(map(value, started))


def _range(numbers: Iterable[float]) -> Range:
    every = list(numbers)
    return min(every), max(every)


def _long_texts(started: Sequence[JobStarted]) -> tuple[tuple[str, int], ...]:
    counts = {
        how: max(getattr(one, how) for one in started) for how in ("cut", "chunked", "excluded")
    }
    return tuple((how, count) for how, count in counts.items() if count)
