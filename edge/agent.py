"""The one loop of the device: frame, classification, decision, outbox.

Everything it needs is passed in, the clock and the stop included, so it runs as well in a test.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from datetime import date
from typing import TYPE_CHECKING, Protocol

from edge.cameras import Frame
from edge.cameras.photo import shrink_jpeg
from edge.classifier import Classification
from edge.clock import Clock
from edge.config import Images
from edge.counters import Counters, Episode
from edge.decision import Decider, Event
from edge.errors import ImageError, ModelError
from edge.messages import (
    Evidence,
    FrameRef,
    Health,
    Location,
    ModelRef,
    Score,
    Sighting,
    Timings,
    new_id,
)
from edge.outbox import Outgoing

if TYPE_CHECKING:
    from edge.image import Pixels

log = logging.getLogger(__name__)

_WAIT_SECONDS = 0.5
_FIRST_HEALTH_SECONDS = 5.0


class Frames(Protocol):
    """Where frames come from; :class:`edge.cameras.reader.Reader` is one."""

    capture_seconds: float

    def next(self, timeout_seconds: float) -> Frame | None:
        """Wait for a frame."""
        ...

    @property
    def ended(self) -> bool:
        """No frame will come any more."""
        ...


class Classifies(Protocol):
    """What judges a frame; :class:`edge.classifier.Classifier` is one."""

    def classify(self, pixels: Pixels) -> Classification:
        """Classify uint8 (H, W, 3) RGB."""
        ...


Watcher = Callable[[Frame, Classification, Event | None], None]
"""Called after every classified frame, with what became of it; must be quick and never raise."""


class Identity:
    """What every sighting of this run says of its origin."""

    def __init__(self, device: str, boot: str, model: ModelRef, location: Location | None) -> None:
        self.device, self.boot, self.model, self.location = device, boot, model, location


class Agent:
    """Captures, classifies, decides and submits until stopped or out of frames."""

    def __init__(
        self,
        frames: Frames,
        classifier: Classifies,
        decider: Decider,
        submit: Callable[[list[Outgoing]], bool],
        identity: Identity,
        images: Images,
        health: Callable[[Timings], Health],
        health_seconds: float,
        counters: Counters,
        clock: Clock,
        stop: threading.Event,
        watchers: Sequence[Watcher] = (),
    ) -> None:
        self._frames, self._classifier, self._decider = frames, classifier, decider
        self._submit, self._identity, self._images = submit, identity, images
        self._health, self._health_seconds = health, health_seconds
        self._counters, self._clock, self._stop = counters, clock, stop
        self._watchers = watchers
        self._trouble = Episode("classifier", counters, log)
        self._health_due = clock.monotonic() + min(health_seconds, _FIRST_HEALTH_SECONDS)
        self._image_day: date | None = None
        self._image_bytes = 0
        self._begin_measuring()

    def run(self) -> None:
        """Loop until stopped, or until the camera has no more frames."""
        while not self._stop.is_set():
            frame = self._frames.next(_WAIT_SECONDS)
            if frame is not None:
                self._see(frame)
            elif self._frames.ended:
                return
            if self._clock.monotonic() >= self._health_due:
                self._report()

    def _see(self, frame: Frame) -> None:
        try:
            found = self._classifier.classify(frame.pixels)
        except (ImageError, ModelError) as error:
            self._trouble.failed(error)
            return
        self._trouble.recovered()
        self._counters.add("frames_classified")
        self._count += 1
        self._preprocess += found.timings.preprocess_ms
        self._invoke += found.timings.invoke_ms
        event = self._decider.see(found, self._clock.monotonic())
        if event is not None:
            self._hand_over(self._messages(frame, found, event))
        for watch in self._watchers:
            watch(frame, found, event)

    def _hand_over(self, messages: list[Outgoing]) -> None:
        """Wait for room while the disk refuses: older events are worth more than new frames."""
        while not self._submit(messages) and not self._stop.is_set():
            pass

    def _messages(self, frame: Frame, found: Classification, event: Event) -> list[Outgoing]:
        identity = self._identity
        sighting = Sighting(
            device=identity.device,
            boot=identity.boot,
            id=new_id(),
            time=frame.time,
            clock=self._clock.quality(),
            label=event.label,
            reason=event.reason,
            confidence=found.confidence,
            alternatives=tuple(
                Score(label=one.label, confidence=one.confidence) for one in found.alternatives
            ),
            votes=event.votes,
            model=identity.model,
            frame=FrameRef(width=frame.width, height=frame.height, source=frame.source),
            location=frame.location or identity.location,
        )
        evidence = self._evidence(frame, sighting) if self._images.send else None
        return [sighting, evidence] if evidence else [sighting]

    def _evidence(self, frame: Frame, sighting: Sighting) -> Evidence | None:
        """Give the picture behind a sighting, if the day's budget has room for it."""
        today = sighting.time.date()
        if today != self._image_day:
            self._image_day, self._image_bytes = today, 0
        left = self._images.max_bytes_per_day - self._image_bytes
        try:
            jpeg = shrink_jpeg(
                frame.jpeg(), min(self._images.max_bytes, left), self._images.max_side
            )
        except (ImageError, OSError) as error:
            self._trouble.failed(error)
            return None
        if jpeg is None:
            self._counters.add("images_over_budget")
            return None
        self._image_bytes += len(jpeg)
        return Evidence(id=sighting.id, time=sighting.time, jpeg=jpeg)

    def _report(self) -> None:
        """Submit a health message, with the mean times since the last one."""
        count = max(1, self._count)
        elapsed = self._clock.monotonic() - self._since
        timings = Timings(
            capture=round((self._frames.capture_seconds - self._captured) * 1e3 / count, 3),
            preprocess=round(self._preprocess / count, 3),
            invoke=round(self._invoke / count, 3),
            loop=round(elapsed * 1e3 / count, 3),
        )
        self._submit([self._health(timings)])
        self._health_due = self._clock.monotonic() + self._health_seconds
        self._begin_measuring()

    def _begin_measuring(self) -> None:
        self._since, self._captured = self._clock.monotonic(), self._frames.capture_seconds
        self._count, self._preprocess, self._invoke = 0, 0.0, 0.0
