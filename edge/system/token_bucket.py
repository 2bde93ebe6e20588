"""How often something may happen: a bucket that fills at a steady rate."""

from __future__ import annotations

import math


class Bucket:
    """Room for `burst` at once, filled again at `per_second`. For one thread."""

    def __init__(self, per_second: float, burst: int) -> None:
        self._rate, self._burst = per_second, float(burst)
        self._room, self._filled = 0.0, -math.inf

    def take(self, now: float) -> bool:
        """Take one at this time in seconds, if there is room for it; a time set back fills none."""
        self._room = min(self._burst, self._room + max(0.0, now - self._filled) * self._rate)
        self._filled = now
        if self._room < 1:
            return False
        self._room -= 1
        return True
