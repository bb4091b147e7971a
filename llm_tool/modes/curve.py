"""A learning curve: each training again on nested shares of its training rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from llm_tool.config import RunConfig
from llm_tool.data.allotment import allot
from llm_tool.data.dataset import Dataset
from llm_tool.plan import Job, Parts, distinct_names

SHARES = (0.25, 0.5, 0.75, 1.0)
_Merged = Mapping[str, Mapping[str, str]]


def at_shares(
    every: Sequence[tuple[Job, Parts]], dataset: Dataset, config: RunConfig, merged: _Merged
) -> Iterator[tuple[Job, Parts]]:
    """Yield each job once for each share of its training rows; validation and test stay the same.

    Rows of a smaller share are in every larger one. Each share has its part of every class and
    language, and the smallest a row of every class. The job's own seed draws the shares, so that
    the spread over seeds is also that of the draw; rival models learn from the same rows.

    Args:
        every: The jobs and their rows.
        dataset: Gives labels and languages.
        config: Gives the seed of the split.
        merged: By label column, the class that small ones become one of.
    """
    drawn: dict[Job, list[list[int]]] = {}
    for job, parts in every:
        rivals = replace(job, model="", model_name="")
        if rivals not in drawn:
            drawn[rivals] = _quarters(job, parts, dataset, config, merged)
        for number, share in enumerate(SHARES, start=1):
            rows = sorted(row for quarter in drawn[rivals][:number] for row in quarter)
            yield replace(job, share=share), replace(parts, train=rows)


def _quarters(
    job: Job, parts: Parts, dataset: Dataset, config: RunConfig, merged: _Merged
) -> list[list[int]]:
    """Return the training rows in as many lots as there are shares."""
    rows = list(parts.train)
    quarters: dict[str, list[int]] = {str(number): [] for number in range(len(SHARES))}
    part_of = allot(
        [_labels(job, row, dataset, merged) for row in rows],
        [1] * len(rows),
        [dataset.languages[row] for row in rows],
        dict.fromkeys(quarters, 1 / len(quarters)),
        seed=(config.seed, job.seed, job.fold),
    )
    for row, part in zip(rows, part_of, strict=True):
        quarters[part].append(row)
    return list(quarters.values())


def _labels(job: Job, row: int, dataset: Dataset, merged: _Merged) -> list[str]:
    """Return the labels of a row that a job tells apart; of a yes-or-no task it may be none."""
    names: list[str] = []
    for task, name in distinct_names(job.tasks).items():
        values = dataset.keys[task.label_key].values[row]
        if task.label_value:
            names += [name] * (task.label_value in values)
        else:
            one = merged.get(task.label_key, {})
            names += [one.get(value, value) for value in values]
    return names
