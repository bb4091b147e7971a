"""How many jobs at once, and with how many threads each. Found out without torch."""

from __future__ import annotations

import math
import os
from pathlib import Path

import psutil

from llm_tool.config import RunConfig, epochs_for
from llm_tool.plan import Plan
from llm_tool.trainers.model_sources import parameter_count

_LIBRARIES = 1e9  # bytes of a worker without its model
_PARAMETER = 24  # bytes: a weight, its gradient, two moments, the best weight so far, and room
_UNKNOWN = 110_000_000  # parameters of a model that is not here yet and in no catalogue: a BERT
# Share of a training's time, with one thread, that more threads do not shorten. Measured: with two
# it is 1.66 times as fast, and two jobs with a thread each are 1.2 times as fast as that together.
_SERIAL = 0.2
_WORTH = 10_000  # texts to train before several workers save more than their start takes


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def visible_gpus() -> list[str]:
    """Return the GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip() not in ("", "-1")]
    return [str(i) for i, _ in enumerate(Path("/proc/driver/nvidia/gpus").glob("*"))]


def share_out(config: RunConfig, plan: Plan) -> RunConfig:
    """Return a configuration with workers and threads per job decided.

    Unless they are given, and the run is worth their start: a worker for each GPU; on CPUs as many
    as train the plan's jobs soonest, as far as memory goes. Workers share the cores; a job on its
    own takes what torch takes. Threads do not depend on what else the machine is doing, for what
    is seeded depends on them.

    Args:
        config: The settings.
        plan: The jobs and their rows.
    """
    if config.executor == "slurm":  # which decides how many run at once
        own = {"workers": 1, "threads": config.threads or config.slurm_cpus or 1}
        return config.model_copy(update=own)
    jobs = len(plan.jobs)
    workers = config.workers or (_default_workers(config, plan) if _is_worth(config, plan) else 1)
    workers = max(1, min(workers, jobs)) if config.processes == 1 else 1
    threads = config.threads
    if workers > 1:
        threads = threads or max(1, usable_cores() // workers)
        if not config.workers and not visible_gpus():
            workers = min(workers, _fitting(plan, psutil.virtual_memory().available))
    return config.model_copy(update={"workers": workers, "threads": threads})


def _is_worth(config: RunConfig, plan: Plan) -> bool:
    rows = [len(parts.train) for parts in plan.parts]
    return sum(own * (config.epochs or epochs_for(own)) for own in rows) >= _WORTH


def _default_workers(config: RunConfig, plan: Plan) -> int:
    """Return how many workers train a plan soonest, by Amdahl's law for the threads of each."""
    if gpus := len(visible_gpus()):
        return gpus
    cores, jobs = usable_cores(), len(plan.jobs)
    most = min(cores // (config.threads or 1), _fitting(plan, psutil.virtual_memory().total))

    def takes(workers: int) -> float:
        threads = config.threads or cores // workers
        seconds = math.ceil(jobs / workers) * (_SERIAL + (1 - _SERIAL) / threads)
        return round(seconds, 6)  # of equals the fewest, whatever the last bit says

    return min(range(1, max(1, min(most, jobs)) + 1), key=takes)


def _fitting(plan: Plan, memory: float) -> int:
    """Return how many jobs at once fit into memory, at least one."""
    models = {job.model for job in plan.jobs}
    largest = max((parameter_count(model) or _UNKNOWN for model in models), default=0)
    return max(1, int(memory / (_LIBRARIES + _PARAMETER * largest)))
