"""How many jobs at once, and with how many threads each. Found out without torch."""

from __future__ import annotations

import os
from pathlib import Path

import psutil

from llm_tool.config import RunConfig

_MEMORY = 2e9  # bytes that a worker should find free: libraries, a model, its gradients
_CORES = 2  # cores for which one more worker pays


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


def share_out(config: RunConfig, jobs: int) -> RunConfig:
    """Return a configuration with workers and threads per job decided.

    Distributed takes a worker for each GPU; on CPUs one for every two cores, as far as memory
    goes. The other modes train one job after the other, unless they are told otherwise. Workers
    share the cores; a job on its own takes what torch takes.
    """
    workers = config.workers or (_default_workers() if config.mode == "distributed" else 1)
    workers = max(1, min(workers, jobs))
    threads = config.threads
    if workers > 1:
        threads = threads or max(1, usable_cores() // workers)
    return config.model_copy(update={"workers": workers, "threads": threads})


def _default_workers() -> int:
    by_memory = int(psutil.virtual_memory().available / _MEMORY)
    return len(visible_gpus()) or min(max(1, usable_cores() // _CORES), by_memory)
