"""Whether the process that trains a run is still there."""

from __future__ import annotations

import os
import platform
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import psutil

from llm_tool.errors import StudioError

BEAT = 30.0  # seconds between two heartbeats
_CLOCK = 5.0  # seconds by which the system's own idea of a start moves when its clock is set
_SILENCE = 4 * BEAT  # without one for so long, a process that cannot be looked at counts as gone


_attempts: set[str] = set()  # those of this process that are not over


def own_process() -> dict[str, Any]:
    """Return what tells this process, and this attempt of it at a run, from every other.

    JSON-ready. The attempt lasts until ``is_over`` is told of it.
    """
    attempt = uuid.uuid4().hex
    _attempts.add(attempt)
    started = psutil.Process().create_time()
    return {"machine": _machine(), "pid": os.getpid(), "started": started, "attempt": attempt}


def is_over(process: Mapping[str, Any]) -> None:
    """Note that an attempt is over, also where session.json could not be told."""
    _attempts.discard(process["attempt"])


def _machine() -> str:
    """Return what process numbers are numbers of: a machine, or a container on it."""
    try:
        return f"{platform.node()} {os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115 - no path
    except OSError:
        return platform.node()


def is_alive(run: Mapping[str, Any]) -> bool:
    """Tell whether the process that started a run is still there.

    On this machine it is looked for; elsewhere its last heartbeat must not be older than two
    minutes.
    """
    process = run.get("process") or {}
    if process.get("machine") != _machine():
        return time.time() - float(run.get("heartbeat", 0.0)) < _SILENCE
    try:
        found = psutil.Process(process["pid"])
        same = abs(found.create_time() - process["started"]) < _CLOCK
        if process["pid"] == os.getpid():
            return bool(same and process["attempt"] in _attempts)
        return bool(same and found.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:  # somebody else's: it is there
        return True


def status_of(run: Mapping[str, Any]) -> str:
    """Return how a run stands: ``running`` only while its process is there.

    The jobs of a run on a cluster go on without that process: it counts as ``detached``.
    """
    if run["status"] != "running" or is_alive(run):
        return str(run["status"])
    return "detached" if is_on_cluster(run) else "interrupted"


def is_on_cluster(run: Mapping[str, Any]) -> bool:
    """Tell whether a run's jobs are trained on a cluster, not by the process that started it."""
    return bool((run.get("config") or {}).get("executor") == "slurm")


def whole_status(runs: list[Mapping[str, Any]]) -> str:
    """Return how a session stands: ``done`` when all its runs are, else its most pressing state."""
    statuses = {status_of(run) for run in runs}
    pressing = ("running", "detached", "interrupted", "failed")
    return next((status for status in pressing if status in statuses), "done")


@contextmanager
def heartbeat(beat: Callable[[], None]) -> Iterator[None]:
    """Call ``beat`` every half minute, in a thread of its own; that one fails is no harm."""
    over = threading.Event()

    def go_on() -> None:
        while not over.wait(BEAT):
            with suppress(OSError, StudioError):
                beat()

    thread = threading.Thread(target=go_on, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
