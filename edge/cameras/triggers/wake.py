"""Tells a power manager, through a file, that the camera sleeps and when it must be awake again."""

from __future__ import annotations

import logging
from datetime import datetime
from pathlib import Path

import msgspec

from edge.cameras.triggers.duty import Rest
from edge.errors import RecordError
from edge.system.clock import Clock
from edge.system.counters import Counters, Episode
from edge.system.record_file import RecordFile

log = logging.getLogger(__name__)


class Wake(msgspec.Struct, frozen=True, kw_only=True):
    """The content of the file, JSON."""

    schema: int = 1
    written: datetime
    """UTC."""
    clock: str
    """How far the times can be trusted, as in a sighting."""
    wake: datetime | None
    """When to be awake, UTC; null: no window opens within 400 days."""
    seconds: float
    """The same, from `written` on: right with a clock that is not set, too."""
    why: str
    """``next burst``, or the window that opens."""


class Sleep:
    """Keeps the wake file while the camera sleeps; it is gone while the camera works.

    A file that cannot be written is logged once and stands in `health`; the camera sleeps anyway.
    """

    def __init__(self, file: Path | None, clock: Clock, counters: Counters) -> None:
        self._file = RecordFile(file, Wake) if file is not None else None
        self._clock, self._counters = clock, counters
        self._trouble = Episode("trigger.wake_file", counters, log)
        self._until: datetime | None = None
        self._asleep = False
        self._remove()  # that of the run before

    def begin(self, rest: Rest) -> None:
        """Note that the camera sleeps; to be called again is fine, and while it goes on."""
        if self._asleep and _same(rest.wake, self._until):
            return
        self._asleep, self._until = True, rest.wake
        until = f"{rest.wake:%Y-%m-%d %H:%M:%S} UTC" if rest.wake else "told otherwise"
        self._counters.note("asleep", f"until {until}: {rest.why}")
        log.info("the camera sleeps until %s: %s", until, rest.why)
        self._write(rest)

    def end(self) -> None:
        """Note that the camera works."""
        if not self._asleep:
            return
        self._asleep, self._until = False, None
        self._counters.note("asleep", None)
        log.info("the camera works again")
        self._remove()

    def _write(self, rest: Rest) -> None:
        """Write the file whole, and on disk, before the power may go."""
        if self._file is None:
            return
        wake = Wake(
            written=self._clock.now(),
            clock=self._clock.quality(),
            wake=rest.wake,
            seconds=round(rest.seconds, 3),
            why=rest.why,
        )
        with self._trouble.over(RecordError):
            self._file.replace(wake)

    def _remove(self) -> None:
        if self._file is not None:
            with self._trouble.over(RecordError):
                self._file.remove()


def _same(one: datetime | None, other: datetime | None) -> bool:
    """Compare to the second: two clocks drift against each other."""
    if one is None or other is None:
        return one is other
    return abs((one - other).total_seconds()) < 1
