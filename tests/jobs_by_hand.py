"""Sessions whose jobs are prepared and then run one by one, as a cluster does it."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import typer

from llm_tool.cli.job import run
from llm_tool.config import RunConfig, make_config
from llm_tool.data.dataset import Dataset
from llm_tool.events import JobFailed
from llm_tool.execution.prepared import prepare_jobs
from llm_tool.execution.resources import share_out
from llm_tool.logs import Session
from llm_tool.logs.facts import JOBS
from llm_tool.modes.planning import prepare
from llm_tool.plan import Job, Parts

SESSION_ID = "20260101_120000"
TIMES = ("timestamp", "seconds", "tokens_per_second")


@dataclass
class Prepared:
    """A run that was entered into its session and prepared, by an owner that is gone."""

    session: Session
    config: RunConfig
    dataset: Dataset
    trainings: list[tuple[Job, Parts]]
    ready: list[tuple[Job, Parts]]
    failed: list[JobFailed]

    @property
    def plan(self) -> Path:
        return self.session.folder / JOBS

    def run(self, *indices: int) -> list[int]:
        """Run jobs in this process, as the command does; return their exit codes."""
        return [exit_code(self.plan, index) for index in indices]

    def folder(self, index: int) -> Path:
        return self.session.run_folder(self.trainings[index][0])


def settings(data: Path, *models: Path | str, **keys: object) -> RunConfig:
    return make_config(
        {
            "data": str(data),
            "label": ("sentiment",),
            "model": tuple(map(str, models)),
            "languages": "multilingual",
            "epochs": 2,
            "learning_rate": 1e-2,
            "threads": 1,
            "session_id": SESSION_ID,
            **keys,
        }
    )


def prepared(config: RunConfig, *, owner: Callable[[], None] | None = None) -> Prepared:
    """Enter a run into its session, prepare it, and stop there as with Ctrl-C."""
    dataset, plan = prepare(config)
    config = share_out(config, plan)
    session = Session(config.logs_dir, config.session_id)
    about = {"name": dataset.name, "sha256": dataset.sha256}
    entered = session.run(plan.jobs, config.model_dump(mode="json"), about, plan.accounts)
    with suppress(KeyboardInterrupt), entered as jobs:
        trainings = list(zip(jobs, plan.parts, strict=True))
        ready, failed = prepare_jobs(trainings, dataset, config, session)
        raise KeyboardInterrupt
    return Prepared(session, config, dataset, trainings, ready, failed)


def exit_code(plan: Path, index: int) -> int:
    try:
        run(plan, index)
    except typer.Exit as end:
        return int(end.exit_code)
    return 0


def tables(session: Path) -> dict[str, Sequence[Sequence[str]]]:
    """Return every CSV of a session, cell by cell, but for times."""
    found = {}
    for path in sorted(session.glob("*/*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
        titles = next(row for row in rows if row[0] == "model_identifier")
        times = [titles.index(name) for name in TIMES]
        start = rows.index(titles) + 1
        for row in rows[start:]:
            for place in times:
                row[place] = ""
        found[str(path.relative_to(session))] = rows
    return found
