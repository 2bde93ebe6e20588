"""How long a network of other sizes takes on one machine: a small model fitted to measurements.

Multiply-adds say little about time: a depthwise multiply-add costs several of a pointwise one, and
early layers move more than they multiply. Times of some smaller networks, measured in turn with
the whole one, are explained by four sums over the layers (non-negative least squares).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantize.compress.channels.cost import Term, layer_macs, layer_moved
from quantize.compress.channels.select import MULTIPLE

#: Networks that are measured to fit with, and to judge the fit by.
FITTED, JUDGED = 14, 4
_KINDS = ("spatial", "point", "depthwise")


class Speed(NamedTuple):
    """Predicts time as a share of the whole network's."""

    rates: tuple[float, ...]
    """Of: nothing, multiply-adds of the three kinds, activations moved."""
    scales: tuple[float, ...]
    """The same sums of the whole network."""
    error: float
    """Mean relative error on networks that were not fitted to."""

    def share(self, costs: Sequence[Term], widths: Sequence[int]) -> float:
        """Time of a network with such widths as a share of the whole one's."""
        return float(np.dot(self.rates, _sums(costs, widths) / np.array(self.scales)))


def fit(
    costs: Mapping[int, Sequence[Term]],
    widths: Sequence[int],
    measure: Callable[[int, Sequence[int]], float],
    seed: int,
) -> Speed:
    """Measure smaller networks and fit.

    Args:
        costs: of the network by resolution, its own first.
        widths: its own.
        measure: time of a network with another resolution and widths as a share of the whole's.
        seed: decides which are measured.
    """
    rng = np.random.default_rng(seed)
    sides = list(costs)
    scales = np.maximum(_sums(costs[sides[0]], widths), 1e-12)
    tried = [(int(rng.choice(sides)), _narrower(rng, widths)) for _ in range(FITTED + JUDGED)]
    found = np.array([measure(side, each) for side, each in tried])
    table = np.array([_sums(costs[side], each) / scales for side, each in tried])
    # The whole network is known too, and relative errors count.
    left = np.vstack([table[:FITTED] / found[:FITTED, None], np.ones(len(scales))])
    from scipy.optimize import nnls

    rates, _ = nnls(left, np.ones(FITTED + 1))
    guessed = table[FITTED:] @ rates
    return Speed(
        tuple(rates.tolist()),
        tuple(scales.tolist()),
        float(np.mean(np.abs(guessed / found[FITTED:] - 1))),
    )


def _narrower(rng: np.random.Generator, widths: Sequence[int]) -> list[int]:
    """Widths between a fifth and all, each group on its own around a common share."""
    common = rng.uniform(0.2, 1.0)
    shares = np.clip(common * rng.uniform(0.6, 1.4, len(widths)), 0.1, 1.0)
    return [
        min(width, max(MULTIPLE, round(share * width / MULTIPLE) * MULTIPLE))
        for share, width in zip(shares, widths, strict=True)
    ]


def _sums(costs: Sequence[Term], widths: Sequence[int]) -> NDArray[np.float64]:
    by_kind = [
        sum(layer_macs(term, widths) for term in costs if term.kind == kind) for kind in _KINDS
    ]
    return np.array([1.0, *by_kind, sum(layer_moved(term, widths) for term in costs)], float)
