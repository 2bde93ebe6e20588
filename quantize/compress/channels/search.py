"""Budgets in the user's words, and the share of the predicted cost that keeps one.

Multiply-adds are counted; time and bytes are measured on a finished int8 model of that shape,
whose weights need no training for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal, NamedTuple

from edge.errors import QuantizeError

Kind = Literal["macs", "latency", "ms", "bytes"]

#: What each kind is called and takes.
KINDS: dict[Kind, str] = {
    "macs": "a share of the multiply-adds, as macs=0.5",
    "latency": "a share of the unpruned int8 model's time, as latency=0.5",
    "ms": "milliseconds for one picture, one thread, as ms=8",
    "bytes": "bytes of the zipped model, as bytes=300kB",
}
#: Those that hold for one machine: this one, or that of --on.
TIMED: tuple[Kind, ...] = ("latency", "ms")
_UNITS = {"": 1, "B": 1, "kB": 1000, "MB": 1_000_000, "KiB": 1024, "MiB": 1 << 20}
#: The search ends when the share is known this closely, as a ratio.
CLOSE = 1.03


class Budget(NamedTuple):
    """What a model may cost at most."""

    kind: Kind
    most: float

    def __str__(self) -> str:
        """As on the command line."""
        return f"{self.kind}={self.most:g}"


def parse(text: str) -> Budget:
    """Read "macs=0.5", "latency=0.5", "ms=8" or "bytes=300kB".

    Raises:
        QuantizeError: another kind, no number, or a value out of range.
    """
    kind, equals, value = text.partition("=")
    match = re.fullmatch(r"\s*([0-9.eE+-]+?)\s*([A-Za-z]*)\s*", value)
    known = kind in KINDS and bool(equals) and match is not None
    unit = match[2] if match else ""
    if not known or unit not in (_UNITS if kind == "bytes" else ("", "ms") if kind == "ms" else ""):
        raise QuantizeError(f"--budget {text}: give " + ", or ".join(KINDS.values()))
    try:
        most = float(match[1]) * (_UNITS[unit] if kind == "bytes" else 1)  # type: ignore[index]
    except ValueError as error:
        raise QuantizeError(f"--budget {text}: {value!r} is no number") from error
    if not most > 0 or (kind in ("macs", "latency") and most >= 1):
        limits = "a share above 0 and below 1" if kind in ("macs", "latency") else "more than 0"
        raise QuantizeError(f"--budget {text}: give {limits}")
    if kind == "bytes" and most <= 1:
        raise QuantizeError(f"--budget {text}: bytes are counted, not a share; give bytes=300kB")
    return Budget(kind, most)  # type: ignore[arg-type]  # held against KINDS above


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
