"""A camera and a model that follow a script, on a clock that stands still."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from edge.cameras import Frame
from edge.cameras.photo import encode_jpeg
from edge.messages.base import Clock as Quality
from edge.messages.sighting import Location
from edge.model.classifier import Classification
from edge.model.tiles import Size
from edge.system import clock

if TYPE_CHECKING:
    from edge.model.image.preprocessing import Pixels

START = datetime(2026, 6, 21, 23, 59, 50, tzinfo=UTC)
HOME = Location(lat=23.8, lon=90.4)


def into(got: list[Any]) -> Callable[[Sequence[object]], bool]:
    """Return what takes all messages that an agent submits, and puts them into a list."""

    def submit(batch: Sequence[object]) -> bool:
        got.extend(batch)
        return True

    return submit


class Script:
    """A camera thread and a classifier in one: frames with what is found in them."""

    capture_seconds = 0.0

    def __init__(
        self,
        results: Iterable[Classification | Exception],
        clock: Clock | None = None,
        step: timedelta = timedelta(seconds=1),
    ) -> None:
        self.results, self.step = list(results), step
        self.clock, self.count = clock, 0

    @property
    def ended(self) -> bool:
        """All were taken."""
        return not self.results

    def next(self, _timeout: float) -> Frame | None:
        """Return a frame that stands for the next result."""
        if not self.results:
            return None
        self.now = self.results.pop(0)
        self.count += 1
        if self.clock:
            self.clock.seconds += self.step.total_seconds()
        pixels = np.full((90, 120, 3), self.count, np.uint8)
        return Frame(
            pixels,
            START + self.count * self.step,
            f"{self.count}.jpg",
            120,
            90,
            lambda: encode_jpeg(pixels),
            Location(lat=1, lon=2) if self.count == 2 else None,
        )

    def look(self, _pixels: Pixels, _size: Size) -> Classification:
        """Return the result, or fail."""
        if isinstance(self.now, Exception):
            raise self.now
        return self.now


class Clock(clock.Clock):
    """Time that stands still until told."""

    seconds = asleep = 0.0

    def now(self) -> datetime:
        """The time of day."""
        return START + timedelta(seconds=self.since_boot())

    def since_boot(self) -> float:
        """Seconds, including those asleep."""
        return self.seconds + self.asleep

    def monotonic(self) -> float:
        """Seconds."""
        return self.seconds

    def quality(self) -> Quality:
        """Be set from a battery-backed clock."""
        return "rtc"
