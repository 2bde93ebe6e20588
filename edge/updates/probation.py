"""Whether a new model holds up: frames and seconds it must reach, and what it must not do."""

from __future__ import annotations

import threading
from collections import deque
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.config import Update
    from edge.messages.updates import Probation

FAILURES = 5
"""Frames in a row that a model may not fail on."""
_LATEST, _LEAST = 100, 10
"""Intervals that are remembered; that a median needs."""


class Rhythm:
    """Counts frames and remembers the times between them; for several threads.

    The median between frames is what the model and the interval make of it; nights and rests
    between bursts are few among many, and do not move it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.begin(0.0)

    def begin(self, now: float) -> None:
        """Start from nothing at the monotonic time `now` (seconds)."""
        with self._lock:
            self._since, self._last = now, float("nan")
            self._intervals: deque[float] = deque(maxlen=_LATEST)
            self.frames = 0

    def frame(self, now: float) -> None:
        """Take note of a frame that was classified `now`."""
        with self._lock:
            if self.frames:
                self._intervals.append(now - self._last)
            self._last = now
            self.frames += 1

    def seconds(self, now: float) -> float:
        """Seconds since the beginning."""
        return now - self._since

    @property
    def interval_seconds(self) -> float | None:
        """Median from one frame to the next; None: too few to say."""
        with self._lock:
            intervals = list(self._intervals)
        return median(intervals) if len(intervals) >= _LEAST else None


def failing(
    trial: Probation, settings: Update, rhythm: Rhythm, failures: int, busy_seconds: float
) -> str | None:
    """In words, why a model on probation must be taken back; None: nothing speaks against it."""
    if busy_seconds > settings.hang_seconds:
        return (
            f"it hung: {busy_seconds:.0f} s on one frame, model.update.hang_seconds is "
            f"{settings.hang_seconds:g}"
        )
    if failures >= FAILURES:
        return f"it failed on {failures} frames in a row"
    before, now = trial.interval_seconds, rhythm.interval_seconds
    if before and now and now * settings.rate > before:
        return (
            f"{1 / now:.2g} frames a second in place of {1 / before:.2g}, "
            f"model.update.rate asks for {settings.rate:g} of them"
        )
    return None


def done(trial: Probation, settings: Update, rhythm: Rhythm, now: float) -> float:
    """How much of the trial is over, 0 to 1."""
    frames = (trial.frames + rhythm.frames) / settings.frames
    seconds = trial.seconds + rhythm.seconds(now)
    return min(1.0, frames, seconds / settings.seconds if settings.seconds else 1.0)
