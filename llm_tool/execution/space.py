"""How much disk a run takes, and whether it is there. Found out without torch."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llm_tool.config import RunConfig
from llm_tool.errors import StudioError
from llm_tool.plan import Job
from llm_tool.text import visible
from llm_tool.trainers.model_sources import parameter_count

_NUMBER = 4  # bytes: weights are trained and saved in float32
# What a checkpoint holds at most, in models: the best one, the last one, its two moments; and the
# last one and its moments again while those of the next epoch are written.
_CHECKPOINT = 7


@dataclass(frozen=True)
class Space:
    """Bytes that a run writes at most: models, which stay, and checkpoints while it runs."""

    models: int
    checkpoints: int


def needed(jobs: Sequence[Job], config: RunConfig) -> Space:
    """Return the space for jobs; a model whose size nobody knows before its download counts 0.

    Args:
        jobs: What is to be trained.
        config: The settings, workers decided.
    """
    sizes = {model: _NUMBER * (parameter_count(model) or 0) for model in {j.model for j in jobs}}
    largest = sorted((sizes[job.model] for job in jobs), reverse=True)[: config.workers or 1]
    saved = [job for job in jobs if not job.is_partial]
    return Space(sum(sizes[job.model] for job in saved), _CHECKPOINT * sum(largest))


def free_space(folder: str | Path) -> int:
    """Return the free bytes of the disk that a folder is on, or will be made on."""
    return shutil.disk_usage(existing(folder)).free


def check_space(jobs: Sequence[Job], config: RunConfig, logs_dir: str | Path) -> None:
    """Refuse a run for which there is not enough space.

    Args:
        jobs: What is to be trained.
        config: The settings.
        logs_dir: Where the logs, and so the checkpoints, are.

    Raises:
        StudioError: A disk has less free space than the run writes.
    """
    space = needed(jobs, config)
    asked: Counter[int] = Counter()
    for folder, size in ((logs_dir, space.checkpoints), (config.models_dir, space.models)):
        disk = existing(folder).stat().st_dev  # both may be on one disk
        asked[disk] += size
        free = free_space(folder)
        if asked[disk] > free:
            raise StudioError(
                f"There is not enough space: the run writes up to {in_bytes(asked[disk])}, and "
                f"{in_bytes(free)} are free.",
                where=visible(str(folder)),
                remedy="Free some space, choose other folders (--logs-dir, --models-dir), smaller "
                "models or fewer --workers.",
            )


def existing(folder: str | Path) -> Path:
    """Return a folder, or the nearest one above it that is there."""
    path = Path(folder).absolute()
    return next(one for one in (path, *path.parents) if one.exists())


def in_bytes(size: int) -> str:
    """Return a size as people say it: ``90 MB``, ``1.3 GB``."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{max(1, round(size / 1e6))} MB"
