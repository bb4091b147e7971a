"""How several processes that train one job together are started."""

from __future__ import annotations

from llm_tool.config import RunConfig
from llm_tool.errors import StudioError


def launcher(config: RunConfig) -> list[str]:
    """Return the words before the command of a job that start it in several processes.

    Returns:
        No words where one process trains the job.

    Raises:
        StudioError: Several are asked for.
    """
    if config.processes > 1 or config.slurm_nodes > 1:
        raise StudioError("Several processes cannot train one job together.")
    return []
