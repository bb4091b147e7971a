"""A real SLURM cluster of two nodes on this machine, each with one CPU, for a test session.

Several test sessions can have one each at the same time. Beside each waits a guard (this file as a
program), which ends all that belongs to the cluster when its session is gone, however that ended.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

NODES = ("n1", "n2")
_MUNGE_PID = Path("/run/munge/munged.pid")
_NEEDED = ("slurmctld", "slurmd", "munged", "sbatch", "squeue", "srun", "scontrol", "sinfo")

# Without accounting, so that sacct has nothing to say. A dead node is noticed within some ten
# seconds (SlurmdTimeout), and what ran on it may start elsewhere soon after (cred_expire); without
# the controller squeue gives up after some four (MessageTimeout). The numbers of jobs, from which
# ports are made, are not those of another cluster on this machine.
_CONFIGURATION = """\
ClusterName=test
SlurmctldHost=localhost
SlurmctldPort={controller}
FirstJobId={controller}
MessageTimeout=4
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
    guard: subprocess.Popen[str] | None = None
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
        self.guard = _start_guard(self.configuration)
        self.restart_controller()
        for name in NODES:
            self.restart_node(name)

    def stop(self) -> None:
        try:
            self.tell("scancel", "--user=root")
            with suppress(TimeoutError):
                _wait_for(lambda: not self.tell("squeue", "--noheader"), "an empty queue", 20)
            for daemon in reversed(self.daemons.values()):
                daemon.terminate()
            for daemon in self.daemons.values():
                with suppress(subprocess.TimeoutExpired):
                    daemon.wait(10)
        finally:
            if self.guard is not None:  # it kills what is left
                self.guard.communicate()
            for daemon in self.daemons.values():
                daemon.wait()

    def _start(self, *words: str) -> subprocess.Popen[bytes]:
        log = (self.folder / "log" / "daemons.txt").open("ab")
        with log:
            return subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment()
            )

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


def _start_guard(configuration: Path) -> subprocess.Popen[str]:
    """Start what ends a cluster when this process does; return it when munge answers."""
    guard = subprocess.Popen(
        [sys.executable, __file__, str(configuration)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is not for it
    )
    assert guard.stdout is not None
    if not guard.stdout.readline():
        raise RuntimeError("munge does not start")
    return guard


def watch_over(configuration: str) -> None:
    """Wait for the end of standard input, and end what is left of a cluster then.

    What vouches for messages (munge) is the same for all clusters of a machine: the first one that
    needs it starts it, and the last one ends it, if it was started here.
    """
    with Path(tempfile.gettempdir(), "munge-of-the-tests").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if not _munge_answers():
            _start_munge()
            file.write("started")
            file.flush()
        fcntl.flock(file, fcntl.LOCK_SH)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.read()
        _kill_all_of(configuration)
        with suppress(BlockingIOError):  # others are there
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.seek(0)
            if file.read():
                file.truncate(0)
                os.kill(int(_MUNGE_PID.read_text("ascii")), signal.SIGTERM)


def _kill_all_of(configuration: str) -> None:
    """Kill the daemons of a cluster, its jobs, and whatever they left running."""
    import psutil

    for _ in range(3):  # a process can start another one meanwhile
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                own = process.pid != os.getpid() and process.environ().get("SLURM_CONF")
                if own == configuration:
                    process.kill()


def _munge_answers() -> bool:
    return subprocess.run(["munge", "-n"], capture_output=True).returncode == 0


def _start_munge() -> None:
    subprocess.run(["install", "-d", "-o", "munge", _MUNGE_PID.parent], check=True)
    words = ["su", "-s", "/bin/sh", "munge", "-c", "exec munged --force --foreground"]
    nothing = subprocess.DEVNULL
    others = {name: value for name, value in os.environ.items() if name != "SLURM_CONF"}
    subprocess.Popen(
        words, stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True, env=others
    )
    _wait_for(_munge_answers, "munge", 20)


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


if __name__ == "__main__":
    watch_over(sys.argv[1])
