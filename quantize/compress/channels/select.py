"""Which channels to take out for a budget: the least harm for what it saves, block by block."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from edge.errors import QuantizeError

#: Widths stay multiples of this: the int8 kernels of XNNPACK work on 8 channels at a time, and a
#: ninth costs as much as sixteen.
MULTIPLE = 8


def select(
    scores: Sequence[NDArray[np.float64]],
    cost: Callable[[Sequence[int]], float],
    budget: float,
    least: Sequence[int] | None = None,
) -> dict[int, NDArray[np.int64]]:
    """Which channels to keep, ascending, by group; groups that stay whole are left out.

    Args:
        scores: of the channels of each group; those of one group compare, and so do groups.
        cost: of a network with such widths.
        budget: the most it may cost.
        least: no group becomes narrower than this; None: than `MULTIPLE`.

    Raises:
        QuantizeError: even the narrowest network costs more.
    """
    orders = [np.argsort(-score, kind="stable") for score in scores]
    sorted_scores = [score[order] for score, order in zip(scores, orders, strict=True)]
    widths = [len(score) for score in scores]
    least = least or [MULTIPLE] * len(widths)
    while (now := cost(widths)) > budget:
        best, best_price = -1, np.inf
        for group, width in enumerate(widths):
            narrower = _narrower(width)
            if narrower == width or narrower < least[group]:
                continue
            saved = now - cost([*widths[:group], narrower, *widths[group + 1 :]])
            harm = float(sorted_scores[group][narrower:width].sum())
            if saved > 0 and harm / saved < best_price:
                best, best_price = group, harm / saved
        if best < 0:
            raise QuantizeError(
                "the budget cannot be met: as narrow as layers may become, the network still costs "
                f"{now:,.4g}, but {budget:,.4g} is asked for"
            )
        widths[best] = _narrower(widths[best])
    return {
        group: np.sort(orders[group][:width])
        for group, width in enumerate(widths)
        if width < len(scores[group])
    }


def narrowest(widths: Sequence[int], share: float) -> list[int]:
    """Multiples of eight that leave each group at least a share of its width."""
    return [min(width, _up(share * width)) for width in widths]


def _up(width: float) -> int:
    return max(MULTIPLE, int(-(-width // MULTIPLE)) * MULTIPLE)


def _narrower(width: int) -> int:
    """The next multiple below, at least one block."""
    return max(MULTIPLE, (width - 1) // MULTIPLE * MULTIPLE) if width > MULTIPLE else width
