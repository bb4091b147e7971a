"""A real SLURM cluster of two nodes on this machine, each with one CPU, for a test session."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

NODES = ("n1", "n2")
_NEEDED = ("slurmctld", "slurmd", "munged", "sbatch", "squeue", "srun", "scontrol", "sinfo")

# Without accounting, so that sacct has nothing to say. A dead node is noticed within some ten
# seconds (SlurmdTimeout), and what ran on it may start elsewhere soon after (cred_expire).
_CONFIGURATION = """\
ClusterName=test
SlurmctldHost=localhost
SlurmctldPort={controller}
AuthType=auth/munge
AuthInfo=cred_expire=5
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd-%n.log
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0,sched_min_interval=0
MaxArraySize={largest_array}
SlurmdTimeout=2
KillWait=15
MinJobAge=300
ReturnToService=2
NodeName=n1 NodeHostname=localhost NodeAddr=127.0.0.1 Port={n1} CPUs=1 RealMemory=4000 State=UNKNOWN
NodeName=n2 NodeHostname=localhost NodeAddr=127.0.0.1 Port={n2} CPUs=1 RealMemory=4000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """Return why no cluster can be started here; empty where one can."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "only root can start a SLURM cluster"
    lacking = [name for name in _NEEDED if shutil.which(name) is None]
    return f"not installed: {', '.join(lacking)} (slurm-wlm, munge)" if lacking else ""


@dataclass
class Cluster:
    """The daemons of a cluster; ``configuration`` is what its commands need in SLURM_CONF."""

    folder: Path
    started_munge: subprocess.Popen[bytes] | None = None
    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def configuration(self) -> Path:
        return self.folder / "slurm.conf"

    def tell(self, *words: str) -> str:
        """Return what a command of SLURM prints."""
        done = subprocess.run(words, capture_output=True, text=True, env=self._environment())
        return done.stdout.strip()

    def restart_node(self, name: str) -> None:
        """Start the daemon of a node, and wait until it can be given work."""
        self.daemons[name] = self._start("slurmd", "-D", "-N", name)
        _wait_for(lambda: self.state(name) in ("idle", "mixed", "allocated"), f"node {name}", 60)

    def kill_node(self, name: str) -> None:
        """Kill the daemon of a node, as if it had lost its power; its jobs go on, unseen."""
        self.daemons[name].kill()
        self.daemons[name].wait()

    def state(self, name: str) -> str:
        return self.tell("sinfo", "--noheader", "--nodes", name, "--format", "%T")

    def kill_controller(self) -> None:
        """Kill the controller: no command gets an answer until it is started again."""
        self.daemons["controller"].kill()
        self.daemons["controller"].wait()

    def restart_controller(self) -> None:
        self.daemons["controller"] = self._start("slurmctld", "-D")
        _wait_for(lambda: "UP" in self.tell("scontrol", "ping"), "the controller", 30)

    def start(self, largest_array: int) -> None:
        for name in ("state", "log"):
            (self.folder / name).mkdir(parents=True)
        ports = dict(zip(("controller", *NODES), _free_ports(3), strict=True))
        self.configuration.write_text(
            _CONFIGURATION.format(folder=self.folder, largest_array=largest_array, **ports), "utf-8"
        )
        self.started_munge = _start_munge()
        self.restart_controller()
        for name in NODES:
            self.restart_node(name)

    def stop(self) -> None:
        self.tell("scancel", "--user=root")
        with suppress(TimeoutError):
            _wait_for(lambda: not self.tell("squeue", "--noheader"), "an empty queue", 20)
        for daemon in reversed(self.daemons.values()):
            daemon.terminate()
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        if self.started_munge is not None:
            self.started_munge.terminate()
            self.started_munge.wait()

    def _start(self, *words: str) -> subprocess.Popen[bytes]:
        log = (self.folder / "log" / "daemons.txt").open("ab")
        with log:
            return subprocess.Popen(words, stdout=log, stderr=log, env=self._environment())

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "SLURM_CONF": str(self.configuration)}


@contextmanager
def running_cluster(folder: Path, largest_array: int = 9) -> Iterator[Cluster]:
    """Give a cluster that is idle; its commands find it through the environment.

    Args:
        folder: An empty folder for its state and its logs.
        largest_array: How many jobs one array may have; few, so that a test sees two arrays.
    """
    cluster = Cluster(folder)
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(cluster.configuration)
    try:
        cluster.start(largest_array)
        yield cluster
    finally:
        cluster.stop()
        if before is None:
            del os.environ["SLURM_CONF"]
        else:
            os.environ["SLURM_CONF"] = before


def _start_munge() -> subprocess.Popen[bytes] | None:
    """Start what vouches for messages, unless it runs; return it if it was started here."""
    if subprocess.run(["munge", "-n"], capture_output=True).returncode == 0:
        return None
    subprocess.run(["install", "-d", "-o", "munge", "/run/munge"], check=True)
    words = ["su", "-s", "/bin/sh", "munge", "-c", "exec munged --force --foreground"]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    answers = ["munge", "-n"]
    _wait_for(lambda: not subprocess.run(answers, capture_output=True).returncode, "munge", 20)
    return process


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()


def _wait_for(condition: Callable[[], bool], what: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.2)


def kill(process: subprocess.Popen[str]) -> None:
    """End a process at once, without giving it a chance to say goodbye."""
    process.send_signal(signal.SIGKILL)
    process.wait()
