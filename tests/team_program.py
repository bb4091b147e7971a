"""What each process of a team does in the tests: trainings of a tiny BERT, one after the other.

Words: the model's folder, a folder to work in, and as JSON a list of trainings, each of them the
name of its folder, its options, and what happens in it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from llm_tool.events import BatchEnded, Event, JobRetried
from llm_tool.execution.launch import is_first, leave
from llm_tool.logs import Session
from llm_tool.stopping import PAUSED, PAUSES, Paused, pause_asked, pause_on
from llm_tool.trainers import bert_base
from tests.test_bert_base import Trainer
from tests.test_checkpoint import LABELS, WHOLE

SESSION = "20260101_000000"
Gradients = Callable[..., Any]
_gradients: Gradients = bert_base._gradients
_here = Path(sys.argv[2]) if len(sys.argv) > 2 else Path()


def train(trainer: Trainer, name: str, options: dict[str, Any], what: str = "") -> None:
    """Begin a job in a session of its own, or go on with it, as every process of a team does."""
    trainer.folder = trainer.folder.parent / name
    session = Session(trainer.folder / "logs", SESSION)
    options = dict(options)
    dropout, shared = options.pop("dropout", False), options.pop("shared", False)
    job = replace(trainer.job(**({"task": WHOLE, "labels": LABELS} if shared else {})), id="j0001")
    if shared:
        options["data"] = trainer.data(lambda row: (row % 2, int(row % 3 == 0)))
    if not session.folder.exists() and is_first():
        with session.run([job], {}, {}):
            pass
    model = trainer.model(dropout=dropout, classes=job.task.classes, multi_label=bool(job.labels))
    trainer.train(model, job=job, session=session, on_event=lambda e: happen(what, e), **options)


def happen(what: str, event: Event) -> None:
    """Do what should happen in the first process; see ``spoilt`` for the others."""
    if isinstance(event, JobRetried):
        (_here / "retried").write_text(event.why)
    is_there = isinstance(event, BatchEnded) and (event.epoch, event.batch) == (2, 1)
    if what == "wait for a signal" and is_there:
        (_here / "waiting").touch()
        until = time.monotonic() + 60
        while not pause_asked() and time.monotonic() < until:
            time.sleep(0.02)


def spoilt(what: str) -> Gradients:
    """Return how a process other than the first computes gradients, and what happens meanwhile."""
    calls: list[int] = []

    def gradients(*words: Any) -> Any:  # noqa: ANN401 - as it is called
        calls.append(1)
        if what == "pause" and len(calls) == 2:
            signal.raise_signal(signal.SIGUSR2)
        if what == "die" and len(calls) == 4:
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "memory" and len(calls) == 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return _gradients(*words)

    return gradients


def main() -> int:
    """Train; a training that a process paused by itself is gone on with at once."""
    trainer = Trainer(Path(sys.argv[1]), _here / "any")
    for name, options, what in json.loads(sys.argv[3]):
        if not is_first():
            bert_base._gradients = spoilt(what)
        paused = True
        while paused:
            try:
                with pause_on(*PAUSES):
                    train(trainer, name, options, what)
                paused = False
            except Paused:
                if what != "pause":
                    return PAUSED
    return 0


if __name__ == "__main__":
    sys.exit(leave(main()))
