"""What of a session was handed to a cluster: one line before a submission, one after it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from llm_tool.logs.files import append_line, disk_errors
from llm_tool.logs.session import Session

_FILE = "submissions.jsonl"


@dataclass
class Submission:
    """Jobs that were handed over together, in the order of their places in the array.

    ``name`` is unique: with it the scheduler is asked for them, whatever died in between.
    ``cluster_id`` is the number that SLURM gave, empty where nobody lived to write it down, and for
    scripts that the user submits (``by_hand``); ``script`` is the path of such a one.
    """

    name: str
    jobs: tuple[str, ...]
    by_hand: bool = False
    cluster_id: str = ""
    script: str = ""


class Submissions:
    """The submissions of a session, by their names, in ``.cluster/submissions.jsonl``.

    Only the session's owner writes that file.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._path = session.cluster_folder / _FILE
        self._all: dict[str, Submission] = {}
        self._by_job: dict[str, list[Submission]] = {}
        for one in self._read():
            self._know(one)

    def _know(self, submission: Submission) -> None:
        self._all[submission.name] = submission
        for job_id in submission.jobs:
            self._by_job.setdefault(job_id, []).append(submission)

    def _read(self) -> Iterator[Submission]:
        """Yield the submissions on disk; a line that a crash tore is passed over."""
        if not self._path.exists():
            return
        found: dict[str, Submission] = {}
        for line in self._path.read_bytes().splitlines():
            with suppress(ValueError, KeyError, TypeError):
                facts = json.loads(line)
                name = facts["name"]
                if "jobs" in facts:
                    own = name, tuple(facts["jobs"]), facts["by_hand"]
                    found[name] = Submission(*own, script=str(facts.get("script", "")))
                else:
                    found[name].cluster_id = facts["cluster_id"]
        yield from found.values()

    def enter(
        self, jobs: Sequence[str], *, by_hand: bool = False, folder: Path | None = None
    ) -> Submission:
        """Note a submission under a new name, before it is made.

        Args:
            jobs: The ids of its jobs.
            by_hand: The user submits its script.
            folder: Where that script will be.

        Raises:
            DiskError: The session's folder cannot be written.
        """
        made = Submission(new_name(self._session), tuple(jobs), by_hand)
        made.script = "" if folder is None else str(folder / f"{made.name}.sh")
        self._append(
            {
                "name": made.name,
                "jobs": made.jobs,
                "by_hand": by_hand,
                **({"script": made.script} if made.script else {}),
                "time": datetime.now().isoformat(timespec="seconds"),
            }
        )
        self._know(made)
        return made

    def confirm(self, submission: Submission, cluster_id: str) -> None:
        """Note that the scheduler took a submission, and the number that it gave.

        Raises:
            DiskError: The session's folder cannot be written.
        """
        self._append({"name": submission.name, "cluster_id": cluster_id})
        submission.cluster_id = cluster_id

    def _append(self, facts: dict[str, object]) -> None:
        with disk_errors(self._path, "Writing down a submission"):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            append_line(self._path, json.dumps(facts).encode())

    def of(self, job_id: str) -> list[Submission]:
        """Return the submissions of a job, the last one last."""
        return list(self._by_job.get(job_id, ()))

    def named(self, name: str) -> Submission | None:
        """Return the submission of a name; ``None`` for what is not the session's."""
        return self._all.get(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def is_by_hand(self, job_id: str) -> bool:
        """Tell whether a job was last written into a script for the user to submit."""
        own = self.of(job_id)
        return bool(own) and own[-1].by_hand

    def scripts(self, job_ids: Iterable[str]) -> list[str]:
        """Return the scripts with which the user submits jobs, those that are still there."""
        last = [own[-1] for job_id in job_ids if (own := self.of(job_id))]
        paths = dict.fromkeys(one.script for one in last if one.script)
        return [path for path in paths if Path(path).exists()]

    def folder(self, submission: Submission) -> Path:
        """Return the folder for what a submission needs, and for what its jobs print."""
        return self._session.cluster_folder / "jobs" / submission.name


def new_name(session: Session) -> str:
    """Return a name that no other submission has, of this session or another of the same time."""
    return f"llm-tool-{session.id}-{uuid.uuid4().hex[:8]}"
