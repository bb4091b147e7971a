"""What sbatch is told: options from a run's settings, and whole scripts."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llm_tool.config import RunConfig
from llm_tool.errors import StudioError
from llm_tool.text import visible

# Seconds before its time limit at which a job is told to leave a checkpoint: enough for a large
# model on a slow disk, and at most a quarter of the limit.
_PAUSES_BEFORE = 120
_SIGNAL = "USR2"  # submitit's, and not NCCL's
OUTPUT = "%A_%a_0_log.out"  # as submitit names it


def options(config: RunConfig) -> dict[str, Any]:
    """Return what a job asks of the cluster, as submitit and sbatch both name it."""
    asked = {
        "partition": config.slurm_partition,
        "account": config.slurm_account,
        "time": config.slurm_time,
        "mem": config.slurm_memory,
        "constraint": config.slurm_constraint,
        "cpus_per_task": config.slurm_cpus or config.threads,
        "gpus_per_node": config.slurm_gpus or None,
        "nodes": config.slurm_nodes,
        "ntasks_per_node": 1,  # which starts its own processes, where there are several
    }
    return {name: value for name, value in asked.items() if value is not None}


def setup(config: RunConfig) -> list[str]:
    """Return the lines of shell before each job: the user's, then what jobs rely on."""
    threads = config.slurm_cpus or config.threads or 1
    # Nodes often have no way to the internet; all that a job needs was prepared.
    return [*config.slurm_setup, "export HF_HUB_OFFLINE=1", f"export OMP_NUM_THREADS={threads}"]


def srun_options(config: RunConfig) -> list[str]:
    """Return what srun does not take over from sbatch: since SLURM 22.05, the CPUs of a task."""
    cpus = config.slurm_cpus or config.threads
    return ["--open-mode=append", *([f"--cpus-per-task={cpus}"] if cpus else [])]


def signal_delay(slurm_time: str | None) -> int:
    """Return how many seconds before the time limit a job is to pause."""
    limit = None if slurm_time is None else seconds(slurm_time)
    return _PAUSES_BEFORE if limit is None else max(1, min(_PAUSES_BEFORE, limit // 4))


def seconds(slurm_time: str) -> int:
    """Return the seconds of a time limit as SLURM reads it: M, M:S, H:M:S, D-H, D-H:M, D-H:M:S."""
    days, dash, rest = slurm_time.rpartition("-")
    numbers = [int(part) for part in rest.split(":")]
    if dash:
        hours, minutes, own = (*numbers, 0, 0)[:3]
    elif len(numbers) == 3:
        hours, minutes, own = numbers
    else:
        hours, (minutes, own) = 0, (*numbers, 0)[:2]
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + own


def submitit_options(config: RunConfig, name: str, parallel: int) -> dict[str, Any]:
    """Return all that submitit's executor is told; what is ``None`` would have a default there.

    Args:
        config: The settings, threads decided.
        name: The name of the submission.
        parallel: How many of its jobs run at the same time at most.
    """
    defaults = {"time": None, "wckey": None}
    return {
        **defaults,
        **options(config),
        "job_name": name,
        "setup": setup(config),
        "signal_delay_s": signal_delay(config.slurm_time),
        "array_parallelism": parallel,
        "stderr_to_stdout": True,
        "srun_args": srun_options(config),
        "additional_parameters": {"requeue": True},
    }


def plain_script(
    config: RunConfig,
    name: str,
    command: Sequence[str],
    indices: Sequence[int],
    parallel: int | None,
    folder: Path,
) -> str:
    """Return a script for sbatch that needs nothing but the tool itself.

    Args:
        config: The settings, threads decided.
        name: The name of the submission, by which its jobs are found again.
        command: The words of a job's command but for its last, the index.
        indices: The index of each job of the array.
        parallel: How many of them run at the same time at most.
        folder: Where jobs print to.

    Raises:
        StudioError: See ``check_folder``.
    """
    check_folder(folder)
    check_folder(Path.cwd())
    limit = f"%{parallel}" if parallel else ""
    flags: Mapping[str, object] = {
        "job_name": name,
        **options(config),
        "array": f"0-{len(indices) - 1}{limit}",
        "output": folder / OUTPUT,
        "open_mode": "append",
        "signal": f"{_SIGNAL}@{signal_delay(config.slurm_time)}",
        "chdir": Path.cwd(),
    }
    srun = ["srun", "--unbuffered", *srun_options(config), *command]
    lines = [
        "#!/bin/bash",
        *(f"#SBATCH --{k.replace('_', '-')}={shlex.quote(str(v))}" for k, v in flags.items()),
        "#SBATCH --requeue",
        "",
        *setup(config),
        f"jobs=({' '.join(map(str, indices))})",
        f'exec {shlex.join(srun)} "${{jobs[$SLURM_ARRAY_TASK_ID]}}"',
    ]
    return "\n".join(lines) + "\n"


def check_folder(folder: Path) -> None:
    """Refuse a folder that SLURM would read as another one.

    Raises:
        StudioError: Its path has a percent sign, which SLURM replaces, or a line break.
    """
    path = str(folder.absolute())
    if "%" in path or not path.isprintable():
        raise StudioError(
            "SLURM cannot write to a folder with a percent sign or a line break in its path.",
            where=visible(path),
            remedy="Choose another folder with --logs-dir.",
        )


def pieces(count: int, largest: int, parallel: int | None) -> list[tuple[int, int, int | None]]:
    """Cut jobs into arrays that the cluster takes, and share out how many run at once.

    Each array gets its share of ``parallel``, so that a job that takes long in one does not hold
    up the next, as it would if that waited for the end of the first. Where there are more arrays
    than jobs that may run at once, they wait for each other after all: see ``waits_for``.

    Args:
        count: How many jobs there are.
        largest: How many jobs an array may have.
        parallel: How many may run at the same time; ``None`` for no limit.

    Returns:
        Of each array its first job, the one after its last, and how many of it run at once.
    """
    number = -(-count // largest)
    bounds = [(i * count // number, (i + 1) * count // number) for i in range(number)]
    if parallel is None:
        return [(first, last, None) for first, last in bounds]
    lanes = min(number, parallel)
    shares = [(lane + 1) * parallel // lanes - lane * parallel // lanes for lane in range(lanes)]
    return [(first, last, shares[i % lanes]) for i, (first, last) in enumerate(bounds)]


def waits_for(piece: int, parallel: int | None) -> int | None:
    """Return the array whose end another one waits for; ``None`` where it waits for none."""
    return piece - parallel if parallel is not None and piece >= parallel else None
