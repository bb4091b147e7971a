"""A request to stop: Ctrl-C, SIGTERM, or SIGHUP when the terminal is lost. All mean the same.

The first one waits until a write is complete, the second one does not; both raise
``KeyboardInterrupt`` in the main thread. Where the work is done elsewhere, on a cluster, all but
Ctrl-C only end the watching: they raise ``Detached``.

A request to pause raises nothing: the training looks for it, saves where it is, and then ends with
``Paused``.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

PAUSES = ("SIGUSR1", "SIGUSR2", "SIGTERM")  # what asks a job to pause
PAUSED = 75  # its exit code then: EX_TEMPFAIL


class Detached(BaseException):
    """Jobs on a cluster are to be left running. ``by_key``: the user goes on with other things."""

    def __init__(self, *, by_key: bool = False) -> None:
        super().__init__()
        self.by_key = by_key


@dataclass
class _Requests:
    asked: int = 0
    writing: int = 0
    detaches: bool = False  # while work is done elsewhere
    raises: BaseException | None = None  # what the last request was for

    def ask(self, number: int = 0, _: object = None) -> None:
        name = signal.Signals(number).name if number else ""
        if name == _KEY and not self.detaches:
            return  # too late
        stops = not self.detaches or name not in _LEAVE or isinstance(self.raises, _STOP)
        self.raises = KeyboardInterrupt() if stops else Detached(by_key=name == _KEY)
        self.asked += 1
        if not self.writing or self.asked > 1:
            raise self.raises

    def forget(self) -> None:
        self.asked, self.raises = 0, None


_requests = _Requests()
_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
_STOP = KeyboardInterrupt
_KEY = "SIGUSR1"  # what the reader of keys sends its own process
_LEAVE = (_KEY, "SIGTERM", "SIGHUP")


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
    _requests.forget()
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
def detachable() -> Iterator[None]:
    """Let SIGTERM, SIGHUP and ``leave`` raise ``Detached``: the work goes on without this process.

    Ctrl-C still stops. A signal that is ignored stays so. Outside of the main thread, and where
    there are no such signals, nothing changes.
    """
    here = threading.current_thread() is threading.main_thread()
    if not here or not hasattr(signal, _KEY):
        yield
        return
    numbers = [signal.Signals[name] for name in _LEAVE]
    before = {number: signal.getsignal(number) for number in numbers}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN or number.name == _KEY:
            signal.signal(number, _requests.ask)
    _requests.detaches = True
    _requests.forget()
    try:
        yield
    except Detached:
        _requests.forget()  # the process may go on, and be asked again
        raise
    finally:
        _requests.detaches = False
        for number, handler in before.items():
            signal.signal(number, handler)


def leave() -> None:
    """Raise ``Detached`` in the main thread, at once and from any thread, where it can detach."""
    main = threading.main_thread().ident
    if _requests.detaches and main is not None:
        signal.pthread_kill(main, signal.Signals[_KEY])


@contextmanager
def finishing() -> Iterator[None]:
    """Hold a first request to stop back until what is written here is complete.

    Raises:
        KeyboardInterrupt: It came meanwhile.
        Detached: It came meanwhile, and was to detach.
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
        raise _requests.raises or KeyboardInterrupt


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
