"""What follows from counting right and wrong answers, as scikit-learn counts them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.integer]


class ClassScores(NamedTuple):
    """Per-class figures, each of shape (classes,); 0 where nothing was there to divide by."""

    n: NDArray[np.int64]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]

    def of(self, index: int) -> dict[str, Any]:
        """Those of one class, by name, as plain numbers."""
        return {name: figures[index].item() for name, figures in self._asdict().items()}


def accuracy(truth: Labels, predicted: Labels) -> float:
    """The share of answers that are right, 0..1.

    Raises:
        ValueError: the arrays differ in length or are empty.
    """
    if len(truth) == 0 or len(truth) != len(predicted):
        raise ValueError(f"{len(truth)} true labels, {len(predicted)} predictions: give as many")
    return float(np.mean(np.asarray(truth) == np.asarray(predicted)))


def confusion_matrix(truth: Labels, predicted: Labels, classes: int) -> NDArray[np.int64]:
    """Counts of shape (classes, classes): row = truth, column = prediction.

    Raises:
        ValueError: a label is outside 0..classes-1.
    """
    from sklearn import metrics

    _check(truth, predicted, classes)
    counts: NDArray[np.int64] = metrics.confusion_matrix(truth, predicted, labels=range(classes))
    return counts


def class_scores(truth: Labels, predicted: Labels, classes: int) -> ClassScores:
    """Precision, recall and F1 of every class.

    Raises:
        ValueError: a label is outside 0..classes-1.
    """
    from sklearn import metrics

    _check(truth, predicted, classes)
    precision, recall, f1, n = metrics.precision_recall_fscore_support(
        truth, predicted, labels=range(classes), zero_division=0
    )
    return ClassScores(n, precision, recall, f1)


def balanced_accuracy(truth: Labels, predicted: Labels) -> float:
    """Mean recall over the classes that occur in the truth, 0..1."""
    from sklearn import metrics

    occur = np.unique(truth)
    return float(metrics.recall_score(truth, predicted, labels=occur, average="macro"))


def macro_f1(truth: Labels, predicted: Labels) -> float:
    """Mean F1 over the classes that occur in the truth or among the answers, 0..1."""
    from sklearn import metrics

    return float(metrics.f1_score(truth, predicted, average="macro"))


def _check(truth: Labels, predicted: Labels, classes: int) -> None:
    for name, values in (("true", truth), ("predicted", predicted)):
        if len(values) and not 0 <= np.min(values) <= np.max(values) < classes:
            low, high = np.min(values), np.max(values)
            raise ValueError(f"{name} labels {low}..{high} of {classes} classes")
