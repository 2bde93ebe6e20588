"""How times are spread: percentiles out of a histogram that never grows."""

from __future__ import annotations

import math

from edge.messages.health import Spread

_STEP = math.log(1.02)
"""Each class of times is 2 % wider than the one before, so a percentile is right within 1 %."""
_LEAST, _MOST = 1e-3, 1e9


class Histogram:
    """Times in milliseconds, counted in classes of equal ratio: at most 1,396 of them."""

    def __init__(self) -> None:
        self.classes: dict[int, int] = {}
        """How many times fell into each class, by its number."""
        self._most = 0.0
        self.count = 0
        self.sum = 0.0

    def add(self, milliseconds: float) -> None:
        """Count a time."""
        index = round(math.log(min(max(milliseconds, _LEAST), _MOST)) / _STEP)
        self.classes[index] = self.classes.get(index, 0) + 1
        self._most = max(self._most, milliseconds)
        self.count += 1
        self.sum += milliseconds

    def spread(self) -> Spread | None:
        """The percentiles (nearest rank); None where nothing was counted."""
        if not self.count:
            return None
        classes = sorted(self.classes.items())
        found = []
        for share in (0.5, 0.95, 0.99):
            rank, seen = math.ceil(share * self.count), 0
            for index, count in classes:
                seen += count
                if seen >= rank:
                    found.append(round(min(math.exp(index * _STEP), self._most), 3))
                    break
        p50, p95, p99 = found
        return Spread(count=self.count, p50=p50, p95=p95, p99=p99, max=round(self._most, 3))
