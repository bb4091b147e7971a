"""Train one job after the other in this process; what the studio and each worker do."""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field

from llm_tool.config import RunConfig
from llm_tool.data.dataset import Dataset
from llm_tool.errors import DiskError, StudioError
from llm_tool.events import JobEnded, JobFailed, Observer
from llm_tool.logs.files import disk_errors, replacing
from llm_tool.logs.session import Session
from llm_tool.plan import Job, Parts
from llm_tool.trainers.device import out_of_memory
from llm_tool.trainers.kernels import release_memory
from llm_tool.trainers.model_trainer import Encoder, Stores, train_job

_SMALLER = "Choose a smaller model or --max-length, or fewer --workers."


@dataclass
class Runner:
    """Trains jobs on one dataset; files are loaded and texts tokenised once for all of them."""

    dataset: Dataset
    config: RunConfig
    session: Session
    encoders: dict[str, Encoder] = field(default_factory=dict)
    stores: Stores = field(default_factory=dict)
    unusable: dict[str, StudioError] = field(default_factory=dict)

    def train(self, job: Job, parts: Parts, on_event: Observer) -> JobEnded | JobFailed:
        """Train a job and record it; return its result, or how it failed, unrecorded.

        Raises:
            KeyboardInterrupt: The user stopped the run.
            DiskError: Nothing more can be written, whatever the job.
        """
        try:
            encoder = self.find(job.model)
            return train_job(job, parts, self.dataset, encoder, self.config, self.session, on_event)
        except DiskError:
            raise
        except Exception as error:  # noqa: BLE001 - reported; the other jobs go on
            return failure(job, error, self.session)
        finally:
            release_memory()

    def find(self, model: str) -> Encoder:
        """Return a model's files, its tokenizer and the tokens of the rows, each loaded once.

        Raises:
            StudioError: It cannot be had; the second time it is not looked for again.
        """
        if model in self.unusable:
            raise self.unusable[model]
        encoder = self.encoders.setdefault(
            model, Encoder(model, self.dataset, self.config.max_length, self.stores)
        )
        try:
            encoder.load()
        except StudioError as error:
            self.unusable[model] = error
            raise
        return encoder


def failure(job: Job, error: Exception, session: Session) -> JobFailed:
    """Return an error as the failure of a job; one that nobody foresaw is kept in its folder.

    Raises:
        DiskError: That cannot be written.
    """
    if isinstance(error, StudioError):
        return JobFailed(job, error.what, error.where, error.remedy)
    if out_of_memory(error):
        return JobFailed(job, "Memory ran out, even with one text at a time.", remedy=_SMALLER)
    path = session.run_folder(job) / "error.txt"
    with disk_errors(path, "Writing the logs"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            file.writelines(traceback.format_exception(error))
    return JobFailed(
        job,
        what=f"{type(error).__name__}: {error}",
        remedy=f"The whole traceback is in {path}.",
    )
