"""What a finished job leaves: the model folder and the predictions it is judged by."""

from __future__ import annotations

import json
import re
import shutil
import uuid
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from llm_tool import __version__
from llm_tool.config import TrainingSettings
from llm_tool.data.tokens import Examples, JobData, Tokenizer
from llm_tool.events import JobEnded
from llm_tool.logs.files import disk_errors, safe_name, sync, whole
from llm_tool.logs.journal import job_number
from llm_tool.logs.session import Session
from llm_tool.plan import Job, Task
from llm_tool.trainers.card import model_card
from llm_tool.trainers.multi_label_trainer import Logits, each_task, predict, probabilities
from llm_tool.trainers.pretrained import Model

_FACTS = "training.json"
_WITH_ID = re.compile(r"-j\d+$")


def save_predictions(
    session: Session,
    result: JobEnded,
    validation: tuple[Logits, Examples],
    test: tuple[Logits, Examples] | None,
) -> None:
    """Write predictions.parquet of each task: a row for each validation and test row.

    Columns: ``row`` (position in the dataset), ``id``, ``part``, ``language``, ``true``,
    ``predicted`` (with the task's threshold, if it has one), and ``probability_{class}``.

    Raises:
        StudioError: The folder cannot be written.
    """
    parts = {"validation": validation} | ({"test": test} if test else {})
    tables: dict[Task, list[Any]] = defaultdict(list)
    thresholds = {own.job.task: own.threshold for own in result.labels or (result,)}
    for part, (outputs, rows) in parts.items():
        for task, logits, labels in each_task(result.job, outputs, rows.labels):
            classes = np.asarray(task.classes, dtype=object)
            shares = probabilities(logits)
            columns: dict[str, Any] = {
                "row": list(rows.rows),
                "id": list(rows.ids),
                "part": [part] * len(rows),
                "language": list(rows.languages),
                "true": classes[labels].tolist(),
                "predicted": classes[predict(logits, thresholds[task])].tolist(),
            }
            columns |= {f"probability_{name}": shares[:, i] for i, name in enumerate(classes)}
            tables[task].append(pa.table(columns))
    for task, own in tables.items():
        folder = session.run_folder(result.job.of(task))
        _write_parquet(pa.concat_tables(own), folder / "predictions.parquet")


def save_split(
    session: Session, job: Job, train: Examples, validation: Examples, test: Examples
) -> None:
    """Write split.parquet for each task: a row for each row of the job.

    Columns: ``row``, ``id``, ``part``, ``language`` and ``true``, as in predictions.parquet.

    Raises:
        StudioError: The folder cannot be written.
    """
    parts = {"train": train, "validation": validation, "test": test}
    columns = {
        "row": [row for rows in parts.values() for row in rows.rows],
        "id": [one for rows in parts.values() for one in rows.ids],
        "part": [part for part, rows in parts.items() for _ in rows.rows],
        "language": [one for rows in parts.values() for one in rows.languages],
    }
    session.check_there()
    for i, task in enumerate(job.tasks):
        classes = np.asarray(task.classes, dtype=object)
        own = [r.labels[:, i] if job.labels else r.labels for r in parts.values() if len(r)]
        true = classes[np.concatenate(own)].tolist()
        folder = session.run_folder(job.of(task))
        with disk_errors(folder, "Writing the logs"):
            folder.mkdir(parents=True, exist_ok=True)
        _write_parquet(pa.table(columns | {"true": true}), folder / "split.parquet")


def _write_parquet(table: Any, path: Path) -> None:  # noqa: ANN401 - pyarrow has no types
    with disk_errors(path, "Writing the logs"), whole(path) as temporary:
        pq.write_table(table, temporary)


def save_model(
    model: Model,
    tokenizer: Tokenizer,
    result: JobEnded,
    data: JobData,
    settings: TrainingSettings,
    session: Session,
    models_dir: str,
) -> JobEnded:
    """Save model, tokenizer, model card and training.json; return the result with the folder.

    A shared encoder is one folder for all its labels, below the name of their columns. The folder
    appears only when it is complete, and never replaces another job's; what an interrupted attempt
    at this very job left is replaced. A point of a learning curve is a number, no model to use: of
    what learned from a part of the rows nothing is saved.

    Raises:
        StudioError: The folder cannot be written.
    """
    if result.job.is_partial:
        return result
    target = _target(result.job, session, Path(models_dir))
    labels = tuple(replace(own, saved_model_path=str(target)) for own in result.labels)
    result = replace(result, saved_model_path=str(target), labels=labels)
    facts = {"session_id": session.id, "llm_tool": __version__, "result": asdict(result)}
    facts["thresholds"] = _thresholds(result)
    facts["settings"] = settings.model_dump(include=set(TrainingSettings.model_fields))
    card = model_card(result, data, settings, session)
    with (
        disk_errors(target.parent, "Saving the model"),
        _whole_folder(target, result.job.id, session) as folder,
    ):
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        (folder / _FACTS).write_text(json.dumps(facts, indent=2) + "\n", "utf-8")
        (folder / "README.md").write_text(card, "utf-8")
        mode = (folder / "README.md").stat().st_mode
        for path in folder.iterdir():
            path.chmod(mode)  # safetensors leaves files that only their owner can read
    return result


def _target(job: Job, session: Session, models_dir: Path) -> Path:
    """Return the folder for a job's model: with its id where an earlier job has the same name.

    The plan decides it, not who is first, so that it is the same with any number of workers.
    """
    own = _place(job, session)
    number = job_number(job.id)
    saved = [other for other in session.jobs()[: number - 1] if not other.is_partial]
    earlier = [_place(other, session) for other in saved]
    target = models_dir / session.id / own
    # As file systems see it that do not tell small from capital letters.
    taken = str(own).casefold() in (str(other).casefold() for other in earlier)
    taken = taken or bool(_WITH_ID.search(own.name))  # or it would be what another one is given
    foreign = target.exists() and not _is_of(target, job, session)
    return target.with_name(f"{target.name}-{job.id}") if taken or foreign else target


def _is_of(folder: Path, job: Job, session: Session) -> bool:
    """Tell whether a saved model is that of a job: an attempt that was killed after saving it."""
    try:
        facts = json.loads((folder / _FACTS).read_text("utf-8"))
        owner = facts["session_id"], facts["result"]["job"]["id"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return bool(owner == (session.id, job.id))


def _place(job: Job, session: Session) -> Path:
    category = safe_name(job.task.category) if job.labels else session.category_name(job.task)
    return Path(category, safe_name("-".join(filter(None, (job.model_name, job.language)))))


@contextmanager
def _whole_folder(target: Path, job_id: str, session: Session) -> Iterator[Path]:
    """Give a folder to fill that becomes ``target`` when it is complete, and else is gone.

    Its name is this attempt's alone: one that was replaced while it saved may still write its own.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    session.check_own()
    for left in target.parent.glob(f".{job_id}.*"):
        shutil.rmtree(left, ignore_errors=True)
    own = uuid.uuid4().hex[:8]
    unfinished, before = (target.with_name(f".{job_id}.{own}.{end}") for end in ("tmp", "old"))
    try:
        unfinished.mkdir()  # never a link that someone put there
        yield unfinished
        for path in (*unfinished.iterdir(), unfinished):
            sync(path)
        session.check_own()
        if target.exists():
            target.rename(before)
        unfinished.rename(target)
        shutil.rmtree(before, ignore_errors=True)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def _thresholds(result: JobEnded) -> dict[str, float]:
    """Return the probability from which each label is a yes, by the model's name for it."""
    own = result.labels or (result,)
    names = result.job.task.classes if result.labels else (result.job.task.label_value,)
    pairs = zip(names, own, strict=True)
    return {name: one.threshold for name, one in pairs if one.threshold is not None}
