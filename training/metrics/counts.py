"""What follows from counting right and wrong answers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class ClassScores(NamedTuple):
    """Per-class figures, each of shape (classes,); 0 where nothing was there to divide by."""

    n: NDArray[np.int64]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]


def accuracy(truth: NDArray[np.integer], predicted: NDArray[np.integer]) -> float:
    """The share of answers that are right, 0..1.

    Raises:
        ValueError: the arrays differ in length or are empty.
    """
    if len(truth) == 0 or len(truth) != len(predicted):
        raise ValueError(f"{len(truth)} true labels, {len(predicted)} predictions: give as many")
    return float(np.mean(np.asarray(truth) == np.asarray(predicted)))


def confusion_matrix(
    truth: NDArray[np.integer], predicted: NDArray[np.integer], classes: int
) -> NDArray[np.int64]:
    """Counts of shape (classes, classes): row = truth, column = prediction.

    Raises:
        ValueError: a label is outside 0..classes-1.
    """
    truth, predicted = np.asarray(truth, np.int64), np.asarray(predicted, np.int64)
    for name, values in (("true", truth), ("predicted", predicted)):
        if len(values) and not 0 <= values.min() <= values.max() < classes:
            raise ValueError(f"{name} labels {values.min()}..{values.max()} of {classes} classes")
    flat = np.bincount(truth * classes + predicted, minlength=classes * classes)
    return flat.reshape(classes, classes)


def class_scores(confusion: NDArray[np.integer]) -> ClassScores:
    """Precision, recall and F1 of every class from a confusion matrix."""
    right = np.diag(confusion).astype(float)
    n, said = confusion.sum(axis=1), confusion.sum(axis=0)
    return ClassScores(
        n=n.astype(np.int64),
        precision=_ratio(right, said),
        recall=_ratio(right, n),
        f1=_ratio(2 * right, n + said),
    )


def balanced_accuracy(confusion: NDArray[np.integer]) -> float:
    """Mean recall over the classes that occur in the truth, 0..1."""
    scores = class_scores(confusion)
    return float(scores.recall[scores.n > 0].mean())


def macro_f1(confusion: NDArray[np.integer]) -> float:
    """Mean F1 over the classes that occur in the truth or among the answers, 0..1."""
    seen = (confusion.sum(axis=0) + confusion.sum(axis=1)) > 0
    return float(class_scores(confusion).f1[seen].mean())


def _ratio(above: NDArray[np.floating], below: NDArray[np.integer]) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = np.zeros(len(above))
    np.divide(above, below, out=shares, where=below > 0)
    return shares
