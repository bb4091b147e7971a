"""The sessions of a logs folder at a glance."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from llm_tool.errors import StudioError
from llm_tool.logs.facts import SESSION, read_facts
from llm_tool.logs.presence import whole_status
from llm_tool.logs.session import Session


@dataclass(frozen=True)
class Overview:
    """One session: how it stands, and how many of its jobs are done.

    ``status`` is ``running`` only while its process is there; ``damaged`` when its session.json
    cannot be read.
    """

    id: str
    status: str
    jobs: int = 0
    done: int = 0
    modes: tuple[str, ...] = ()
    data: tuple[str, ...] = ()

    @property
    def is_unfinished(self) -> bool:
        """Whether there is something that can be gone on with."""
        return self.status in ("interrupted", "failed")


def list_sessions(logs_dir: str | Path) -> list[Overview]:
    """Return the sessions of a logs folder, the newest first."""
    folders = (path.parent for path in Path(logs_dir).glob(f"*/{SESSION}"))
    return [_overview(folder) for folder in sorted(folders, reverse=True)]


def _overview(folder: Path) -> Overview:
    try:
        facts = read_facts(folder)
        session = Session(folder.parent, folder.name)
    except StudioError:
        return Overview(folder.name, "damaged")
    status = whole_status(facts["runs"])
    jobs = sum(len(run["jobs"]) for run in facts["runs"])
    configs = [run["config"] for run in facts["runs"]]
    return Overview(
        folder.name,
        status,
        jobs,
        jobs if status == "done" else sum(map(session.is_finished, session.jobs())),
        tuple(dict.fromkeys(config.get("mode", "library") for config in configs)),
        tuple(dict.fromkeys(run["dataset"].get("name", "") for run in facts["runs"])),
    )
