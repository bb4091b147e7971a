"""What a comparison says: contests, entries, pairs, refusals."""

from __future__ import annotations

from dataclasses import dataclass

from llm_tool.trainers.resampling import Interval


@dataclass(frozen=True)
class LanguageResult:
    """A model's macro F1 on the test items of one language; mean over its seeds."""

    language: str
    items: int
    f1_macro: Interval


@dataclass(frozen=True)
class Gap:
    """How far a model's best language is above its worst one, in macro F1."""

    best: str
    worst: str
    difference: Interval


@dataclass(frozen=True)
class Entry:
    """A model in a contest: means over its seeds, on the contest's test items.

    ``name`` is the shown one, distinct in the contest. ``jobs`` are its trainings as
    ``session/job``. ``complete``: each that was planned has a result. ``val`` is the mean macro F1
    on validation rows, by which entries are ordered. ``val_spread`` and ``seed_spread`` are the
    standard deviations over seeds of the validation and test macro F1, ``None`` with one seed.
    ``gap`` is ``None`` with fewer than two languages.
    """

    name: str
    model: str
    model_name: str
    sessions: tuple[str, ...]
    jobs: tuple[str, ...]
    seeds: tuple[int, ...]
    folds: int
    complete: bool
    parameters: int
    val: float
    val_spread: float | None
    f1_macro: Interval
    accuracy: float
    seed_spread: float | None
    languages: tuple[LanguageResult, ...] = ()
    gap: Gap | None = None


@dataclass(frozen=True)
class Pair:
    """Two entries of a contest, by name, on the same test items.

    ``difference`` is the first's macro F1 less the second's. ``only_first`` and ``only_second``
    count the items that only one of them has right. ``bootstrap_holm`` and ``mcnemar_holm`` are
    corrected for all pairs of the contest. ``distinguishable`` is what the paired bootstrap says
    after correction, at 5 %. ``items_needed``: test items in all that would tell such a difference
    with 80 % power, ``None`` if distinguishable or if there is no difference.
    """

    first: str
    second: str
    difference: Interval
    only_first: int
    only_second: int
    bootstrap_p: float
    bootstrap_holm: float
    mcnemar_p: float
    mcnemar_holm: float
    distinguishable: bool
    items_needed: int | None


@dataclass(frozen=True)
class Contest:
    """The models that judged the same test items of a category, the best on validation first.

    ``language`` is the scope of the models, as in ``Job``; ``data`` the name of the table.
    ``pairs`` are all of them, in the order of the entries. ``notes`` say what makes the entries
    less than equal.
    """

    category: str
    language: str
    data: str
    classes: tuple[str, ...]
    items: int
    entries: tuple[Entry, ...]
    pairs: tuple[Pair, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Refusal:
    """What was not compared, and why. ``trainings`` are ``session/job``."""

    category: str
    language: str
    trainings: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class OwnModel:
    """The best model on validation of one language scope, on the test items of that language."""

    language: str
    name: str
    items: int
    f1_macro: Interval


@dataclass(frozen=True)
class ScopeGap:
    """How far apart the languages of a category are where each has models of its own.

    ``models`` are the best of each scope; no test item is in two of them.
    """

    category: str
    data: str
    models: tuple[OwnModel, ...]
    gap: Gap


@dataclass(frozen=True)
class Comparison:
    """All contests of some sessions, what was not compared, and how to read it.

    ``gaps`` are those between languages that have models of their own.

    ``notes`` are sentences on method; ``repetitions`` and ``seed`` are those of the bootstrap.
    """

    contests: tuple[Contest, ...]
    refusals: tuple[Refusal, ...]
    notes: tuple[str, ...]
    repetitions: int
    seed: int
    gaps: tuple[ScopeGap, ...] = ()
