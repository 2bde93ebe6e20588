"""The share of the predicted cost that keeps one.

Multiply-adds are counted; time and bytes are measured on a finished int8 model of that shape,
whose weights need no training for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from edge.errors import QuantizeError
from quantize.options import Budget

#: The search ends when the share is known this closely, as a ratio.
CLOSE = 1.03


def tries(least: float) -> int:
    """How many models `find_share` measures at most, `least` being the narrowest one's share."""
    wide = math.log(1 / least) / math.log(CLOSE)
    # The first is no half where the budget itself is tried, the last is the narrowest.
    return 2 + math.ceil(math.log2(wide)) if wide > 1 else 1


def find_share(
    budget: Budget,
    measure: Callable[[float], float],
    least: float,
    say: Callable[[str], None],
    where: str = "",
) -> float:
    """The largest share of the predicted cost whose model really costs no more than the budget.

    Args:
        budget: of any kind but "macs".
        measure: what a model with such a predicted share really costs, in the budget's unit.
        least: the share of the narrowest network.
        say: told about every try.
        where: what is said in front of it.

    Raises:
        QuantizeError: even the narrowest network costs more.
    """

    def tried(share: float) -> float:
        found = measure(share)
        limit = f"{budget.most:g} allowed"
        say(f"{where}tried {share:.1%} of the predicted cost: {budget.kind} {found:.4g}, {limit}")
        return found

    # Cost grows with the share, about in proportion: halve in between on the logarithm.
    low, high = least, 1.0
    middle = min(0.9, max(least, budget.most)) if budget.kind == "latency" else (low * high) ** 0.5
    while high / low > CLOSE:
        low, high = (middle, high) if tried(middle) <= budget.most else (low, middle)
        middle = (low * high) ** 0.5
    if low == least and tried(low) > budget.most:
        raise cannot_be_met(budget)
    return low


def cannot_be_met(budget: Budget) -> QuantizeError:
    """What is raised where no network is small enough."""
    return QuantizeError(
        f"the budget {budget} cannot be met: even the narrowest network costs more. Take a "
        "smaller resolution or model to begin with, or a larger budget"
    )
