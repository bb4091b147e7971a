"""Scores of predictions, and how sure they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_fscore_support

from llm_tool.events import ClassScore, LanguageScore, Scores
from llm_tool.trainers.resampling import REPETITIONS, f1_macro_estimates

Labels = NDArray[np.int64]


def score(
    true: Labels,
    predicted: Labels,
    classes: Sequence[str],
    languages: Sequence[str] = (),
    row_languages: Sequence[str] = (),
) -> Scores:
    """Return accuracy, macro, weighted, per-class and per-language scores.

    Macro averages are over the classes that occur or are predicted, as scikit-learn's default;
    a class that does neither has no score. A class that is never predicted has precision 0.

    Args:
        true: True classes, shape (rows,), as positions in ``classes``.
        predicted: Predicted classes, shape (rows,).
        classes: Names of the task's classes.
        languages: Languages of the task to score one by one.
        row_languages: Language of each row.
    """
    every = np.arange(len(classes))
    precision, recall, f1, support = precision_recall_fscore_support(
        true, predicted, labels=every, zero_division=0
    )
    seen = np.isin(every, true) | np.isin(every, predicted)
    per_class = tuple(
        ClassScore(
            name,
            precision=float(precision[i]) if seen[i] else None,
            recall=float(recall[i]) if seen[i] else None,
            f1=float(f1[i]) if seen[i] else None,
            support=int(support[i]),
        )
        for i, name in enumerate(classes)
    )
    own = np.asarray(row_languages)
    return Scores(
        accuracy=float(np.mean(true == predicted)),
        precision_macro=float(np.mean(precision[seen])),
        recall_macro=float(np.mean(recall[seen])),
        f1_macro=float(np.mean(f1[seen])),
        f1_weighted=float(np.average(f1, weights=support)),
        classes=per_class,
        languages=tuple(_language(true, predicted, lang, own == lang) for lang in languages),
    )


def _language(
    true: Labels, predicted: Labels, language: str, own: NDArray[np.bool_]
) -> LanguageScore:
    if not own.any():
        return LanguageScore(language, None, None, 0)
    true, predicted = true[own], predicted[own]
    seen = np.union1d(true, predicted)
    f1 = precision_recall_fscore_support(true, predicted, labels=seen, zero_division=0)[2]
    return LanguageScore(
        language, float(np.mean(true == predicted)), float(np.mean(f1)), int(own.sum())
    )


def f1_macro_interval(
    true: Labels, predicted: Labels, *, seed: int, repetitions: int = REPETITIONS
) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of macro F1, stratified by true class.

    Args:
        true: True classes, shape (rows,).
        predicted: Predicted classes, shape (rows,).
        seed: Seed of the draws.
        repetitions: Number of draws.
    """
    rng = np.random.default_rng(seed)
    (estimate,) = f1_macro_estimates(true, predicted[None], repetitions, rng)
    interval = estimate.score_interval()
    return interval.low, interval.high
