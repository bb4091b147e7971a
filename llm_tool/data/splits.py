"""Divide rows into training, validation and test so that no score is flattered.

Stratified by label and language, also where a row has several labels; rows with the same text,
or nearly the same, and rows of one group stay together. Every row is in a part or has a reason.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from llm_tool.data.allotment import allot
from llm_tool.data.duplicates import Link, Roots, clusters, near_texts, same_texts
from llm_tool.plan import Parts
from llm_tool.text import plural

if TYPE_CHECKING:
    from llm_tool.config import RunConfig
    from llm_tool.data.dataset import Dataset

PART_ORDER = ("train", "validation", "test")
_Labels = Mapping[int, Sequence[str]]


@dataclass(frozen=True)
class Split:
    """How rows were divided.

    ``folds`` are the parts of each fold of a cross-validation; without one they are one. A row is
    in one part of each of them, or ``left_out`` says why not. ``unit_of`` numbers what was kept
    together. ``notes`` say what the user should know.
    """

    folds: tuple[Parts, ...]
    left_out: Mapping[int, str]
    unit_of: Mapping[int, int]
    notes: tuple[str, ...] = ()


@dataclass
class _Units:
    """Rows that must not be divided, and what nearly the same texts did to them."""

    rows: list[list[int]]
    notes: list[str] = field(default_factory=list)

    def without(self, gone: Iterable[int]) -> list[list[int]]:
        """Return the units without some of their rows."""
        out = set(gone)
        return list(filter(None, ([row for row in unit if row not in out] for unit in self.rows)))


def split_rows(
    dataset: Dataset, rows: Sequence[int], labels: Sequence[Sequence[str]], config: RunConfig
) -> Split:
    """Return how rows are divided: as the split column says, into folds, or by shares.

    Args:
        dataset: Gives texts, languages, groups, and the parts of a split column.
        rows: The labelled rows to divide.
        labels: The labels of each of ``rows``, to stratify by; a row may have none.
        config: Shares, folds, seed, and what to do with near duplicates.
    """
    labels_of = dict(zip(rows, labels, strict=True))
    given = {row: dataset.parts[row] for row in rows}
    if any(given.values()):
        return _as_given(dataset, labels_of, given, config)
    shares = _shares(config)
    units = _units(dataset, rows, config, shares)
    if config.folds:
        folds = tuple(_folds(units, dataset, labels_of, config, config.folds))
    else:
        folds = (_parts(_divide(units.rows, dataset, labels_of, shares, config.seed, config)),)
    return Split(folds, {}, _numbered(units.rows), tuple(units.notes))


def _shares(config: RunConfig) -> dict[str, float]:
    """Return the shares of all rows that the parts shall have; parts without a share are left out.

    With folds, those of each fold.
    """
    test = 1 / config.folds if config.folds else config.test_share
    train = 1 - config.validation_share - test
    shares = {"train": train, "validation": config.validation_share, "test": test}
    return {part: share for part, share in shares.items() if share > 0}


def _folds(
    units: _Units, dataset: Dataset, labels_of: _Labels, config: RunConfig, count: int
) -> Iterable[Parts]:
    """Yield the parts of each fold: every unit is tested in one of them."""
    tested = {f"fold {number:04d}": 1 / count for number in range(1, count + 1)}
    # With two folds, the other one has to be enough for both training and validation.
    least = config.min_per_part * (2 if count == 2 else 1)
    wanted = config.model_copy(update={"min_per_part": least})
    rows_of = _divide(units.rows, dataset, labels_of, tested, config.seed, wanted)
    share = config.validation_share / (1 - 1 / count)
    for number, fold in enumerate(tested, start=1):
        rest = units.without(rows_of[fold])
        shares = {"train": 1 - share, "validation": share}
        own = _divide(rest, dataset, labels_of, shares, (config.seed, number), config)
        yield _parts({**own, "test": rows_of[fold]})


def _divide(
    units: Sequence[Sequence[int]],
    dataset: Dataset,
    labels_of: _Labels,
    shares: Mapping[str, float],
    seed: int | Sequence[int],
    config: RunConfig,
) -> dict[str, list[int]]:
    """Return the rows of each part; see ``allot``."""
    part_of = allot(
        [sorted({name for row in unit for name in labels_of[row]}) for unit in units],
        [len(unit) for unit in units],
        [dataset.languages[unit[0]] for unit in units],
        shares,
        seed=seed,
        least=config.min_per_part,
    )
    rows_of: dict[str, list[int]] = {part: [] for part in shares}
    for unit, part in zip(units, part_of, strict=True):
        rows_of[part].extend(unit)
    return rows_of


def _parts(rows_of: Mapping[str, Iterable[int]]) -> Parts:
    return Parts(*(sorted(rows_of.get(part, ())) for part in PART_ORDER))


def _numbered(units: Iterable[Sequence[int]]) -> dict[int, int]:
    return {row: number for number, unit in enumerate(units) for row in unit}


def _units(
    dataset: Dataset,
    rows: Sequence[int],
    config: RunConfig,
    shares: Mapping[str, float],
    through: Sequence[int] = (),
) -> _Units:
    """Return the rows in units that must not be divided: same or similar text, or same group.

    Texts that are nearly the same join units from the most alike on, as long as the unit is no
    larger than half of the smallest part: chains, in which the last text has little in common
    with the first, and copies without end would else leave nothing to divide.

    Args:
        dataset: Gives texts and groups.
        rows: What is to be divided.
        config: Says whether texts that are nearly the same count.
        shares: The share of each part.
        through: Rows that are not divided, and yet join those that have a text or group of theirs.
    """
    exact = same_texts(dataset.texts)
    roots = Roots(len(dataset.texts))
    first_of: dict[str, int] = {}
    for row in (*rows, *through):
        roots.join(row, exact[row])
        if dataset.groups[row]:
            roots.join(row, first_of.setdefault(dataset.groups[row], row))
    notes = []
    if config.near_duplicates == "together":
        largest = max(2, int(min(shares.values()) * len(rows) / 2))
        links = near_texts(dataset.texts)
        followed = _follow(links, roots, Counter(roots.of(row) for row in rows), largest)
        notes = list(_about_near(dataset, rows, links, followed, roots))
    units: dict[int, list[int]] = defaultdict(list)
    for row in rows:
        units[roots.of(row)].append(row)
    return _Units(list(units.values()), notes)


def _follow(links: Iterable[Link], roots: Roots, sizes: Counter[int], largest: int) -> list[Link]:
    """Join what links join, the most alike first, if it is not too large; return these links."""
    followed = []
    for link in sorted(links, key=lambda link: (-link[2], link)):
        a, b = roots.of(link[0]), roots.of(link[1])
        together = sizes[a] + sizes[b]
        if a == b or together <= largest or not (sizes[a] and sizes[b]):
            roots.join(a, b)
            sizes[min(a, b)] = together if a != b else sizes[a]
            followed.append(link)
    return followed


def _about_near(
    dataset: Dataset,
    rows: Sequence[int],
    links: Iterable[Link],
    followed: Iterable[Link],
    roots: Roots,
) -> Iterable[str]:
    """Yield how many rows stay with a near duplicate of theirs, and how many cannot."""
    exact = same_texts(dataset.texts)
    present = Counter(exact[row] for row in rows)
    found = (list(filter(present.__getitem__, own)) for own in clusters(len(exact), followed))
    kept = sum(present[row] for own in found if len(own) > 1 for row in own)
    if kept:
        verb = "stays" if kept == 1 else "stay"
        yield f"{plural(kept, 'row')} {verb} together with a near duplicate of theirs."
    cut = [(a, b) for a, b, _ in links if roots.of(a) != roots.of(b) and present[a] and present[b]]
    alone = sum(present[row] for row in {row for link in cut for row in link})
    if alone:
        yield (
            f"{plural(alone, 'row')} can be in another part than a near duplicate of theirs: "
            "together they are too many for a part."
        )


def _as_given(
    dataset: Dataset, labels_of: _Labels, given: Mapping[int, str], config: RunConfig
) -> Split:
    """Return the parts of a split column, without rows that would be in several of them."""
    rows = list(given)
    left_out = {row: "without a part in the split column" for row in rows if not given[row]}
    notes = []
    if left_out:
        notes.append(f"{plural(len(left_out), 'row')} left out: the split column is empty.")
    shares = {"train": 1 - config.validation_share, "validation": config.validation_share}
    same = _units(dataset, rows, config.model_copy(update={"near_duplicates": "ignore"}), shares)
    rows_of, straddlers = _without_straddlers(same.rows, given)
    left_out |= dict.fromkeys(straddlers, "with a text or group that is also in a later part")
    if straddlers:
        notes.append(
            f"{plural(len(straddlers), 'row')} left out of training or validation: the same text "
            "or group is also in a later part."
        )
    if not rows_of["validation"]:
        units = _units(dataset, sorted(rows_of["train"]), config, shares, through=rows)
        rows_of |= _divide(units.rows, dataset, labels_of, shares, config.seed, config)
        notes.append("The split column has no validation rows: taken from its training rows.")
        notes += units.notes
    if config.near_duplicates == "together":
        notes += _near_in_later_parts(dataset, rows_of)
    return Split((_parts(rows_of),), left_out, _numbered(same.rows), tuple(notes))


def _without_straddlers(
    units: Iterable[Sequence[int]], given: Mapping[int, str]
) -> tuple[dict[str, list[int]], list[int]]:
    """Keep a unit that is in several parts only in the last of them: test before validation."""
    rows_of: dict[str, list[int]] = {part: [] for part in PART_ORDER}
    dropped: list[int] = []
    for unit in units:
        placed = [row for row in unit if given[row]]
        if not placed:
            continue
        last = max((given[row] for row in placed), key=PART_ORDER.index)
        rows_of[last] += [row for row in placed if given[row] == last]
        dropped += [row for row in placed if given[row] != last]
    return rows_of, dropped


def _near_in_later_parts(dataset: Dataset, rows_of: Mapping[str, Sequence[int]]) -> list[str]:
    """Return a note on rows that have a near duplicate in a later part of a split column."""
    exact = same_texts(dataset.texts)
    later = {exact[row]: PART_ORDER.index(part) for part in PART_ORDER for row in rows_of[part]}
    early = 0
    for cluster in clusters(len(exact), near_texts(dataset.texts)):
        last = max((later[row] for row in cluster if row in later), default=0)
        own = [row for row in cluster if later.get(row, last) < last]
        early += len(own)
    if not early:
        return []
    verb = "has" if early == 1 else "have"
    return [
        f"{plural(early, 'text')} of training or validation {verb} a near duplicate in a later "
        "part, as the split column says."
    ]
