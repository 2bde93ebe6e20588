"""How long something takes, over several runs of the program."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from edge.errors import StoreError

_STEP_SECONDS = 30.0
"""How far ahead seconds are written down."""


class Ledger:
    """Seconds that something takes over several runs, written down ahead: a kill makes them more,
    never fewer, so that a device that restarts all the time comes to an end too.
    """

    def __init__(
        self,
        write: Callable[[float], None],
        spent: float,
        limit: float,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write, self._limit, self._now = write, limit, now
        self._began, self._written = now() - spent, spent
        self._step = min(_STEP_SECONDS, limit / 10)

    @property
    def seconds(self) -> float:
        """All until now."""
        return self._now() - self._began

    @property
    def over(self) -> bool:
        """They reach the limit."""
        return self.seconds >= self._limit

    def tick(self) -> None:
        """Write down what the next step will take, where it begins."""
        if self.seconds >= self._written:
            self._written = self.seconds + self._step
            self._put(self._written)

    def settle(self) -> None:
        """Write down what it really took, at the end of a run."""
        self._put(self.seconds)

    def _put(self, seconds: float) -> None:
        # On a full disk a count is missing, and nothing else.
        with contextlib.suppress(StoreError):
            self._write(seconds)
