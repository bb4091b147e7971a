"""A request to stop: Ctrl-C, SIGTERM, or SIGHUP when the terminal is lost. All mean the same.

The first one waits until a write is complete, the second one does not; both raise
``KeyboardInterrupt`` in the main thread.

A request to pause raises nothing: the training looks for it, saves where it is, and then ends with
``Paused``.
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
    """A training was asked to pause; it saved all that going on from the same place takes."""


@dataclass
class _Pause:
    listening: bool = False
    name: str = ""


_pause = _Pause()


@contextmanager
def pause_on(*signal_names: str) -> Iterator[None]:
    """Take some signals for a request to pause; the first one counts, and nothing is raised.

    Args:
        signal_names: As ``SIGUSR1``; a name that the system does not have is passed over.
    """
    known = [getattr(signal, name) for name in signal_names if hasattr(signal, name)]
    _pause.listening, _pause.name = True, ""
    before = {number: signal.getsignal(number) for number in known}
    try:
        for number in known:
            signal.signal(number, lambda number, _: ask_pause(signal.Signals(number).name))
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _pause.listening = False


def ask_pause(signal_name: str) -> None:
    """Ask for a pause, if ``pause_on`` listens and none was asked for yet."""
    if _pause.listening:
        _pause.name = _pause.name or signal_name


def pause_asked() -> bool:
    """Tell whether a pause was asked for; never outside of ``pause_on``."""
    return _pause.listening and bool(_pause.name)


def pause_signal() -> str:
    """Return the name of the signal that asked for the last pause, empty where none did."""
    return _pause.name
