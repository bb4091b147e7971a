"""The one trainer: every run mode ends here.

``run_training`` trains one model, tells each epoch to its session's record and to observers, and
saves the best epoch's weights. ``train_epochs`` is the loop, the only place that calls backward.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from llm_tool.config import Precision, TrainingSettings
from llm_tool.data.tokens import (
    Examples,
    JobData,
    Tokenizer,
    draw_rows,
    micro_batches,
    shuffled_batches,
)
from llm_tool.errors import StudioError
from llm_tool.events import (
    BatchEnded,
    EpochEnded,
    JobEnded,
    JobRetried,
    Observer,
    Phase,
    ReinforcementSkipped,
    ReinforcementStarted,
)
from llm_tool.logs.session import Session
from llm_tool.logs.summary import PlainSummary
from llm_tool.observers import in_order, shielded
from llm_tool.plan import Job
from llm_tool.stopping import finishing
from llm_tool.trainers import saving
from llm_tool.trainers.checkpoint import (
    CHECKPOINT,
    Best,
    Checkpoint,
    Progress,
    fingerprint,
    weights_of,
)
from llm_tool.trainers.device import TOKEN_BUDGET, place, with_less_memory
from llm_tool.trainers.forward import outputs_of, predict_logits, sum_losses, to_tensor
from llm_tool.trainers.pretrained import Model
from llm_tool.trainers.reinforcement import (
    Course,
    find_weak,
    normal_course,
    reinforced_course,
    reinforcement_started,
    summarise,
)
from llm_tool.trainers.scoring import (
    NotFiniteError,
    Pass,
    best_of,
    check_finite,
    epoch_ended,
    job_ended,
    job_started,
    with_cost,
)
from llm_tool.trainers.steps import Steps, make_steps


def run_training(
    model: Model,
    tokenizer: Tokenizer,
    data: JobData,
    job: Job,
    *,
    settings: TrainingSettings | None = None,
    session_id: str | None = None,
    session: Session | None = None,
    logs_dir: str = "training_logs",
    models_dir: str = "models",
    on_event: Observer | None = None,
) -> JobEnded:
    """Train one model, record and show every epoch, save the best one.

    Args:
        model: A sequence classifier whose outputs are the classes of ``job.task``, in order; for
            a shared encoder, one output for each of ``job.labels``.
        tokenizer: Its tokenizer; gives the padding id and is saved with the model.
        data: Tokenised training, validation and (possibly no) test rows.
        job: What is trained; a job without an id is entered into the session first.
        settings: How to train; ``None`` within it is derived from the data and the model.
        session_id: The session to add to; without it, and without ``session``, one is made.
        session: A session that the caller holds open; then ``session_id`` and ``logs_dir`` are
            not used.
        logs_dir: Folder of the logs.
        models_dir: Folder of the saved models.
        on_event: Told every event after it was recorded; by default a line an epoch goes to
            standard error.

    Returns:
        The best epoch, the test scores and where the model was saved.

    Raises:
        StudioError: There are no training or validation rows, the loss is not finite, or a
            folder cannot be written.
    """
    if not len(data.train) or not len(data.validation):
        raise StudioError(f"{job.title} has no rows to train on or to validate with.")
    settings = (settings or TrainingSettings()).resolved(len(data.train), model.config.hidden_size)
    session = session or Session(logs_dir, session_id)
    emit = in_order(session.record, shielded(on_event or PlainSummary()))
    alone = nullcontext((job,)) if job.id else session.run([job], settings.model_dump(), {})
    with alone as (job,):
        with finishing():
            saving.save_split(session, job, data.train, data.validation, data.test)
        parts = {"train": data.train, "validation": data.validation, "test": data.test}
        mark = fingerprint(job, settings, {part: own.rows for part, own in parts.items()})
        checkpoint = Checkpoint(session.run_folder(job) / CHECKPOINT, mark, session.check_there)
        training = _Training(model, tokenizer, data, job, settings, emit, checkpoint)
        best = training.run(recorded=_epochs_recorded(session, job))
        progress = training.progress
        # Touched once, and only now: what was chosen before was chosen on validation.
        test = (predict_logits(model, tokenizer, data.test), data.test) if len(data.test) else None
        validation = best.logits, data.validation
        result = job_ended(job, best.epoch, validation, test)
        result = with_cost(
            result,
            seconds=progress.elapsed,
            parameters=model.num_parameters(),
            tokens_per_second=progress.tokens / progress.seconds,
        )
        settings = settings.model_copy(update={"precision": progress.precision})
        with finishing():
            session.check_there()
            saving.save_predictions(session, result, validation, test)
            result = saving.save_model(
                model, tokenizer, result, data, settings, session, models_dir
            )
            emit(result)
            checkpoint.remove()
    return result


def _epochs_recorded(session: Session, job: Job) -> int:
    """Return how many epochs an earlier attempt at a job recorded, in all of its categories."""
    return min(len(record.epochs) if record else 0 for record in session.records(job))


@dataclass
class _Training:
    """One model on its way: trained, scored after every epoch, left with the best weights.

    A full epoch leaves a checkpoint where that pays, and then its record. What was recorded after
    the last checkpoint is taken back and trained again by an attempt that goes on from there.
    """

    model: Model
    tokenizer: Tokenizer
    data: JobData
    job: Job
    settings: TrainingSettings
    emit: Observer
    checkpoint: Checkpoint
    progress: Progress = field(init=False)
    _initial: dict[str, torch.Tensor] = field(init=False, default_factory=dict)
    _started: float = field(init=False)

    def run(self, recorded: int) -> Best:
        """Train from the start, or from where an earlier attempt left off.

        Args:
            recorded: Epochs that the journals hold of that.
        """
        device, precision = place(self.model, self.settings)
        self.progress = self._saved() or Progress(TOKEN_BUDGET[device.type], precision)
        if self.progress.precision != "float32" and not self.progress.epochs:
            self._initial = weights_of(self.model)
        self._begin(recorded)
        try:
            return self._train()
        except NotFiniteError as error:
            if self.progress.precision == "float32":
                raise
            why = error.what
        recorded = len(self.progress.epochs)
        self.progress = self._saved() or Progress(TOKEN_BUDGET[device.type], "float32")
        self.progress.precision = "float32"
        if not self.progress.epochs:
            self.model.load_state_dict(self._initial)
        where = f"after epoch {len(self.progress.epochs)}" if self.progress.epochs else "anew"
        self.emit(JobRetried(self.job, why, f"Goes on {where} in full precision (float32)."))
        if recorded > len(self.progress.epochs):
            self._begin(recorded)
        return self._train()

    def _begin(self, recorded: int) -> None:
        """Tell from where the job goes on; of what was recorded, later epochs do not count."""
        resumed = min(recorded, len(self.progress.epochs))
        settings = self.settings.model_copy(update={"precision": self.progress.precision})
        self.emit(job_started(self.job, self.data, settings, self.model, resumed))
        for event in self.progress.after(resumed):
            self.emit(event)

    def _saved(self) -> Progress | None:
        """Return how far the checkpoint is, if there is one, and set the clock to its time."""
        self._started = time.perf_counter()
        progress = self.checkpoint.load()
        if progress is not None:
            self._started -= progress.elapsed
        return progress

    def _train(self) -> Best:
        """Train the normal course, then the reinforced one if there are weak classes."""
        best = self._follow(normal_course(self.data.train, self.settings))
        if self.settings.reinforced:
            best = self._reinforce(best)
        self.progress.elapsed = time.perf_counter() - self._started
        return best

    def _follow(self, course: Course) -> Best:
        """Train what is left of a course, and load the best weights so far."""
        done = self._epochs_of(course.phase)
        if not self._is_over(course):
            torch.manual_seed(self.job.seed)
            steps = make_steps(self.model, course, self.settings, len(done))
            if done:
                self.checkpoint.restore(self.model, steps.optimizer)
            for epoch, one_pass in train_epochs(
                self.model, self.tokenizer, self.data.train, course, self.settings, self.job,
                self.emit, steps=steps, progress=self.progress,
            ):  # fmt: skip
                self._epoch_ended(course, epoch, one_pass, steps)
                if self._is_over(course):
                    break
        best = self.progress.best
        if best is None:
            raise StudioError(f"{self.job.title} was not trained for a single epoch.")
        self.model.load_state_dict(best.weights)
        return best

    def _epochs_of(self, phase: Phase) -> list[EpochEnded]:
        return [epoch for epoch in self.progress.epochs if epoch.training_phase == phase]

    def _is_over(self, course: Course) -> bool:
        """Tell whether a course has had all its epochs, or too many without a better one."""
        epochs, patience = self._epochs_of(course.phase), self.settings.patience
        if not epochs:
            return False
        last = epochs[-1].epoch
        tired = patience is not None and last - best_of(epochs).epoch >= patience
        return tired or last >= course.last_epoch

    def _epoch_ended(self, course: Course, epoch: int, one_pass: Pass, steps: Steps) -> None:
        """Score an epoch, keep it if it is the best, leave a checkpoint, tell it."""
        progress, validation = self.progress, self.data.validation
        logits = predict_logits(self.model, self.tokenizer, validation)
        champion = progress.best.epoch if progress.best else None
        ended = epoch_ended(
            self.job, epoch, course.phase, one_pass, logits, validation, self.settings, champion
        )
        if ended.is_best:
            progress.best = Best(ended, weights_of(self.model), logits)
        progress.told.append(ended)
        progress.tokens += one_pass.tokens
        progress.seconds += one_pass.seconds
        progress.elapsed = time.perf_counter() - self._started
        optimizer = None if self._is_over(course) else steps.optimizer
        with finishing():
            if self.checkpoint.is_due(self.model):
                self.checkpoint.save(progress, self.model, optimizer)
                self._initial = {}  # from now on the checkpoint is what can be gone back to
            self.emit(ended)

    def _reinforce(self, best: Best) -> Best:
        """Train the weak classes on from the best weights; keep what is better on validation."""
        started = next((e for e in self.progress.told if isinstance(e, ReinforcementStarted)), None)
        normal = self._epochs_of("normal")
        if started is None:
            weak = find_weak(
                self.job, best.logits, self.data.validation, self.settings.reinforced_threshold
            )
            if not weak:
                self.emit(ReinforcementSkipped(self.job, self.settings.reinforced_threshold))
                return best
            started = reinforcement_started(self.job, weak, best.epoch, self.settings)
            self.progress.told.append(started)
            self.emit(started)
        course = reinforced_course(
            self.job, started.weak, self.data.train, self.settings, normal[-1].epoch
        )
        try:
            best = self._follow(course)
            after: EpochEnded | None = best_of(self._epochs_of("reinforced"))
        except NotFiniteError:
            if self.progress.precision != "float32":
                raise  # and be tried again
            best = self.progress.best or best  # what was good before stays good
            after = best.epoch if best.epoch.training_phase == "reinforced" else None
            self.model.load_state_dict(best.weights)
        kept = best.epoch.training_phase == "reinforced"
        self.emit(summarise(self.job, started.weak, best_of(normal), after, kept=kept))
        return best


def train_epochs(
    model: Model,
    tokenizer: Tokenizer,
    train: Examples,
    course: Course,
    settings: TrainingSettings,
    job: Job,
    emit: Observer,
    *,
    steps: Steps,
    progress: Progress,
) -> Iterator[tuple[int, Pass]]:
    """Train what is left of a course epoch by epoch; yield each one's number and what it gave.

    A batch is ``batch_size`` rows of similar length (see ``shuffled_batches``); long ones go
    through the model in pieces, whose gradients add up to exactly the batch's, and gradients are
    clipped by norm. A row in several windows counts once (see ``sum_losses``). Where memory runs
    out, the batch is done again in smaller pieces.
    """
    lengths, windows = train.lengths, train.windows
    done = sum(epoch.training_phase == course.phase for epoch in progress.epochs)

    for epoch in range(course.first_epoch + done, course.last_epoch + 1):
        model.train()
        rng = np.random.default_rng([job.seed, epoch])
        rows = draw_rows(course.draws, rng)
        started, tokens, losses = time.perf_counter(), 0, np.zeros(outputs_of(train))
        batches = shuffled_batches(lengths[rows], settings.batch_size or 1, rng)
        for number, drawn in enumerate(batches, start=1):
            batch = rows[drawn]
            # 1. forward and backward, piece by piece
            gradients = partial(
                _gradients, model, tokenizer, train, course, batch, progress.precision
            )
            before, longest = progress.token_budget, int(windows.lengths[windows.of(batch)].max())
            own, progress.token_budget = with_less_memory(before, longest, gradients)
            losses += own
            check_finite(losses.sum(), f"epoch {epoch}, batch {number}")
            if progress.token_budget < before:
                emit(_less_memory(job, progress.token_budget, settings.batch_size or 1))
            # 2. one step
            torch.nn.utils.clip_grad_norm_(model.parameters(), settings.max_grad_norm)
            learning_rate = steps.learning_rate
            steps.optimizer.step()
            steps.schedule.step()
            steps.optimizer.zero_grad()
            tokens += int(lengths[batch].sum())
            seconds = time.perf_counter() - started
            last = course.last_epoch
            emit(BatchEnded(job, epoch, last, number, steps.per_epoch, tokens, seconds))
        mean = losses / course.weights[rows].sum(axis=0)
        yield epoch, Pass(mean.tolist(), learning_rate, seconds, tokens)


def _gradients(
    model: Model,
    tokenizer: Tokenizer,
    train: Examples,
    course: Course,
    batch: NDArray[np.int64],
    precision: Precision,
    token_budget: int,
) -> NDArray[np.float64]:
    """Leave a batch's gradients in the model; return the sum of its rows' losses, shape (outputs,).

    Args:
        model: The model, in training mode.
        tokenizer: Its tokenizer.
        train: The training rows.
        course: What each row weighs.
        batch: Positions of the batch's rows.
        precision: Arithmetic of the forward pass.
        token_budget: Most padded tokens that go through the model at once.
    """
    windows = train.windows
    model.zero_grad()
    batch_weight = to_tensor(course.weight_of(batch), next(model.parameters()).device)
    losses = np.zeros(outputs_of(train))
    for piece in micro_batches(windows.of(batch), windows.lengths, token_budget):
        loss = sum_losses(model, tokenizer, train, course.weights, piece, precision)
        (loss / batch_weight).mean().backward()
        losses += loss.detach().cpu().numpy()
    return losses


def _less_memory(job: Job, token_budget: int, batch_size: int) -> JobRetried:
    how = f"Goes on with at most {token_budget:,} tokens at once; a batch stays {batch_size} texts."
    return JobRetried(job, "Memory ran out.", how)
