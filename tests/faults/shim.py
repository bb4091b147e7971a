"""The library that makes calls fail (shim.c): build it, and tell it which call and how."""

from __future__ import annotations

import errno
import mmap
import shutil
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("shim.c")
# The fields of `struct faults` in shim.c, in its order, after at and count.
_LAYOUT = struct.Struct("=qqiiii4096s4160s32768s")
_KINDS = ("once", "short", "full", "kill", "kill half")


@dataclass(frozen=True)
class Fault:
    """What happens to the ``at``-th call that changes something on the disk.

    ``once``: it fails, and does nothing. ``short``: a write puts half of its bytes there, and the
    next call fails. ``full``: from then on nothing that needs space succeeds. ``kill``: the
    process group ends there, as by kill -9; ``kill half``: after half the bytes of a write.
    """

    at: int
    kind: str = "once"
    error: int = errno.ENOSPC

    def __str__(self) -> str:
        how = self.kind if self.kind.startswith("kill") else errno.errorcode[self.error]
        return f"{how}{f' ({self.kind})' if self.kind in ('short', 'full') else ''} at {self.at}"


def missing() -> str:
    """Return why the library cannot be built here; empty if it can."""
    if not sys.platform.startswith("linux"):
        return "failing calls are made with LD_PRELOAD, which is there on Linux only"
    if shutil.which("gcc") is None:
        return "failing calls are made by a small C library, and there is no gcc to build it"
    return ""


class Shim:
    """The built library, and the page through which processes that loaded it hear of a fault."""

    def __init__(self, folder: Path) -> None:
        """Build the library in a folder.

        Raises:
            subprocess.CalledProcessError: gcc does not take it.
        """
        self._library, page = folder / "shim.so", folder / "faults"
        build = ["gcc", "-shared", "-fPIC", "-O2", str(SOURCE), "-o", str(self._library), "-ldl"]
        subprocess.run(build, check=True)
        page.write_bytes(bytes(_LAYOUT.size))
        with page.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), 0)
        self.environment = {"LD_PRELOAD": str(self._library), "FAULTS": str(page)}

    def watch(self, folder: Path, fault: Fault | None = None) -> None:
        """Count the calls below a folder from now on, and strike one of them."""
        at, kind, error = (fault.at, _KINDS.index(fault.kind), fault.error) if fault else (0, 0, 0)
        name = str(folder.resolve()).encode()
        self._page[:] = _LAYOUT.pack(at, 0, kind, error, 0, 0, name, b"", b"")

    @property
    def calls(self) -> int:
        """How many calls there were."""
        return int(_LAYOUT.unpack(self._page[:])[1])

    @property
    def struck(self) -> str:
        """The call that was struck and its path; empty if none was."""
        return bytes(_LAYOUT.unpack(self._page[:])[7]).split(b"\0")[0].decode()

    @property
    def writes(self) -> list[int]:
        """The numbers of the calls that write bytes, which can be cut short."""
        marks = _LAYOUT.unpack(self._page[:])[8]
        return [number for number in range(1, self.calls + 1) if marks[number]]
