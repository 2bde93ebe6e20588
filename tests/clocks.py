"""Clocks that a test sets: of a computer that started wrong, by hand, by waiting."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

from edge.messages.base import Clock as Quality
from edge.system.clock import Clock

RIGHT = datetime(2026, 6, 21, 9, 0, tzinfo=UTC)


class Field(Clock):
    """The clock of a computer that started at the right time RIGHT and shows another."""

    def __init__(
        self, wrong_by: timedelta = timedelta(days=-200), quality: Quality = "unsynced"
    ) -> None:
        super().__init__()
        self.seconds, self.wrong_by, self.is_, self.asleep = 100.0, wrong_by, quality, 0.0

    def now(self) -> datetime:
        """What it shows."""
        return RIGHT + timedelta(seconds=self.since_boot()) + self.wrong_by

    def monotonic(self) -> float:
        """Seconds since the start, without those asleep."""
        return self.seconds

    def since_boot(self) -> float:
        """Seconds since the start."""
        return self.seconds + self.asleep

    def quality(self) -> Quality:
        """The quality that the test set."""
        return self.is_

    def set(self) -> None:
        """Be put right, by NTP."""
        self.wrong_by, self.is_ = timedelta(0), "synced"


class Hand(Clock):
    """A clock that is set by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.time, self.seconds = RIGHT, 0.0
        self.is_: Quality = "rtc"

    def now(self) -> datetime:
        """The time."""
        return self.time

    def monotonic(self) -> float:
        """Seconds."""
        return self.seconds

    def quality(self) -> Quality:
        """The quality that the test set."""
        return self.is_

    def forward(self, seconds: float) -> None:
        """Let seconds pass."""
        self.seconds += seconds


def utc(text: str) -> datetime:
    """Read a time."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


class Simulated(Clock):
    """Time that passes when somebody waits."""

    def __init__(self, start: str, quality: Quality = "synced") -> None:
        super().__init__()
        self.start, self.seconds, self.asleep, self.is_ = utc(start), 0.0, 0.0, quality

    def now(self) -> datetime:
        """The time of day."""
        return self.start + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        """The seconds."""
        return self.seconds

    def since_boot(self) -> float:
        """The seconds, those asleep included."""
        return self.seconds + self.asleep

    def quality(self) -> Quality:
        """The quality that the test set."""
        return self.is_

    def wait(self, _condition: threading.Condition, seconds: float) -> None:
        """Let time pass."""
        self.seconds += seconds
