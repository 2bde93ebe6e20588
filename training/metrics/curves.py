"""One class against the rest at every threshold, by scikit-learn: ROC and precision-recall."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Curve(NamedTuple):
    """Points of a curve, from the strictest threshold to the loosest."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]


def roc_curve(scores: ArrayLike, positive: ArrayLike) -> Curve:
    """False positive rate (x) against true positive rate (y), from (0, 0) to (1, 1).

    Raises:
        ValueError: there is no positive or no negative.
    """
    from sklearn import metrics

    _check(positive, "a ROC curve needs positives and negatives", negatives=True)
    x, y, _ = metrics.roc_curve(positive, scores, drop_intermediate=False)
    return Curve(x, y)


def area_under_roc(scores: ArrayLike, positive: ArrayLike) -> float:
    """The chance that a positive scores above a negative (ties count half), 0..1.

    Raises:
        ValueError: there is no positive or no negative.
    """
    from sklearn import metrics

    return float(metrics.auc(*roc_curve(scores, positive)))


def pr_curve(scores: ArrayLike, positive: ArrayLike) -> Curve:
    """Recall (x) against precision (y), starting at recall 0, precision 1.

    Raises:
        ValueError: there is no positive.
    """
    from sklearn import metrics

    _check(positive, "a precision-recall curve needs positives")
    precision, recall, _ = metrics.precision_recall_curve(positive, scores)
    return Curve(recall[::-1], precision[::-1])


def average_precision(scores: ArrayLike, positive: ArrayLike) -> float:
    """Precision averaged over the steps of recall, without interpolation, 0..1.

    Raises:
        ValueError: there is no positive.
    """
    from sklearn import metrics

    _check(positive, "a precision-recall curve needs positives")
    return float(metrics.average_precision_score(positive, scores))


def _check(positive: ArrayLike, problem: str, *, negatives: bool = False) -> None:
    right = np.asarray(positive, bool)
    if not right.any() or (negatives and right.all()):
        raise ValueError(problem)
