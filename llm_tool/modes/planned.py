"""What planning comes to: tasks that share a split, and where every row of the file goes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from llm_tool.config import RunConfig
from llm_tool.data.dataset import Dataset, LabelKey
from llm_tool.data.duplicates import same_texts
from llm_tool.data.splits import Split
from llm_tool.modes.scopes import Scope
from llm_tool.plan import MULTILINGUAL, Account, Parts, Task, distinct_names
from llm_tool.text import plural

OTHER_LANGUAGES = "of other languages"
NO_TEXT = "without a text"
NOT_CODED = "not coded"


@dataclass(frozen=True)
class Planned:
    """Tasks that share a split, each with the scopes that learn it.

    ``left_out`` says of each row in scope that is in no part why; ``merged`` gives the class that
    small ones became one of.
    """

    tasks: Sequence[tuple[Task, Sequence[Scope]]]
    folds: Sequence[Parts]
    left_out: Mapping[int, str]
    notes: Sequence[str]
    merged: Mapping[str, str] = field(default_factory=dict)


def wanted_parts(parts: Parts, dataset: Dataset, config: RunConfig) -> list[Sequence[int]]:
    """Return the parts in which every class must be; the test is one, if it is to have rows."""
    tested = config.folds or (config.test_share > 0 and dataset.columns.split is None)
    return [parts.train, parts.validation, *([parts.test] if parts.test or tested else [])]


def which_parts(config: RunConfig) -> str:
    """Return where every class has to be, for an error about one that is not."""
    least = f"with {config.min_per_part} in each of" if config.min_per_part > 1 else "in"
    folds = f" of each of {config.folds} folds" if config.folds else ""
    return f"to be {least} training, validation and test{folds}"


def units_of_labels(
    rows: Iterable[int], values: Sequence[Sequence[str]], split: Split
) -> Counter[str]:
    """Return in how many units, rows that stay together, each label is."""
    return Counter(value for value, _ in {(v, split.unit_of[r]) for r in rows for v in values[r]})


def remedy_of_copies(names: Iterable[str], key: LabelKey, split: Split, dataset: Dataset) -> str:
    """Return what to do where labels are small because copies of one text count once."""
    if dataset.columns.group:
        return ""
    exact = same_texts(dataset.texts)
    units = units_of_labels(split.unit_of, key.values, split)
    texts = Counter(v for v, _ in {(v, exact[r]) for r in split.unit_of for v in key.values[r]})
    if all(units[name] == texts[name] for name in names):
        return ""
    return " Texts that are nearly the same count once; --set near_duplicates=ignore counts each."


def accounts(every: Iterable[Planned], dataset: Dataset) -> Iterator[Account]:
    """Yield where the rows of the file go, once for all tasks and scopes for which it is the same.

    A row that is nowhere or in two places would be a fault of the program, and breaks it off.
    """
    every = list(every)
    names = distinct_names(task for planned in every for task, _ in planned.tasks)
    same: dict[tuple[object, ...], tuple[list[str], Account]] = {}
    for planned in every:
        by_scope = {id(s): _account(planned, s, dataset) for _, own in planned.tasks for s in own}
        for task, scopes in planned.tasks:
            for scope in scopes:
                account = by_scope[id(scope)]
                key = (*account.parts.items(), None, *account.left_out.items())
                language = scope.language.replace(MULTILINGUAL, "")
                name = " ".join(filter(None, (names[task], language)))
                same.setdefault(key, ([], account))[0].append(name)
    for tasks, account in same.values():
        unique = tuple(dict.fromkeys(tasks))
        yield Account(unique, account.rows, account.parts, account.left_out)


def _account(planned: Planned, scope: Scope, dataset: Dataset) -> Account:
    parts: Counter[str] = Counter()
    used = bytearray(len(scope.rows))
    for fold in planned.folds:
        for name, rows in fold.where(scope.rows).named().items():
            # With folds a row counts where it is tested: that is once.
            if len(planned.folds) == 1 or name == "test":
                parts[name] += len(rows)
                for row in rows:
                    assert not used[row], f"row {row} is in two parts"
                    used[row] = True
    left_out: Counter[str] = Counter()
    for row, inside in enumerate(scope.rows):
        if not used[row]:
            outside = NOT_CODED if row in scope.uncoded else OTHER_LANGUAGES
            left_out[planned.left_out[row] if inside else outside] += 1
    left_out[NO_TEXT] += dataset.without_text
    if len(planned.folds) > 1:
        parts = Counter({f"in {len(planned.folds)} folds, each tested once": parts["test"]})
    rows_of_file = len(scope.rows) + dataset.without_text
    return Account((), rows_of_file, dict(+parts), dict(+left_out))


def describe(account: Account, *, named: bool) -> str:
    """Return an account as a line: how many rows there are, and where they go.

    Args:
        account: The account.
        named: Say what tasks it is of.
    """
    tasks = ", ".join(account.tasks[:3])
    more = f" and {len(account.tasks) - 3} more" if len(account.tasks) > 3 else ""
    who = f"{tasks}{more}: " if named else ""
    parts = ", ".join(f"{count:,} {name}" for name, count in account.parts.items())
    reasons = ", ".join(f"{count:,} {why}" for why, count in account.left_out.items())
    gone = f"; left out {sum(account.left_out.values()):,}: {reasons}" if reasons else ""
    return f"{who}{plural(account.rows, 'row')}: {parts}{gone}."
