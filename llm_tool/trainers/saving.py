"""What a finished job leaves: the model folder and the predictions it is judged by."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from llm_tool import __version__
from llm_tool.config import TrainingSettings
from llm_tool.data.tokens import Examples, Tokenizer
from llm_tool.events import JobEnded
from llm_tool.logs.files import disk_errors, safe_name
from llm_tool.logs.session import Session
from llm_tool.plan import Job
from llm_tool.trainers.pretrained import Model


def save_predictions(
    run_folder: Path,
    job: Job,
    validation: Examples,
    test: Examples,
    logits: Mapping[str, NDArray[np.float32]],
) -> None:
    """Write predictions.parquet: a row for each validation and test row, with probabilities.

    Columns: ``row`` (position in the dataset), ``id``, ``part``, ``language``, ``true``,
    ``predicted``, and ``probability_{class}`` for each class.

    Raises:
        StudioError: The folder cannot be written.
    """
    classes = np.asarray(job.task.classes, dtype=object)
    tables = []
    for part, rows in (("validation", validation), ("test", test)):
        if part not in logits:
            continue
        shares = _softmax(logits[part])
        columns: dict[str, Any] = {
            "row": list(rows.rows),
            "id": list(rows.ids),
            "part": [part] * len(rows),
            "language": list(rows.languages),
            "true": classes[rows.labels].tolist(),
            "predicted": classes[shares.argmax(axis=1)].tolist(),
        }
        columns |= {f"probability_{name}": shares[:, i] for i, name in enumerate(classes)}
        tables.append(pa.table(columns))
    _write_parquet(pa.concat_tables(tables), run_folder / "predictions.parquet")


def save_split(run_folder: Path, parts: Mapping[str, Examples]) -> None:
    """Write split.parquet: ``row``, ``id`` and ``part`` of every row that the job works on.

    Raises:
        StudioError: The folder cannot be written.
    """
    columns = {
        "row": [row for rows in parts.values() for row in rows.rows],
        "id": [one for rows in parts.values() for one in rows.ids],
        "part": [part for part, rows in parts.items() for _ in rows.rows],
    }
    _write_parquet(pa.table(columns), run_folder / "split.parquet")


def _write_parquet(table: Any, path: Path) -> None:  # noqa: ANN401 - pyarrow has no types
    with disk_errors(path, "Writing the logs"):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        pq.write_table(table, temporary)
        temporary.replace(path)


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: NDArray[np.float32] = raised / raised.sum(axis=1, keepdims=True)
    return shares


def save_model(
    model: Model,
    tokenizer: Tokenizer,
    result: JobEnded,
    settings: TrainingSettings,
    session: Session,
    models_dir: str,
) -> JobEnded:
    """Save model, tokenizer, model card and training.json; return the result with the folder.

    The folder appears only when it is complete, and never replaces another.

    Raises:
        StudioError: The folder cannot be written.
    """
    job = result.job
    parent = Path(models_dir) / session.id / session.category_name(job.task)
    name = safe_name("-".join(filter(None, (job.model_name, job.language))))
    with disk_errors(parent, "Saving the model"):
        parent.mkdir(parents=True, exist_ok=True)
        target = parent / name
        if target.exists():
            target = parent / f"{name}-{job.id}"
        result = replace(result, saved_model_path=str(target))
        unfinished = parent / f".{job.id}.tmp"
        shutil.rmtree(unfinished, ignore_errors=True)
        model.save_pretrained(unfinished)
        tokenizer.save_pretrained(unfinished)
        facts = {"session_id": session.id, "llm_tool": __version__, "result": asdict(result)}
        facts["settings"] = settings.model_dump(include=set(TrainingSettings.model_fields))
        (unfinished / "training.json").write_text(json.dumps(facts, indent=2) + "\n", "utf-8")
        (unfinished / "README.md").write_text(_card(result, session.id), "utf-8")
        unfinished.rename(target)
    return result


def _card(result: JobEnded, session_id: str) -> str:
    job = result.job
    score = result.best.scores.f1_macro
    lines = [
        "---",
        "library_name: transformers",
        "pipeline_tag: text-classification",
        "---",
        "",
        f"# {json.dumps(job.task.category, ensure_ascii=False)}, from {job.model_name}",
        "",
        f"A {job.task.kind} text classifier, fine-tuned with llm-tool studio {__version__} "
        f"in session {session_id}.",
        "",
        f"- classes: {json.dumps(job.task.classes, ensure_ascii=False)}",
        f"- languages: {json.dumps(job.task.languages, ensure_ascii=False)}",
        f"- best epoch: {result.best.epoch}, validation macro F1 {score:.3f}",
    ]
    if result.test is not None:
        low, high = result.f1_macro_low, result.f1_macro_high
        lines.append(
            f"- test macro F1 {result.test.f1_macro:.3f}, 95 % interval [{low:.3f}, {high:.3f}], "
            f"accuracy {result.test.accuracy:.3f}"
        )
    lines.append("- every number of the training: training.json")
    return "\n".join(lines) + "\n"
