"""Which photo is seen when, and how much it counts: drawn in advance, from the seed alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge.errors import TrainingError


def group_shares(
    labels: NDArray[np.integer], groups: Sequence[str], balance: float
) -> NDArray[np.float64]:
    """How often each photo is drawn per epoch, on average; the mean is 1.

    Args:
        labels: class index of each photo, shape (n,).
        groups: group of each photo.
        balance: 0 = all photos alike; 1 = all groups of a class alike, whatever their size;
            between, a group of k photos counts as k ** (1 - balance).

    Returns:
        float64 (n,); every class keeps the sum it has in the data.
    """
    labels = np.asarray(labels)
    _, index = np.unique(np.asarray(groups), return_inverse=True)
    share = np.bincount(index)[index] ** -float(balance)
    in_class = np.bincount(labels, share)[labels]
    result: NDArray[np.float64] = share / in_class * np.bincount(labels)[labels]
    return result


def epoch_order(shares: NDArray[np.float64], seed: int, epoch: int) -> NDArray[np.int32]:
    """Indices for one epoch, shuffled; as many as there are photos.

    Systematic sampling: a photo with share s comes floor(s) or ceil(s) times, and with all shares
    1 each comes exactly once.
    """
    rng = np.random.default_rng((seed, epoch))
    shuffled = rng.permutation(len(shares))
    ends = np.cumsum(shares[shuffled])
    ends *= len(shares) / ends[-1]
    ticks = np.arange(len(shares)) + rng.random()
    drawn = shuffled[np.searchsorted(ends, ticks, side="right").clip(max=len(shares) - 1)]
    return rng.permutation(drawn).astype(np.int32)


def class_weights(labels: NDArray[np.integer], classes: int, rule: str) -> NDArray[np.float32]:
    """Loss weight of each class, float32 (classes,), mean 1 over the photos.

    Args:
        labels: class index of each photo.
        classes: how many classes there are.
        rule: "none", "inverse" (1/n) or "effective": (1 - b) / (1 - b**n) with b = 0.999
            (Cui et al. 2019, arXiv:1901.05555).

    Raises:
        TrainingError: the rule is unknown, or a class has no photo.
    """
    counts = np.bincount(labels, minlength=classes).astype(float)
    if not counts.all():
        raise TrainingError(f"{int((counts == 0).sum())} classes have no training photo")
    if rule == "none":
        weights = np.ones(classes)
    elif rule == "inverse":
        weights = 1 / counts
    elif rule == "effective":
        weights = np.array([1 / -math.expm1(n * math.log(0.999)) for n in counts])
    else:
        raise TrainingError(f"class_weights {rule!r}: one of none, inverse, effective")
    result = weights * (counts.sum() / float((weights * counts).sum()))
    return np.asarray(result, np.float32)
