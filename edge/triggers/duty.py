"""When the camera works and when it rests: windows and bursts together. Pure, on a passed clock."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from edge.clock import Clock
from edge.config import DutyCycle
from edge.triggers.windows import Schedule


class Rest(NamedTuple):
    """A time without the camera."""

    seconds: float
    """From now on."""
    wake: datetime | None
    """When the camera works again, UTC; None: no window opens within 400 days."""
    why: str
    """What it waits for, in words."""


class Duty:
    """Says before each frame whether to take it or to rest.

    Windows need a clock that can be trusted. Until it has been set once since the start, by NTP,
    GPS or a battery-backed clock, windows count as open: too many pictures rather than none. A
    clock that was set once is good enough for the rest of the run.

    A burst ends after `burst_frames` frames or `burst_seconds`, whichever comes first. The next one
    begins `every_seconds` after this one began, by the clock that gets there first: one of them
    stands still while the computer is suspended, the other may be set back.
    """

    def __init__(
        self, clock: Clock, schedule: Schedule | None = None, cycle: DutyCycle | None = None
    ) -> None:
        self._clock, self._schedule, self._cycle = clock, schedule, cycle
        self._trusted = False
        self._began: tuple[float, datetime] | None = None
        self._frames = 0

    def captured(self) -> None:
        """Count a frame of the burst."""
        self._frames += 1

    def rest(self) -> Rest | None:
        """Give how long to rest from now on; None: take a frame."""
        now = self._clock.now()
        if self._closed(now):
            self._began = None
            return self._until_opening(now)
        if self._cycle is None:
            return None
        monotonic = self._clock.monotonic()
        left = self._cycle.every_seconds - self._since(monotonic, now)
        if self._began is None or left <= 0:
            self._began, self._frames = (monotonic, now), 0
            return None
        if not self._spent(self._cycle, monotonic):
            return None
        wake = now + timedelta(seconds=left)
        return self._until_opening(now) if self._closed(wake) else Rest(left, wake, "next burst")

    def _since(self, monotonic: float, now: datetime) -> float:
        """Give the seconds since the burst began."""
        if self._began is None:
            return 0.0
        return max(monotonic - self._began[0], (now - self._began[1]).total_seconds())

    def _spent(self, cycle: DutyCycle, monotonic: float) -> bool:
        assert self._began is not None
        if cycle.burst_frames is not None and self._frames >= cycle.burst_frames:
            return True
        return monotonic - self._began[0] >= cycle.burst_seconds

    def _closed(self, moment: datetime) -> bool:
        """Say whether all windows are closed; none are while time or place are not known."""
        if self._schedule is None:
            return False
        self._trusted = self._trusted or self._clock.quality() != "unsynced"
        return self._trusted and self._schedule.known and self._schedule.at(moment) is None

    def _until_opening(self, now: datetime) -> Rest:
        assert self._schedule is not None
        opening = self._schedule.after(now)
        if opening is None:
            return Rest(86400.0, None, "no window opens within 400 days")
        seconds = (opening.start - now).total_seconds()
        return Rest(seconds, opening.start, f"window {opening.text}")
