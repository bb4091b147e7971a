"""Who was tested on which items: only models with the very same test items are ever paired.

A test item is a row of a table: the hash of its file, the row's position and id, and its true
label. Test sets are the same or they are not; what two of them share is never cut out.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from llm_tool.config import TrainingSettings
from llm_tool.errors import StudioError
from llm_tool.logs.archive import Archive, Training
from llm_tool.text import plural, visible

if TYPE_CHECKING:
    import pandas as pd

# What is no setting of a model: where it was computed, and with how many cores.
_NOT_LEARNED = {"threads"}


@dataclass(frozen=True)
class Unit:
    """One model as one run trained it with one seed; the tests of its folds are pooled.

    ``planned`` are all its trainings, ``trainings`` those with a result, ``siblings`` those of the
    same model and run with any seed; ``test`` has a row for
    each test item and ``validation`` for each validation row, sorted by ``row``. ``again`` tells
    it from a training that should have been the same and came out otherwise.
    """

    siblings: tuple[Training, ...]
    planned: tuple[Training, ...]
    trainings: tuple[Training, ...]
    test: pd.DataFrame
    validation: pd.DataFrame
    again: int = 0

    @property
    def first(self) -> Training:
        """Any of its trainings: they differ in their fold only."""
        return self.trainings[0]

    @property
    def seed(self) -> int:
        """The seed that it was trained with."""
        return self.first.job.seed

    @property
    def data(self) -> str:
        """What its table is known by: its hash, else its run, which read one table."""
        run = self.first.run
        return str(run["dataset"].get("sha256") or f"{self.first.session_id}/{run['jobs'][0]}")

    @property
    def data_name(self) -> str:
        """The name of its table."""
        return str(self.first.run["dataset"].get("name", ""))

    @cached_property
    def test_set(self) -> str:
        """What its test items are known by."""
        return f"{self.data} {_digest(self.test)}"

    @cached_property
    def validation_set(self) -> str:
        """What the rows are known by that its epochs were chosen on."""
        return f"{self.data} {_digest(self.validation)}"

    @cached_property
    def recipe(self) -> dict[str, Any]:
        """How it was trained: settings that make another model of the same one."""
        config, started = self.first.run["config"], self.first.started
        settings = {
            name: config.get(name)
            for name in sorted(TrainingSettings.model_fields)
            if name not in _NOT_LEARNED
        }
        settings["shared_encoder"] = config.get("shared_encoder", False)
        if settings["reinforced"] is None:
            settings["reinforced"] = config.get("mode") == "reinforced"
        if started:  # derived ones are resolved there
            for name in ("epochs", "batch_size", "learning_rate", "precision"):
                settings[name] = getattr(started, name)
        return settings

    @property
    def model(self) -> tuple[str, str, str, int]:
        """What one model is: what was asked for, its name, and how it was trained."""
        job = self.first.job
        return job.model, job.model_name, json.dumps(self.recipe, sort_keys=True), self.again

    def languages(self) -> tuple[str, ...]:
        """Return the languages of its test items, sorted."""
        return tuple(sorted(set(self.test["language"]) - {""}))

    def missing(self) -> str:
        """Return which folds have no result, in words; empty if none."""
        folds = sorted({t.job.fold for t in self.planned} - {t.job.fold for t in self.trainings})
        return f"fold {', '.join(map(str, folds))} without a result" if folds else ""


def _digest(rows: pd.DataFrame) -> str:
    known = rows[["row", "id", "true"]].astype(str).to_numpy()
    return hashlib.sha256(json.dumps(known.tolist()).encode()).hexdigest()


def job_name(training: Training) -> str:
    """Return what a training is known by over several sessions: ``session/job``."""
    return f"{training.session_id}/{training.job.name}"


def units(trainings: Iterable[Training]) -> tuple[list[Unit], dict[str, list[str]]]:
    """Return the models of a category that can be judged, and what cannot, by reason.

    The second are names as of ``job_name``.
    """
    models: dict[tuple[str, ...], list[Training]] = defaultdict(list)
    for training in trainings:
        job, run = training.job, training.run
        models[training.session_id, run["jobs"][0], job.model, job.model_name].append(training)
    judged: list[Unit] = []
    refused: dict[str, list[str]] = defaultdict(list)
    for siblings, seed in [(o, s) for o in models.values() for s in _seeds(o)]:
        own = [training for training in siblings if training.job.seed == seed]
        try:
            unit = _unit(own, siblings)
        except StudioError as error:
            refused[str(error)].extend(map(job_name, own))
            continue
        if unit is not None and len(unit.test):
            judged.append(unit)
        else:
            reason = "It has no test rows." if unit else "It has no result."
            refused[reason].extend(map(job_name, own))
    return judged, dict(refused)


def _seeds(trainings: Iterable[Training]) -> list[int]:
    return list(dict.fromkeys(training.job.seed for training in trainings))


def _unit(planned: Sequence[Training], siblings: Sequence[Training]) -> Unit | None:
    import pandas as pd

    done = tuple(training for training in planned if training.ended)
    if not done:
        return None
    tables = []
    for training in done:
        table = training.predictions()
        threshold = training.ended.threshold if training.ended else None
        tables.append(table.assign(threshold=np.nan if threshold is None else threshold))
    rows = pd.concat(tables).sort_values("row", kind="stable", ignore_index=True)
    test, validation = (
        rows[rows["part"] == part].reset_index(drop=True) for part in ("test", "validation")
    )
    return Unit(tuple(siblings), tuple(planned), done, test, validation)


def by_test_set(judged: Iterable[Unit]) -> list[list[Unit]]:
    """Return the models that were tested on the same items, the largest group first."""
    groups: dict[str, list[Unit]] = defaultdict(list)
    for unit in judged:
        groups[unit.test_set].append(unit)
    return sorted(groups.values(), key=len, reverse=True)


def without_repeats(group: Sequence[Unit]) -> tuple[list[Unit], list[str]]:
    """Return the models of a test set with none twice, and notes on what was left out.

    The same model, settings and seed with the same predictions are one training, done twice; with
    other predictions they are two models.
    """
    kept: list[Unit] = []
    notes = []
    for unit in group:
        like = [k for k in kept if k.model[:3] == unit.model[:3] and k.seed == unit.seed]
        same = [k for k in like if k.test["predicted"].equals(unit.test["predicted"])]
        if same:
            names = f"{job_name(unit.first)} repeats {job_name(same[0].first)}"
            notes.append(f"{visible(names)} with the same predictions, and counts once.")
        else:
            kept.append(replace(unit, again=len(like)))
    return kept, notes


def why_not(one: Unit, other: Unit) -> str:
    """Return why two models cannot be paired: what differs in their test sets."""
    if one.data != other.data:
        return (
            f"other data: {visible(one.data_name)} (SHA-256 {one.data[:8]}) and "
            f"{visible(other.data_name)} ({other.data[:8]})"
        )
    rows = [set(unit.test["row"]) for unit in (one, other)]
    if rows[0] != rows[1]:
        lacking = "; ".join(filter(None, (one.missing(), other.missing())))
        return (
            f"other test rows of the same data: {len(rows[0]):,} and {len(rows[1]):,}, "
            f"{len(rows[0] & rows[1]):,} of them in both" + (f" ({lacking})" if lacking else "")
        )
    if list(one.test["true"]) != list(other.test["true"]):
        differ = int((one.test["true"].to_numpy() != other.test["true"].to_numpy()).sum())
        return f"other true labels of {plural(differ, 'test row')}"
    return "other ids of the same test rows"


def planned_for(archives: Iterable[Archive]) -> Iterator[Training]:
    """Yield every training of some sessions, each session once, that is to learn from all rows.

    Those of the smaller shares of a learning curve are no models to choose from.
    """
    seen = set()
    for archive in archives:
        if archive.folder.resolve() not in seen:
            seen.add(archive.folder.resolve())
            yield from (one for one in archive.trainings if not one.job.is_partial)


def ensemble(units_of_a_model: Sequence[Unit]) -> NDArray[Any]:
    """Return one prediction an item of a model's seeds: that of their mean probabilities.

    With a threshold, of a yes-or-no task, it is the mean distance from each seed's own.
    """
    if len(units_of_a_model) == 1:
        predicted: NDArray[Any] = units_of_a_model[0].test["predicted"].to_numpy(dtype=object)
        return predicted
    classes = units_of_a_model[0].first.job.task.classes
    columns = [f"probability_{name}" for name in classes]
    tables = [unit.test for unit in units_of_a_model]
    mean = np.mean([table[columns].to_numpy(np.float64) for table in tables], axis=0)
    names = np.asarray(classes, dtype=object)
    thresholds = np.mean([table["threshold"].to_numpy(np.float64) for table in tables], axis=0)
    if not np.isnan(thresholds).any():
        chosen: NDArray[Any] = names[(mean[:, 1] >= thresholds).astype(int)]
        return chosen
    likeliest: NDArray[Any] = names[mean.argmax(axis=1)]
    return likeliest
