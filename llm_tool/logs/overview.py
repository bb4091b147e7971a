"""The sessions of a logs folder at a glance: from their facts, not from their journals."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_tool.errors import StudioError
from llm_tool.logs.facts import JOBS, SESSION, planned, read_facts
from llm_tool.logs.journal import JOURNAL, is_ended
from llm_tool.logs.metrics_csv import BEST, read_columns
from llm_tool.logs.presence import whole_status
from llm_tool.logs.session import Session
from llm_tool.plan import Task

STATUSES = ("done", "running", "detached", "interrupted", "failed", "damaged")
_COLUMNS = ("model_identifier", "model_name", "language", "seed", "f1_macro", "test_f1_macro")


@dataclass(frozen=True)
class BestModel:
    """The training of a category with the highest validation macro F1, the first of equals.

    ``job`` is what best.csv calls it; ``test_f1_macro`` is ``None`` without test rows, and for a
    training that is not done.
    """

    job: str
    model_name: str
    language: str
    seed: int
    f1_macro: float
    test_f1_macro: float | None


@dataclass(frozen=True)
class Category:
    """One category of a session: its name, its folder, and its best model if it has one."""

    name: str
    folder: str
    best: BestModel | None = None


@dataclass(frozen=True)
class Overview:
    """One session: how it stands, how many of its jobs are done, the best of each category.

    ``status`` is ``running`` only while its process is there, ``detached`` when its jobs go on on a
    cluster without it; ``damaged`` when its session.json
    cannot be read. ``missing`` names the files that should be there and are not.
    """

    id: str
    status: str
    jobs: int = 0
    done: int = 0
    modes: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    started: str = ""
    ended: str | None = None
    categories: tuple[Category, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def is_unfinished(self) -> bool:
        """Whether there is something that can be gone on with."""
        return self.status in ("detached", "interrupted", "failed")


def list_sessions(logs_dir: str | Path) -> list[Overview]:
    """Return the sessions of a logs folder, the newest first.

    Of each it reads session.json and the best.csv of its categories; of one with a learning
    curve also its plan; of one that is not done the plan and the last bytes of its journals.
    """
    folders = sorted(filter(_is_session, Path(logs_dir).glob("*")), key=_age, reverse=True)
    return [_overview(folder) for folder in folders]


def _is_session(folder: Path) -> bool:
    """Tell whether a folder is a session's, though its session.json may be gone."""
    return (folder / SESSION).exists() or (
        folder.name[:8].isdecimal() and any(folder.glob(f"*/runs/*/{JOURNAL}"))
    )


def _age(folder: Path) -> tuple[str, int, str]:
    """Return what sorts sessions by their start, also the tenth of one second."""
    base, number = folder.name[:15], folder.name[16:]
    return base, int(number) if number.isdecimal() else 0, folder.name


def select_sessions(
    sessions: Iterable[Overview],
    *,
    status: str | None = None,
    category: str | None = None,
    mode: str | None = None,
    data: str | None = None,
) -> list[Overview]:
    """Return the sessions that are like this in every way that is given.

    Args:
        sessions: Those to choose from.
        status: How they stand.
        category: A category that they have, by its name or its folder.
        mode: A run mode of theirs.
        data: What the name of their data holds, whatever the case.

    Raises:
        StudioError: There is no such status.
    """
    if status is not None and status not in STATUSES:
        raise StudioError(
            f"There is no status {status!r}.",
            remedy=f"The possible ones are: {', '.join(STATUSES)}.",
        )
    return [
        one
        for one in sessions
        if status in (None, one.status)
        and (category is None or any(category in (c.name, c.folder) for c in one.categories))
        and (mode is None or mode in one.modes)
        and (data is None or any(data.lower() in name.lower() for name in one.data))
    ]


def _overview(folder: Path) -> Overview:
    try:
        Session(folder.parent, folder.name)  # its name is that of a session
        return _read(folder, read_facts(folder))
    except (StudioError, OSError, LookupError, TypeError, ValueError, AttributeError):
        return Overview(folder.name, "damaged", missing=(SESSION,))


def _read(folder: Path, facts: Mapping[str, Any]) -> Overview:
    runs = facts["runs"]
    status = whole_status(runs)
    jobs = [job_id for run in runs for job_id in run["jobs"]]
    partial = _partial(folder, runs)
    categories, missing = [], []
    for known in facts["categories"]:
        name = Task(known["label_key"], known["label_value"]).category
        try:
            best = _best(folder / known["folder"] / BEST, partial)
        except (OSError, ValueError, csv.Error):
            best = None
            if status == "done":
                missing.append(f"{known['folder']}/{BEST}")
        categories.append(Category(name, known["folder"], best))
    return Overview(
        folder.name,
        status,
        len(jobs),
        len(jobs) if status == "done" else _count_done(folder, facts, jobs),
        tuple(dict.fromkeys(run["config"].get("mode", "library") for run in runs)),
        tuple(dict.fromkeys(run["dataset"].get("name", "") for run in runs)),
        str(facts.get("started", "")),
        facts.get("ended"),
        tuple(categories),
        tuple(missing),
    )


def _partial(folder: Path, runs: Iterable[Mapping[str, Any]]) -> set[str]:
    """Return what best.csv calls the smaller shares of learning curves; most sessions have none."""
    if not any(run["config"].get("learning_curve") for run in runs):
        return set()
    with suppress(OSError):
        return {job.name for job in planned(folder / JOBS) if job.is_partial}
    return set()


def _best(path: Path, partial: Collection[str]) -> BestModel | None:
    """Return the best model that a best.csv tells of, but for those that learned from a part.

    Raises:
        OSError: It is not there.
        ValueError: It has not the columns, or its cells are no numbers.
    """
    best: BestModel | None = None
    for job, model, language, seed, val, test in read_columns(path, _COLUMNS):
        if val and job not in partial and (best is None or float(val) > best.f1_macro):
            score = float(test) if test else None
            best = BestModel(job, model, language, int(seed), float(val), score)
    return best


def _count_done(folder: Path, facts: Mapping[str, Any], jobs: Iterable[str]) -> int:
    """Return how many jobs have a result, a shared encoder in the category of each label."""
    ended: Counter[str] = Counter()
    for category in facts["categories"]:
        for path in (folder / category["folder"] / "runs").glob(f"*/{JOURNAL}"):
            ended[path.parent.name] += is_ended(path)
    labels: dict[str, int] = {}
    with suppress(OSError):
        for line in (folder / JOBS).read_bytes().splitlines():
            with suppress(ValueError, LookupError, TypeError):
                job = json.loads(line)
                labels[job["id"]] = len(job.get("labels") or (job["task"],))
    return sum(ended[job_id] >= labels.get(job_id, 1) for job_id in jobs)
