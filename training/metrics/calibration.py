"""Whether 0.8 means right in 8 of 10 cases, and the temperature that makes it so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


class Reliability(NamedTuple):
    """Answers sorted into equal bins of confidence; each array has one entry per bin.

    Attributes:
        edges: bin borders, shape (bins + 1,).
        n: answers in the bin.
        confidence: their mean confidence (nan if none).
        accuracy: the share of them that is right (nan if none).
    """

    edges: Floats
    n: NDArray[np.int64]
    confidence: Floats
    accuracy: Floats


def softmax(logits: ArrayLike, temperature: float = 1.0) -> Floats:
    """Probabilities of logits / temperature along the last axis, in float64."""
    scaled = np.asarray(logits, np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    shares: Floats = powers / powers.sum(axis=-1, keepdims=True)
    return shares


def log_softmax(logits: ArrayLike, temperature: float = 1.0) -> Floats:
    """Natural logarithms of `softmax`, which never are -inf."""
    scaled = np.asarray(logits, np.float64) / temperature
    above = scaled - scaled.max(axis=-1, keepdims=True)
    shares: Floats = above - np.log(np.exp(above).sum(axis=-1, keepdims=True))
    return shares


def negative_log_likelihood(
    logits: ArrayLike, truth: NDArray[np.integer], temperature: float = 1.0
) -> float:
    """Mean of -log p(truth), in nats."""
    return float(-log_softmax(logits, temperature)[np.arange(len(truth)), truth].mean())


def reliability(
    probabilities: ArrayLike, truth: NDArray[np.integer], bins: int = 15
) -> Reliability:
    """Confidence against accuracy in `bins` equal bins over 0..1 of the top probability."""
    table = np.asarray(probabilities, np.float64)
    confidence, right = table.max(axis=1), table.argmax(axis=1) == truth
    edges = np.linspace(0, 1, bins + 1)
    where = np.clip(np.digitize(confidence, edges, right=True) - 1, 0, bins - 1)
    count = np.bincount(where, minlength=bins)
    with np.errstate(invalid="ignore"):
        return Reliability(
            edges,
            count,
            np.bincount(where, confidence, minlength=bins) / count,
            np.bincount(where, right, minlength=bins) / count,
        )


def ece(probabilities: ArrayLike, truth: NDArray[np.integer], bins: int = 15) -> float:
    """Expected calibration error, 0..1 (Naeini et al. 2015; Guo et al. 2017, arXiv:1706.04599)."""
    table = reliability(probabilities, truth, bins)
    gap = np.abs(table.accuracy - table.confidence)
    return float(np.nansum(gap * table.n) / table.n.sum())


def fit_temperature(
    logits: ArrayLike, truth: NDArray[np.integer], groups: Sequence[str] | None = None
) -> float:
    """The temperature with the least negative log likelihood (Guo et al. 2017), within 0.05..20.

    Every group counts once, however many photos it has: twenty shots of one plant are right or
    wrong together and would drown the rest. The likelihood is convex in 1/temperature, so halving
    on its slope finds the optimum.

    Args:
        logits: shape (n, classes), of photos that the weights were not trained on.
        truth: class indices, shape (n,).
        groups: of each photo; None: each is its own.

    Raises:
        ValueError: no photos, or not as many labels or groups as logits are given.
    """
    table = np.asarray(logits, np.float64)
    if table.ndim != 2 or len(table) == 0 or len(table) != len(truth):
        raise ValueError(f"logits of shape {table.shape} for {len(truth)} labels")
    names = range(len(truth)) if groups is None else groups
    _, group, size = np.unique(np.asarray(names), return_inverse=True, return_counts=True)
    if len(group) != len(truth):
        raise ValueError(f"{len(group)} groups for {len(truth)} labels")
    of_truth = table[np.arange(len(truth)), truth]

    def slope(inverse: float) -> float:
        expected = (softmax(table, 1 / inverse) * table).sum(axis=1)
        return float(np.average(expected - of_truth, weights=1 / size[group]))

    low, high = 1 / 20, 1 / 0.05
    for _ in range(60):
        middle = np.sqrt(low * high)
        low, high = (low, middle) if slope(middle) > 0 else (middle, high)
    return float(1 / np.sqrt(low * high))


def calibrated_log_loss(logits: ArrayLike, truth: NDArray[np.integer]) -> float:
    """Mean of -log p(truth) at the best temperature, in nats: how much the answers tell.

    Unlike accuracy it moves with every photo, so it tells models apart on fewer of them.
    """
    return negative_log_likelihood(logits, truth, fit_temperature(logits, truth))


def fit_unknown_threshold(scores: ArrayLike, correct: ArrayLike, keep: float = 0.95) -> float:
    """The score below which an answer becomes "unknown", keeping a share of the right answers.

    Args:
        scores: one per photo, higher = surer, e.g. the top calibrated probability.
        correct: where the answer is right.
        keep: share of the right answers that must stay at or above the threshold, 0..1.

    Raises:
        ValueError: keep is no share, or no answer is right.
    """
    right = np.sort(np.asarray(scores, np.float64)[np.asarray(correct, bool)])
    if not 0 < keep <= 1:
        raise ValueError(f"keep {keep}: give a share above 0, at most 1")
    if len(right) == 0:
        raise ValueError("no answer is right: a threshold cannot be fitted")
    return float(right[len(right) - int(np.ceil(keep * len(right)))])
