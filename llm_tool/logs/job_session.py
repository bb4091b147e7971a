"""A session as one of its jobs sees it: its own run folders to write, the rest only to read."""

from __future__ import annotations

import time
from pathlib import Path

from llm_tool.events import Event, JobEvent
from llm_tool.logs import journal
from llm_tool.logs.claim import Claim
from llm_tool.logs.files import disk_errors
from llm_tool.logs.labels import per_category
from llm_tool.logs.session import Session
from llm_tool.stopping import finishing

_LOOK = 3.0  # seconds between two looks at the claim while nothing is written


class JobSession(Session):
    """Records one job without locks, and neither tables nor ``session.json``: see ``Claim``.

    These follow from the journals, and whoever owns the session writes them.
    """

    def __init__(self, logs_dir: str | Path, session_id: str) -> None:
        """Join a session to train one of its jobs; nothing is recorded before ``claim`` is set."""
        super().__init__(logs_dir, session_id)
        self.claim: Claim | None = None
        self._looked = time.monotonic()

    def record(self, event: Event) -> None:
        """Write an event of the job to its journals; other events are a moment to look around.

        Raises:
            Replaced: Another attempt trains this job now.
            DiskError: The logs folder cannot be written.
        """
        if not isinstance(event, JobEvent):
            if time.monotonic() - self._looked >= _LOOK:
                self.check_own()
            return
        self.check_there()
        if self.claim is None:  # one of several processes that train the job, and not the first
            return
        with disk_errors(self.folder, "Writing the logs"), finishing():
            for own in per_category(event):
                journal.append(self.run_folder(own.job), own)

    def check_there(self) -> None:
        """Refuse to write into a folder that was taken away, or is another attempt's.

        Raises:
            Replaced: Another attempt trains this job now.
            DiskError: The session's folder is gone.
        """
        super().check_there()
        self.check_own()

    def check_own(self) -> None:
        """Make sure that no other attempt trains this job.

        Raises:
            Replaced: One does.
            DiskError: That cannot be found out.
        """
        if self.claim is not None:
            self.claim.check()
        self._looked = time.monotonic()
