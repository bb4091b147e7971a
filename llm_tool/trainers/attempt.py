"""One attempt at a job: what it goes on from, what it tells, what it keeps for the next one."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import torch

from llm_tool.config import Precision, TrainingSettings
from llm_tool.data.tokens import JobData, Tokenizer
from llm_tool.events import EpochEnded, JobRetried, Observer, Phase
from llm_tool.plan import Job
from llm_tool.stopping import Paused, finishing
from llm_tool.trainers.checkpoint import Best, Checkpoint, Progress, weights_of
from llm_tool.trainers.device import TOKEN_BUDGET
from llm_tool.trainers.forward import predict_logits
from llm_tool.trainers.pretrained import Model
from llm_tool.trainers.reinforcement import Course
from llm_tool.trainers.scoring import (
    Pass,
    best_of,
    check_finite,
    epoch_ended,
    job_started,
)
from llm_tool.trainers.steps import Steps, make_steps
from llm_tool.trainers.team import Team


@dataclass
class Attempt:
    """A job under way.

    A full epoch leaves a checkpoint where that pays, and then its record. What was recorded after
    the last checkpoint is taken back and trained again by an attempt that goes on from there. A
    pause always leaves a checkpoint, and nothing is taken back.

    ``recorded`` is how many epochs the journals hold of earlier attempts.
    """

    model: Model
    tokenizer: Tokenizer
    data: JobData
    job: Job
    settings: TrainingSettings
    emit: Observer
    checkpoint: Checkpoint
    recorded: int = 0
    team: Team = field(default_factory=Team.alone)
    progress: Progress = field(init=False)
    _started: float = field(init=False)

    def begin(self, precision: Precision) -> Progress:
        """Find how far earlier attempts came, and tell from where the job goes on.

        Args:
            precision: In which arithmetic, if this is the first attempt.
        """
        self._find(precision)
        self._tell(self.recorded)
        return self.progress

    def begin_again(self, why: str) -> bool:
        """Go back to the checkpoint, to go on from there in full precision.

        Returns:
            Whether there is none, so that the job begins anew.
        """
        recorded = len(self.progress.epochs)
        self._find("float32")
        self.progress.precision = "float32"
        epochs, begun = len(self.progress.epochs), self.progress.begun
        anew = not epochs and not begun
        where = "anew" if anew else f"after epoch {epochs}"
        if begun:
            where = f"within epoch {begun.epoch}"
        self.emit(JobRetried(self.job, why, f"Goes on {where} in full precision (float32)."))
        if recorded > epochs:
            self._tell(recorded)
        return anew

    def _find(self, precision: Precision) -> None:
        """Read how far the checkpoint is, if there is one, and set the clock to its time."""
        self._started = time.perf_counter()
        budget = TOKEN_BUDGET[self.model.device.type]
        self.progress = self.checkpoint.load() or Progress(budget, precision)
        self._started -= self.progress.elapsed

    def _tell(self, recorded: int) -> None:
        """Tell from where the job goes on; of what was recorded, later epochs do not count."""
        resumed = min(recorded, len(self.progress.epochs))
        settings = self.settings.model_copy(update={"precision": self.progress.precision})
        self.emit(job_started(self.job, self.data, settings, self.model, resumed))
        for event in self.progress.after(resumed):
            self.emit(event)

    def steps_of(self, course: Course) -> Steps:
        """Return the steps of a course where it stands, with the model as it is there."""
        done, begun = len(self.epochs_of(course.phase)), self.progress.begun
        batches = begun.batches if begun else 0
        steps = make_steps(self.model, course, self.settings, done, batches)
        if done or begun:
            self.checkpoint.restore(self.model, steps.optimizer)
        return steps

    def epochs_of(self, phase: Phase) -> list[EpochEnded]:
        """Return the epochs of a phase that are done."""
        return [epoch for epoch in self.progress.epochs if epoch.training_phase == phase]

    def is_over(self, course: Course) -> bool:
        """Tell whether a course has had all its epochs, or too many without a better one."""
        epochs, patience = self.epochs_of(course.phase), self.settings.patience
        if not epochs:
            return False
        last = epochs[-1].epoch
        tired = patience is not None and last - best_of(epochs).epoch >= patience
        return tired or last >= course.last_epoch

    def epoch_ended(self, course: Course, epoch: int, one_pass: Pass, steps: Steps) -> None:
        """Score an epoch, keep it if it is the best, leave a checkpoint, tell it.

        Raises:
            Paused: That was asked for meanwhile.
        """
        progress, validation = self.progress, self.data.validation
        logits = predict_logits(self.model, self.tokenizer, validation, self.team)
        champion = progress.best.epoch if progress.best else None
        ended = epoch_ended(
            self.job, epoch, course.phase, one_pass, logits, validation, self.settings, champion
        )
        if ended.is_best:
            progress.best = Best(ended, weights_of(self.model), logits)
        progress.told.append(ended)
        progress.tokens += one_pass.tokens
        progress.seconds += one_pass.seconds
        pausing = self.team.pauses()
        with finishing():
            if pausing or self.checkpoint.is_due(self.model):
                self._keep(None if self.is_over(course) else steps.optimizer)
            self.emit(ended)
        if pausing:
            self.team.wait()  # for the one that writes
            raise Paused

    def keep_pause(self, steps: Steps) -> None:
        """Leave a checkpoint of an epoch that a pause broke off.

        Raises:
            NotFiniteError: There is nothing good to go on from any more.
        """
        begun = self.progress.begun
        if begun is None:  # the pause came between two epochs, and they left theirs
            return
        weights = sum(float(weight.detach().abs().sum()) for weight in self.model.parameters())
        check_finite(weights, f"epoch {begun.epoch}, weights after batch {begun.batches}")
        with finishing():
            self._keep(steps.optimizer)
        self.team.wait()

    def _keep(self, optimizer: torch.optim.Optimizer | None) -> None:
        self.stop_clock()
        self.checkpoint.save(self.progress, self.model, optimizer)

    def stop_clock(self) -> None:
        """Enter how long all attempts took so far."""
        self.progress.elapsed = time.perf_counter() - self._started
