"""What a report says of a session: facts only, in the order in which they are told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llm_tool.analysis.confusion import confusion
from llm_tool.analysis.learning_curve import Curve, learning_curves
from llm_tool.analysis.ranking import Ranking, Standing, rank
from llm_tool.analysis.report.counts import Counts, count_rows
from llm_tool.config import RunConfig
from llm_tool.errors import StudioError
from llm_tool.events import JobEnded
from llm_tool.logs.archive import Archive, Training
from llm_tool.plan import Account, Task, distinct_names
from llm_tool.text import shell_word

# A matrix of more classes fills pages and nobody reads it; its largest cells say what matters.
LARGEST_MATRIX = 30
MIX_UPS = 15


@dataclass(frozen=True)
class MixUp:
    """How many test rows of one class were taken for another."""

    true: str
    predicted: str
    rows: int
    share: float


@dataclass(frozen=True)
class Matrix:
    """The confusion matrix of a model on its test rows, true classes downwards.

    ``counts`` is empty for more than ``LARGEST_MATRIX`` classes; ``mix_ups`` are its largest cells
    off the diagonal. ``problem`` says why there is none.
    """

    classes: tuple[str, ...] = ()
    counts: tuple[tuple[int, ...], ...] = ()
    mix_ups: tuple[MixUp, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class Scope:
    """The models of one category and language scope, the best first.

    ``best`` is the winner's training with the best validation score: its tables are shown.
    ``trainings`` are all of the scope, also those without a result.
    """

    language: str
    standings: tuple[Standing, ...]
    best: Training
    matrix: Matrix
    counts: Counts
    trainings: tuple[Training, ...]

    @property
    def result(self) -> JobEnded:
        """The result of the best training."""
        if self.best.ended is None:
            raise ValueError("the best of a scope has a result")
        return self.best.ended


@dataclass(frozen=True)
class Category:
    """One category of a session; ``scopes`` is empty while nothing in it is done.

    ``name`` is what the user calls it, not its folder. ``trainings`` are those that learn from all
    rows; the others are in ``curves``, or ``problem`` says why they are not.
    """

    name: str
    trainings: tuple[Training, ...]
    scopes: tuple[Scope, ...]
    curves: tuple[Curve, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class Run:
    """One run of a session: its settings, and the command that does the same again.

    ``command`` is empty for a run that was started from Python; ``chosen`` names the settings
    that are not at their default. ``accounts`` say where all rows of the file went, as far as the
    session says it.
    """

    number: int
    started: str
    ended: str
    status: str
    data: str
    sha256: str
    config: Mapping[str, Any]
    chosen: frozenset[str]
    command: str
    accounts: tuple[Account, ...] = ()


@dataclass(frozen=True)
class Report:
    """A session as it is reported. ``names`` are those of the categories, by their folders."""

    names: Mapping[str, str]
    archive: Archive
    categories: tuple[Category, ...]
    runs: tuple[Run, ...]

    @property
    def unfinished(self) -> tuple[Training, ...]:
        """The trainings that failed, were interrupted, or have not begun."""
        return tuple(t for t in self.archive.trainings if not t.ended)

    @property
    def models(self) -> tuple[str, ...]:
        """The names of the models, each once."""
        return tuple(dict.fromkeys(t.job.model_name for t in self.archive.trainings))


def gather(archive: Archive) -> Report:
    """Return what there is to report of a session, finished or not."""
    names = _names(archive)
    categories = tuple(
        _category(names[folder], own) for folder, own in archive.by_category().items()
    )
    runs = tuple(_run(number, run) for number, run in enumerate(archive.facts["runs"], start=1))
    return Report(names, archive, categories, runs)


def _category(name: str, trainings: Sequence[Training]) -> Category:
    whole = tuple(one for one in trainings if not one.job.is_partial)
    try:
        curves, problem = learning_curves(trainings), ""
    except StudioError as error:
        curves, problem = (), error.what
    return Category(name, whole, tuple(_scopes(whole)), curves, problem)


def _names(archive: Archive) -> dict[str, str]:
    """Return the name of each category by its folder, with its column where two share one."""
    tasks = {folder: own[0].job.task for folder, own in archive.by_category().items()}
    bare = {folder: Task(task.label_key, task.label_value) for folder, task in tasks.items()}
    named = distinct_names(bare.values())
    return {folder: named[task] for folder, task in bare.items()}


def _scopes(trainings: Sequence[Training]) -> Iterable[Scope]:
    results = [t.ended for t in trainings if t.ended]
    for ranking in rank(results):
        own = [t for t in trainings if t.job.language == ranking.language]
        best = _best(own, ranking)
        yield Scope(
            ranking.language, ranking.standings, best, _matrix(best), count_rows(best), tuple(own)
        )


def _best(trainings: Sequence[Training], ranking: Ranking) -> Training:
    """Return the winner's training that is best on validation; the test never chooses."""
    winner = ranking.standings[0]
    own = [
        (t.ended.best.scores.f1_macro, t)
        for t in trainings
        if t.ended and (t.job.model, t.job.model_name) == (winner.model, winner.model_name)
    ]
    return max(own, key=lambda pair: pair[0])[1]  # the first of equals


def _matrix(training: Training) -> Matrix:
    if training.ended is None or training.ended.test is None:
        return Matrix(problem="There are no test rows.")
    try:
        counts = confusion(training)
    except StudioError as error:
        return Matrix(problem=error.what)
    classes = training.job.task.classes
    small = len(classes) <= LARGEST_MATRIX
    return Matrix(classes, counts if small else (), tuple(_mix_ups(classes, counts)))


def _mix_ups(classes: Sequence[str], counts: Sequence[Sequence[int]]) -> Iterable[MixUp]:
    cells = [
        MixUp(classes[i], classes[j], rows, rows / sum(row))
        for i, row in enumerate(counts)
        for j, rows in enumerate(row)
        if i != j and rows
    ]
    return sorted(cells, key=lambda cell: -cell.rows)[:MIX_UPS]


def _run(number: int, facts: Mapping[str, Any]) -> Run:
    config = facts["config"]
    known = _config(config)
    # A new session, as many workers as the machine takes: neither changes a number.
    again = known.model_copy(update={"session_id": None, "workers": None}) if known else None
    return Run(
        number=number,
        started=facts["started"],
        ended=facts["ended"] or "",
        status=facts["status"],
        data=facts["dataset"].get("name", ""),
        sha256=facts["dataset"].get("sha256", ""),
        config=config,
        chosen=frozenset(known.chosen()) if known else frozenset(),
        command=" ".join(map(shell_word, again.command())) if again else "",
        accounts=tuple(
            Account(**{**account, "tasks": tuple(account["tasks"])})
            for account in facts.get("accounts", ())
        ),
    )


def _config(config: Mapping[str, Any]) -> RunConfig | None:
    """Return the settings of a run that the command line can do again."""
    if "mode" not in config:
        return None
    try:
        return RunConfig(**config)
    except ValueError:  # of a version with other settings
        return None
