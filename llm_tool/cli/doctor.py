"""``llm-tool doctor``: is everything there, and what can be used offline?"""

from __future__ import annotations

import platform
import shutil
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from rich.console import Console
from rich.text import Text

from llm_tool import __version__
from llm_tool.errors import StudioError
from llm_tool.studio.machine import ask_slurm, describe_machine, find_cluster
from llm_tool.studio.theme import BAD, GOOD, WARN
from llm_tool.text import visible
from llm_tool.trainers import model_sources

_PACKAGES = ("torch", "transformers", "tokenizers", "pandas", "scikit-learn", "rich", "questionary")
# Extras: what each is for, and the packages by which it is known.
_EXTRAS = {
    "excel": ("Excel files", ("python-calamine",)),
    "r": ("R files", ("rdata",)),
    "stats": ("SPSS, Stata and SAS files", ("pyreadstat",)),
    "label-errors": ("llm-tool label-errors", ("cleanlab",)),
    "tensorboard": ("--tracker tensorboard", ("tensorboard",)),
    "mlflow": ("--tracker mlflow", ("mlflow-skinny", "sqlalchemy", "alembic")),
    "trackio": ("--tracker trackio", ("trackio",)),
    "slurm": ("--executor slurm", ("submitit",)),
    "multi-gpu": ("--processes above 1", ("accelerate",)),
}
_STYLES = {"ok": GOOD, "missing": WARN, "broken": BAD}
Finding = tuple[str, str, str]  # ok, missing or broken; what; how it is


def examine(console: Console, folders: list[str]) -> bool:
    """Print one line a check; return whether training on local models can work.

    Args:
        console: Where to print.
        folders: The folders that must be writable.
    """
    sound = True
    for status, what, how in _findings(folders):
        sound = sound and status != "broken"
        line = Text.assemble((f"{status:8}", _STYLES[status]), f"{what:20}", visible(how))
        console.print(line, soft_wrap=True)
    return sound


def _findings(folders: list[str]) -> Iterator[Finding]:
    yield "ok", "llm-tool", f"{__version__}, Python {platform.python_version()}"
    for package in _PACKAGES:
        try:
            yield "ok", package, metadata.version(package)
        except metadata.PackageNotFoundError:
            yield "broken", package, "not installed: pip install llm-tool"
    yield from map(_extra, _EXTRAS)
    yield "ok", "machine", describe_machine()
    yield _slurm()
    yield _training_device()
    yield _embedded()
    if model_sources.hub_reachable():
        yield "ok", "model hub", "reachable"
    else:
        yield "missing", "model hub", "cannot be reached: only models on this machine can be used"
    cached = model_sources.cached_models()
    if cached:
        yield "ok", "models on disk", ", ".join(cached)
    for folder in folders:
        yield _writable(folder)


def _extra(name: str) -> Finding:
    """Tell whether what an extra brings is there; it takes no part in training."""
    purpose, packages = _EXTRAS[name]
    try:
        for package in packages:
            metadata.version(package)
    except metadata.PackageNotFoundError:
        return "missing", f"extra {name}", f'{purpose}: pip install "llm-tool[{name}]"'
    return "ok", f"extra {name}", purpose


def _slurm() -> Finding:
    """Tell whether jobs can be handed to a cluster; training here takes none."""
    absent = [name for name in ("sbatch", "squeue") if shutil.which(name) is None]
    if absent:
        how = f"no {' and no '.join(absent)}: --executor slurm is for the login node of a cluster"
        return "missing", "SLURM", how
    code, version = ask_slurm("sbatch", "--version")
    found = None if code else find_cluster()
    if found is None:
        why = version if code else ask_slurm("sinfo", "-h", "-o", "%P")[1]
        last = why.rpartition("\n")[2]
        return "missing", "SLURM", f"sbatch is here, but no cluster: {last}"
    partitions = ", ".join(found.partitions) or "unknown, sinfo did not answer"
    return "ok", "SLURM", f"{version}, partitions: {partitions}"


def _training_device() -> Finding:
    try:
        from llm_tool.trainers.device import best_device, best_precision
    except ImportError as error:
        return "broken", "training device", f"torch cannot be loaded: {error}"
    device = best_device()
    return "ok", "training device", f"{device}, {best_precision(device)}"


def _embedded() -> Finding:
    try:
        folder = model_sources.locate(model_sources.EMBEDDED)
    except StudioError as error:
        return "missing", "embedded model", str(error)
    return "ok", "embedded model", f"{model_sources.model_name('embedded')} in {folder}"


def _writable(folder: str) -> Finding:
    existing = Path(folder).absolute()
    while not existing.exists():
        existing = existing.parent
    try:
        with tempfile.TemporaryFile(dir=existing):
            return "ok", "folder", f"{folder}/ can be written"
    except OSError as error:
        return "broken", "folder", f"{folder}/ cannot be written: {error.strerror}"
