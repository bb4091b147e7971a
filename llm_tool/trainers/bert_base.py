"""The one trainer: every run mode ends here.

``run_training`` trains one model, tells each epoch to its session's record and to observers, and
saves the best epoch's weights. ``train_epochs`` is the loop, the only place that calls backward.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy
from transformers import get_linear_schedule_with_warmup

from llm_tool.config import TrainingSettings
from llm_tool.data.tokens import Examples, Tokenizer, micro_batches, pad, shuffled_batches
from llm_tool.errors import StudioError
from llm_tool.events import (
    BatchEnded,
    EpochEnded,
    JobEnded,
    JobStarted,
    Observer,
    Scores,
    in_order,
    shielded,
)
from llm_tool.logs.session import Session, timestamp
from llm_tool.logs.summary import PlainSummary
from llm_tool.plan import Job
from llm_tool.trainers import saving
from llm_tool.trainers.device import TOKEN_BUDGET, autocast, best_device, best_precision
from llm_tool.trainers.metrics import f1_macro_interval, score
from llm_tool.trainers.pretrained import Model

_DEFAULT_THREADS = torch.get_num_threads()


@dataclass(frozen=True)
class JobData:
    """The tokenised rows of one job; ``cut`` counts texts longer than the limit."""

    train: Examples
    validation: Examples
    test: Examples
    cut: int = 0


@dataclass(frozen=True)
class Pass:
    """One pass over the training rows."""

    loss: float
    learning_rate: float
    seconds: float
    tokens: int


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
        model: A sequence classifier whose outputs are the classes of ``job.task``, in order.
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
        folder = session.run_folder(job)
        parts = {"train": data.train, "validation": data.validation, "test": data.test}
        saving.save_split(folder, parts)
        best = _train(model, tokenizer, data, job, settings, emit)
        logits = {
            part: predict_logits(model, tokenizer, rows)
            for part, rows in parts.items()
            if part != "train" and len(rows)
        }
        test, low, high = _test_scores(logits.get("test"), data.test, job)
        result = JobEnded(job, best, time.perf_counter() - started, test, low, high)
        saving.save_predictions(folder, job, data.validation, data.test, logits)
        result = saving.save_model(model, tokenizer, result, settings, session, models_dir)
        emit(result)
    return result


def _train(
    model: Model,
    tokenizer: Tokenizer,
    data: JobData,
    job: Job,
    settings: TrainingSettings,
    emit: Observer,
) -> EpochEnded:
    """Train, tell every epoch, and leave the model with the best epoch's weights."""
    device = best_device()
    emit(_job_started(model, data, job, settings, device))
    model.to(device)
    best: EpochEnded | None = None
    best_weights: dict[str, torch.Tensor] = {}
    for epoch, one_pass in train_epochs(model, tokenizer, data.train, settings, job, emit):
        logits = predict_logits(model, tokenizer, data.validation)
        ended = _epoch_ended(epoch, one_pass, logits, data.validation, job, settings, best)
        if ended.is_best:
            best = ended
            best_weights = {k: v.detach().cpu().clone() for k, v in model.state_dict().items()}
        emit(ended)
        if settings.patience and best and epoch - best.epoch >= settings.patience:
            break
    if best is None:
        raise StudioError(f"{job.title} was not trained for a single epoch.")
    model.load_state_dict(best_weights)
    return best


def train_epochs(
    model: Model,
    tokenizer: Tokenizer,
    train: Examples,
    settings: TrainingSettings,
    job: Job,
    emit: Observer,
) -> Iterator[tuple[int, Pass]]:
    """Train epoch by epoch; yield each epoch's number and what its pass over the rows gave.

    AdamW with linear warm-up and decay (Devlin et al. 2019), weight decay on matrices only,
    gradients clipped by norm. A batch is ``batch_size`` rows of similar length (see
    ``shuffled_batches``); long ones go through the model in pieces, whose gradients add up to
    exactly the batch's.
    """
    epochs, batch_size = settings.epochs or 1, settings.batch_size or 1
    _seed_everything(job.seed, settings.threads)
    device = next(model.parameters()).device
    steps_per_epoch = -(-len(train) // batch_size)
    steps = epochs * steps_per_epoch
    optimizer = _optimizer(model, settings)
    schedule = get_linear_schedule_with_warmup(optimizer, int(settings.warmup_share * steps), steps)
    lengths = train.lengths
    budget = TOKEN_BUDGET[device.type]

    for epoch in range(1, epochs + 1):
        model.train()
        rng = np.random.default_rng([job.seed, epoch])
        started, tokens, loss_sum = time.perf_counter(), 0, 0.0
        for number, batch in enumerate(shuffled_batches(lengths, batch_size, rng), start=1):
            # 1. forward and backward, piece by piece
            for piece in micro_batches(batch, lengths, budget):
                with autocast(device, settings.precision or "float32"):
                    logits, labels = _forward(model, tokenizer, train, piece, device)
                loss = cross_entropy(logits, labels, reduction="sum")
                (loss / len(batch)).backward()
                loss_sum += loss.item()
            _check_finite(loss_sum, f"epoch {epoch}, batch {number}")
            # 2. one step
            torch.nn.utils.clip_grad_norm_(model.parameters(), settings.max_grad_norm)
            learning_rate = optimizer.param_groups[0]["lr"]
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            tokens += int(lengths[batch].sum())
            seconds = time.perf_counter() - started
            emit(BatchEnded(job, epoch, epochs, number, steps_per_epoch, tokens, seconds))
        yield epoch, Pass(loss_sum / len(train), learning_rate, seconds, tokens)


def _check_finite(loss: float, where: str) -> None:
    if not np.isfinite(loss):
        raise StudioError(
            f"The loss is not finite any more ({where}).",
            remedy="Try a lower --learning-rate.",
        )


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
            logits, _ = _forward(model, tokenizer, examples, piece, device)
            outputs[piece] = logits.cpu().numpy()
    return outputs


def _forward(
    model: Model,
    tokenizer: Tokenizer,
    examples: Examples,
    piece: NDArray[np.int64],
    device: torch.device,
) -> tuple[torch.Tensor, torch.Tensor]:
    ids, mask = pad([examples.token_ids[i] for i in piece], tokenizer.pad_token_id)
    output = model(
        input_ids=torch.from_numpy(ids).to(device),
        attention_mask=torch.from_numpy(mask).to(device),
    )
    return output.logits.float(), torch.from_numpy(examples.labels[piece]).to(device)


def _optimizer(model: Model, settings: TrainingSettings) -> torch.optim.Optimizer:
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    fused = trained[0].device.type in {"cpu", "cuda"}
    return torch.optim.AdamW(groups, lr=settings.learning_rate or 5e-5, fused=fused)


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
        monitor=settings.monitor,
        device=str(device),
        precision=settings.precision or "float32",
        parameters=sum(p.numel() for p in model.parameters()),
    )


def _epoch_ended(
    epoch: int,
    one_pass: Pass,
    logits: NDArray[np.float32],
    validation: Examples,
    job: Job,
    settings: TrainingSettings,
    best: EpochEnded | None,
) -> EpochEnded:
    val_loss = float(
        cross_entropy(torch.from_numpy(logits), torch.from_numpy(validation.labels)).item()
    )
    # Every score of such outputs would be a number, and mean nothing.
    _check_finite(val_loss, f"epoch {epoch}, validation")
    scores = _scores(logits, validation, job)
    value = val_loss if settings.monitor == "val_loss" else getattr(scores, settings.monitor)
    return EpochEnded(
        job=job,
        epoch=epoch,
        timestamp=timestamp(),
        train_loss=one_pass.loss,
        val_loss=val_loss,
        scores=scores,
        learning_rate=one_pass.learning_rate,
        seconds=one_pass.seconds,
        tokens_per_second=one_pass.tokens / one_pass.seconds,
        monitor=settings.monitor,
        selection_value=value,
        is_best=best is None or is_better(value, best.selection_value, settings.monitor),
    )


def is_better(value: float, than: float, monitor: str) -> bool:
    """Tell whether a value of the monitored metric beats another; equal does not."""
    return value < than if monitor == "val_loss" else value > than


def _scores(logits: NDArray[np.float32], rows: Examples, job: Job) -> Scores:
    task = job.task
    return score(rows.labels, logits.argmax(axis=1), task.classes, task.languages, rows.languages)


def _test_scores(
    logits: NDArray[np.float32] | None, test: Examples, job: Job
) -> tuple[Scores | None, float | None, float | None]:
    if logits is None:
        return None, None, None
    low, high = f1_macro_interval(
        test.labels, logits.argmax(axis=1), len(job.task.classes), seed=job.seed
    )
    return _scores(logits, test, job), low, high
