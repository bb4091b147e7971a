"""The words of a run: task, job, plan. Facts only, no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MULTILINGUAL = "MULTI"


@dataclass(frozen=True)
class Task:
    """What one model learns; its classes and languages are fixed when it is planned."""

    label_key: str = ""
    label_value: str = ""
    classes: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()

    @property
    def category(self) -> str:
        """The task's name and log folder: label value, else label key, else ``default``."""
        return self.label_value or self.label_key or "default"

    @property
    def kind(self) -> str:
        """``one-vs-all`` for one label value, else ``multi-class``."""
        return "one-vs-all" if self.label_value else "multi-class"


@dataclass(frozen=True)
class Job:
    """One training: task x model x language scope x seed.

    ``model`` is what was asked for (hub id, folder, ``embedded``), ``model_name`` the name shown
    and logged. ``language`` is the scope in upper case, ``MULTI`` for several, empty for unknown.
    ``id`` is given by the session; ``identifier`` is the caller's own name for the job.
    """

    task: Task
    model: str
    model_name: str
    language: str = ""
    seed: int = 42
    id: str = ""
    identifier: str = ""

    @property
    def title(self) -> str:
        """Category, model and scope, as shown above the epoch table."""
        return " · ".join(filter(None, (self.task.category, self.model_name, self.language)))


@dataclass(frozen=True)
class Parts:
    """Row numbers of the dataset in each part of a split; no row is in two parts."""

    train: Sequence[int] = ()
    validation: Sequence[int] = ()
    test: Sequence[int] = ()

    def where(self, keep: Sequence[bool]) -> Parts:
        """Return the parts with only the rows for which ``keep[row]`` is true."""
        return Parts(*([r for r in rows if keep[r]] for rows in self.named().values()))

    def named(self) -> dict[str, Sequence[int]]:
        """Return the rows by the name of their part."""
        return {"train": self.train, "validation": self.validation, "test": self.test}


@dataclass(frozen=True)
class Plan:
    """The ordered jobs of one run, what the user should know, and the rows of each job.

    ``parts[i]`` are the rows of ``jobs[i]``.
    """

    mode: str
    jobs: tuple[Job, ...]
    parts: tuple[Parts, ...]
    notes: tuple[str, ...] = ()
