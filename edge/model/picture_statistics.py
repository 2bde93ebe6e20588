"""How pictures look and how sure the model is, as histograms; and how far two of them are apart.

Used on both sides: the desktop counts validation photos into a bundle, the device its frames. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log, log2, sqrt
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from edge.model.image.preprocessing import Pixels

CONFIDENCE_BINS = 10
"""Tenths: [0, 0.1), [0.1, 0.2), ... [0.9, 1]."""
BRIGHTNESS_BINS = 16
"""Sixteen levels of mean luma each: [0, 16), [16, 32), ... [240, 255]."""
SHARPNESS_BINS = 16
"""Octaves of the variance of the Laplacian: [0, 1), [1, 2), [2, 4), ... [8192, 16384), the rest."""


class Look(NamedTuple):
    """Two numbers that tell dark and blurred pictures from others."""

    brightness: float
    """Mean luma, 0 to 255."""
    sharpness: float
    """Variance of the Laplacian, in squared levels."""


def look(fitted: Pixels) -> Look:
    """Measure a picture as the model sees it, uint8 (height, width, 1 or 3).

    Luma is ITU-R 601. The variance of the Laplacian (4-neighbour kernel) as a measure of focus is
    from Pech-Pacheco et al., Diatom autofocusing in brightfield microscopy (2000). A picture with a
    side below 3 pixels has a sharpness of 0.
    """
    if fitted.shape[2] == 1:
        luma = fitted[:, :, 0]
    else:
        luma = np.asarray(Image.fromarray(np.ascontiguousarray(fitted)).convert("L"))
    level = luma.astype(np.int16)
    laplacian = level[:-2, 1:-1] + level[2:, 1:-1] + level[1:-1, :-2] + level[1:-1, 2:]
    laplacian -= level[1:-1, 1:-1] << 2
    count = laplacian.size
    if not count:
        return Look(float(luma.mean()), 0.0)
    # Whole numbers in float64 add up exactly, in whatever order a processor adds them.
    values = laplacian.astype(np.float64).ravel()
    mean = float(values.sum()) / count
    return Look(float(luma.mean()), float(values @ values) / count - mean * mean)


def confidence_bin(confidence: float) -> int:
    """The bin of a probability."""
    return min(int(confidence * CONFIDENCE_BINS), CONFIDENCE_BINS - 1)


def brightness_bin(brightness: float) -> int:
    """The bin of a mean luma."""
    return min(int(brightness) // 16, BRIGHTNESS_BINS - 1)


def sharpness_bin(sharpness: float) -> int:
    """The bin of a variance of the Laplacian."""
    return 0 if sharpness < 1 else min(int(log2(sharpness)) + 1, SHARPNESS_BINS - 1)


def distance(expected: Sequence[float], seen: Sequence[float], n: float, m: float) -> float:
    """How far two histograms are apart beyond chance: 0 (alike) to 1 (nothing in common).

    The Jensen-Shannon distance, the root of the divergence in bits (Endres and Schindelin, A new
    metric for probability distributions, 2003), of what is left of the divergence (Lin, Divergence
    measures based on the Shannon entropy, 1991) beyond what samples of `n` and `m` from one
    distribution reach in 95 of 100 cases: 8 ln 2 times it is then, to second order, (1/n + 1/m)
    times chi-square, with one degree of freedom less than there are bins. It needs no guess for
    empty bins, which make the population stability index infinite.

    `n` is the size of the sample behind `expected`, `m` that behind `seen`; neither may be 0.
    """
    p, q = np.asarray(expected, np.float64), np.asarray(seen, np.float64)
    p, q = p / p.sum(), q / q.sum()
    used = (p + q) > 0
    middle = (p + q)[used] / 2
    divergence = (_bits(p[used], middle) + _bits(q[used], middle)) / 2
    chance = _chi_square_95(int(used.sum()) - 1) / (8 * log(2)) * (1 / n + 1 / m)
    return sqrt(min(1.0, max(0.0, divergence - chance)))


def _bits(p: np.ndarray, middle: np.ndarray) -> float:
    """The Kullback-Leibler divergence of p from the middle, in bits."""
    some = p > 0
    return float(np.sum(p[some] * np.log2(p[some] / middle[some])))


def _chi_square_95(freedom: int) -> float:
    """The 95 % point of chi-square (Wilson and Hilferty, 1931; off by 1 % at most)."""
    if freedom < 1:
        return 0.0
    spread = 2 / (9 * freedom)
    return float(freedom * (1 - spread + 1.6449 * sqrt(spread)) ** 3)
