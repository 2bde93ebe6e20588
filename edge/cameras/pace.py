"""The rhythm of a live camera."""

from __future__ import annotations

import time


class Pace:
    """Waits so that frames are `interval_seconds` apart; a late one does not hurry the next."""

    def __init__(self, interval_seconds: float) -> None:
        self._interval = interval_seconds
        self._due = time.monotonic()

    def wait(self) -> None:
        """Wait until the next frame is due."""
        now = time.monotonic()
        if now < self._due:
            time.sleep(self._due - now)
        self._due = max(self._due + self._interval, time.monotonic())
