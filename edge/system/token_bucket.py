"""How often something may happen: a bucket that fills at a steady rate."""

from __future__ import annotations

from edge.system.clock import Clock


class Bucket:
    """Room for `burst` at once, filled again at `per_second`. For one thread."""

    def __init__(self, per_second: float, burst: int, clock: Clock) -> None:
        self._rate, self._burst, self._clock = per_second, float(burst), clock
        self._room, self._filled = float(burst), clock.monotonic()

    def take(self) -> bool:
        """Take one, if there is room for it."""
        now = self._clock.monotonic()
        self._room = min(self._burst, self._room + (now - self._filled) * self._rate)
        self._filled = now
        if self._room < 1:
            return False
        self._room -= 1
        return True
