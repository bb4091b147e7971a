"""Whose a job's run folder is: that of the attempt that claimed it last.

A scheduler can believe a job dead that still runs, and start it again elsewhere. Files of a network
file system cannot be locked; so an attempt writes its name into the folder when it starts, and
looks before each write whether that name is still its own.
"""

from __future__ import annotations

import json
import os
import platform
import time
import uuid
from pathlib import Path

from llm_tool.errors import DiskError
from llm_tool.logs.files import disk_errors, sync

ATTEMPT = "attempt.json"


class Replaced(BaseException):
    """Another attempt at the same job has taken its place; this one is to end, and write nothing.

    No ``Exception``: it is no failure of the job, and nothing that catches those may record it.
    """


class Claim:
    """The claim of this process to a job's run folder."""

    def __init__(self, run_folder: Path) -> None:
        """Claim a folder, which is made if need be; who had it before ends at its next look.

        Raises:
            DiskError: The folder cannot be written.
        """
        self._path = run_folder / ATTEMPT
        self.id = uuid.uuid4().hex
        about = {
            "attempt": self.id,
            "host": platform.node(),
            "pid": os.getpid(),
            "slurm_job_id": os.environ.get("SLURM_JOB_ID", ""),
            "started": time.time(),
        }
        # Not under the number of the process: on another node it can be the same.
        temporary = run_folder / f".{ATTEMPT}.{self.id}.tmp"
        with disk_errors(self._path, "Claiming the job"):
            run_folder.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps(about) + "\n", "utf-8")
            sync(temporary)
            temporary.replace(self._path)
            sync(run_folder)

    def check(self) -> None:
        """Make sure that no other attempt has claimed the folder.

        The file is opened anew: only then does a network file system ask its server.

        Raises:
            Replaced: One has, or somebody took the claim away.
            DiskError: The folder cannot be read.
        """
        with disk_errors(self._path, "Reading who trains the job"):
            if self._holder() != self.id:
                raise Replaced

    def _holder(self) -> str:
        for is_last in (False, True):
            try:
                return str(json.loads(self._path.read_bytes())["attempt"])
            except (FileNotFoundError, ValueError, LookupError, TypeError):
                return ""
            except OSError:  # on a network file system also when it is replaced just now
                if is_last:
                    raise
        return ""

    def release(self) -> None:
        """Take the claim away: the job is done. Another attempt's claim stays."""
        try:
            self.check()
            self._path.unlink(missing_ok=True)
        except (Replaced, DiskError, OSError):
            return  # nothing depends on it: the journal says that the job is done
