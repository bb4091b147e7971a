"""A real pseudo-terminal around a command: press keys, read the screen as a person would."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyte

# Seconds that a question or an end may take on a machine that does other things too.
PATIENCE = 90
ENTER, ESC, DOWN, UP, SPACE, CTRL_C = "\r", "\x1b", "\x1b[B", "\x1b[A", " ", "\x03"


def _take_terminal() -> None:
    """Make standard input the terminal of this session, with signals as a terminal leaves them."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored where the tests themselves run detached


class Terminal:
    """Runs a command in a terminal of ``columns`` by ``lines`` and keeps everything it printed.

    Args:
        command: The command and its arguments.
        columns: Width of the terminal.
        lines: Height of the terminal.
        folder: Working folder of the command.
        environment: Variables to set; ``TERM`` is ``xterm-256color``.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        columns: int = 80,
        lines: int = 40,
        folder: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.screen = pyte.HistoryScreen(columns, lines, history=10_000, ratio=0.5)
        self.raw = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stream = pyte.ByteStream(self.screen)
        # prompt_toolkit asks for the cursor's position; a question may be cut by a chunk's end
        self.screen.write_process_input = lambda data: os.write(self._terminal, data.encode())
        self._terminal, inner = pty.openpty()
        fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        kept = {k: v for k, v in os.environ.items() if k not in {"NO_COLOR", "COLUMNS", "LINES"}}
        self.process = subprocess.Popen(
            command,
            stdin=inner,
            stdout=inner,
            stderr=inner,
            cwd=folder,
            env={**kept, "TERM": "xterm-256color", **(environment or {})},
            start_new_session=True,
            preexec_fn=_take_terminal,
        )
        os.close(inner)

    def read(self, seconds: float = 0.05) -> None:
        """Take in what the command prints within a time, and answer where the cursor is."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if not select.select([self._terminal], [], [], left)[0]:
                return
            try:
                chunk = os.read(self._terminal, 65536)
            except OSError:  # the command closed its side
                return
            if not chunk:
                return
            self.raw += self._decoder.decode(chunk)
            self._stream.feed(chunk)

    def text(self) -> str:
        """Return everything on the screen and above it."""
        width = self.screen.columns
        above = [
            "".join(line[x].data for x in range(width)).rstrip() for line in self.screen.history.top
        ]
        return "\n".join([*above, *(line.rstrip() for line in self.screen.display)])

    def wait_for(self, text: str, seconds: float = PATIENCE, after: str = "") -> str:
        """Return the whole text once it has ``text`` (below the last ``after``).

        Raises:
            AssertionError: The text did not come in time; the message shows the screen.
        """
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.read()
            seen = self.text()
            if text in seen[seen.rfind(after) if after else 0 :]:
                return seen
        raise AssertionError(f"{text!r} did not come within {seconds} s:\n{self.text()}")

    def wait_for_question(self, question: str, seconds: float = PATIENCE) -> None:
        """Wait until a question is the last one asked: it may stand further up, answered.

        Raises:
            AssertionError: It was not asked in time; the message shows the screen.
        """
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.read()
            asked = [line for line in self.text().split("\n") if line.startswith("? ")]
            if asked and question in asked[-1]:
                return
        raise AssertionError(f"{question!r} was not asked within {seconds} s:\n{self.text()}")

    def press(self, *keys: str) -> None:
        """Press keys, with a moment between them as a person leaves."""
        for key in keys:
            os.write(self._terminal, key.encode())
            self.read(0.08)

    def answer(self, question: str, *keys: str, seconds: float = PATIENCE) -> None:
        """Wait for a question and answer it with keys and Enter."""
        self.wait_for_question(question, seconds)
        self.read(0.1)
        self.press(*keys, ENTER)

    def exit_code(self, seconds: float = PATIENCE) -> int:
        """Return the command's exit code once it has ended."""
        end = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < end:
            self.read()
        self.read(0.2)
        if self.process.poll() is None:
            raise AssertionError(f"the command did not end within {seconds} s:\n{self.text()}")
        return self.process.returncode

    def hang_up(self) -> None:
        """Lose the terminal, as when a window is closed or a connection breaks off."""
        os.close(self._terminal)
        self._terminal = -1

    def close(self) -> None:
        """End the command if it still runs."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        if self._terminal >= 0:
            os.close(self._terminal)
