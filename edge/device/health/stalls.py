"""Whether the device still does what it is there for: frames are taken, and looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.config import Config, FolderCamera
from edge.system.clock import Clock

if TYPE_CHECKING:
    from edge.cameras import Frame
    from edge.device.agent import FrameSource
    from edge.model.classifier import Classification
    from edge.sightings.visits import Event
    from edge.system.counters import Counters

_FAILED_IN_A_ROW = 10
"""So many frames that could not be classified, one after the other, are no bad luck."""


class Deadline:
    """Something that should happen again and again, and is missed when it does not."""

    def __init__(self, clock: Clock, limit_seconds: float) -> None:
        self._clock, self._limit = clock, limit_seconds
        self._due = clock.monotonic() + limit_seconds

    def beat(self) -> None:
        """Note that it happened."""
        self.expect(0.0)

    def expect(self, seconds: float) -> None:
        """Note that it will not happen for so long, and that this is as it should be."""
        self._due = self._clock.monotonic() + seconds + self._limit

    @property
    def missed_seconds(self) -> float | None:
        """Since when it is overdue; None: it is not."""
        late = self._clock.monotonic() - self._due
        return late + self._limit if late > 0 else None


class FrameFlow:
    """Two pulses: frames are taken by the camera's thread, and classified by the agent's.

    It stands between the two, in the place of the agent's frames, and as one of its watchers.
    A camera that rests by plan, a camera that has nothing more to replay, and an agent that waits
    for a disk which refuses (a restart would lose what it holds) are as they should be.
    """

    def __init__(
        self, config: Config, frames: FrameSource, counters: Counters, clock: Clock
    ) -> None:
        self._frames, self._counters, self._clock = frames, counters, clock
        limit = config.report.stall_seconds
        self._taken = Deadline(clock, interval_seconds(config) + limit)
        self._classified = Deadline(clock, limit)
        self._captured = 0
        self._failed = 0
        self._given = clock.monotonic()

    @property
    def capture_seconds(self) -> float:
        """Time spent in capturing since the start."""
        return self._frames.capture_seconds

    @property
    def ended(self) -> bool:
        """No frame will come any more."""
        return self._frames.ended

    def next(self, timeout_seconds: float) -> Frame | None:
        """Wait for a frame. Whoever asks is alive, but for one who fails with each of them."""
        if self._failed < _FAILED_IN_A_ROW:
            self._classified.beat()
        frame = self._frames.next(timeout_seconds)
        self._failed += frame is not None
        self._given = self._clock.monotonic()
        return frame

    def watch(self, _frame: Frame, found: Classification, _event: Event | None) -> None:
        """Note that a frame was classified, and its times (a watcher of the agent)."""
        self._failed = 0
        self._classified.beat()
        took = self._counters.took
        took("frame", (self._clock.monotonic() - self._given) * 1e3)
        took("preprocess", found.timings.preprocess_ms)
        took("invoke", found.timings.invoke_ms)

    def stalled(self) -> str | None:
        """In words, what has stopped; None: all goes on as it should. Call it every few seconds."""
        counters = self._counters
        captured = counters["frames_captured"] + counters["frames_bad"]
        if captured != self._captured or counters.noted("asleep") or self._frames.ended:
            self._captured = captured
            self._taken.beat()
        if self._frames.ended or counters.is_failing("outbox"):
            self._classified.beat()
        for deadline, what in ((self._taken, "taken"), (self._classified, "classified")):
            if (missed := deadline.missed_seconds) is not None:
                return f"no frame was {what} for {missed:.0f} s"
        return None


def interval_seconds(config: Config) -> float:
    """Seconds from one frame to the next, as configured."""
    camera = config.camera
    if isinstance(camera, FolderCamera):
        return 1 / camera.frames_per_second if camera.frames_per_second else 0.0
    return camera.interval_seconds
