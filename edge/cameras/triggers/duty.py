"""When the camera works and when it rests: windows and bursts together. Pure, on a passed clock."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from edge.cameras.triggers.windows import Schedule
from edge.config import DutyCycle
from edge.system.clock import Clock


class Rest(NamedTuple):
    """A time without the camera."""

    seconds: float
    """From now on."""
    wake: datetime | None
    """When the camera works again, UTC; None: no window opens within 400 days."""
    why: str
    """What it waits for, in words."""


class Duty:
    """Decides before each frame whether to take it or to rest.

    Windows need a clock that was set, by NTP, GPS or a battery-backed one. Until then they count as
    open: too many pictures rather than none.

    A burst ends after `burst_frames` frames or `burst_seconds`, whichever comes first. The next one
    begins `every_seconds` after this one began. That needs no set clock, and the time for which the
    computer was suspended counts.
    """

    def __init__(
        self, clock: Clock, schedule: Schedule | None = None, cycle: DutyCycle | None = None
    ) -> None:
        self._clock, self._schedule, self._cycle = clock, schedule, cycle
        self._began: float | None = None
        self._frames = 0

    def captured(self) -> None:
        """Count a frame of the burst."""
        self._frames += 1

    def rest(self) -> Rest | None:
        """How long to rest from now on; None: take a frame."""
        now = self._clock.now()
        if self._closed(now):
            self._began = None
            return self._until_opening(now)
        if self._cycle is None:
            return None
        seconds = self._clock.since_boot()
        if self._began is None or seconds - self._began >= self._cycle.every_seconds:
            self._began, self._frames = seconds, 0
            return None
        if not self._spent(self._cycle, seconds - self._began):
            return None
        left = self._began + self._cycle.every_seconds - seconds
        wake = now + timedelta(seconds=left)
        return self._until_opening(now) if self._closed(wake) else Rest(left, wake, "next burst")

    def _spent(self, cycle: DutyCycle, seconds: float) -> bool:
        """Whether a burst that began so long ago is over."""
        if cycle.burst_frames is not None and self._frames >= cycle.burst_frames:
            return True
        return seconds >= cycle.burst_seconds

    def _closed(self, moment: datetime) -> bool:
        """Whether all windows are closed; none are while time or place are not known."""
        if self._schedule is None or self._clock.quality() == "unsynced":
            return False
        return self._schedule.known and self._schedule.at(moment) is None

    def _until_opening(self, now: datetime) -> Rest:
        assert self._schedule is not None
        opening = self._schedule.after(now)
        if opening is None:
            return Rest(86400.0, None, "no window opens within 400 days")
        seconds = (opening.start - now).total_seconds()
        return Rest(seconds, opening.start, f"window {opening.text}")


def outlook(schedule: Schedule | None, clock: Clock) -> str:
    """In words, whether a window is open now, and until when that stays so."""
    if schedule is None:
        return "always open"
    if clock.quality() == "unsynced":
        return "open until the clock is set (it is not set yet)"
    if not schedule.known:
        return "open until the place is known (it is not known yet)"
    now = clock.now()
    if (opening := schedule.at(now)) is not None:
        return f"open until {opening.end:%Y-%m-%d %H:%M} UTC: {opening.text}"
    if (opening := schedule.after(now)) is not None:
        return f"closed until {opening.start:%Y-%m-%d %H:%M} UTC: {opening.text}"
    return "closed; no window opens within 400 days: look at trigger.windows"
