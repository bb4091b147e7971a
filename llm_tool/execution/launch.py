"""Start the processes that train one job together, and end with them.

``accelerate launch`` starts them (torchrun, beneath it, ends all when one dies). It knows nothing
of a request to pause: SIGUSR1 and SIGUSR2 would end it, SIGTERM gives its processes half a minute.
So the command of a job is its parent, passes such a signal on to the processes themselves, and
waits until they have saved where they are.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import util
from pathlib import Path

import psutil

from llm_tool.config import RunConfig
from llm_tool.errors import StudioError
from llm_tool.execution.resources import usable_cores
from llm_tool.stopping import PAUSED, PAUSES, pause_asked, pause_on, pause_signal

_CODE = "LLM_TOOL_EXIT_CODE"  # names the file in which the first process leaves its exit code
_PORTS = 10_000, 20_000  # the first, and how many, below those that systems give out by themselves
_LOOKS_EVERY = 0.5  # seconds
_PATIENCE = 60  # seconds that the scheduler has for an answer
_PR_SET_PDEATHSIG = 1  # of linux/prctl.h: the signal that a process gets when its parent dies


def launcher(config: RunConfig) -> list[str]:
    """Return the words before a job's command that have it run by several processes together.

    On several nodes of a cluster each starts its own ones; which it is, and where the first one is,
    SLURM says. No configuration file of Accelerate is read but ours.

    Args:
        config: The settings.

    Returns:
        The words; none for one process.

    Raises:
        StudioError: Accelerate is not installed, or SLURM does not say where the nodes are.
    """
    nodes = config.slurm_nodes if config.executor == "slurm" else 1
    if config.processes * nodes == 1:
        return []
    if util.find_spec("accelerate") is None:
        raise StudioError(
            "Several processes train a job together with Accelerate, which is not installed.",
            remedy='Install it: pip install "llm-tool[multi-gpu]"; or use --processes 1.',
        )
    options = {
        "config_file": Path(__file__).with_name("accelerate.yaml"),
        "num_processes": config.processes * nodes,
        "num_machines": nodes,
        "mixed_precision": "no",  # that of the settings counts, in the trainer
        "dynamo_backend": "no",
        "num_cpu_threads_per_process": max(
            1, (config.threads or usable_cores()) // config.processes
        ),
        "main_process_port": 0,  # any that is free
        **(_cluster() if nodes > 1 else {}),
    }
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    # This also starts several processes where there is no GPU, which --cpu does not.
    words += ["--multi_gpu", "--same_network", "--no_python"]
    return [sys.executable, "-m", "accelerate.commands.launch", *words]


def _cluster() -> dict[str, object]:
    """Return which node of a SLURM job this is, and where its processes meet."""
    try:
        node, job = (int(os.environ[name]) for name in ("SLURM_NODEID", "SLURM_JOB_ID"))
        host = _address(first_host(os.environ["SLURM_JOB_NODELIST"]))
    except (KeyError, ValueError) as error:
        raise StudioError(
            "SLURM does not say on which nodes this job runs.",
            where="SLURM_NODEID, SLURM_JOB_ID, SLURM_JOB_NODELIST",
            remedy="Start it with srun, one task on each node.",
        ) from error
    first, many = _PORTS
    port = first + job % many  # so that two jobs on a node do not meet
    return {"machine_rank": node, "main_process_ip": host, "main_process_port": port}


def _address(node: str) -> str:
    """Return a name or number by which a node of the cluster is reached.

    SLURM's name for it is that of a host in most clusters; else SLURM itself knows the way.
    """
    try:
        socket.getaddrinfo(node, None)
    except OSError:
        with suppress(OSError, subprocess.SubprocessError):
            words = ["scontrol", "--oneliner", "show", "node", node]
            told = subprocess.run(words, capture_output=True, text=True, timeout=_PATIENCE).stdout
            if found := re.search(r"\bNodeAddr=(\S+)", told):
                return found[1]
    return node


def first_host(hosts: str) -> str:
    """Return the first name of a list of hosts as SLURM writes it: ``a[03-05,9],b`` gives a03."""
    first = re.match(r"(?:[^,\[]|\[[^\]]*\])+", hosts)
    return re.sub(r"\[([^\],-]+)[^\]]*\]", r"\1", first[0]) if first else ""


def is_launched() -> bool:
    """Tell whether this process is one of several that train a job together."""
    return _CODE in os.environ


def is_first() -> bool:
    """Tell whether this process is the one that records: the first of them, or the only one."""
    return not is_launched() or os.environ.get("RANK") == "0"


def run_together(command: Sequence[str], config: RunConfig) -> int:
    """Run a job's command in several processes, have them pause when asked; return its exit code.

    Args:
        command: The command, which calls ``leave`` at its end.
        config: The settings.

    Raises:
        StudioError: See ``launcher``.
        KeyboardInterrupt: The user stopped it; the processes are ended.
    """
    words = [*launcher(config), *command]
    with tempfile.TemporaryDirectory() as folder, pause_on(*PAUSES):
        left = Path(folder, "code")
        process = subprocess.Popen(
            words,
            env={**os.environ, _CODE: str(left)},
            start_new_session=True,  # what is sent to all of a terminal's processes stays here
            preexec_fn=first_steps(),
        )
        try:
            code = _wait(process, config.processes)
        except BaseException:
            process.terminate()
            process.wait()
            raise
        with suppress(OSError, ValueError):
            return int(left.read_text("utf-8"))
        return PAUSED if pause_asked() else code


def first_steps() -> Callable[[], None] | None:
    """Return what a process does first that is to outlive a request to pause, never its parent.

    Where processes are at their beginning, they do not hear the signal either.
    """
    if os.name == "nt":
        return None
    prctl = getattr(ctypes.CDLL(None), "prctl", None)  # Linux has it

    def prepare() -> None:
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)
        if prctl is not None:
            prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

    return prepare


def _wait(process: subprocess.Popen[bytes], many: int) -> int:
    """Return a launcher's exit code when it ends; pass on that a pause is asked for.

    Args:
        process: The launcher.
        many: How many processes it starts.
    """
    started: list[psutil.Process] = []
    try:
        while True:
            with suppress(subprocess.TimeoutExpired):
                return process.wait(_LOOKS_EVERY)
            started = [one for one in started if one.is_running()]
            if len(started) < many:
                with suppress(psutil.Error):
                    started = psutil.Process(process.pid).children()
            if pause_asked():  # every time: a process that begins did not hear it yet
                for one in started:
                    with suppress(psutil.Error):
                        one.send_signal(signal.Signals[pause_signal()])
    finally:
        if process.poll() is not None:
            for one in started:  # a launcher that was killed leaves them behind
                with suppress(psutil.Error):
                    one.kill()


def leave(code: int, *, all_end: bool = False) -> int:
    """Tell the parent the exit code of the job, if it is ours to tell; return this process's own.

    To pause is no failure of a process: the launcher would end the others at once.

    Args:
        code: The job's.
        all_end: The launcher is to end the others, which do not know that there is nothing to do.
    """
    if not is_launched():
        return code
    for name in PAUSES:  # they are passed on until the process is gone
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if is_first():
        Path(os.environ[_CODE]).write_text(str(code), "utf-8")
    return 1 if all_end else 0 if code == PAUSED else code
