"""How far chance alone may have moved an accuracy, or a difference of two."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Interval(NamedTuple):
    """Lower and upper bound of a confidence interval."""

    low: float
    high: float


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Score interval of a proportion (Wilson 1927, J. Am. Stat. Assoc. 22:209).

    It takes every trial as independent; see `group_bootstrap_interval` where they are not.

    Raises:
        ValueError: n is not positive or successes are not within 0..n.
    """
    if n <= 0 or not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n} trials: 0 <= successes <= n, n > 0")
    z = _z(confidence)
    p = successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    # At 0 and n the bound is exact; rounding must not put it outside 0..1.
    low = 0.0 if successes == 0 else centre - half
    return Interval(low, 1.0 if successes == n else centre + half)


def group_bootstrap_interval(
    values: ArrayLike,
    groups: ArrayLike,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Percentile interval of a mean whose values are independent only between groups.

    Whole groups are drawn with replacement (cluster bootstrap; Davison and Hinkley 1997, 3.8),
    so ten photos of one plant count for little more than one.

    Args:
        values: one number per photo, e.g. 1 where the answer is right.
        groups: the group of each photo, any hashable NumPy type.
        confidence: share of resamples inside the interval.
        resamples: how many draws.
        seed: the same seed gives the same interval.

    Raises:
        ValueError: the arrays are empty or differ in length.
    """
    numbers = np.asarray(values, np.float64)
    names, index = np.unique(np.asarray(groups), return_inverse=True)
    if len(numbers) == 0 or len(numbers) != len(index):
        raise ValueError(f"{len(numbers)} values, {len(index)} groups: give as many, at least one")
    totals = np.bincount(index, numbers, minlength=len(names))
    counts = np.bincount(index, minlength=len(names))
    drawn = np.random.default_rng(seed).integers(len(names), size=(resamples, len(names)))
    means = totals[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, (tail, 1 - tail))
    return Interval(float(low), float(high))


def paired_difference_interval(
    correct_a: ArrayLike, correct_b: ArrayLike, confidence: float = 0.95
) -> Interval:
    """Interval of accuracy(a) - accuracy(b), both on the same photos.

    Score intervals of both, joined by their correlation (Newcombe 1998, Stat. Med. 17:2635,
    method 10); good also when the two disagree on few photos or none.

    Raises:
        ValueError: the arrays are empty or differ in length.
    """
    both, only_a, only_b, neither = _paired_counts(correct_a, correct_b)
    n = both + only_a + only_b + neither
    a, b = (both + only_a) / n, (both + only_b) / n
    low_a, high_a = wilson_interval(both + only_a, n, confidence)
    low_b, high_b = wilson_interval(both + only_b, n, confidence)
    phi = _continuity_corrected_phi(both, only_a, only_b, neither)

    def span(x: float, y: float) -> float:
        return math.sqrt(max(0.0, x * x - 2 * phi * x * y + y * y))

    difference = (only_a - only_b) / n
    return Interval(
        difference - span(a - low_a, high_b - b), difference + span(high_a - a, b - low_b)
    )


def _paired_counts(correct_a: ArrayLike, correct_b: ArrayLike) -> tuple[int, int, int, int]:
    a: NDArray[np.bool_] = np.asarray(correct_a, bool)
    b: NDArray[np.bool_] = np.asarray(correct_b, bool)
    if len(a) == 0 or len(a) != len(b):
        raise ValueError(f"{len(a)} answers against {len(b)}: give as many, at least one")
    return int((a & b).sum()), int((a & ~b).sum()), int((~a & b).sum()), int((~a & ~b).sum())


def _continuity_corrected_phi(both: int, only_a: int, only_b: int, neither: int) -> float:
    product = (both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither)
    if product == 0:
        return 0.0
    covariance: float = both * neither - only_a * only_b
    if covariance > 0:
        n = both + only_a + only_b + neither
        covariance = max(covariance - n / 2, 0.0)
    return covariance / math.sqrt(product)


def _z(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence}: give a share between 0 and 1, e.g. 0.95")
    return NormalDist().inv_cdf(0.5 + confidence / 2)
