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
    Event,
    JobEnded,
    JobRetried,
    Observer,
    ReinforcementSkipped,
    ReinforcementStarted,
)
from llm_tool.logs.session import Session
from llm_tool.logs.summary import PlainSummary
from llm_tool.observers import in_order, shielded
from llm_tool.plan import Job
from llm_tool.stopping import Paused, finishing
from llm_tool.trainers import saving
from llm_tool.trainers.attempt import Attempt
from llm_tool.trainers.checkpoint import (
    CHECKPOINT,
    Begun,
    Best,
    Checkpoint,
    Progress,
    fingerprint,
    weights_of,
)
from llm_tool.trainers.device import place
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
    job_ended,
    with_cost,
)
from llm_tool.trainers.steps import Steps
from llm_tool.trainers.team import Team


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
        Paused: That was asked for (see ``pause_on``); another call goes on from there.
    """
    if not len(data.train) or not len(data.validation):
        raise StudioError(f"{job.title} has no rows to train on or to validate with.")
    settings = (settings or TrainingSettings()).resolved(len(data.train), model.config.hidden_size)
    session, team = session or Session(logs_dir, session_id), Team.here()
    emit = in_order(session.record, shielded(on_event or PlainSummary()))
    named = job.id or not team.is_first
    alone = nullcontext((job,)) if named else session.run([job], settings.model_dump(), {})
    with alone as (own,):
        job, folder = team.first_says(lambda: (own, session.run_folder(own)))
        if team.is_first:
            with finishing():
                saving.save_split(session, job, data.train, data.validation, data.test)
        parts = {"train": data.train, "validation": data.validation, "test": data.test}
        mark = fingerprint(job, settings, {part: own.rows for part, own in parts.items()})
        checkpoint = Checkpoint(folder / CHECKPOINT, mark, team, session.check_own)
        recorded = team.first_says(
            lambda: min(len(one.epochs) if one else 0 for one in session.records(job))
        )
        tell = emit if team.is_first else _silent
        attempt = Attempt(model, tokenizer, data, job, settings, tell, checkpoint, recorded, team)
        best = _Training(attempt).run()
        progress = attempt.progress
        # Touched once, and only now: what was chosen before was chosen on validation.
        test = None
        if len(data.test):
            test = predict_logits(model, tokenizer, data.test, team), data.test
        validation = best.logits, data.validation
        result = job_ended(job, best.epoch, validation, test)
        result = with_cost(
            result,
            seconds=progress.elapsed,
            parameters=model.num_parameters(),
            tokens_per_second=progress.tokens / progress.seconds,
        )
        settings = settings.model_copy(update={"precision": progress.precision})

        def save() -> JobEnded:
            with finishing():
                session.check_own()
                saving.save_predictions(session, result, validation, test)
                saved = saving.save_model(
                    model, tokenizer, result, data, settings, session, models_dir
                )
                emit(saved)
                checkpoint.remove()
            return saved

        return team.first_says(save)


def _silent(_: Event) -> None:
    """Tell nobody."""


@dataclass
class _Training:
    """One model on its way: trained, scored after every epoch, left with the best weights."""

    attempt: Attempt
    _initial: dict[str, torch.Tensor] = field(init=False, default_factory=dict)

    def run(self) -> Best:
        """Train from the start, or from where an earlier attempt left off."""
        attempt, model = self.attempt, self.attempt.model
        team = attempt.team
        progress = attempt.begin(place(model, attempt.settings, team.device, team.beside)[1])
        team.start_alike(model)
        if progress.precision != "float32" and not progress.epochs:
            self._initial = weights_of(model)
        try:
            return self._train()
        except NotFiniteError as error:
            if attempt.progress.precision == "float32":
                raise
            why = error.what
        if attempt.begin_again(why):
            model.load_state_dict(self._initial)
        return self._train()

    def _train(self) -> Best:
        """Train the normal course, then the reinforced one if there are weak classes."""
        attempt, settings = self.attempt, self.attempt.settings
        best = self._follow(normal_course(attempt.data.train, settings))
        if settings.reinforced:
            best = self._reinforce(best)
        attempt.stop_clock()
        return best

    def _follow(self, course: Course) -> Best:
        """Train what is left of a course, and load the best weights so far."""
        attempt = self.attempt
        progress, model = attempt.progress, attempt.model
        if not attempt.is_over(course):
            torch.manual_seed(attempt.job.seed)
            steps = attempt.steps_of(course)
            try:
                for epoch, one_pass in train_epochs(
                    model, attempt.tokenizer, attempt.data.train, course, attempt.settings,
                    attempt.job, attempt.emit, steps=steps, progress=progress, team=attempt.team,
                ):  # fmt: skip
                    attempt.epoch_ended(course, epoch, one_pass, steps)
                    if attempt.is_over(course):
                        break
            except Paused:
                attempt.keep_pause(steps)
                raise
        best = progress.best
        if best is None:
            raise StudioError(f"{attempt.job.title} was not trained for a single epoch.")
        model.load_state_dict(best.weights)
        return best

    def _reinforce(self, best: Best) -> Best:
        """Train the weak classes on from the best weights; keep what is better on validation."""
        attempt, job, settings = self.attempt, self.attempt.job, self.attempt.settings
        progress, data = attempt.progress, attempt.data
        started = next((e for e in progress.told if isinstance(e, ReinforcementStarted)), None)
        normal = attempt.epochs_of("normal")
        if started is None:
            weak = find_weak(job, best.logits, data.validation, settings.reinforced_threshold)
            if not weak:
                attempt.emit(ReinforcementSkipped(job, settings.reinforced_threshold))
                return best
            started = reinforcement_started(job, weak, best.epoch, settings)
            progress.told.append(started)
            attempt.emit(started)
        course = reinforced_course(job, started.weak, data.train, settings, normal[-1].epoch)
        try:
            best = self._follow(course)
            after: EpochEnded | None = best_of(attempt.epochs_of("reinforced"))
        except NotFiniteError:
            if progress.precision != "float32":
                raise  # and be tried again
            best = progress.best or best  # what was good before stays good
            after = best.epoch if best.epoch.training_phase == "reinforced" else None
            attempt.model.load_state_dict(best.weights)
        kept = best.epoch.training_phase == "reinforced"
        attempt.emit(summarise(job, started.weak, best_of(normal), after, kept=kept))
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
    team: Team | None = None,
) -> Iterator[tuple[int, Pass]]:
    """Train what is left of a course epoch by epoch; yield each one's number and what it gave.

    A batch is ``batch_size`` rows of similar length (see ``shuffled_batches``); long ones go
    through the model in pieces, whose gradients add up to exactly the batch's, and gradients are
    clipped by norm. A row in several windows counts once (see ``sum_losses``). Where memory runs
    out, the batch is done again in smaller pieces.

    Batches of an epoch that was begun are not done again. ``progress.begun`` says where it is.
    Of every batch, each process of a team takes a share.

    Raises:
        Paused: That was asked for during a batch.
    """
    lengths, windows, team = train.lengths, train.windows, team or Team.alone()
    done = sum(epoch.training_phase == course.phase for epoch in progress.epochs)

    for epoch in range(course.first_epoch + done, course.last_epoch + 1):
        model.train()
        rng = np.random.default_rng([job.seed, epoch])
        rows = draw_rows(course.draws, rng)
        begun = progress.begun or Begun(epoch, (0.0,) * outputs_of(train))
        started, losses = time.perf_counter() - begun.seconds, np.array(begun.losses)
        batches = shuffled_batches(lengths[rows], settings.batch_size or 1, rng)
        for number, drawn in enumerate(batches, start=1):
            if number <= begun.batches:
                continue
            batch = rows[drawn]
            # 1. forward and backward, piece by piece
            texts = windows.of(batch)
            pieces = team.share(texts, windows.lengths)
            gradients = partial(
                _gradients, model, tokenizer, train, course, batch, pieces, progress.precision
            )
            before, longest = progress.token_budget, int(windows.lengths[texts].max())
            team.seed(job.seed, epoch, number)
            own, progress.token_budget = team.summed(before, longest, gradients, losses.shape)
            losses += own
            check_finite(losses.sum(), f"epoch {epoch}, batch {number}")
            if progress.token_budget < before:
                emit(_less_memory(job, progress.token_budget, settings.batch_size or 1))
            # 2. one step
            team.sum_gradients(model)
            torch.nn.utils.clip_grad_norm_(model.parameters(), settings.max_grad_norm)
            learning_rate = steps.learning_rate
            steps.optimizer.step()
            steps.schedule.step()
            steps.optimizer.zero_grad()
            # 3. how far it is
            tokens, seconds = (
                begun.tokens + int(lengths[batch].sum()),
                time.perf_counter() - started,
            )
            begun = Begun(epoch, tuple(losses.tolist()), number, tokens, seconds, learning_rate)
            progress.begun = begun
            last = course.last_epoch
            emit(BatchEnded(job, epoch, last, number, steps.per_epoch, tokens, seconds))
            if team.pauses():
                raise Paused
        mean = np.array(begun.losses) / course.weights[rows].sum(axis=0)
        progress.begun = None
        yield epoch, Pass(mean.tolist(), begun.learning_rate, begun.seconds, begun.tokens)


def _gradients(
    model: Model,
    tokenizer: Tokenizer,
    train: Examples,
    course: Course,
    batch: NDArray[np.int64],
    share: NDArray[np.int64],
    precision: Precision,
    token_budget: int,
) -> NDArray[np.float64]:
    """Leave gradients of a batch in the model; return the sum of the losses, shape (outputs,).

    Args:
        model: The model, in training mode.
        tokenizer: Its tokenizer.
        train: The training rows.
        course: What each row weighs.
        batch: Positions of the batch's rows.
        share: Positions of those of its windows that this process takes.
        precision: Arithmetic of the forward pass.
        token_budget: Most padded tokens that go through the model at once.
    """
    windows = train.windows
    model.zero_grad()
    batch_weight = to_tensor(course.weight_of(batch), next(model.parameters()).device)
    losses = np.zeros(outputs_of(train))
    for piece in micro_batches(share, windows.lengths, token_budget):
        loss = sum_losses(model, tokenizer, train, course.weights, piece, precision)
        (loss / batch_weight).mean().backward()
        losses += loss.detach().cpu().numpy()
    return losses


def _less_memory(job: Job, token_budget: int, batch_size: int) -> JobRetried:
    how = f"Goes on with at most {token_budget:,} tokens at once; a batch stays {batch_size} texts."
    return JobRetried(job, "Memory ran out.", how)
