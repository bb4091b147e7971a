"""What a job that submitit starts does first: become the command that trains it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from llm_tool.execution.prepared import job_command
from llm_tool.logs.session import Session


def become_job(jobs_file: str, index: int) -> None:
    """Replace this process by ``llm-tool job run``, so that signals reach that one.

    Nothing but its two arguments is pickled for a job, and nothing of what it returns.

    Args:
        jobs_file: The ``jobs.jsonl`` of the session.
        index: Which of its jobs, from 0.
    """
    folder = Path(jobs_file).parent
    words = job_command(Session(folder.parent, folder.name), f"j{index + 1:04d}")
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(words[0], words)
