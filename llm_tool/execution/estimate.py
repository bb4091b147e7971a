"""What a run will take, before it begins: a moment of each model's training, scaled up."""

from __future__ import annotations

import heapq
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

import psutil

from llm_tool.config import RunConfig
from llm_tool.data.dataset import Dataset
from llm_tool.errors import StudioError
from llm_tool.events import LongTexts, RunEstimated
from llm_tool.execution.resources import share_out, visible_gpus
from llm_tool.execution.space import existing
from llm_tool.execution.workers import end_with_owner
from llm_tool.plan import Job, Parts, Plan
from llm_tool.trainers.imbalance import drawn_share
from llm_tool.trainers.model_sources import is_here

if TYPE_CHECKING:
    from multiprocessing.synchronize import Barrier

    from llm_tool.trainers.probe import Probe

_OF_TEXT, _OF_TOKEN = 400, 4  # bytes of a tokenised text, and of each of its tokens
_CHECKPOINT = 3  # models that an epoch writes: the weights, and their two moments
_PATIENCE = 120.0  # seconds after which workers that do not begin count as dead
_TIMES = ("files", "text", "load", "step", "token", "scored_token", "save")
_meeting: Barrier | None = None  # in a worker: where all of them wait for each other


@dataclass(frozen=True)
class _Trial:
    """What is trained for a moment: a model's largest job; ``rows`` are those of all its jobs."""

    job: Job
    parts: Parts
    rows: Sequence[int]
    dataset: Dataset
    config: RunConfig


_Measure = Callable[[_Trial], "tuple[Probe, float]"]


def estimate(plan: Plan, dataset: Dataset, config: RunConfig) -> RunEstimated:
    """Return what a run of a plan will take, by training each of its models for a moment.

    With several workers, as many do so at the same time in processes of their own: they share
    memory and caches, and take a while to start. Models that are not on this machine, or cannot
    be used, are named and left out.

    Raises:
        KeyboardInterrupt: The user stopped it.
    """
    config = share_out(config, plan)
    owner = psutil.Process().memory_info().rss if config.workers != 1 else 0
    trials = _trials(plan, dataset, config)
    probes: dict[str, Probe] = {}
    unknown: list[tuple[str, str]] = []
    start = 0.0  # seconds until the workers are ready
    with _probing(config.workers or 1) as measure:
        for model, trial in trials.items():
            try:
                if not is_here(model):
                    raise StudioError("not on this machine yet")
                probes[model], waited = measure(trial)
                start = start or waited
            except StudioError as error:
                unknown.append((trial.job.model_name, error.what))
            except Exception as error:  # noqa: BLE001 - whatever it is, the plan can be shown
                unknown.append((trial.job.model_name, f"{type(error).__name__}: {error}"))
    return replace(_estimated(plan, config, trials, probes, start, owner), unknown=tuple(unknown))


def _trials(plan: Plan, dataset: Dataset, config: RunConfig) -> dict[str, _Trial]:
    """Return the largest job of each model, with the rows of all its jobs."""
    trials: dict[str, _Trial] = {}
    rows: dict[str, set[int]] = {}
    for job, parts in zip(plan.jobs, plan.parts, strict=True):
        rows.setdefault(job.model, set()).update(*parts.named().values())
        before = trials.get(job.model)
        if before is None or len(parts.train) > len(before.parts.train):
            trials[job.model] = _Trial(job, parts, (), dataset, config)
    return {m: replace(trial, rows=sorted(rows[m])) for m, trial in trials.items()}


@contextmanager
def _probing(workers: int) -> Iterator[_Measure]:
    """Give what probes: in this process, or in as many as the run will have."""
    if workers == 1:
        yield lambda trial: (_probe(trial), 0.0)
        return
    context, gpus = get_context("spawn"), visible_gpus()
    numbers = [gpus[i % len(gpus)] if gpus else None for i in range(workers)]
    with ProcessPoolExecutor(workers, context, _begin_worker, (context.Barrier(workers),)) as pool:

        def measure(trial: _Trial) -> tuple[Probe, float]:
            launched = time.time()
            futures = [pool.submit(_probe_with_others, trial, gpu) for gpu in numbers]
            probes, ready = zip(*(future.result() for future in futures), strict=True)
            means = {name: fmean(getattr(one, name) for one in probes) for name in _TIMES}
            memory = max(one.memory for one in probes)
            return replace(probes[0], **means, memory=memory), fmean(ready) - launched

        yield measure


def _probe(trial: _Trial) -> Probe:
    from llm_tool.trainers.kernels import release_memory
    from llm_tool.trainers.model_trainer import Encoder
    from llm_tool.trainers.probe import probe

    config, folder = trial.config, existing(trial.config.logs_dir)
    if not os.access(folder, os.W_OK):
        folder = Path(tempfile.gettempdir())
    encoder = Encoder(trial.job.model, trial.dataset, config.max_length)
    try:
        return probe(
            trial.job, trial.parts, trial.dataset, encoder, config, rows=trial.rows, folder=folder
        )
    finally:
        release_memory()


def _begin_worker(meeting: Barrier) -> None:
    global _meeting
    _meeting = meeting
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # end without a word, as the owner does
    threading.Thread(target=end_with_owner, daemon=True).start()


def _probe_with_others(trial: _Trial, gpu: str | None) -> tuple[Probe, float]:
    """Return a probe made while the other workers make theirs, and when this one was ready."""
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu  # read when torch is loaded, hereafter
    import llm_tool.trainers.probe  # noqa: F401 - loaded for its effect

    ready = time.time()
    if _meeting is not None:
        _meeting.wait(_PATIENCE)
    return _probe(trial), ready


def _estimated(
    plan: Plan,
    config: RunConfig,
    trials: Mapping[str, _Trial],
    probes: Mapping[str, Probe],
    start: float,
    owner: int,
) -> RunEstimated:
    """Scale the probes up to the run; ``owner`` is the memory of the process that has workers."""
    jobs = list(zip(plan.jobs, plan.parts, strict=True))
    known = [(job, parts) for job, parts in jobs if job.model in probes]

    def whole(job: Job, parts: Parts, *, reinforced: bool = False) -> float:
        drawn = drawn_share(job, trials[job.model].dataset, parts.train, config)
        return job_seconds(probes[job.model], parts, config, reinforced=reinforced, drawn=drawn)

    seconds = [whole(job, parts) if job.model in probes else None for job, parts in jobs]
    if not known:
        return RunEstimated(None, None, None, "", tuple(seconds))
    once = {m: probe.files + probe.text * len(trials[m].rows) for m, probe in probes.items()}
    workers, models = config.workers or 1, [job.model for job, _ in known]

    def together(*, reinforced: bool) -> float:
        each = [whole(job, parts, reinforced=reinforced) for job, parts in known]
        return start + schedule(list(zip(models, each, strict=True)), once, workers)

    device = probes[models[0]].device
    fullest = sorted((_memory(probes[m], trials[m].rows) for m in models), reverse=True)
    sharing = workers if device != "cuda" else -(-workers // max(1, len(visible_gpus())))
    return RunEstimated(
        seconds=together(reinforced=False),
        seconds_at_most=together(reinforced=config.reinforces),
        memory_bytes=sum(fullest[:sharing]) + (owner if device != "cuda" else 0),
        device=device,
        job_seconds=tuple(seconds),
        long_texts=tuple(_long_texts(trials[m], probe) for m, probe in probes.items()),
    )


def job_seconds(
    probe: Probe, parts: Parts, config: RunConfig, *, reinforced: bool = False, drawn: float = 1.0
) -> float:
    """Return the seconds of one job, from its loading to its saved model.

    Args:
        probe: What was measured of its model.
        parts: Its rows.
        config: The settings; each epoch counts, also where ``patience`` may end it before.
        reinforced: With the reinforced phase at its longest: every row drawn as often as those of
            weak classes.
        drawn: Texts that an epoch draws for each training row.
    """
    settings = config.resolved(len(parts.train), 0)
    batch, epochs = settings.batch_size or 1, settings.epochs or 1
    texts, tokens = (drawn * number for number in probe.amount(parts.train))
    training = -(-texts // batch) * probe.step + tokens * probe.token
    scoring, testing = (
        probe.amount(rows)[1] * probe.scored_token for rows in (parts.validation, parts.test)
    )
    extra = settings.reinforced_epochs if reinforced else 0
    trained = (epochs + extra * settings.reinforced_oversampling) * training
    # A checkpoint is written where it takes a hundredth of the time; then the model is saved.
    writing = probe.save + min(_CHECKPOINT * (epochs + extra) * probe.save, trained / 100)
    return probe.load + trained + (epochs + extra) * scoring + writing + testing


def schedule(jobs: Sequence[tuple[str, float]], once: Mapping[str, float], workers: int) -> float:
    """Return the seconds of a run in which each worker takes the next job when it is free.

    Args:
        jobs: Model and seconds of each job, in order.
        once: Seconds that a worker's first job of a model takes in addition.
        workers: How many there are.
    """
    free: list[tuple[float, int]] = [(0.0, number) for number in range(workers)]
    seen: list[set[str]] = [set() for _ in range(workers)]
    for model, seconds in jobs:
        now, number = heapq.heappop(free)
        new = 0.0 if model in seen[number] else once[model]
        seen[number].add(model)
        heapq.heappush(free, (now + new + seconds, number))
    return max(now for now, _ in free)


def _memory(probe: Probe, rows: Sequence[int]) -> int:
    """Return the peak of a process: what was measured, and the texts that were not tokenised."""
    if probe.device == "cuda":
        return probe.memory
    rest = max(0, len(rows) - probe.sampled) / max(1, len(rows))
    texts, tokens = len(rows), probe.amount(rows)[1]
    return probe.memory + int(rest * (_OF_TEXT * texts + _OF_TOKEN * tokens))


def _long_texts(trial: _Trial, probe: Probe) -> LongTexts:
    share = len(probe.too_long) / max(1, probe.sampled)
    return LongTexts(
        trial.job.model_name,
        probe.max_length,
        round(share * len(trial.rows)),
        share,
        exact=probe.sampled >= len(trial.rows),
        treatment=probe.long_documents,
    )
