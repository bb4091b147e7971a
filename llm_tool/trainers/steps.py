"""The optimiser of a course and its learning rate, from the course's first step or a later one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.optim.lr_scheduler import LambdaLR
from transformers import get_linear_schedule_with_warmup

from llm_tool.config import TrainingSettings
from llm_tool.data.tokens import draw_count
from llm_tool.trainers.pretrained import Model
from llm_tool.trainers.reinforcement import Course


@dataclass(frozen=True)
class Steps:
    """AdamW with linear warm-up and decay (Devlin et al. 2019), weight decay on matrices only."""

    optimizer: torch.optim.Optimizer
    schedule: LambdaLR
    per_epoch: int

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step."""
        rate: float = self.optimizer.param_groups[0]["lr"]
        return rate


def make_steps(
    model: Model,
    course: Course,
    settings: TrainingSettings,
    epochs_done: int = 0,
    batches_done: int = 0,
) -> Steps:
    """Return the steps of a course, at the place where so many epochs are done, and batches."""
    per_epoch = -(-draw_count(course.draws) // (settings.batch_size or 1))
    total = course.epochs * per_epoch
    optimizer = _optimizer(model, course.learning_rate, settings.weight_decay)
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]  # a schedule that does not begin at its start asks for it
    warmup = int(settings.warmup_share * total)
    done = epochs_done * per_epoch + batches_done
    schedule = get_linear_schedule_with_warmup(optimizer, warmup, total, last_epoch=done - 1)
    return Steps(optimizer, schedule, per_epoch)


def _optimizer(model: Model, learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    fused = trained[0].device.type in {"cpu", "cuda"}
    return torch.optim.AdamW(groups, lr=learning_rate, fused=fused)
