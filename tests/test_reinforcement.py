"""The reinforced phase: which classes are weak, what is done for them, and when it is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from llm_tool.config import TrainingSettings
from llm_tool.data.tokens import Examples
from llm_tool.events import (
    WeakClass,
)
from llm_tool.plan import Job, Task
from llm_tool.trainers.reinforcement import (
    class_weights,
    find_weak,
    normal_course,
    reinforced_course,
)

MOOD = Job(Task("mood", "", ("bad", "fine", "good"), ("EN", "FR")), "m", "m")
LAW = Job(Task("areas", "law", ("not_law", "law"), ("EN", "FR")), "m", "m")
AREAS = tuple(Task("areas", name, (f"not_{name}", name), ("EN", "FR")) for name in ("law", "vote"))
SHARED = Job(Task("areas", "", ("law", "vote"), ("EN", "FR")), "m", "m", labels=AREAS)


def rows(labels: Sequence[Any], languages: str = "") -> Examples:
    """Return examples with labels, and languages given as their first letters."""
    names = [{"E": "EN", "F": "FR"}.get(letter, "") for letter in languages.ljust(len(labels))]
    numbers = list(range(len(labels)))
    ids = [np.ones(3, dtype=np.int32)] * len(labels)
    return Examples(ids, np.array(labels, dtype=np.int64), names, numbers, [""] * len(labels))


def says(classes: Sequence[int], number: int) -> np.ndarray:
    """Return outputs that predict the classes."""
    return np.eye(number, dtype=np.float32)[list(classes)]


def test_every_class_below_the_threshold_is_weak_the_weakest_first() -> None:
    true, predicted = [0, 0, 0, 1, 1, 1, 2, 2], [0, 0, 0, 1, 2, 2, 2, 1]

    weak = find_weak(MOOD, says(predicted, 3), rows(true), 0.6)

    assert weak == (WeakClass("fine", 2 / 5, 3), WeakClass("good", 2 / 5, 2))
    assert find_weak(MOOD, says(predicted, 3), rows(true), 0.4) == ()
    assert [w.name for w in find_weak(MOOD, says([1] * 8, 3), rows(true), 0.6)] == [
        *("bad", "good", "fine")
    ]


def test_a_class_without_validation_rows_cannot_be_called_weak() -> None:
    assert find_weak(MOOD, says([0, 1, 2], 3), rows([0, 1, 1]), 0.5) == ()


@pytest.mark.parametrize(
    ("predicted", "f1"),
    [([0, 0, 0, 0, 0, 0], 0.0), ([1, 1, 1, 1, 1, 1], 0.5), ([0] * 5 + [1], 2 / 3)],
)
def test_of_a_binary_task_only_the_positive_class_can_be_weak(
    predicted: list[int], f1: float
) -> None:
    weak = find_weak(LAW, says(predicted, 2), rows([0, 0, 0, 0, 1, 1]), 0.99)

    assert weak == (WeakClass("law", f1, 2),)


def test_the_labels_of_a_shared_encoder_are_its_classes() -> None:
    true = [[1, 0], [1, 1], [0, 1], [0, 0]]
    outputs = np.array([[3, -1], [2, -1], [-1, -1], [-1, -1]], dtype=np.float32)

    assert find_weak(SHARED, outputs, rows(true), 0.6) == (WeakClass("vote", 0.0, 2),)
    renamed = replace(SHARED, task=replace(SHARED.task, classes=("areas=law", "areas=vote")))
    assert find_weak(renamed, outputs, rows(true), 0.6) == (WeakClass("areas=vote", 0.0, 2),)


@pytest.mark.parametrize(("support", "weak_there"), [(4, False), (5, True)])
def test_a_class_can_be_weak_in_one_language_only(support: int, weak_there: bool) -> None:
    # "good" is right in all 20 English rows and wrong in the few French ones.
    true = [2] * 20 + [2] * support + [0] * 5
    predicted = [2] * 20 + [0] * support + [0] * 5
    languages = "E" * 20 + "F" * (support + 5)

    weak = find_weak(MOOD, says(predicted, 3), rows(true, languages), 0.6)

    assert weak == ((WeakClass("good", 0.0, support, "FR"),) if weak_there else ())


def test_a_class_that_is_weak_everywhere_is_not_named_by_language_too() -> None:
    true, predicted = [2] * 12 + [0] * 12, [0] * 24
    languages = "EF" * 12

    weak = find_weak(MOOD, says(predicted, 3), rows(true, languages), 0.6)

    assert weak == (WeakClass("good", 0.0, 12),)


def test_a_task_of_one_language_asks_for_no_language() -> None:
    job = replace(LAW, task=replace(LAW.task, languages=("EN",)))
    true, predicted = [1] * 20 + [1] * 6, [1] * 20 + [0] * 6

    assert find_weak(job, says(predicted, 2), rows(true, "E" * 26), 0.6) == ()
    assert find_weak(LAW, says(predicted, 2), rows(true, "E" * 20 + "F" * 6), 0.6) == (
        WeakClass("law", 0.0, 6, "FR"),
    )


def resolved(**settings: Any) -> TrainingSettings:  # noqa: ANN401
    return TrainingSettings(epochs=3, **settings).resolved(100, 16)


def test_the_rows_of_weak_classes_are_drawn_more_often_and_weigh_more() -> None:
    settings = resolved(reinforced_oversampling=2.5, reinforced_class_weight=4.0)
    weak = (WeakClass("good", 0.1, 9), WeakClass("fine", 0.2, 9, "FR"))

    course = reinforced_course(MOOD, weak, rows([0, 1, 2, 1], "EEFF"), settings, after=3)

    assert course.draws.tolist() == [1, 1, 2.5, 2.5]
    assert course.weights.tolist() == [1, 1, 4, 4]


def test_only_the_weak_label_of_a_shared_encoder_weighs_more() -> None:
    train = rows([[1, 0], [1, 1], [0, 1], [0, 0]])

    course = reinforced_course(SHARED, (WeakClass("vote", 0.1, 9),), train, resolved(), after=3)

    assert course.draws.tolist() == [1, 2, 2, 1]
    assert course.weights.tolist() == [[1, 1], [1, 2], [1, 2], [1, 1]]


def test_the_reinforced_course_goes_on_counting_with_its_own_epochs_and_rate() -> None:
    settings = resolved(reinforced_epochs=4, reinforced_learning_rate=1e-3)

    course = reinforced_course(MOOD, (WeakClass("bad", 0.1, 9),), rows([0, 1]), settings, after=7)

    assert (course.phase, course.first_epoch, course.last_epoch) == ("reinforced", 8, 11)
    assert course.learning_rate == 1e-3
    normal = normal_course(rows([0, 1]), settings)
    assert (normal.phase, normal.first_epoch, normal.last_epoch) == ("normal", 1, 3)
    assert normal.learning_rate == settings.learning_rate == 1.5e-4
    assert resolved().reinforced_learning_rate == 7.5e-5


@pytest.mark.parametrize("labels", [[0, 0, 0, 0, 1, 2], [2, 2, 0]])
def test_balanced_weights_are_those_of_scikit_learn(labels: list[int]) -> None:
    present = np.unique(labels)
    balanced = compute_class_weight("balanced", classes=present, y=np.array(labels))
    expected = dict(zip(present.tolist(), balanced.tolist(), strict=True))

    weights = class_weights(rows(labels), resolved(class_weights="balanced"))

    assert weights.tolist() == pytest.approx([expected[label] for label in labels])
    assert weights.dtype == np.float32
    assert class_weights(rows(labels), resolved()).tolist() == [1.0] * len(labels)


def test_balanced_weights_are_each_labels_own_in_a_shared_encoder() -> None:
    labels = [[1, 0], [0, 0], [0, 1], [0, 1]]

    weights = class_weights(rows(labels), resolved(class_weights="balanced"))

    for column in (0, 1):
        own = class_weights(
            rows([row[column] for row in labels]), resolved(class_weights="balanced")
        )
        assert weights[:, column].tolist() == own.tolist()


def test_a_weak_class_weighs_more_on_top_of_balanced_weights() -> None:
    train, weak = rows([0, 0, 0, 2]), (WeakClass("good", 0.1, 9),)
    settings = resolved(class_weights="balanced", reinforced_class_weight=3.0)

    normal = normal_course(train, settings).weights

    assert reinforced_course(MOOD, weak, train, settings, 3).weights.tolist() == pytest.approx(
        [*normal[:3], 3 * normal[3]]
    )
    assert normal_course(train, settings).weights.tolist() == normal.tolist()
