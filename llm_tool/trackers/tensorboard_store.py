"""TensorBoard: a folder of event files for each job, in the session's own folder."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from llm_tool.events import Status
from llm_tool.trackers.tracking import Metrics, TrackedRun

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_COMPARED = ("end/best_f1_macro", "end/test_f1_macro")  # beside the settings, in its HParams tab


class TensorboardStore:
    """Writes ``{folder}/{category}/{job}``; ``tensorboard --logdir training_logs`` shows them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writers: dict[tuple[str, str], SummaryWriter] = {}

    def begin(self, run: TrackedRun) -> None:
        """Start a run anew."""
        from torch.utils.tensorboard import SummaryWriter
        from torch.utils.tensorboard.summary import hparams

        self._close(run)
        folder = self._folder / run.category / run.job_id
        shutil.rmtree(folder, ignore_errors=True)
        writer = SummaryWriter(str(folder))
        self._writers[run.category, run.job_id] = writer
        for summary in hparams(dict(run.settings), dict.fromkeys(_COMPARED, 0.0))[:2]:
            writer._get_file_writer().add_summary(summary)  # what is set, and that it starts
        writer.flush()

    def log(self, run: TrackedRun, epoch: int, metrics: Metrics) -> None:
        """Add the numbers of an epoch."""
        writer = self._writers[run.category, run.job_id]
        for name, value in metrics.items():
            writer.add_scalar(name, value, epoch)
        writer.flush()

    def end(self, run: TrackedRun, metrics: Metrics, status: Status) -> None:
        """Add the numbers of the end."""
        writer = self._writers[run.category, run.job_id]
        step = int(metrics.get("best_epoch", 0))
        for name, value in metrics.items():
            writer.add_scalar(f"end/{name}", value, step)
        writer.add_text("status", status, step)
        self._close(run)

    def _close(self, run: TrackedRun) -> None:
        writer = self._writers.pop((run.category, run.job_id), None)
        if writer is not None:
            writer.close()
