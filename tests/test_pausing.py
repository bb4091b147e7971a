"""Trainings that are paused within an epoch: going on gives the numbers of one that never was."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from llm_tool.events import BatchEnded, EpochEnded, Event, JobEnded, JobRetried, JobStarted
from llm_tool.logs.journal import read_events
from llm_tool.stopping import Paused, ask_pause, pause_asked, pause_on, pause_signal
from llm_tool.trainers import bert_base
from llm_tool.trainers.checkpoint import Checkpoint
from tests.test_bert_base import Trainer, watched
from tests.test_checkpoint import KINDS, Attempts, Stop, only_after, same

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="Windows has no SIGUSR1")
REINFORCED = {
    "reinforced": True, "reinforced_threshold": 1.0, "reinforced_epochs": 1,
    "reinforced_oversampling": 1.5,
}  # fmt: skip
WAYS = {
    "drawn": {"epochs": 2, "oversample": "balanced", "class_weights": "balanced"},
    "reinforced": {"epochs": 1, "batch_size": 16, **REINFORCED},
    "bfloat16": {"epochs": 2, "batch_size": 16, "precision": "bfloat16"},
}


@pytest.fixture
def trainer(tiny_bert: Path, tmp_path: Path) -> Iterator[Trainer]:
    with watched(tiny_bert, tmp_path) as made:
        yield made


def pausing(attempts: Attempts, name: str, when: Stop, **changes: Any) -> JobEnded | None:  # noqa: ANN401
    """Go on with a job and ask it to pause at an event; ``None`` when it did."""

    def ask(event: Event) -> bool:
        if when(event):
            signal.raise_signal(signal.SIGUSR1)
        return False

    with pause_on("SIGUSR1"):
        try:
            return attempts.go(name, ask, **changes)
        except Paused:
            return None


def at_batch(number: int) -> Stop:
    """Return what is true at the batch of an attempt that is so many from its start."""
    heard: list[Event] = []

    def when(event: Event) -> bool:
        heard.extend([event] * isinstance(event, BatchEnded))
        return isinstance(event, BatchEnded) and len(heard) == number

    return when


def journal(attempts: Attempts) -> list[dict[str, Any]]:
    """Return the epochs and the end in each journal of the last attempts, times apart."""
    told = []
    for path in sorted((attempts.trainer.folder / "logs").glob("*/*/runs/*/journal.jsonl")):
        for event in read_events(path):
            if isinstance(event, EpochEnded | JobEnded):
                told.append(timeless(json.loads(json.dumps(event, default=vars))))
    return told


def timeless(value: Any) -> Any:  # noqa: ANN401
    """Return an event without its times and the path of its model."""
    apart = {"timestamp", "seconds", "tokens_per_second", "saved_model_path", "job"}
    if isinstance(value, dict):
        return {name: timeless(own) for name, own in value.items() if name not in apart}
    return [timeless(own) for own in value] if isinstance(value, list) else value


@pytest.mark.parametrize("way", WAYS)
def test_a_training_paused_after_any_batch_ends_as_one_that_never_was(
    trainer: Trainer, way: str
) -> None:
    attempts = Attempts(trainer, {"learning_rate": 1e-2, "batch_size": 12, **WAYS[way]})
    whole = attempts.go("whole")
    assert whole is not None
    expected, told = attempts.left(), journal(attempts)
    weights = load_file(f"{whole.saved_model_path}/model.safetensors")
    batches = len(trainer.heard(BatchEnded))

    for number in range(1, batches + 1):
        trainer.told.clear()
        assert pausing(attempts, f"at {number}", at_batch(number)) is None
        result = attempts.go(f"at {number}")

        assert len(trainer.heard(BatchEnded)) == batches  # none was trained twice
        assert result is not None
        assert same(attempts.left(), expected)
        assert journal(attempts) == told
        again = load_file(f"{result.saved_model_path}/model.safetensors")
        assert all(torch.equal(again[name], weights[name]) for name in weights)
        assert not attempts.checkpoint().exists()


@pytest.mark.parametrize("kind", ["shared", "patience"])
def test_a_training_paused_after_each_batch_ends_as_one_that_never_was(
    trainer: Trainer, kind: str
) -> None:
    attempts = Attempts(trainer, {"learning_rate": 1e-2, "batch_size": 16, **KINDS[kind]})
    attempts.go("whole")
    expected, told = attempts.left(), journal(attempts)
    batches = len(trainer.heard(BatchEnded))

    trainer.told.clear()
    pauses = 0
    while pausing(attempts, "paused", at_batch(1)) is None:
        pauses += 1

    assert pauses == batches == len(trainer.heard(BatchEnded))
    assert same(attempts.left(), expected)
    assert journal(attempts) == told


def test_a_pause_asked_while_an_epoch_is_scored_comes_after_its_record(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = Attempts(trainer, {"epochs": 3, "learning_rate": 1e-2})
    attempts.go("whole")
    expected = attempts.left()
    only_after(monkeypatch)  # no checkpoint is due, a pause leaves one

    def is_epoch(number: int) -> Stop:
        return lambda event: isinstance(event, EpochEnded) and event.epoch == number

    from llm_tool.trainers import attempt

    scored: list[int] = []

    def predict(*words: Any) -> Any:  # noqa: ANN401
        scored.append(1)
        if len(scored) == 2:
            signal.raise_signal(signal.SIGUSR1)
        return bert_base.predict_logits(*words)

    monkeypatch.setattr(attempt, "predict_logits", predict)
    trainer.told.clear()
    assert pausing(attempts, "paused", lambda _: False) is None
    assert [epoch.epoch for epoch in trainer.epochs] == [1, 2]
    trainer.told.clear()
    assert attempts.go("paused") is not None

    assert trainer.heard(JobStarted)[0].resumed_from == 2
    assert [epoch.epoch for epoch in trainer.epochs] == [3]
    assert same(attempts.left(), expected)


def test_a_pause_asked_when_all_is_trained_comes_too_late(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = Attempts(trainer, {"epochs": 1})
    predict = bert_base.predict_logits

    def interrupted(*words: Any) -> Any:  # noqa: ANN401
        signal.raise_signal(signal.SIGUSR1)
        return predict(*words)

    monkeypatch.setattr(bert_base, "predict_logits", interrupted)  # that of the test rows

    assert pausing(attempts, "whole", lambda _: False) is not None
    assert not attempts.checkpoint().exists()


def test_a_pause_takes_the_place_of_an_older_checkpoint(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = Attempts(trainer, {"epochs": 4, "learning_rate": 1e-2, "batch_size": 16})
    attempts.go("whole")
    expected = attempts.left()
    only_after(monkeypatch, 1)
    attempts.go("killed", lambda event: isinstance(event, EpochEnded) and event.epoch == 3)
    trainer.told.clear()

    assert pausing(attempts, "killed", at_batch(3)) is None  # epochs 2 and 3 are trained again
    assert trainer.heard(JobStarted)[0].resumed_from == 1
    names = {path.name for path in attempts.checkpoint().iterdir()}
    assert names > {"checkpoint.json", "state-3-1.safetensors"}
    assert len(names) == 3
    attempts.go("killed")

    assert [event.resumed_from for event in trainer.heard(JobStarted)] == [1, 2]
    assert same(attempts.left(), expected)


def test_best_weights_of_an_epoch_without_a_checkpoint_are_in_the_next_one(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = Attempts(trainer, {"epochs": 3, "learning_rate": 1e-4})
    only_after(monkeypatch, 2)
    sure = {"model": trainer.model(sure=True)}  # its F1 stays equal: the first epoch is the best
    attempts.go("broken", lambda event: isinstance(event, EpochEnded) and event.epoch == 2, **sure)
    assert [epoch.is_best for epoch in trainer.epochs] == [True, False]

    trainer.told.clear()
    attempts.go("broken", model=trainer.model(sure=True))

    assert trainer.heard(JobStarted)[0].resumed_from == 2


def test_smaller_pieces_are_kept_over_a_pause(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llm_tool.trainers import attempt

    attempts = Attempts(trainer, {"epochs": 2, "learning_rate": 1e-2, "batch_size": 16})
    monkeypatch.setattr(attempt, "TOKEN_BUDGET", {"cpu": 64})
    attempts.go("whole")
    expected = attempts.left()
    pausing(attempts, "paused", at_batch(1))
    monkeypatch.setattr(attempt, "TOKEN_BUDGET", {"cpu": 1024})

    attempts.go("paused")

    assert same(attempts.left(), expected)


def test_weights_that_are_no_numbers_are_never_paused_on(trainer: Trainer) -> None:
    attempts = Attempts(trainer, {"epochs": 2, "batch_size": 16, "precision": "bfloat16"})
    model = trainer.model()

    def spoil(event: Event) -> bool:
        if spoilt := isinstance(event, BatchEnded) and len(trainer.heard(BatchEnded)) == 1:
            with torch.no_grad():
                model.classifier.bias.fill_(torch.nan)
        return spoilt

    pausing(attempts, "spoilt", spoil, model=model)

    begun = Checkpoint(attempts.checkpoint(), "")._index()
    assert begun is not None
    assert begun["precision"] == "float32"  # it began anew in full precision, and then paused
    state = load_file(attempts.checkpoint() / begun["files"]["state"])
    assert all(torch.isfinite(one).all() for name, one in state.items() if name[:5] == "model")


def test_a_retry_in_full_precision_goes_on_within_the_epoch_that_was_paused(
    trainer: Trainer,
) -> None:
    attempts = Attempts(trainer, {"epochs": 2, "batch_size": 8, "precision": "bfloat16"})
    pausing(attempts, "paused", at_batch(2))
    model = trainer.model()

    def overflow(_: object, __: object, output: Any) -> None:  # noqa: ANN401 - its own class
        if torch.is_autocast_enabled("cpu"):
            output.logits = output.logits * torch.inf

    model.register_forward_hook(overflow)
    attempts.go("paused", model=model)

    (retried,) = trainer.heard(JobRetried)
    assert retried.how == "Goes on within epoch 1 in full precision (float32)."
    assert [(batch.epoch, batch.batch) for batch in trainer.heard(BatchEnded)] == [
        (epoch, batch) for epoch in (1, 2) for batch in (1, 2, 3, 4)
    ]


def test_the_first_signal_counts_and_none_after_the_block() -> None:
    before = signal.getsignal(signal.SIGUSR1), signal.getsignal(signal.SIGTERM)
    with pause_on("SIGUSR1", "SIGTERM", "SIGNOWHERE"):
        assert (pause_asked(), pause_signal()) == (False, "")
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGUSR1)
        assert (pause_asked(), pause_signal()) == (True, "SIGTERM")
    assert (pause_asked(), pause_signal()) == (False, "SIGTERM")
    assert before == (signal.getsignal(signal.SIGUSR1), signal.getsignal(signal.SIGTERM))
    ask_pause("SIGUSR1")
    assert not pause_asked()


def test_a_run_that_pauses_is_interrupted(trainer: Trainer) -> None:
    attempts = Attempts(trainer, {"epochs": 1})
    pausing(attempts, "paused", at_batch(1))

    facts = json.loads(next(trainer.folder.glob("logs/*/session.json")).read_text("utf-8"))
    assert facts["status"] == "interrupted"
