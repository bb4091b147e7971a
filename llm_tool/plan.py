"""The words of a run: task, job, plan. Facts only, no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

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
    """One training: task x model x language scope x seed x fold x share of the training rows.

    ``model`` is what was asked for (hub id, folder, ``embedded``), ``model_name`` the name shown
    and logged. ``language`` is the scope in upper case, ``MULTI`` for several, empty for unknown.
    ``fold`` is the number of the fold that it is tested on, 0 without cross-validation. ``share``
    is that of its training rows that it learns from, less than all for a point of a learning curve.
    ``id`` is given by the session; ``identifier`` is the caller's own name for the job.

    With a shared encoder one network learns several binary tasks at once: these are ``labels``,
    the network has one output for each, and ``task.classes`` are their names.
    """

    task: Task
    model: str
    model_name: str
    language: str = ""
    seed: int = 42
    id: str = ""
    identifier: str = ""
    labels: tuple[Task, ...] = ()
    fold: int = 0
    share: float = 1.0

    @property
    def is_partial(self) -> bool:
        """Whether it learns from a part of its training rows, for a learning curve."""
        return self.share < 1

    @property
    def kind(self) -> str:
        """``multi-label`` for a shared encoder, else the kind of the task."""
        return "multi-label" if self.labels else self.task.kind

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks that have a category, and so a log folder, of their own."""
        return self.labels or (self.task,)

    def of(self, task: Task) -> Job:
        """Return the job as the category of one of its tasks knows it."""
        return replace(self, task=task, labels=())

    @property
    def title(self) -> str:
        """Category, model, scope, fold and share, as shown above the epoch table."""
        fold = f"fold {self.fold}" if self.fold else ""
        share = f"{100 * self.share:.0f} % of the rows" if self.is_partial else ""
        words = (self.task.category, self.model_name, self.language, fold, share)
        return " · ".join(filter(None, words))

    @property
    def name(self) -> str:
        """What tables call the job: its identifier, else its id, with its fold and share."""
        fold = f"-fold{self.fold}" if self.fold else ""
        share = f"-{self.share:.0%}" if self.is_partial else ""
        return f"{self.identifier or self.id}{fold}{share}"


def distinct_names(tasks: Iterable[Task]) -> dict[Task, str]:
    """Return a name for each task: its category, or ``key=value`` where two would be the same."""
    every = list(dict.fromkeys(tasks))
    categories = Counter(task.category for task in every)
    whole = {t: f"{t.label_key}={t.label_value}" if t.label_value else t.category for t in every}
    names = {t: whole[t] if categories[t.category] > 1 else t.category for t in every}
    # A value that is itself written `key=value` can be the same again.
    return names if len(set(names.values())) == len(every) else whole


def told_apart(jobs: Iterable[Job]) -> dict[str, str]:
    """Return what follows the titles of jobs, by their ids, where two are the same: the seed."""
    every = list(jobs)
    times = Counter(job.title for job in every)
    return {job.id: f" · seed {job.seed}" for job in every if times[job.title] > 1}


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
class Account:
    """Where the rows of a file go: parts and reasons to be left out add up to ``rows``.

    ``tasks`` name the tasks and scopes that it is the same for; ``parts`` and ``left_out`` give a
    number of rows for each name or reason.
    """

    tasks: tuple[str, ...]
    rows: int
    parts: Mapping[str, int]
    left_out: Mapping[str, int]


@dataclass(frozen=True)
class Plan:
    """The ordered jobs of one run, what the user should know, and the rows of each job.

    ``parts[i]`` are the rows of ``jobs[i]``; ``accounts`` say where all rows go. ``merged`` gives,
    by label column, the class that values with too few rows become one of.
    """

    mode: str
    jobs: tuple[Job, ...]
    parts: tuple[Parts, ...]
    notes: tuple[str, ...] = ()
    accounts: tuple[Account, ...] = ()
    merged: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
