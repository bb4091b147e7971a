"""One training by two processes: the numbers of one process, and one record."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
import torch
from safetensors.torch import load_file

from llm_tool.config import RunConfig, make_config
from llm_tool.errors import StudioError
from llm_tool.events import JobEnded, JobFailed, JobStarted
from llm_tool.execution import launch
from llm_tool.execution.launch import first_host, launcher, run_together
from llm_tool.logs import read_metrics
from llm_tool.logs.journal import read_events
from llm_tool.stopping import PAUSED
from llm_tool.trainers.team import Team
from tests.team_program import train
from tests.test_bert_base import UNREPEATABLE, Trainer

PLAIN = {"epochs": 3, "batch_size": 12, "learning_rate": 1e-2, "precision": "float32"}
DROPOUT = {**PLAIN, "epochs": 2, "dropout": True}
SHARED = {
    **PLAIN, "epochs": 1, "shared": True, "class_weights": "balanced", "oversample": "balanced",
    "reinforced": True, "reinforced_threshold": 1.0, "reinforced_epochs": 1,
}  # fmt: skip


def two(**changes: Any) -> RunConfig:  # noqa: ANN401
    return make_config({"processes": 2, "threads": 2, "mode": "quick", **changes})


def together(tiny_bert: Path, folder: Path, *trainings: tuple[str, dict[str, Any], str]) -> int:
    words = [str(tiny_bert), str(folder), json.dumps(trainings)]
    return run_together([sys.executable, "-m", "tests.team_program", *words], two())


def alone(tiny_bert: Path, folder: Path, name: str, options: dict[str, Any]) -> None:
    threads = torch.get_num_threads()
    train(Trainer(tiny_bert, folder / "any"), name, options)
    torch.set_num_threads(threads)


def left(folder: Path, name: str) -> dict[str, pd.DataFrame]:
    """Return the tables that a training left, times apart."""
    found = {}
    for path in sorted((folder / name / "logs").glob("*/*/*.csv")):
        table = read_metrics(path).drop(columns=UNREPEATABLE)
        found[f"{path.parent.name} {path.name}"] = table.drop(
            columns="saved_model_path", errors="ignore"
        )
    for path in sorted((folder / name / "logs").glob("*/*/runs/*/predictions.parquet")):
        found[f"{path.parents[2].name} predictions"] = pd.read_parquet(path)
    return found


def weights(folder: Path, name: str) -> dict[str, torch.Tensor]:
    return load_file(next((folder / name / "models").rglob("model.safetensors")))


def assert_near(folder: Path, one: str, other: str) -> None:
    """Assert that two trainings left the same, but for the order in which sums were taken."""
    left_one, left_other = left(folder, one), left(folder, other)
    assert left_one.keys() == left_other.keys()
    for name, table in left_one.items():
        pd.testing.assert_frame_equal(table, left_other[name], rtol=1e-4, atol=1e-5, obj=name)
    for name, tensor in weights(folder, one).items():
        torch.testing.assert_close(tensor, weights(folder, other)[name], rtol=1e-3, atol=1e-4)


def signal_when(path: Path, number: int) -> Iterator[threading.Thread]:
    def wait() -> None:
        until = time.monotonic() + 120
        while not path.exists() and time.monotonic() < until:
            time.sleep(0.05)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=wait)
    thread.start()
    yield thread
    thread.join()


@pytest.fixture(scope="module")
def trained(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of trainings by two processes; the last one was paused from outside."""
    folder = tmp_path_factory.mktemp("team")
    (folder / "home" / "accelerate").mkdir(parents=True)
    (folder / "home" / "accelerate" / "default_config.yaml").write_text("nonsense: true\n")
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setenv("HF_HOME", str(folder / "home"))  # of a user who uses Accelerate otherwise
    sending = signal_when(folder / "waiting", signal.SIGUSR1)
    next(sending)
    code = together(
        tiny_bert,
        folder,
        ("plain", PLAIN, ""),
        ("memory", PLAIN, "memory"),
        ("shared", SHARED, ""),
        ("dropout", DROPOUT, ""),
        ("paused", DROPOUT, "pause"),
        ("broken", PLAIN, "wait for a signal"),
    )
    next(sending, None)
    monkeypatch.undo()
    assert code == PAUSED
    return folder


@pytest.mark.parametrize(("name", "options"), [("plain", PLAIN), ("shared", SHARED)])
def test_two_processes_give_the_numbers_of_one_with_the_same_batches(
    trained: Path, tiny_bert: Path, name: str, options: dict[str, Any]
) -> None:
    alone(tiny_bert, trained, f"{name} alone", options)

    assert_near(trained, name, f"{name} alone")
    for table in left(trained, name).values():
        if "epoch" in table and "f1_macro_low" not in table:
            assert table["epoch"].tolist() == [1, 2, 3][: len(table)]  # written once


def test_memory_that_runs_out_in_one_process_halves_the_pieces_of_both(trained: Path) -> None:
    assert (trained / "retried").read_text() == "Memory ran out."
    assert_near(trained, "memory", "plain")


def test_a_training_with_dropout_repeats_and_goes_on_after_a_pause_with_the_same_numbers(
    trained: Path,
) -> None:
    expected, after = left(trained, "dropout"), left(trained, "paused")

    journal = next((trained / "paused").glob("logs/*/*/runs/*/journal.jsonl"))
    assert len([e for e in read_events(journal) if isinstance(e, JobStarted)]) == 2
    assert expected.keys() == after.keys()
    assert all(expected[name].equals(after[name]) for name in expected)
    before = weights(trained, "dropout")
    assert all(torch.equal(one, before[n]) for n, one in weights(trained, "paused").items())
    assert not expected["sentiment training.csv"].equals(left(trained, "plain"))


def test_a_process_that_dies_ends_the_others_and_the_job_is_gone_on_with(
    trained: Path, tiny_bert: Path
) -> None:
    run_folder = next((trained / "broken").glob("logs/*/*/runs/*"))
    assert json.loads((run_folder / "checkpoint/checkpoint.json").read_text())["begun"]

    code = together(tiny_bert, trained, ("broken", PLAIN, "die"))

    assert code not in (0, PAUSED)
    events = list(read_events(run_folder / "journal.jsonl"))
    assert not [event for event in events if isinstance(event, JobEnded | JobFailed)]

    alone(tiny_bert, trained, "broken", PLAIN)
    events = list(read_events(run_folder / "journal.jsonl"))
    assert [e.resumed_from for e in events if isinstance(e, JobStarted)] == [0, 1, 2]
    assert_near(trained, "broken", "plain")


def test_a_launcher_that_is_killed_leaves_no_process_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = tmp_path / "number"
    program = f"""
import os, pathlib, signal, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(99)"])
pathlib.Path({str(number)!r}).write_text(str(child.pid))
time.sleep(1.5)
os.kill(os.getpid(), signal.SIGKILL)
"""
    monkeypatch.setattr(launch, "launcher", lambda _: [sys.executable, "-c", program])

    assert run_together(["a job"], two(processes=1)) == -signal.SIGKILL

    with suppress(psutil.NoSuchProcess):  # it takes a moment to end, and has nobody to wait for it
        left = psutil.Process(int(number.read_text()))
        deadline = time.monotonic() + 30
        while left.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_one_process_needs_no_launcher() -> None:
    assert launcher(two(processes=1)) == []
    assert launcher(two(processes=1, executor="slurm")) == []


def test_on_several_nodes_each_starts_its_own_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = two(executor="slurm", slurm_nodes=3)
    with pytest.raises(StudioError, match="SLURM does not say"):
        launcher(nodes)
    for name, value in {"NODEID": "2", "JOB_ID": "123456", "JOB_NODELIST": "n[07-09]"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    monkeypatch.setattr(launch.socket, "getaddrinfo", lambda *_: [])  # the names are those of hosts

    words = launcher(nodes)

    options = dict(zip(words[3::2], words[4::2], strict=False))
    assert options["--num_processes"] == "6"
    assert options["--num_machines"] == "3"
    assert options["--machine_rank"] == "2"
    assert options["--main_process_ip"] == "n07"
    assert options["--main_process_port"] == "13456"


@pytest.mark.parametrize(
    ("scontrol", "address"),
    [
        ("echo NodeName=$5 NodeAddr=127.0.0.9 NodeHostName=localhost", "127.0.0.9"),
        ("echo slurm_load_node error >&2; exit 1", "n.invalid"),
    ],
)
def test_a_node_whose_name_is_no_hosts_is_reached_where_slurm_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scontrol: str, address: str
) -> None:
    program = tmp_path / "scontrol"
    program.write_text(f"#!/bin/sh\n{scontrol}\n", "utf-8")
    program.chmod(0o755)
    about = {"NODEID": "0", "JOB_ID": "7", "JOB_NODELIST": "n.invalid,localhost"}
    for name, value in about.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    monkeypatch.setenv("PATH", str(tmp_path))

    words = launcher(two(executor="slurm", slurm_nodes=2))

    assert words[words.index("--main_process_ip") + 1] == address


@pytest.mark.parametrize(
    ("hosts", "first"),
    [
        ("node1", "node1"),
        ("node1,node2", "node1"),
        ("node[03-05,9],other", "node03"),
        ("r[1,2]n[10-12].cluster.org,x", "r1n10.cluster.org"),
    ],
)
def test_the_first_host_of_a_list(hosts: str, first: str) -> None:
    assert first_host(hosts) == first


def test_without_accelerate_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch.util, "find_spec", lambda _: None)
    with pytest.raises(StudioError) as caught:
        launcher(two())
    assert 'pip install "llm-tool[multi-gpu]"' in caught.value.remedy


def test_too_few_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    about = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "localhost",
             "MASTER_PORT": "1"}  # fmt: skip
    for name, value in about.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("llm_tool.trainers.team.best_device", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(StudioError, match="1 GPUs here for 2 processes"):
        Team.here()


def test_shares_are_of_the_same_length_and_leave_none_out() -> None:
    lengths = np.arange(100, 0, -1)
    positions = np.arange(50, 93)
    shares = [Team(rank, 4).share(positions, lengths) for rank in range(4)]

    assert sorted(np.concatenate(shares)) == positions.tolist()
    totals = [int(lengths[share].sum()) for share in shares]
    assert max(totals) - min(totals) <= 43
    assert Team.alone().share(positions, lengths) is positions
