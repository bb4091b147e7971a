"""What the owner of a session asks of a cluster's scheduler, whichever it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True)
class Place:
    """Where a job stands: in the queue, with the scheduler's reason, or running on a node."""

    state: Literal["queued", "running"]
    node: str = ""
    reason: str = ""


class Scheduler(Protocol):
    """Takes jobs of one session by their ids, and says where they are.

    What it knows outlives the process that submitted: another one asks and gets the same answer.
    """

    def submit(self, job_ids: Sequence[str]) -> None:
        """Hand jobs over; each runs ``llm-tool job run``.

        Raises:
            StudioError: The cluster refuses them.
        """

    def look(self) -> Mapping[str, Place] | None:
        """Return the jobs that are queued or running; ``None`` when there is no answer now."""

    def submissions(self, job_id: str) -> int:
        """Return how many times a job was handed over."""

    def output(self, job_id: str) -> str:
        """Return the path of the file with what a job last wrote; empty when there is none."""

    def why_lost(self, job_id: str) -> str:
        """Return why a job is in the queue no more, as ``its node failed``; empty if unknown."""

    def cancel(self, job_ids: Sequence[str]) -> None:
        """Take jobs out of the queue, and stop those of them that run."""
