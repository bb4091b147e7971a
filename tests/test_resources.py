"""How many jobs at once, and with how many threads: by cores, memory and GPUs."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any, get_args

import psutil
import pytest

from llm_tool.config import ModeName, make_config
from llm_tool.execution.resources import share_out, usable_cores, visible_gpus
from llm_tool.plan import Job, Parts, Plan, Task


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: ANN401
    """Return a function that gives the machine cores, memory (in GB) and GPUs."""

    def give(cores: int = 8, memory: float = 256, free: float = 256, gpus: str = "") -> None:
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
        bytes_of_it = SimpleNamespace(total=memory * 1e9, available=free * 1e9)
        monkeypatch.setattr(psutil, "virtual_memory", lambda: bytes_of_it)
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", gpus)

    give()
    return give


def shares(
    jobs: int = 20, rows: int = 5_000, model: str = "embedded", **keys: object
) -> tuple[int | None, int | None]:
    every = tuple(Job(Task(f"key{i}"), model, "a-model") for i in range(jobs))
    plan = Plan("quick", every, (Parts(range(rows)),) * jobs)
    config = share_out(make_config(keys), plan)
    return config.workers, config.threads


@pytest.mark.parametrize("mode", get_args(ModeName))
@pytest.mark.parametrize(
    ("cores", "jobs", "expected"),
    [
        (1, 20, (1, None)),
        (2, 1, (1, None)),
        (2, 2, (2, 1)),
        (2, 3, (1, None)),  # the third job would have one of two cores
        (2, 20, (2, 1)),
        (8, 20, (4, 2)),  # with more, the last round would have too few
        (8, 8, (8, 1)),
        (8, 4, (4, 2)),
        (8, 56, (8, 1)),
        (16, 24, (8, 2)),
        (64, 100, (50, 1)),
    ],
)
def test_many_jobs_get_the_workers_that_train_them_soonest_in_every_mode(
    machine: Any,  # noqa: ANN401
    mode: str,
    cores: int,
    jobs: int,
    expected: tuple[int, int | None],
) -> None:
    machine(cores=cores)

    assert shares(jobs, mode=mode) == expected


def test_a_run_that_is_shorter_than_the_start_of_workers_has_none(machine: Any) -> None:  # noqa: ANN401
    assert shares(jobs=20, rows=100) == (4, 2)  # five epochs of few rows
    assert shares(jobs=20, rows=99) == (1, None)
    assert shares(jobs=20, rows=100, epochs=4) == (1, None)
    machine(gpus="0,1")
    assert shares(jobs=20, rows=99) == (1, None)


def test_what_is_given_is_kept(machine: Any) -> None:  # noqa: ANN401
    machine(cores=8)
    assert shares(threads=3) == (2, 3)
    assert shares(threads=8) == (1, 8)
    assert shares(workers=1) == (1, None)
    assert shares(workers=2) == (2, 4)
    assert shares(workers=2, threads=3) == (2, 3)
    assert shares(jobs=2, workers=16) == (2, 4)
    assert shares(jobs=30, rows=1, workers=16) == (16, 1)


@pytest.mark.parametrize(
    ("memory", "workers"), [(64, 8), (12.4, 8), (12.3, 7), (3.1, 2), (3, 1), (0.5, 1)]
)
def test_there_are_no_more_workers_than_fit_into_memory(
    machine: Any,  # noqa: ANN401
    memory: float,
    workers: int,
) -> None:
    machine(memory=memory)

    assert shares(jobs=56)[0] == workers


def test_a_large_model_takes_more_memory_than_a_small_one(machine: Any) -> None:  # noqa: ANN401
    machine(memory=20)
    assert shares(jobs=56)[0] == 8
    assert shares(jobs=56, model="FacebookAI/xlm-roberta-base")[0] == 2
    assert shares(jobs=56, model="somebody/unknown")[0] == 4


def test_memory_in_use_takes_workers_but_leaves_the_threads(machine: Any) -> None:  # noqa: ANN401
    machine(free=5)

    assert shares(jobs=56) == (3, 1)
    assert shares(jobs=56, workers=8) == (8, 1)


@pytest.mark.parametrize(
    ("visible", "gpus"),
    [("0", 1), ("0,1", 2), ("GPU-3a, GPU-4b ,GPU-5c", 3), ("", 0), ("-1", 0)],
)
def test_there_is_a_worker_for_each_gpu(machine: Any, visible: str, gpus: int) -> None:  # noqa: ANN401
    machine(memory=1, free=1, gpus=visible)
    assert len(visible_gpus()) == gpus
    assert all(name == name.strip() for name in visible_gpus())

    assert shares()[0] == (gpus or 1)


def test_the_cores_are_those_that_the_process_may_use() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert usable_cores() == len(before)
