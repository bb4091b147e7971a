"""What a session's own files say: ``session.json``, ``jobs.jsonl``."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from llm_tool import __version__
from llm_tool.errors import StudioError
from llm_tool.plan import Job
from llm_tool.text import visible

SESSION, JOBS = "session.json", "jobs.jsonl"
_PACKAGES = ("torch", "transformers", "tokenizers", "numpy", "pandas", "scikit-learn")


def planned(path: Path) -> Iterator[Job]:
    """Yield the jobs of a plan; a line that a crash tore is passed over."""
    from pydantic import TypeAdapter

    job = TypeAdapter(Job)
    for line in path.read_bytes().splitlines():
        with suppress(ValueError):
            yield job.validate_json(line)


def read_facts(folder: Path) -> dict[str, Any]:
    """Return what a session's ``session.json`` says.

    Raises:
        StudioError: It is missing or damaged.
    """
    path = folder / SESSION
    try:
        facts: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise StudioError("There is no such session.", where=visible(str(folder))) from None
    except ValueError as error:
        raise StudioError(
            "The session's session.json is damaged.",
            where=visible(str(path)),
            remedy="The journals, metrics and models are still there.",
        ) from error
    return facts


def fingerprint(about: Mapping[str, Any]) -> str:
    """Return what the ``config`` and ``dataset`` of a run are known by, should they be changed."""
    own = {name: about[name] for name in ("config", "dataset")}
    return hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()


def versions() -> dict[str, str]:
    """Return the versions of what a number depends on."""
    installed = {"llm-tool": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            installed[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return installed


def git_state() -> dict[str, Any] | None:
    """Return commit and cleanliness of the working folder's repository, if it is in one."""

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], capture_output=True, text=True, timeout=5, check=True
        )
        return done.stdout.strip()

    try:
        return {
            "commit": git("rev-parse", "HEAD"),
            "clean": not git("status", "--porcelain", "--untracked-files=no"),
        }
    except (OSError, subprocess.SubprocessError):
        return None
