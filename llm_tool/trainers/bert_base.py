"""The one trainer: every run mode ends here.

``run_training`` trains one model, tells each epoch to its session's record and to observers, and
saves the best epoch's weights. ``train_epochs`` is the loop, the only place that calls backward.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from transformers import get_linear_schedule_with_warmup

from llm_tool.config import TrainingSettings
from llm_tool.data.tokens import (
    Examples,
    Tokenizer,
    draw_count,
    draw_rows,
    micro_batches,
    pad,
    shuffled_batches,
)
from llm_tool.errors import StudioError
from llm_tool.events import (
    BatchEnded,
    EpochEnded,
    JobEnded,
    JobStarted,
    Observer,
    ReinforcementSkipped,
    ReinforcementStarted,
    in_order,
    shielded,
)
from llm_tool.logs.session import Session, timestamp
from llm_tool.logs.summary import PlainSummary
from llm_tool.plan import Job
from llm_tool.trainers import saving
from llm_tool.trainers.device import TOKEN_BUDGET, autocast, best_device, best_precision
from llm_tool.trainers.pretrained import Model
from llm_tool.trainers.reinforcement import (
    Course,
    find_weak,
    normal_course,
    reinforced_course,
    summarise,
)
from llm_tool.trainers.scoring import (
    NotFiniteError,
    Pass,
    best_of,
    check_finite,
    epoch_ended,
    job_ended,
)

_DEFAULT_THREADS = torch.get_num_threads()


@dataclass(frozen=True)
class JobData:
    """The tokenised rows of one job.

    ``cut`` counts texts longer than the limit that lost their end, ``excluded`` those left out.
    """

    train: Examples
    validation: Examples
    test: Examples
    cut: int = 0
    excluded: int = 0


@dataclass(frozen=True)
class _Best:
    """The best epoch so far: its facts, its weights, its outputs for the validation rows."""

    epoch: EpochEnded
    weights: dict[str, torch.Tensor]
    logits: NDArray[np.float32]


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
    precision = settings.precision or best_precision(best_device())
    settings = settings.model_copy(update={"precision": precision})
    session = session or Session(logs_dir, session_id)
    emit = in_order(session.record, shielded(on_event or PlainSummary()))
    alone = nullcontext((job,)) if job.id else session.run([job], settings.model_dump(), {})
    with alone as (job,):
        started = time.perf_counter()
        saving.save_split(session, job, data.train, data.validation, data.test)
        training = _Training(model, tokenizer, data, job, settings, emit)
        best = training.run()
        # Touched once, and only now: what was chosen before was chosen on validation.
        test = (predict_logits(model, tokenizer, data.test), data.test) if len(data.test) else None
        validation = best.logits, data.validation
        result = job_ended(job, best.epoch, validation, test)
        saving.save_predictions(session, result, validation, test)
        result = replace(
            result,
            seconds=time.perf_counter() - started,
            parameters=_parameters(model),
            tokens_per_second=training.tokens / training.seconds,
        )
        result = saving.save_model(model, tokenizer, result, settings, session, models_dir)
        emit(result)
    return result


@dataclass
class _Training:
    """One model on its way: trained, scored after every epoch, left with the best weights."""

    model: Model
    tokenizer: Tokenizer
    data: JobData
    job: Job
    settings: TrainingSettings
    emit: Observer
    best: _Best | None = None
    tokens: int = 0
    seconds: float = 0.0

    def run(self) -> _Best:
        """Train the normal course, then the reinforced one if there are weak classes."""
        device = best_device()
        self.emit(_job_started(self.model, self.data, self.job, self.settings, device))
        self.model.to(device)
        best, epochs = self._follow(normal_course(self.data.train, self.settings))
        if self.settings.reinforced:
            best = self._reinforce(best, epochs[-1].epoch)
        return best

    def _follow(self, course: Course) -> tuple[_Best, list[EpochEnded]]:
        """Train a course and load the best weights so far; return these and its epochs."""
        epochs: list[EpochEnded] = []
        for epoch, one_pass in train_epochs(
            self.model, self.tokenizer, self.data.train, course, self.settings, self.job, self.emit
        ):
            self.tokens += one_pass.tokens
            self.seconds += one_pass.seconds
            logits = predict_logits(self.model, self.tokenizer, self.data.validation)
            champion = self.best.epoch if self.best else None
            ended = epoch_ended(
                self.job, epoch, course.phase, one_pass, logits, self.data.validation,
                self.settings, champion,
            )  # fmt: skip
            if ended.is_best:
                weights = self.model.state_dict().items()
                own = {name: tensor.detach().cpu().clone() for name, tensor in weights}
                self.best = _Best(ended, own, logits)
            epochs.append(ended)
            self.emit(ended)
            if self.settings.patience and epoch - best_of(epochs).epoch >= self.settings.patience:
                break
        if self.best is None:
            raise StudioError(f"{self.job.title} was not trained for a single epoch.")
        self.model.load_state_dict(self.best.weights)
        return self.best, epochs

    def _reinforce(self, best: _Best, last_epoch: int) -> _Best:
        """Train the weak classes on from the best weights; keep what is better on validation."""
        job, settings = self.job, self.settings
        threshold = settings.reinforced_threshold
        weak = find_weak(job, best.logits, self.data.validation, threshold)
        if not weak:
            self.emit(ReinforcementSkipped(job, threshold))
            return best
        course = reinforced_course(job, weak, self.data.train, settings, last_epoch)
        started = ReinforcementStarted(
            job=job,
            threshold=threshold,
            weak=weak,
            from_epoch=best.epoch.epoch,
            epochs=course.epochs,
            learning_rate=course.learning_rate,
            oversampling=settings.reinforced_oversampling,
            class_weight=settings.reinforced_class_weight,
        )
        self.emit(started)
        try:
            better, epochs = self._follow(course)
            after: EpochEnded | None = best_of(epochs)
        except NotFiniteError:  # what was good before stays good
            better = self.best or best
            after = better.epoch if better is not best else None
            self.model.load_state_dict(better.weights)
        self.emit(summarise(job, weak, best.epoch, after, kept=better is not best))
        return better


def train_epochs(
    model: Model,
    tokenizer: Tokenizer,
    train: Examples,
    course: Course,
    settings: TrainingSettings,
    job: Job,
    emit: Observer,
) -> Iterator[tuple[int, Pass]]:
    """Train a course epoch by epoch; yield each epoch's number and what its pass gave.

    AdamW with linear warm-up and decay (Devlin et al. 2019), weight decay on matrices only,
    gradients clipped by norm. A batch is ``batch_size`` rows of similar length (see
    ``shuffled_batches``); long ones go through the model in pieces, whose gradients add up to
    exactly the batch's.
    """
    batch_size = settings.batch_size or 1
    _seed_everything(job.seed, settings.threads)
    device = next(model.parameters()).device
    steps_per_epoch = -(-draw_count(course.draws) // batch_size)
    steps = course.epochs * steps_per_epoch
    optimizer = _optimizer(model, course.learning_rate, settings.weight_decay)
    schedule = get_linear_schedule_with_warmup(optimizer, int(settings.warmup_share * steps), steps)
    lengths = train.lengths
    budget = TOKEN_BUDGET[device.type]

    for epoch in range(course.first_epoch, course.last_epoch + 1):
        model.train()
        rng = np.random.default_rng([job.seed, epoch])
        rows = draw_rows(course.draws, rng)
        started, tokens, losses = time.perf_counter(), 0, np.zeros(_outputs(train))
        for number, drawn in enumerate(shuffled_batches(lengths[rows], batch_size, rng), start=1):
            batch = rows[drawn]
            batch_weight = _tensor(course.weights[batch].sum(axis=0), device)
            # 1. forward and backward, piece by piece
            for piece in micro_batches(batch, lengths, budget):
                with autocast(device, settings.precision or "float32"):
                    logits = _forward(model, tokenizer, train, piece, device)
                labels = _tensor(train.labels[piece], device)
                loss = _losses(logits, labels, _tensor(course.weights[piece], device))
                (loss / batch_weight).mean().backward()
                losses += loss.detach().cpu().numpy()
            check_finite(losses.sum(), f"epoch {epoch}, batch {number}")
            # 2. one step
            torch.nn.utils.clip_grad_norm_(model.parameters(), settings.max_grad_norm)
            learning_rate = optimizer.param_groups[0]["lr"]
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            tokens += int(lengths[batch].sum())
            seconds = time.perf_counter() - started
            last = course.last_epoch
            emit(BatchEnded(job, epoch, last, number, steps_per_epoch, tokens, seconds))
        mean = losses / course.weights[rows].sum(axis=0)
        yield epoch, Pass(mean.tolist(), learning_rate, seconds, tokens)


def _outputs(examples: Examples) -> int:
    """Return what is learned at once: one label of a row, or all labels of a shared encoder."""
    return 1 if examples.labels.ndim == 1 else examples.labels.shape[1]


def _tensor(array: NDArray[Any], device: torch.device) -> torch.Tensor:
    return torch.from_numpy(np.atleast_1d(array)).to(device)


def _losses(logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return the weighted sum of the rows' losses for each output that is learned."""
    if labels.ndim == 1:
        return (cross_entropy(logits, labels, reduction="none") * weights).sum(0, keepdim=True)
    each = binary_cross_entropy_with_logits(logits, labels.float(), reduction="none")
    return (each * weights).sum(0)


def predict_logits(model: Model, tokenizer: Tokenizer, examples: Examples) -> NDArray[np.float32]:
    """Return the model's outputs for examples, shape (examples, classes), in their order.

    In float32, so that what is recorded is what the saved model gives anywhere.
    """
    device = next(model.parameters()).device
    outputs = np.zeros((len(examples), model.config.num_labels), dtype=np.float32)
    pieces = micro_batches(range(len(examples)), examples.lengths, 2 * TOKEN_BUDGET[device.type])
    model.eval()
    with torch.inference_mode():
        for piece in pieces:
            logits = _forward(model, tokenizer, examples, piece, device)
            outputs[piece] = logits.cpu().numpy()
    return outputs


def _forward(
    model: Model,
    tokenizer: Tokenizer,
    examples: Examples,
    piece: NDArray[np.int64],
    device: torch.device,
) -> torch.Tensor:
    ids, mask = pad([examples.token_ids[i] for i in piece], tokenizer.pad_token_id)
    output = model(
        input_ids=torch.from_numpy(ids).to(device),
        attention_mask=torch.from_numpy(mask).to(device),
    )
    logits: torch.Tensor = output.logits.float()
    return logits


def _optimizer(model: Model, learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    fused = trained[0].device.type in {"cpu", "cuda"}
    return torch.optim.AdamW(groups, lr=learning_rate, fused=fused)


def _seed_everything(seed: int, threads: int | None) -> None:
    torch.set_num_threads(threads or _DEFAULT_THREADS)
    torch.manual_seed(seed)


def _job_started(
    model: Model,
    data: JobData,
    job: Job,
    settings: TrainingSettings,
    device: torch.device,
) -> JobStarted:
    longest = max(int(r.lengths.max(initial=0)) for r in (data.train, data.validation, data.test))
    return JobStarted(
        job=job,
        timestamp=timestamp(),
        train_rows=len(data.train),
        validation_rows=len(data.validation),
        test_rows=len(data.test),
        epochs=settings.epochs or 1,
        batch_size=settings.batch_size or 1,
        learning_rate=settings.learning_rate or 0.0,
        max_length=settings.max_length or longest,
        cut=data.cut,
        excluded=data.excluded,
        monitor=settings.monitor,
        device=str(device),
        precision=settings.precision or "float32",
        parameters=_parameters(model),
    )


def _parameters(model: Model) -> int:
    return sum(p.numel() for p in model.parameters())
