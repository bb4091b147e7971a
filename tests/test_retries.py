"""What a job gets round by itself: memory that runs out, and a loss that is not finite."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from llm_tool.events import (
    EpochEnded,
    Event,
    JobFailed,
    JobRetried,
    JobStarted,
    ReinforcementEnded,
)
from llm_tool.logs import Session
from llm_tool.trainers.device import TOKEN_BUDGET, with_less_memory
from llm_tool.trainers.scoring import NotFiniteError
from tests.test_bert_base import Trainer, watched


@pytest.fixture
def trainer(tiny_bert: Path, tmp_path: Path) -> Iterator[Trainer]:
    with watched(tiny_bert, tmp_path) as made:
        yield made


def with_memory_for(tokens: int, model: Any) -> Any:  # noqa: ANN401 - a model of transformers
    """Return a model that fails as a GPU does when more than so many tokens come at once."""

    def refuse(_: object, __: object, inputs: dict[str, torch.Tensor]) -> None:
        if inputs["input_ids"].numel() > tokens:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    model.register_forward_pre_hook(refuse, with_kwargs=True)
    return model


def test_memory_that_runs_out_halves_the_pieces_and_leaves_the_batch(trainer: Trainer) -> None:
    options = {"epochs": 2, "batch_size": 32, "precision": "float32"}
    trainer.train(trainer.model(dropout=False), **options)
    losses, norms = [epoch.train_loss for epoch in trainer.epochs], trainer.norms.copy()
    trainer.told.clear()
    trainer.norms.clear()

    trainer.train(with_memory_for(150, trainer.model(dropout=False)), **options)

    assert [epoch.train_loss for epoch in trainer.epochs] == pytest.approx(losses, rel=1e-5)
    assert trainer.norms == pytest.approx(norms, rel=1e-4)  # as many steps, the same gradients
    (retried,) = trainer.heard(JobRetried)  # and not again in every batch
    assert retried.why == "Memory ran out."
    assert retried.how == "Goes on with at most 128 tokens at once; a batch stays 32 texts."


def test_scores_are_computed_in_smaller_pieces_too(trainer: Trainer) -> None:
    data = trainer.data(validation=range(48))
    expected = trainer.train(trainer.model(), data=data, precision="float32").best.scores
    model = with_memory_for(700, trainer.model())

    assert TOKEN_BUDGET["cpu"] > 700
    assert trainer.train(model, data=data, precision="float32").best.scores == expected


def test_memory_too_small_for_one_text_is_not_tried_for_ever(trainer: Trainer) -> None:
    tried: list[int] = []

    def attempt(budget: int) -> None:
        tried.append(budget)
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(torch.OutOfMemoryError):
        with_less_memory(1024, 200, attempt)
    assert tried == [1024, 512, 256, 128]


def test_another_error_is_not_taken_for_a_lack_of_memory() -> None:
    tried: list[int] = []

    def attempt(budget: int) -> None:
        tried.append(budget)
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        with_less_memory(1024, 200, attempt)
    assert tried == [1024]


_LIMITED = """
import resource, sys, psutil, torch, numpy as np
from pathlib import Path
from transformers import BertConfig, BertForSequenceClassification
from llm_tool.config import TrainingSettings
from llm_tool.data.tokens import Examples, JobData
from llm_tool.plan import Job, Task
from llm_tool.trainers.bert_base import run_training
from llm_tool.trainers.pretrained import load_tokenizer

tokenizer, longest = load_tokenizer(Path(sys.argv[1]))
model = BertForSequenceClassification(BertConfig(
    vocab_size=len(tokenizer), hidden_size=64, num_hidden_layers=2, num_attention_heads=2,
    intermediate_size=16384, max_position_embeddings=longest))

def rows(count):
    ids = [np.full(60, 5 + i % 9, dtype=np.int32) for i in range(count)]
    own = list(range(count))
    return Examples(ids, np.arange(count) % 2, ["EN"] * count, own, list(map(str, own)))

torch.set_num_threads(1)
limit = psutil.Process().memory_info().vms + int(float(sys.argv[3]) * 1e6)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
run_training(
    model, tokenizer, JobData(rows(32), rows(8), rows(8)),
    Job(Task("s", "", ("a", "b"), ("EN",)), "m", "m"),
    settings=TrainingSettings(epochs=1, batch_size=16, threads=1, precision="float32"),
    logs_dir=sys.argv[2] + "/logs", models_dir=sys.argv[2] + "/models",
)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits a process's memory so")
def test_a_process_that_the_system_gives_no_more_memory_finishes_its_training(
    tiny_bert: Path, tmp_path: Path
) -> None:
    # How much is too little depends on libraries and allocator: less and less, until it matters.
    for megabytes in (550, 500, 450, 400):
        words = [sys.executable, "-c", _LIMITED, tiny_bert, tmp_path, megabytes]
        done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False)
        if "Memory ran out. Goes on with at most" in done.stderr:
            break
    assert done.returncode == 0, done.stderr
    assert "a batch stays 16 texts" in done.stderr
    assert "best epoch 1" in done.stderr


def overflowing(trainer: Trainer, after_steps: int = 0) -> Any:  # noqa: ANN401 - of transformers
    """Return a model whose outputs overflow in low precision, after some steps of the optimiser."""
    model = trainer.model()

    def overflow(_: object, __: object, output: Any) -> None:  # noqa: ANN401 - its own class
        late = len(trainer.norms) >= after_steps
        if model.training and late and torch.is_autocast_enabled("cpu"):
            output.logits = output.logits * torch.inf

    model.register_forward_hook(overflow)
    return model


def test_a_loss_that_is_not_finite_is_tried_again_in_full_precision_from_the_start(
    trainer: Trainer,
) -> None:
    expected = trainer.train(trainer.model(), precision="float32")
    trainer.told.clear()
    trainer.norms.clear()

    result = trainer.train(overflowing(trainer), precision="bfloat16")

    assert [event.precision for event in trainer.heard(JobStarted)] == ["bfloat16"]
    (retried,) = trainer.heard(JobRetried)
    assert retried.why == "The loss is not finite any more (epoch 1, batch 1)."
    assert retried.how == "Goes on anew in full precision (float32)."
    assert [epoch.epoch for epoch in trainer.epochs] == [1, 2]
    assert result.best.scores == expected.best.scores
    assert result.best.train_loss == expected.best.train_loss


def test_it_goes_on_after_the_last_full_epoch_where_there_is_one(trainer: Trainer) -> None:
    steps = 32 // 8
    model = overflowing(trainer, after_steps=2 * steps + 1)

    trainer.train(model, precision="bfloat16", epochs=4, batch_size=8)

    (retried,) = trainer.heard(JobRetried)
    assert retried.how == "Goes on after epoch 2 in full precision (float32)."
    assert [epoch.epoch for epoch in trainer.epochs] == [1, 2, 3, 4]
    assert trainer.table()["epoch"].tolist() == [1, 2, 3, 4]


def test_in_full_precision_it_is_reported_at_once(trainer: Trainer) -> None:
    model = trainer.model()
    model.register_forward_hook(lambda _, __, output: setattr(output, "logits", output.logits / 0))

    with pytest.raises(NotFiniteError, match="epoch 1, batch 1"):
        trainer.train(model, precision="float32", batch_size=8)
    assert not trainer.heard(JobRetried)


def test_a_second_time_it_is_reported(trainer: Trainer) -> None:
    model = trainer.model()
    model.register_forward_hook(lambda _, __, output: setattr(output, "logits", output.logits / 0))

    with pytest.raises(NotFiniteError, match="not finite any more"):
        trainer.train(model, precision="bfloat16")
    assert len(trainer.heard(JobRetried)) == 1


def test_a_reinforced_phase_is_tried_again_too_before_it_is_broken_off(trainer: Trainer) -> None:
    steps = 32 // 8
    model = overflowing(trainer, after_steps=2 * steps)
    weak = {"reinforced": True, "reinforced_threshold": 1.0}

    trainer.train(model, precision="bfloat16", batch_size=8, **weak)

    (retried,) = trainer.heard(JobRetried)
    assert retried.how == "Goes on after epoch 2 in full precision (float32)."
    phases = [epoch.training_phase for epoch in trainer.epochs]
    assert phases == ["normal", "normal", "reinforced", "reinforced"]
    (ended,) = trainer.heard(ReinforcementEnded)
    assert not math.isnan(ended.after)  # as it would be, had it been broken off


def test_a_retry_goes_on_in_full_precision_after_a_kill(trainer: Trainer) -> None:
    session = Session(trainer.folder / "logs", "20260101_000000")
    steps = 32 // 8

    def attempt(stop_at: int) -> None:
        def observe(event: Event) -> None:
            trainer.told.append(event)
            if isinstance(event, EpochEnded) and event.epoch == stop_at:
                raise KeyboardInterrupt

        begun = session.folder.exists()
        entered = session.rerun(0) if begun else session.run([trainer.job()], {}, {})
        with entered as (job,):
            model = overflowing(trainer, after_steps=0 if begun else steps)
            trainer.train(
                model, job=job, session=session, on_event=observe,
                precision="bfloat16", epochs=4, batch_size=8,
            )  # fmt: skip

    with pytest.raises(KeyboardInterrupt):
        attempt(stop_at=3)
    attempt(stop_at=0)

    assert [event.precision for event in trainer.heard(JobStarted)] == ["bfloat16", "float32"]
    assert len(trainer.heard(JobRetried)) == 1
    assert [epoch.epoch for epoch in trainer.epochs] == [1, 2, 3, 4]
    assert not trainer.heard(JobFailed)
