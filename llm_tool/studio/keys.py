"""The key ``q`` while a run on a cluster is shown: leave it running."""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from llm_tool.stopping import leave

try:
    import termios
except ImportError:  # Windows, which has no cluster
    _HAS_KEYS = False
else:
    _HAS_KEYS = True

_LOOKS_EVERY = 0.5  # seconds, for a terminal that was taken away and given back


def can_read_keys() -> bool:
    """Tell whether single keys can be read: a terminal, and this process in its foreground."""
    if not _HAS_KEYS or threading.current_thread() is not threading.main_thread():
        return False
    try:
        return os.isatty(sys.stdin.fileno()) and _in_front(sys.stdin.fileno())
    except (OSError, ValueError):  # there is no standard input, or it is no file
        return False


@contextmanager
def leaving_on_q() -> Iterator[bool]:
    """Read keys without showing them until the end; ``q`` detaches as soon as that is possible.

    The terminal is as before however it ends. Ctrl-C and Ctrl-Z do what they always do.

    Yields:
        Whether keys are read.
    """
    if not can_read_keys():
        yield False
        return
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    over, end = os.pipe()
    reader = threading.Thread(target=_read_keys, args=(terminal, over), daemon=True)
    try:
        _one_by_one(terminal)
        reader.start()
        yield True
    finally:
        os.close(end)
        if reader.ident is not None:
            reader.join()
        os.close(over)
        with suppress(termios.error, OSError):  # the terminal may be what was lost
            if _in_front(terminal):  # else it is the shell's, who would stop us
                termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def _in_front(terminal: int) -> bool:
    """Tell whether the terminal is ours: to touch it from the background stops the process."""
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False


def _one_by_one(terminal: int) -> None:
    """Give keys over one by one, and do not show them."""
    mode = termios.tcgetattr(terminal)
    if mode[3] & (termios.ICANON | termios.ECHO):
        mode[3] &= ~(termios.ICANON | termios.ECHO)
        mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
        termios.tcsetattr(terminal, termios.TCSADRAIN, mode)


def _read_keys(terminal: int, over: int) -> None:
    """Wait for a ``q`` until the other end of the pipe is closed."""
    # Signals are for the main thread, whose sleep they are to end.
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    with suppress(OSError, termios.error):
        while True:
            ready, _, _ = select.select([terminal, over], [], [], _LOOKS_EVERY)
            if over in ready:
                return
            if not _in_front(terminal):  # Ctrl-Z, and then in the background
                if select.select([over], [], [], _LOOKS_EVERY)[0]:
                    return
                continue
            _one_by_one(terminal)  # the shell has set it its own way meanwhile
            if ready:
                keys = os.read(terminal, 64)
                if not keys:
                    return
                if b"q" in keys.lower():
                    leave()
