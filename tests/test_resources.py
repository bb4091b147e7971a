"""How many jobs at once, and with how many threads: by cores, memory and GPUs."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from llm_tool.config import make_config
from llm_tool.execution.resources import share_out, usable_cores, visible_gpus


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: ANN401
    """Return a function that gives the machine cores, free memory (in GB) and GPUs."""

    def give(cores: int = 8, memory: float = 64, gpus: str = "") -> None:
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
        free = SimpleNamespace(available=memory * 1e9)
        monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", gpus)

    give()
    return give


def shares(jobs: int = 20, **keys: object) -> tuple[int | None, int | None]:
    config = share_out(make_config(keys), jobs)
    return config.workers, config.threads


def test_distributed_takes_a_worker_for_two_cores_and_shares_them_out(machine: Any) -> None:  # noqa: ANN401
    assert shares(mode="distributed") == (4, 2)
    machine(cores=2)
    assert shares(mode="distributed") == (1, None)
    machine(cores=1)
    assert shares(mode="distributed") == (1, None)
    machine(cores=5)
    assert shares(mode="distributed") == (2, 2)


@pytest.mark.parametrize(("memory", "workers"), [(64, 4), (7, 3), (4.1, 2), (3, 1), (0.5, 1)])
def test_there_are_no_more_workers_than_fit_into_memory(
    machine: Any,  # noqa: ANN401
    memory: float,
    workers: int,
) -> None:
    machine(memory=memory)

    assert shares(mode="distributed")[0] == workers


@pytest.mark.parametrize("mode", ["quick", "benchmark", "custom", "hybrid", "reinforced"])
@pytest.mark.parametrize("gpus", ["", "0,1,2"])
def test_the_other_modes_train_one_job_after_the_other_unless_told(
    machine: Any,  # noqa: ANN401
    mode: str,
    gpus: str,
) -> None:
    machine(gpus=gpus)

    assert shares(mode=mode) == (1, None)
    assert shares(mode=mode, threads=3) == (1, 3)
    assert shares(mode=mode, workers=2) == (2, 4)
    assert shares(mode=mode, workers=2, threads=3) == (2, 3)


def test_there_are_never_more_workers_than_jobs(machine: Any) -> None:  # noqa: ANN401
    assert shares(jobs=3, mode="distributed") == (3, 2)
    assert shares(jobs=1, mode="distributed") == (1, None)
    assert shares(jobs=2, mode="quick", workers=16) == (2, 4)
    assert shares(jobs=30, mode="quick", workers=16) == (16, 1)


@pytest.mark.parametrize(
    ("visible", "gpus"),
    [("0", 1), ("0,1", 2), ("GPU-3a, GPU-4b ,GPU-5c", 3), ("", 0), ("-1", 0)],
)
def test_distributed_takes_a_worker_for_each_gpu(machine: Any, visible: str, gpus: int) -> None:  # noqa: ANN401
    machine(memory=1, gpus=visible)
    assert len(visible_gpus()) == gpus
    assert all(name == name.strip() for name in visible_gpus())

    assert shares(mode="distributed")[0] == (gpus or 1)


def test_the_cores_are_those_that_the_process_may_use() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert usable_cores() == len(before)
