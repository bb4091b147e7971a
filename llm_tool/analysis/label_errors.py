"""Rows that are probably coded wrongly: what models say of rows that they did not learn from.

By confident learning (Northcutt et al. 2021, JAIR 70), with cleanlab.
"""

from __future__ import annotations

import csv
import warnings
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_tool.config import DEMO_DATA, make_config
from llm_tool.data.dataset import data_sha256, load_table
from llm_tool.errors import StudioError, nearest
from llm_tool.logs.archive import Archive, Training
from llm_tool.logs.category_rows import neutral
from llm_tool.logs.files import check_place, disk_errors, whole
from llm_tool.text import visible

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

COLUMNS = (
    "category", "rank", "id", "row", "text", "language", "given_label", "suggested_label",
    "probability_of_given", "quality", "part", "new_label",
)  # fmt: skip


@dataclass(frozen=True)
class Suspect:
    """A row whose label is probably wrong.

    ``row`` is its position in the dataset, ``probability`` what the models give its label and
    ``quality`` cleanlab's score of it, both between 0 and 1. ``part`` is ``test``, or
    ``validation`` for a row that also chose the epoch. ``text`` and ``name``, the number under
    which the user finds the row in the file, are empty where the file is not as it was.
    """

    row: int
    id: str
    part: str
    language: str
    given: str
    suggested: str
    probability: float
    quality: float
    text: str = ""
    name: str = ""


@dataclass(frozen=True)
class LabelErrors:
    """The rows of a category that are probably coded wrongly, the worst first.

    Of its ``rows`` so many were ``looked_at``: those that some training did not learn from, of
    these ``validation`` ones that chose the epoch. ``agreed`` is the share of them whose label is
    the most probable one, ``noise`` the share of wrong labels that confident learning estimates,
    which weak models make too large. ``models`` are those whose probabilities, of so many
    ``trainings``, were averaged. ``has_texts``: the file is as it was.
    """

    category: str
    models: tuple[str, ...]
    trainings: int
    folds: int
    rows: int
    looked_at: int
    validation: int
    agreed: float
    noise: float
    suspects: tuple[Suspect, ...]
    has_texts: bool


def label_errors(
    archive: Archive, categories: Collection[str] = (), model: str | None = None
) -> tuple[LabelErrors, ...]:
    """Return what is probably coded wrongly in each category of a session.

    A row is judged by the mean probabilities of all trainings that did not learn from it: of every
    model, seed and scope, since several judge better than one. Where several runs trained a
    category, the one counts that lets most rows be looked at, of equals the last.

    Args:
        archive: The session.
        categories: Only these, by their names or folders. Default: all.
        model: Only trainings of this model, by the name that is shown or asked for.

    Raises:
        StudioError: cleanlab is not installed, no training is done, there is no such category or
            model, or predictions cannot be read.
    """
    _check_installed()
    every = [one for one in archive.done if not one.job.is_partial]
    if not every:
        raise StudioError(f"No training of session {visible(archive.id)} is done.")
    chosen = _chosen(every, categories, model)
    by_category: dict[str, dict[str, list[Training]]] = defaultdict(lambda: defaultdict(list))
    for training in chosen:
        by_category[training.category][training.run["jobs"][0]].append(training)
    texts: dict[str, _Texts | None] = {}
    found = []
    for runs in by_category.values():
        tables = {run: _held_out(own) for run, own in runs.items()}
        best = max(reversed(tables), key=lambda run: len(tables[run]))  # the first of equals
        if best not in texts:
            texts[best] = _texts(runs[best][0].run)
        found.append(_found(runs[best], tables[best], texts[best]))
    return tuple(found)


def _check_installed() -> None:
    try:
        import cleanlab  # noqa: F401 - only whether it is there
    except ImportError as error:
        raise StudioError(
            "Looking for label errors takes cleanlab, which is not installed.",
            remedy='Install it: pip install "llm-tool[label-errors]"',
        ) from error


def _chosen(
    every: Sequence[Training], categories: Collection[str], model: str | None
) -> list[Training]:
    known = {name for one in every for name in (one.category, one.job.task.category)}
    for name in categories:
        if name not in known:
            raise StudioError(
                f"The session has no category '{visible(name)}' with a result.",
                where="--category",
                remedy=nearest(visible(name), sorted(map(visible, known)), kind="trained"),
            )
    models = {name for one in every for name in (one.job.model_name, one.job.model)}
    if model is not None and model not in models:
        shown = sorted({visible(one.job.model_name) for one in every})
        raise StudioError(
            f"The session has no model '{visible(model)}' with a result.",
            where="--model",
            remedy=nearest(visible(model), shown, kind="trained"),
        )
    wanted = [
        one
        for one in every
        if (not categories or {one.category, one.job.task.category} & set(categories))
        and (model is None or model in (one.job.model_name, one.job.model))
    ]
    if not wanted:
        raise StudioError(f"That category was not trained with '{visible(model or '')}'.")
    return wanted


def _held_out(trainings: Sequence[Training]) -> pd.DataFrame:
    """Return a row for each row that some training did not learn from, with mean probabilities.

    With folds these are the test rows of each, every row once; else also the validation rows.
    """
    import pandas as pd

    folds = any(one.job.fold for one in trainings)
    table = pd.concat([one.predictions() for one in trainings], ignore_index=True)
    if folds:
        table = table[table["part"] == "test"]
    shares = [name for name in table.columns if name.startswith("probability_")]
    facts = dict.fromkeys(["id", "part", "language", "true"], "first")
    means: pd.DataFrame = table.groupby("row").agg({**facts, **dict.fromkeys(shares, "mean")})
    return means


def _found(trainings: Sequence[Training], table: pd.DataFrame, texts: _Texts | None) -> LabelErrors:
    import numpy as np

    first = trainings[0]
    classes = first.job.task.classes
    position = {name: i for i, name in enumerate(classes)}
    given = np.array([position[name] for name in table["true"]], dtype=np.int64)
    shares = table[[f"probability_{name}" for name in classes]].to_numpy(np.float64)
    order, quality, noise = _judged(given, shares)
    rows, about = table.index.to_numpy(), table[["id", "part", "language"]].to_numpy().tolist()
    suspects = []
    for i in order:
        row, (name, part, language) = int(rows[i]), about[i]
        text, number = (texts.texts[row], texts.names[row]) if texts else ("", "")
        coded, suggested = classes[given[i]], classes[int(shares[i].argmax())]
        scores = float(shares[i, given[i]]), float(quality[i])
        suspects.append(Suspect(row, name, part, language, coded, suggested, *scores, text, number))
    return LabelErrors(
        category=first.category,
        models=tuple(dict.fromkeys(one.job.model_name for one in trainings)),
        trainings=len(trainings),
        folds=len({one.job.fold for one in trainings} - {0}),
        rows=len({row for one in trainings for row in one.split()["row"]}),
        looked_at=len(table),
        validation=int((table["part"] == "validation").sum()),
        agreed=float((shares.argmax(axis=1) == given).mean()),
        noise=noise,
        suspects=tuple(suspects),
        has_texts=texts is not None,
    )


def _judged(
    given: NDArray[np.int64], shares: NDArray[np.float64]
) -> tuple[list[int], NDArray[np.float64], float]:
    """Return the likely errors, the worst first, the quality of every label, and the noise rate.

    Args:
        given: The coded classes, shape (rows,).
        shares: Probabilities of each class, shape (rows, classes).
    """
    import numpy as np
    from cleanlab.count import estimate_joint
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    present = np.unique(given)
    if len(present) < 2:  # nothing to take a label for
        return [], shares[np.arange(len(given)), given], 0.0
    # A class that nobody coded among these rows has no threshold to be compared with.
    labels, own = np.searchsorted(present, given), shares[:, present]
    own = own / own.sum(axis=1, keepdims=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # classes with very few rows: none of theirs is flagged
        order = find_label_issues(labels, own, return_indices_ranked_by="self_confidence", n_jobs=1)
        joint = estimate_joint(labels, own)
    quality = get_label_quality_scores(labels, own, method="self_confidence")
    return [int(i) for i in order], quality, float(1 - np.trace(joint))


@dataclass(frozen=True)
class _Texts:
    """The texts of a run's dataset, and the numbers of its rows in the file."""

    texts: Sequence[str]
    names: Sequence[str]


def _texts(run: Mapping[str, Any]) -> _Texts | None:
    """Return the texts of a run from its file; ``None`` where that is not as it was."""
    settings = dict(run["config"])
    if "data" not in settings:  # a training that was started from Python
        return None
    if settings["data"] != DEMO_DATA:
        settings["data"] = str(Path(run["folder"], settings["data"]))
    try:
        config = make_config(settings)
        if data_sha256(config) != run["dataset"]["sha256"]:
            return None
        table, dataset = load_table(config)
    except StudioError:
        return None
    return _Texts(dataset.texts, [table.row_name(position) for position in dataset.kept])


def write_for_recoding(path: Path, found: Sequence[LabelErrors]) -> None:
    """Write a CSV of the likely errors, by category, the worst first, to be coded anew.

    UTF-8 with a byte order mark, without which Excel takes it for another encoding; cells that a
    spreadsheet would run as a formula are neutralised as in training.csv. The last column is empty.

    Raises:
        StudioError: There is a file of this name, which may hold someone's work, or it cannot be
            written.
    """
    check_free(path)
    with (
        disk_errors(path, "Writing the file"),
        whole(path) as temporary,
        temporary.open("x", encoding="utf-8-sig", errors="backslashreplace", newline="") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for one in found:
            for rank, suspect in enumerate(one.suspects, start=1):
                writer.writerow(map(neutral, _cells(one.category, rank, suspect)))


def check_free(path: Path) -> None:
    """Refuse to write to a file that is there, or cannot be made.

    Raises:
        StudioError: It is there, or there is no folder for it.
    """
    check_place(path)
    if path.exists():
        raise StudioError(
            "There is a file of this name.",
            where=visible(str(path)),
            remedy="Someone may have coded in it: choose another name with --out.",
        )


def _cells(category: str, rank: int, suspect: Suspect) -> list[str]:
    return [
        category, str(rank), suspect.id, suspect.name, suspect.text, suspect.language,
        suspect.given, suspect.suggested, f"{suspect.probability:.4f}", f"{suspect.quality:.4f}",
        suspect.part, "",
    ]  # fmt: skip
