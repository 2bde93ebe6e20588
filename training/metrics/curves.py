"""One class against the rest at every threshold: ROC and precision-recall curves."""

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
    hits, misses = _cumulative(scores, positive)
    if hits[-1] == 0 or misses[-1] == 0:
        raise ValueError("a ROC curve needs positives and negatives")
    return Curve(np.r_[0, misses / misses[-1]], np.r_[0, hits / hits[-1]])


def area_under_roc(scores: ArrayLike, positive: ArrayLike) -> float:
    """The chance that a positive scores above a negative (ties count half), 0..1."""
    curve = roc_curve(scores, positive)
    return float(np.sum(np.diff(curve.x) * (curve.y[1:] + curve.y[:-1]) / 2))


def pr_curve(scores: ArrayLike, positive: ArrayLike) -> Curve:
    """Recall (x) against precision (y), starting at recall 0, precision 1.

    Raises:
        ValueError: there is no positive.
    """
    hits, misses = _cumulative(scores, positive)
    if hits[-1] == 0:
        raise ValueError("a precision-recall curve needs positives")
    return Curve(np.r_[0, hits / hits[-1]], np.r_[1, hits / (hits + misses)])


def average_precision(scores: ArrayLike, positive: ArrayLike) -> float:
    """Precision averaged over the steps of recall, without interpolation, 0..1."""
    curve = pr_curve(scores, positive)
    return float(np.sum(np.diff(curve.x) * curve.y[1:]))


def _cumulative(
    scores: ArrayLike, positive: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """True and false positives at each distinct score, highest first."""
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    sorted_scores = np.asarray(scores, np.float64)[order]
    right = np.asarray(positive, bool)[order]
    last_of_tie = np.r_[np.flatnonzero(np.diff(sorted_scores)), len(right) - 1]
    hits = np.cumsum(right)[last_of_tie].astype(float)
    return hits, (last_of_tie + 1) - hits
