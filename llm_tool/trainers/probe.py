"""What a training takes here, found out by a little of it: seconds, memory, lengths of texts."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import psutil
import torch
from numpy.typing import NDArray

from llm_tool.config import LongDocuments, RunConfig, TrainingSettings
from llm_tool.data.dataset import Dataset
from llm_tool.data.tokens import Examples, Tokenizer, TokenStore
from llm_tool.data.windows import treatment
from llm_tool.errors import StudioError
from llm_tool.events import BatchEnded, Event
from llm_tool.plan import Job, Parts
from llm_tool.trainers.bert_base import train_epochs
from llm_tool.trainers.checkpoint import CHECKPOINT, Best, Checkpoint, Progress, weights_of
from llm_tool.trainers.device import (
    TOKEN_BUDGET,
    best_device,
    place,
    random_state,
    set_random_state,
)
from llm_tool.trainers.forward import outputs_of, predict_logits
from llm_tool.trainers.model_trainer import Encoder, prepare_job
from llm_tool.trainers.pretrained import Model
from llm_tool.trainers.reinforcement import normal_course
from llm_tool.trainers.scoring import Pass, epoch_ended
from llm_tool.trainers.steps import Steps, make_steps

_TEXTS, _OWN_TEXTS = 4_000, 400  # most that are tokenised: of all jobs, and first of the job itself
_TOKENISING = 2.0  # seconds after which no more of them are
_TRAINING, _BATCHES = 1.5, 3  # seconds of batches, and how many at least,
_VERY_LONG = 6.0  # unless they take as many seconds
_PIECES = 4  # most pieces of a batch: what a step costs does not count in longer ones
# Beside the weights, their gradients and two moments, a training takes memory for the texts that go
# through the model. Freed and taken again in other sizes it falls to pieces: after an epoch, about
# as much again is held (all-MiniLM-L6-v2 with the embedded texts).
_BESIDE = 3
_LOOKS_EVERY = 0.02  # seconds between looks at the memory
_NOT_SAMPLED = -1


@dataclass(frozen=True)
class Probe:
    """What a little of a model's training took on this machine.

    Seconds: ``files`` to find the model and load its tokenizer, and ``text`` to tokenise one,
    both once for all jobs; ``load`` for the model; ``step`` and ``token`` in training;
    ``scored_token`` in validation and test; ``save`` to write the weights once.

    ``memory`` is the peak in bytes: of the GPU with ``device`` cuda, else of the process.
    ``lengths[row]`` are the tokens of a row of the dataset, 0 where it is left out for its length,
    those of all windows where it has several, -1 where it is not in the sample; ``too_long`` rows
    of the sample have more than ``max_length``, and ``long_documents`` is what is done with them.
    """

    files: float
    text: float
    load: float
    step: float
    token: float
    scored_token: float
    save: float
    memory: int
    device: str
    max_length: int
    lengths: NDArray[np.int32]
    too_long: frozenset[int]
    long_documents: LongDocuments = "truncate"

    def amount(self, rows: Sequence[int]) -> tuple[float, float]:
        """Return about how many texts of some rows are kept, and how many tokens they have."""
        own = self.lengths[np.asarray(rows, dtype=np.int64)]
        known = own[own != _NOT_SAMPLED]
        if not len(known):
            known = self.lengths[self.lengths != _NOT_SAMPLED]
        return float((known > 0).mean() * len(rows)), float(known.mean() * len(rows))

    @property
    def sampled(self) -> int:
        """How many rows were tokenised."""
        return int((self.lengths != _NOT_SAMPLED).sum())


class _EnoughError(Exception):
    """Ends the training of a probe."""


def probe(
    job: Job,
    parts: Parts,
    dataset: Dataset,
    encoder: Encoder,
    config: RunConfig,
    *,
    rows: Sequence[int],
    folder: Path,
) -> Probe:
    """Train a job for a moment and return what that took; nothing is left of it.

    Args:
        job: The job.
        parts: Its rows; batches are drawn from them as in the training itself.
        dataset: The rows.
        encoder: The job's encoder, on which nothing was tokenised yet.
        config: The settings; threads are decided.
        rows: Rows of all jobs with this model, whose lengths count.
        folder: On the disk where checkpoints will be.

    Raises:
        StudioError: The model cannot be had or loaded, the loss is not finite, or the folder
            cannot be written.
    """
    with _as_it_was(), _peak_memory() as peak:
        started = time.perf_counter()
        encoder.load()
        files = time.perf_counter() - started
        rank = np.random.default_rng(config.seed).permutation(len(dataset.texts))
        first = _lowest([row for own in parts.named().values() for row in own], rank, _OWN_TEXTS)
        sample = list(dict.fromkeys([*first, *_lowest(rows, rank, _TEXTS)]))
        started = time.perf_counter()
        lengths, too_long, how = _lengths(encoder.tokens, sample, len(rank), config)
        text = (time.perf_counter() - started) / max(1, int((lengths >= 0).sum()))

        drawn = parts.where((lengths != _NOT_SAMPLED).tolist())
        started = time.perf_counter()
        decided = config.model_copy(update={"long_documents": how})
        model, data, settings = prepare_job(job, drawn, dataset, encoder, decided)
        load = time.perf_counter() - started
        if not len(data.train) or not len(data.validation):
            raise StudioError("no text is left to train on or to validate with")
        settings = settings.resolved(len(parts.train), model.config.hidden_size)
        device, precision = place(model, settings)
        progress = Progress(TOKEN_BUDGET[device.type], precision)
        trial, loaded = _Trial(model, encoder.tokenizer, job, settings, progress), peak[0]
        step, token = trial.train(data.train)
        weights = sum(p.numel() * p.element_size() for p in model.parameters())
        texts = max(0, peak[0] - loaded - _BESIDE * weights)
        scored_token, save = trial.score_and_save(data.validation, 1 / token, folder)
        memory = peak[0] + texts
        if device.type == "cuda":
            memory = torch.cuda.max_memory_allocated()
        return Probe(
            files, text, load, step, token, scored_token, save, memory, device.type,
            encoder.tokens.max_length, lengths, frozenset(too_long), how,
        )  # fmt: skip


def _lowest(rows: Sequence[int], rank: NDArray[np.int64], count: int) -> list[int]:
    """Return a random sample of rows, most of it the same for rows of which most are the same."""
    unique = np.unique(np.asarray(rows, dtype=np.int64))
    lowest: list[int] = unique[np.argsort(rank[unique])[:count]].tolist()
    return lowest


def _lengths(
    store: TokenStore, sample: Sequence[int], texts: int, config: RunConfig
) -> tuple[NDArray[np.int32], set[int], LongDocuments]:
    """Return the tokens of each row as a probe has them, which are too long, and what is done."""
    lengths, too_long = np.full(texts, _NOT_SAMPLED, dtype=np.int32), set[int]()
    started = time.perf_counter()
    for start in range(0, len(sample), _OWN_TEXTS):
        rows = sample[start : start + _OWN_TEXTS]
        too_long |= store.too_long(rows)
        lengths[rows] = [len(ids) for ids in store.token_ids(rows)]
        if time.perf_counter() - started > _TOKENISING:
            break
    how = treatment(config.long_documents, len(too_long), int((lengths >= 0).sum()))
    long = sorted(too_long)
    if how == "exclude":
        lengths[long] = 0
    elif how == "chunk":
        lengths[long] = [len(ids) for ids in store.windows(long, config.window_overlap)]
    return lengths, too_long, how


@dataclass
class _Trial:
    """A model that is trained for a moment."""

    model: Model
    tokenizer: Tokenizer
    job: Job
    settings: TrainingSettings
    progress: Progress

    def train(self, rows: Examples) -> tuple[float, float]:
        """Return the seconds of a step and of a token in training.

        The longest texts go first: they warm up, and show how much memory it takes at most.
        """
        budget, lengths = self.progress.token_budget, rows.lengths
        most = max(1, int(_PIECES * budget / lengths.mean()))
        size = min(self.settings.batch_size or 1, most)
        self.settings = self.settings.model_copy(update={"epochs": 1, "batch_size": size})
        steps = make_steps(self.model, normal_course(rows, self.settings), self.settings)
        longest = np.argsort(lengths)[::-1][: max(1, budget // int(lengths.max()))]
        self._batches(_chosen(rows, longest), steps, at_most=0.0)
        return _fitted(self._batches(rows, steps, at_most=_TRAINING))

    def _batches(self, rows: Examples, steps: Steps, at_most: float) -> list[tuple[int, float]]:
        """Train for a moment; return the tokens and seconds of each batch."""
        ends = [(0, 0.0)]

        def watch(event: Event) -> None:
            if isinstance(event, BatchEnded):
                ends.append((event.tokens, event.seconds))
                several = len(ends) > _BATCHES or event.seconds > _VERY_LONG
                if event.seconds > at_most and (several or not at_most):
                    raise _EnoughError

        course = normal_course(rows, self.settings)
        with suppress(_EnoughError):
            for _ in train_epochs(
                self.model, self.tokenizer, rows, course, self.settings, self.job, watch,
                steps=steps, progress=self.progress,
            ):  # fmt: skip
                pass
        return [(end[0] - begin[0], end[1] - begin[1]) for begin, end in pairwise(ends)]

    def score_and_save(self, rows: Examples, tokens: float, folder: Path) -> tuple[float, float]:
        """Return the seconds of a token in validation, and those of writing the weights once.

        Args:
            rows: The validation rows.
            tokens: How many of them are enough.
            folder: Where to write.
        """
        order = np.random.default_rng(self.job.seed).permutation(len(rows))
        enough = 1 + int(np.searchsorted(rows.lengths[order].cumsum(), tokens))
        rows = _chosen(rows, order[:enough])
        started = time.perf_counter()
        logits = predict_logits(self.model, self.tokenizer, rows)
        scored = time.perf_counter() - started
        one_pass = Pass([0.0] * outputs_of(rows), 0.0, scored, 0)
        ended = epoch_ended(self.job, 1, "normal", one_pass, logits, rows, self.settings, None)
        self.progress.told.append(ended)
        self.progress.best = Best(ended, weights_of(self.model), logits)
        with tempfile.TemporaryDirectory(prefix=".probe-", dir=folder) as place_to_write:
            started = time.perf_counter()
            # Beside the best weights so far, as it is in training.
            self.progress.best = Best(ended, weights_of(self.model), logits)
            checkpoint = Checkpoint(Path(place_to_write) / CHECKPOINT, "")
            checkpoint.save(self.progress, self.model, None)
            return scored / int(rows.lengths.sum()), time.perf_counter() - started


def _chosen(rows: Examples, positions: NDArray[np.int64]) -> Examples:
    return replace(
        rows,
        token_ids=[rows.token_ids[i] for i in positions],
        labels=rows.labels[positions],
        languages=[rows.languages[i] for i in positions],
        rows=[rows.rows[i] for i in positions],
        ids=[rows.ids[i] for i in positions],
    )


def _fitted(batches: Sequence[tuple[int, float]]) -> tuple[float, float]:
    """Return the seconds of a step and of a token: a line through batches, neither below zero.

    By medians (Theil 1950, Sen 1968): what else the machine does holds single batches up.
    """
    tokens, seconds = np.asarray(batches, dtype=np.float64).T
    most = float(np.median(seconds / tokens))
    one, other = np.triu_indices(len(tokens), 1)
    apart = tokens[other] - tokens[one]
    slopes = (seconds[other] - seconds[one])[apart != 0] / apart[apart != 0]
    slope = float(np.median(slopes)) if len(slopes) > 2 else most
    slope = min(max(slope, most / 4), most)
    return max(0.0, float(np.median(seconds - slope * tokens))), slope


@contextmanager
def _as_it_was() -> Iterator[None]:
    """Leave torch's threads, random numbers and memory as they were."""
    device, threads = best_device(), torch.get_num_threads()
    states = random_state(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        set_random_state(device, states)


@contextmanager
def _peak_memory() -> Iterator[list[int]]:
    """Give a list whose one entry is the most memory of this process so far, in bytes."""
    process, over = psutil.Process(), threading.Event()
    peak = [process.memory_info().rss]

    def look() -> None:
        while not over.wait(_LOOKS_EVERY):
            peak[0] = max(peak[0], process.memory_info().rss)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        over.set()
        thread.join()
