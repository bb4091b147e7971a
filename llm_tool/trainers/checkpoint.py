"""What going on with a training takes, after an epoch or within one, on disk while the job runs.

``checkpoint.json`` names the files that belong together; it is replaced when they are complete,
and only then are those of the one before taken away. Safetensors and JSON: no pickle.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from llm_tool.config import Precision, TrainingSettings
from llm_tool.errors import StudioError
from llm_tool.events import EpochEnded, ReinforcementStarted, from_json, to_json
from llm_tool.logs.files import disk_errors, replacing, whole
from llm_tool.plan import Job
from llm_tool.text import visible
from llm_tool.trainers.device import random_state, set_random_state
from llm_tool.trainers.pretrained import Model
from llm_tool.trainers.team import Team

CHECKPOINT = "checkpoint"  # the folder of its files, in that of the job's logs
_INDEX = "checkpoint.json"
_COPIES = 4  # of a model's size in a checkpoint: the best weights, the last ones, two moments
_ALWAYS = 10_000_000  # bytes that take no time
_PATIENCE = 1e-7  # seconds of training for a byte: a hundred times what a disk takes for it
_MODEL, _OPTIMIZER, _RANDOM, _LOGITS = "model.", "optimizer.", "random.", "logits"
Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Best:
    """The best epoch so far: its facts, its weights, its outputs for the validation rows."""

    epoch: EpochEnded
    weights: Tensors
    logits: NDArray[np.float32]


@dataclass(frozen=True)
class Begun:
    """What is done of an epoch that is not over: how many batches, and what they came to.

    ``losses`` has one sum an output that is learned, ``learning_rate`` is that of the last batch,
    ``seconds`` the time since the epoch's start.
    """

    epoch: int
    losses: tuple[float, ...]
    batches: int = 0
    tokens: int = 0
    seconds: float = 0.0
    learning_rate: float = 0.0


@dataclass
class Progress:
    """How far a training is.

    ``told`` are its epochs, and the start of the reinforced phase between them, in order;
    ``tokens`` and ``seconds`` are sums over them. ``begun`` is the epoch that comes after them, if
    something of it is done. ``token_budget`` is how many padded tokens go through the model at
    once, ``precision`` in which arithmetic.
    """

    token_budget: int
    precision: Precision
    told: list[EpochEnded | ReinforcementStarted] = field(default_factory=list)
    begun: Begun | None = None
    best: Best | None = None
    tokens: int = 0
    seconds: float = 0.0
    elapsed: float = 0.0

    @property
    def epochs(self) -> list[EpochEnded]:
        """The epochs that are done."""
        return [event for event in self.told if isinstance(event, EpochEnded)]

    def after(self, epochs: int) -> Iterator[EpochEnded | ReinforcementStarted]:
        """Yield what was told after a number of epochs."""
        for event in self.told:
            if epochs <= 0:
                yield event
            epochs -= isinstance(event, EpochEnded)


class Checkpoint:
    """The checkpoint of one job in its run folder."""

    def __init__(
        self,
        folder: Path,
        fingerprint: str,
        check: Callable[[], None] | None = None,
        team: Team | None = None,
    ) -> None:
        """Use a folder for a job.

        Args:
            folder: Where the files are; made when the first epoch is saved.
            fingerprint: What the job is made of; a checkpoint of another one is refused.
            check: Asked before each write; raises where this process is not to write any more.
            team: The processes that train it; the first one writes.
        """
        self._team = team or Team.alone()
        self._folder = folder
        self._fingerprint = fingerprint
        self._check = check or (lambda: None)
        self._since = time.perf_counter()
        self._best_kept: int | None = None  # the epoch whose weights its file holds

    def is_due(self, model: Model) -> bool:
        """Tell whether what would be lost without a checkpoint is worth the time that one takes.

        So that checkpoints take about one percent of the time, whatever the machine: a small model
        has one after every epoch, a large one on a GPU after some minutes of epochs.
        """
        size: int = _COPIES * sum(weight.nbytes for weight in model.parameters())
        return size < _ALWAYS or time.perf_counter() - self._since >= _PATIENCE * size

    def save(
        self, progress: Progress, model: Model, optimizer: torch.optim.Optimizer | None
    ) -> None:
        """Save the state after the last epoch so far, or after the last batch of one begun.

        Args:
            progress: How far the training is.
            model: The model as it is there.
            optimizer: Its optimiser; ``None`` when the course is over and only the best counts.

        Raises:
            DiskError: The folder cannot be written.
        """
        if not self._team.is_first:
            return
        self._check()
        names: dict[str, str] = {}
        with disk_errors(self._folder, "Saving the checkpoint"):
            self._folder.mkdir(exist_ok=True)
            if progress.best is not None:
                names["best"] = self._save_best(progress.best)
            if optimizer is not None:
                names["state"] = f"state-{_place(progress)}.safetensors"
                now = {} if _is_best(progress) else weights_of(model)
                device = next(model.parameters()).device
                moments = _flat(optimizer.state_dict()["state"])
                drawn = _named(_RANDOM, random_state(device))
                self._write(names["state"], {**_named(_MODEL, now), **moments, **drawn})
            # Large files take their time: whoever was replaced meanwhile leaves the other's alone.
            self._check()
            self._save_index(progress, names)
            for path in self._folder.iterdir():
                if path.name not in (*names.values(), _INDEX):
                    path.unlink()
        self._since = time.perf_counter()

    def _save_best(self, best: Best) -> str:
        """Save the best weights, unless that was done; return the name of their file."""
        number = best.epoch.epoch
        name = f"best-{number}.safetensors"
        if number != self._best_kept:
            logits = {_LOGITS: torch.from_numpy(best.logits)}
            self._write(name, {**_named(_MODEL, best.weights), **logits})
            self._best_kept = number
        return name

    def _save_index(self, progress: Progress, names: Mapping[str, str]) -> None:
        index: dict[str, Any] = {"fingerprint": self._fingerprint, "files": names}
        index |= {"told": [json.loads(to_json(event)) for event in progress.told]}
        index |= {"begun": asdict(progress.begun) if progress.begun else None}
        kept = ("token_budget", "precision", "tokens", "seconds", "elapsed")
        index |= {name: getattr(progress, name) for name in kept}
        with replacing(self._folder / _INDEX) as file:
            json.dump(index, file)

    def _write(self, name: str, tensors: Tensors) -> None:
        with whole(self._folder / name) as temporary:
            save_file(tensors, temporary)

    def load(self) -> Progress | None:
        """Return how far the job was; ``None`` when there is no checkpoint that can be used.

        Raises:
            StudioError: It is that of other data or settings.
            DiskError: It is there and cannot be read.
        """
        index, self._best_kept = self._index(), None
        if index is None:
            return None
        if index["fingerprint"] != self._fingerprint:
            raise StudioError(
                "The checkpoint belongs to other data or settings.",
                where=visible(str(self._folder)),
                remedy="Train anew with these, or delete the folder to begin this job again.",
            )
        told = [from_json(json.dumps(one)) for one in index["told"]]
        begun = index.get("begun")
        progress = Progress(
            index["token_budget"],
            index["precision"],
            [event for event in told if isinstance(event, EpochEnded | ReinforcementStarted)],
            begun=Begun(**begun | {"losses": tuple(begun["losses"])}) if begun else None,
            tokens=index["tokens"],
            seconds=index["seconds"],
            elapsed=index["elapsed"],
        )
        if progress.epochs:
            tensors = self._read(index["files"]["best"])
            if tensors is None:
                return None
            best = next(epoch for epoch in reversed(progress.epochs) if epoch.is_best)
            progress.best = Best(best, _only(_MODEL, tensors), tensors[_LOGITS].numpy())
            self._best_kept = best.epoch
        return progress

    def restore(self, model: Model, optimizer: torch.optim.Optimizer) -> None:
        """Put model, optimiser and random states back to where the checkpoint was made.

        Raises:
            StudioError: The checkpoint is damaged.
        """
        files = (self._index() or {}).get("files", {})
        state = self._read(files["state"]) if "state" in files else None
        weights = _only(_MODEL, state or {})
        if state and not weights:
            weights = _only(_MODEL, self._read(files["best"]) or {})
        if not state or not weights:
            raise StudioError(
                "The checkpoint is damaged.",
                where=visible(str(self._folder)),
                remedy="Delete the folder to begin this job again.",
            )
        model.load_state_dict(weights)
        groups = optimizer.state_dict()["param_groups"]
        moments = _nested(_only(_OPTIMIZER, state))
        optimizer.load_state_dict({"state": moments, "param_groups": groups})
        set_random_state(next(model.parameters()).device, _only(_RANDOM, state))

    def remove(self) -> None:
        """Take the checkpoint away: the job is done."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _index(self) -> dict[str, Any] | None:
        """Return what the first process finds: on a network's disk, others can be behind."""
        return self._team.first_says(self._read_index)

    def _read_index(self) -> dict[str, Any] | None:
        path = self._folder / _INDEX
        with disk_errors(path, "Reading the checkpoint"):
            try:
                index: dict[str, Any] = json.loads(path.read_text("utf-8"))
            except (FileNotFoundError, ValueError):
                return None
        return index

    def _read(self, name: str) -> Tensors | None:
        with disk_errors(self._folder / name, "Reading the checkpoint"):
            try:
                return load_file(self._folder / name)
            except (FileNotFoundError, SafetensorError):
                return None


def _place(progress: Progress) -> str:
    """Return what names the place of a training: its last epoch, or epoch and batch within one."""
    begun = progress.begun
    return f"{begun.epoch}-{begun.batches}" if begun else f"{progress.epochs[-1].epoch}"


def _is_best(progress: Progress) -> bool:
    """Tell whether the best weights are the model's own: nothing was trained since that epoch."""
    best = progress.best.epoch.epoch if progress.best else None
    return not progress.begun and best == progress.epochs[-1].epoch


def fingerprint(job: Job, settings: TrainingSettings, rows: Mapping[str, Sequence[int]]) -> str:
    """Return what tells a job's checkpoint from those of other jobs, data and settings.

    Args:
        job: The job.
        settings: How it is trained; in which precision does not count, for that can change.
        rows: Positions in the dataset of the rows of each part.
    """
    how = settings.model_dump(include=set(TrainingSettings.model_fields) - {"precision"})
    parts = {part: list(map(int, own)) for part, own in rows.items()}
    return hashlib.sha256(json.dumps([asdict(job), how, parts]).encode()).hexdigest()


def weights_of(model: Model) -> Tensors:
    """Return a copy of a model's weights in memory."""
    weights = model.state_dict().items()
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in weights}


def _named(prefix: str, tensors: Tensors) -> Tensors:
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def _only(prefix: str, tensors: Tensors) -> Tensors:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def _flat(state: Mapping[int, Mapping[str, torch.Tensor]]) -> Tensors:
    return {
        f"{_OPTIMIZER}{number}.{name}": tensor.detach().cpu().contiguous()
        for number, own in state.items()
        for name, tensor in own.items()
    }


def _nested(flat: Tensors) -> dict[int, Tensors]:
    state: dict[int, Tensors] = {}
    for name, tensor in flat.items():
        number, _, key = name.partition(".")
        state.setdefault(int(number), {})[key] = tensor
    return state
