"""A request to stop: Ctrl-C, SIGTERM, or SIGHUP when the terminal is lost. All mean the same.

The first one waits until a write is complete, the second one does not; both raise
``KeyboardInterrupt`` in the main thread.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class _Requests:
    asked: int = 0
    writing: int = 0

    def ask(self, *_: object) -> None:
        self.asked += 1
        if not self.writing or self.asked > 1:
            raise KeyboardInterrupt


_requests = _Requests()
_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


@contextmanager
def stoppable(*, ignore: tuple[str, ...] = ()) -> Iterator[None]:
    """Let the signals that ask a program to stop raise ``KeyboardInterrupt``.

    A signal that is ignored already stays so: ``nohup`` asks for that. Outside of the main thread
    nothing changes, for Python handles signals there only.

    Args:
        ignore: Names of the signals that mean nothing to this process.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    known = [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in known}
    _requests.asked = 0
    for number, handler in before.items():
        if signal.Signals(number).name in ignore:
            signal.signal(number, signal.SIG_IGN)
        elif handler is not signal.SIG_IGN:
            signal.signal(number, _requests.ask)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def finishing() -> Iterator[None]:
    """Hold a first request to stop back until what is written here is complete.

    Raises:
        KeyboardInterrupt: It came meanwhile.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked = _requests.asked
    _requests.writing += 1
    try:
        yield
    finally:
        _requests.writing -= 1
    if _requests.asked > asked and not _requests.writing:
        raise KeyboardInterrupt


class Paused(BaseException):
    """A training was asked to pause, has left a checkpoint, and is to go on another time."""


@dataclass
class _Pause:
    asked_by: str = ""

    def ask(self, number: int, _: object) -> None:
        self.asked_by = signal.Signals(number).name


_pause = _Pause()


@contextmanager
def pause_on(*names: str) -> Iterator[None]:
    """Let signals ask for a pause, which whoever trains looks for with ``pause_asked``.

    Outside of the main thread nothing changes, for Python handles signals there only.

    Args:
        names: Names of the signals; those that the system does not have are left out.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    known = [getattr(signal, name) for name in names if hasattr(signal, name)]
    _pause.asked_by = ""
    before = {number: signal.signal(number, _pause.ask) for number in known}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _pause.asked_by = ""


def pause_asked() -> bool:
    """Tell whether a signal has asked for a pause."""
    return bool(_pause.asked_by)


def pause_signal() -> str:
    """Return the name of the signal that last asked for a pause; empty where none did."""
    return _pause.asked_by
