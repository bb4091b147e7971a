"""Sessions as JSON, one object a line: numbers that are not defined are ``null``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from llm_tool.analysis.confusion import confusion
from llm_tool.errors import StudioError
from llm_tool.logs.archive import Archive, Training
from llm_tool.logs.overview import Overview


def overview_line(session: Overview) -> str:
    """Return a session of the list as one line."""
    return _line(asdict(session))


def session_line(
    archive: Archive, notes: Sequence[str], chosen: Mapping[str, Sequence[Training]]
) -> str:
    """Return an opened session as one line: its facts, and its trainings by category."""
    categories = [
        {"category": name, "trainings": list(map(_training, trainings))}
        for name, trainings in chosen.items()
    ]
    about = {"id": archive.id, "status": archive.status, "missing": list(notes)}
    return _line({**about, "facts": dict(archive.facts), "categories": categories})


def _training(training: Training) -> dict[str, Any]:
    job, ended, failed = training.job, training.ended, training.failed
    about = ("id", "model", "model_name", "language", "seed", "fold", "share")
    epochs = ("epoch", "train_loss", "val_loss", "learning_rate", "training_phase", "is_best")
    return {
        **{name: getattr(job, name) for name in about},
        "epochs": [
            {**{name: getattr(one, name) for name in epochs}, "scores": asdict(one.scores)}
            for one in training.epochs
        ],
        "best_epoch": ended.best.epoch if ended else None,
        "validation": asdict(ended.best.scores) if ended else None,
        "test": asdict(ended.test) if ended and ended.test else None,
        "f1_macro_low": ended.f1_macro_low if ended else None,
        "f1_macro_high": ended.f1_macro_high if ended else None,
        "saved_model_path": ended.saved_model_path if ended else None,
        "confusion": _confusion(training) if ended else None,
        "failed": failed.what if failed and not ended else None,
    }


def _confusion(training: Training) -> dict[str, Any] | None:
    part = "test" if training.ended and training.ended.test else "validation"
    try:
        counts = confusion(training, part)
    except (StudioError, LookupError):
        return None
    return {"part": part, "classes": training.job.task.classes, "counts": counts}


def _line(what: Mapping[str, Any]) -> str:
    from pydantic_core import to_json

    return to_json(what, inf_nan_mode="null").decode("utf-8") + "\n"
