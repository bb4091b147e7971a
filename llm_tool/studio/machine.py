"""What the machine offers, found out without torch: the menu must come up at once."""

from __future__ import annotations

import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psutil

from llm_tool.execution.resources import usable_cores

_PATIENCE = 5.0  # seconds that a scheduler has to answer
_LATE, _NONE = -1_000, -1_001  # in place of an exit code


def describe_machine() -> str:
    """Return device, cores and free memory, as ``CPU, 2 cores, 23 GB free``."""
    cores = usable_cores()
    free = psutil.virtual_memory().available / 1e9
    return f"{_device()}, {cores} core{'s' if cores > 1 else ''}, {free:.0f} GB free"


@dataclass(frozen=True)
class Cluster:
    """The SLURM cluster that this machine hands jobs to.

    ``partitions`` is empty, and ``default`` too, where it did not say in time.
    """

    partitions: tuple[str, ...] = ()
    default: str = ""


def find_cluster() -> Cluster | None:
    """Return the cluster; ``None`` without ``sbatch``, or where no cluster belongs to it."""
    if shutil.which("sbatch") is None:
        return None
    code, said = ask_slurm("sinfo", "-h", "-o", "%P")
    if code:
        return None if code != _LATE else Cluster()
    names = list(dict.fromkeys(said.split()))
    default = next((name.removesuffix("*") for name in names if name.endswith("*")), "")
    return Cluster(tuple(name.removesuffix("*") for name in names), default)


def ask_slurm(*words: str) -> tuple[int, str]:
    """Return the exit code of a command of SLURM's, and what it wrote, errors in case of one."""
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, errors="replace", timeout=_PATIENCE,
            stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return _LATE, f"{words[0]} did not answer in {_PATIENCE:g} s"
    except OSError as error:
        return _NONE, f"{words[0]} cannot be run: {error.strerror}"
    return done.returncode, (done.stderr if done.returncode else done.stdout).strip()


def _device() -> str:
    for facts in Path("/proc/driver/nvidia/gpus").glob("*/information"):
        for line in facts.read_text("utf-8", "replace").splitlines():
            if line.startswith("Model:"):
                return line.partition(":")[2].strip()
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        return "Apple GPU"
    return "CPU"
