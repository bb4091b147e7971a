"""The cluster that tests start: nothing of it is left, however their session ends."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.slurm_cluster import kill, missing

ROOT = Path(__file__).parents[1]
_SESSION = """
import sys
from pathlib import Path
from tests.slurm_cluster import running_cluster
with running_cluster(Path(sys.argv[1])) as cluster:
    cluster.tell("sbatch", "--output=/dev/null", "--wrap", "sleep 6001 & exec sleep 6001")
    while cluster.tell("squeue", "--noheader", "--format=%T") != "RUNNING":
        pass
    print("running", flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(bool(missing()), reason=missing() or "-")
def test_a_session_of_tests_that_is_killed_leaves_no_process_behind(tmp_path: Path) -> None:
    words = [sys.executable, "-c", _SESSION, str(tmp_path / "cluster")]
    pipe = subprocess.PIPE
    process = subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True, cwd=ROOT)
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == "running\n"
    assert len(left_over(tmp_path)) >= 3  # the daemons, and what they started

    kill(process)
    process.stdout.close()
    process.stdin.close()

    until = time.monotonic() + 20
    while left_over(tmp_path):
        assert time.monotonic() < until, "not within 20 s"
        time.sleep(0.2)


def left_over(folder: Path) -> list[int]:
    """Return the numbers of the processes of a cluster in a folder."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("SLURM_CONF") == str(folder / "cluster" / "slurm.conf"):
                found.append(process.pid)
    return found
