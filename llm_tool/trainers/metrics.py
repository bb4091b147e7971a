"""Scores of predictions, and how sure they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from llm_tool.events import ClassScore, LanguageScore, Scores

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
    true: Labels, predicted: Labels, classes: int, *, seed: int, resamples: int = 2000
) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of macro F1, stratified by true class.

    Drawing rows with replacement within each true class is drawing each row of the confusion
    matrix from a multinomial, so whole matrices are drawn instead (Efron & Tibshirani 1993,
    chapter 13).

    Args:
        true: True classes, shape (rows,).
        predicted: Predicted classes, shape (rows,).
        classes: Number of classes.
        seed: Seed of the draws.
        resamples: Number of draws.
    """
    matrix = confusion_matrix(true, predicted, labels=np.arange(classes))
    rng = np.random.default_rng(seed)
    hits = np.zeros((resamples, classes))
    marginals = np.zeros((resamples, classes))  # true plus predicted rows of each class
    for i, (row, support) in enumerate(zip(matrix, matrix.sum(axis=1), strict=True)):
        if support:
            drawn = rng.multinomial(support, row / support, size=resamples)
            hits[:, i] = drawn[:, i]
            marginals += drawn
            marginals[:, i] += support
    f1 = np.divide(2 * hits, marginals, out=np.zeros_like(hits), where=marginals > 0)
    macro = f1.sum(axis=1) / (marginals > 0).sum(axis=1)
    low, high = np.percentile(macro, [2.5, 97.5])
    return float(low), float(high)
