"""Events as JSON, observers that fail; and the hand-made events that other tests use."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import pytest

from llm_tool.events import (
    BatchEnded,
    ClassGain,
    ClassScore,
    EpochEnded,
    Event,
    JobEnded,
    JobEvent,
    JobFailed,
    JobStarted,
    LanguageScore,
    ReinforcementEnded,
    ReinforcementSkipped,
    ReinforcementStarted,
    RunEnded,
    RunStarted,
    Scores,
    WeakClass,
    from_json,
    to_json,
)
from llm_tool.logs.labels import per_category
from llm_tool.observers import in_order, shielded
from llm_tool.plan import Job, Task

SENTIMENT = Task("sentiment", "", ("good", "bad"), ("EN", "FR"))


def made_job(number: int = 1, **changes: object) -> Job:
    """Return a job; what is not given is plain."""
    plain = Job(SENTIMENT, "org/bert", "org/bert", "MULTI", seed=1, id=f"j{number:04d}")
    return replace(plain, **changes)


def made_scores(job: Job, f1: float | None = 0.5) -> Scores:
    """Return scores with different values in every place."""
    classes = tuple(
        ClassScore(name, 0.1 * i + 0.01, 0.1 * i + 0.02, f1, 10 + i)
        for i, name in enumerate(job.task.classes)
    )
    languages = tuple(
        LanguageScore(language, 0.2 * i + 0.03, f1, 20 + i)
        for i, language in enumerate(job.task.languages)
    )
    return Scores(0.61, 0.62, 0.63, 0.64 if f1 is None else f1, 0.65, classes, languages)


def made_epoch(job: Job, epoch: int = 1, f1: float | None = 0.5, **changes: object) -> EpochEnded:
    """Return the end of an epoch; what is not given is plain."""
    plain = EpochEnded(
        job,
        epoch,
        timestamp=f"20260102_03040{epoch}",
        train_loss=1 / (2 + epoch),
        val_loss=1 / (1 + epoch),
        scores=made_scores(job, f1),
        learning_rate=3e-5 / epoch,
        seconds=1.5,
        tokens_per_second=1234567.0,
        monitor="f1_macro",
        selection_value=f1 or 0.0,
        is_best=epoch == 1,
    )
    return replace(plain, **changes)


def made_end(best: EpochEnded, **changes: object) -> JobEnded:
    """Return the end of a job; what is not given is plain."""
    path = f"models/X/{best.job.id}"
    return replace(JobEnded(best.job, best, 9.0, best.scores, 0.25, 0.75, path), **changes)


JOB = made_job()
ODD = made_job(
    2,
    task=Task(
        "a key, 'quoted'", "=1+1\n\t\x00", ("é", "e\u0301", "\u202e", "😀", "", "#"), ("中",)
    ),
    model="../\\",
    identifier='"',
)
STARTED = JobStarted(
    JOB, "20260102_030405", 5, 2, 0, 3, 16, 5e-5, 64, 0, "f1_macro", "cpu", "float32", 99
)
AREAS = tuple(Task("areas", value, (f"not_{value}", value), ("EN", "FR")) for value in ("a", "b"))
SHARED = made_job(3, task=Task("areas", "", ("a", "b"), ("EN", "FR")), labels=AREAS)


def made_shared_epoch() -> EpochEnded:
    """Return an epoch of a shared encoder, with those of its labels."""
    labels = tuple(made_epoch(SHARED.of(task), f1=0.1 * i) for i, task in enumerate(AREAS))
    return made_epoch(SHARED, labels=labels)


def made_shared_end() -> JobEnded:
    """Return the end of a shared encoder, with those of its labels."""
    best = made_shared_epoch()
    labels = tuple(made_end(own, threshold=0.5 + 0.1 * i) for i, own in enumerate(best.labels))
    return made_end(best, f1_macro_low=None, f1_macro_high=None, labels=labels)


EVENTS: list[Event] = [
    RunStarted("20260102_030405", "quick", "training_logs/X", "models/X", (JOB, ODD, SHARED), 2),
    STARTED,
    BatchEnded(JOB, 1, 3, 2, 9, 512, 0.25),
    made_epoch(JOB, training_phase="reinforced"),
    made_epoch(JOB, f1=None),
    made_epoch(ODD),
    made_end(made_epoch(JOB)),
    made_end(made_epoch(ODD), test=None, f1_macro_low=None, f1_macro_high=None),
    made_shared_epoch(),
    made_shared_end(),
    ReinforcementStarted(
        JOB, 0.6, (WeakClass("good", 0.5, 3), WeakClass("bad", 0.0, 9, "FR")), 2, 3, 1e-5, 2.5, 1.5
    ),
    ReinforcementSkipped(SHARED, 0.6),
    ReinforcementEnded(JOB, True, "f1_macro", 0.25, 0.5, (ClassGain("a", None, 0.5, weak=True),)),
    JobFailed(JOB, "It broke.", "here", "Mend it."),
    RunEnded("20260102_030405", "interrupted", 3, 1, 0, 12.5, "llm-tool resume 20260102_030405"),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda e: e.event)
def test_an_event_comes_back_from_json_as_it_was(event: Event) -> None:
    line = to_json(event)

    assert "\n" not in line
    assert from_json(line) == event
    assert from_json(line.encode()) == event


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_an_undefined_number_is_null_in_json_and_comes_back_as_nan(number: float) -> None:
    event = made_epoch(JOB, val_loss=number, selection_value=number)

    facts = json.loads(to_json(event))
    assert facts["val_loss"] is None
    assert facts["selection_value"] is None

    back = from_json(to_json(event))
    assert isinstance(back, EpochEnded)
    assert math.isnan(back.val_loss)
    assert math.isnan(back.selection_value)
    assert replace(back, val_loss=0.0, selection_value=0.0) == replace(
        event, val_loss=0.0, selection_value=0.0
    )


@pytest.mark.parametrize("event", EVENTS, ids=lambda e: e.event)
def test_json_holds_the_fields_by_their_names(event: Event) -> None:
    assert json.loads(to_json(event)) == json.loads(json.dumps(asdict(event)))


@pytest.mark.parametrize(
    "event", [e for e in EVENTS if isinstance(e, JobEvent) and e.job is not SHARED]
)
def test_an_event_of_one_task_is_for_its_one_category_as_it_is(event: JobEvent) -> None:
    assert per_category(event) == (event,)


def test_an_epoch_and_an_end_of_a_shared_encoder_are_for_each_label_its_own() -> None:
    assert per_category(made_shared_epoch()) == made_shared_epoch().labels
    assert per_category(made_shared_end()) == made_shared_end().labels


@pytest.mark.parametrize(
    "event",
    [
        replace(STARTED, job=SHARED),
        JobFailed(SHARED, "It broke."),
        ReinforcementSkipped(SHARED, 0.6),
    ],
    ids=lambda e: e.event,
)
def test_what_a_shared_encoder_has_in_common_is_told_to_the_category_of_each_label(
    event: JobEvent,
) -> None:
    own = per_category(event)

    assert [one.job.task for one in own] == list(AREAS)
    assert [one.job.id for one in own] == ["j0003", "j0003"]
    assert [one.job.labels for one in own] == [(), ()]
    assert [replace(one, job=SHARED) for one in own] == [event, event]


@pytest.mark.parametrize(
    "line",
    ["", "{", "null", "[]", "{}", '{"event": "surprise"}', '{"event": "epoch_ended"}', b"\xff\xfe"],
)
def test_a_line_that_is_no_event_is_a_value_error(line: str | bytes) -> None:
    with pytest.raises(ValueError):
        from_json(line)


def test_the_weakest_class_is_the_first_of_the_lowest_that_are_defined() -> None:
    def score(name: str, f1: float | None) -> ClassScore:
        return ClassScore(name, f1, f1, f1, 1)

    scores = made_scores(JOB)
    several = (score("a", None), score("b", 0.4), score("c", 0.2), score("d", 0.2))

    weakest = replace(scores, classes=several).weakest
    assert weakest is not None
    assert weakest.name == "c"
    assert replace(scores, classes=(score("a", None),)).weakest is None


def test_a_display_that_fails_is_left_out_and_the_others_and_the_record_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    record: list[Event] = []
    before: list[Event] = []
    after: list[Event] = []
    told = 0

    def broken(event: Event) -> None:
        nonlocal told
        told += 1
        raise RuntimeError("no terminal")

    observe = in_order(record.append, shielded(before.append, broken, after.append))
    with caplog.at_level(logging.ERROR):
        for event in EVENTS:
            observe(event)

    assert record == before == after == EVENTS
    assert told == 1
    assert [r.message for r in caplog.records] == ["a display failed and is left out"]
    assert "no terminal" in caplog.text


def test_a_record_that_fails_stops_the_run_before_anything_is_shown() -> None:
    shown: list[Event] = []

    def full_disk(event: Event) -> None:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        in_order(full_disk, shielded(shown.append))(STARTED)

    assert shown == []


def stop(event: Event) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("wrapped", [in_order, shielded])
def test_ctrl_c_in_an_observer_is_never_swallowed(wrapped: Callable[..., Any]) -> None:
    with pytest.raises(KeyboardInterrupt):
        wrapped(stop)(STARTED)
