"""The one loop of the device: frame, classification, decision, outbox.

Everything it needs is passed in, the clock and the stop included, so it runs as well in a test.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from edge.cameras import Frame
from edge.errors import ImageError, ModelError
from edge.messages.health import Health, Timings
from edge.messages.sighting import OfEvent
from edge.model.classifier import Classification
from edge.outbox.rows import Outgoing
from edge.sightings.builder import SightingBuilder
from edge.sightings.decision import Decider
from edge.sightings.visits import Event
from edge.sightings.watcher import Watcher
from edge.system.clock import Clock
from edge.system.counters import Counters, Episode
from edge.system.resource_limits import is_shortage
from edge.system.threads import Patience
from edge.text.printable import told

if TYPE_CHECKING:
    from edge.model.image.preprocessing import Pixels
    from edge.model.tiles import Size

log = logging.getLogger(__name__)

_WAIT_SECONDS = 0.5
_FIRST_HEALTH_SECONDS = 5.0
_SHORTAGE_SECONDS = (0.02, 0.1, 0.5, 2.0)
"""What is seen waits so long, then longer, for memory and descriptors."""


class FrameSource(Protocol):
    """Where frames come from; :class:`edge.cameras.reader.Reader` is one."""

    @property
    def capture_seconds(self) -> float:
        """Time spent in capturing since the start."""
        ...

    def next(self, timeout_seconds: float) -> Frame | None:
        """Wait for a frame."""
        ...

    @property
    def ended(self) -> bool:
        """No frame will come any more."""
        ...


class Sees(Protocol):
    """What judges a frame; :class:`edge.model.tiled_classifier.TiledClassifier` is one."""

    def look(self, pixels: Pixels, size: Size) -> Classification:
        """Classify pixels of a frame that had `size` when taken. Raises ImageError, ModelError."""
        ...


class Agent:
    """Captures, classifies, decides and submits until stopped or out of frames."""

    def __init__(
        self,
        frames: FrameSource,
        viewer: Sees,
        decider: Decider,
        sightings: SightingBuilder,
        submit: Callable[[Sequence[Outgoing]], bool],
        health: Callable[[Timings], Health],
        health_seconds: float,
        counters: Counters,
        clock: Clock,
        stop: threading.Event,
        watchers: Sequence[Watcher] = (),
    ) -> None:
        self._frames, self._viewer, self._decider = frames, viewer, decider
        self._sightings, self._submit = sightings, submit
        self._health, self._health_seconds = health, health_seconds
        self._counters, self._clock, self._stop = counters, clock, stop
        self._watchers = watchers
        self._recorded = False
        self._trouble = Episode("classifier", counters, log)
        self._telling = Episode("sightings", counters, log)
        self._watching = Episode("watching frames", counters, log)
        self._measuring = Episode("health", counters, log)
        self._patience = Patience()
        self._health_due = clock.monotonic() + min(health_seconds, _FIRST_HEALTH_SECONDS)
        self._begin_measuring()

    def run(self) -> None:
        """Loop until stopped, or until the camera has no more frames."""
        while not self._stop.is_set():
            frame = self._frames.next(_WAIT_SECONDS)
            if frame is not None:
                self._see(frame)
            elif self._frames.ended:
                break
            elif not self._recorded:
                self._end(self._decider.idle(self._clock.since_boot()))
            if self._clock.monotonic() >= self._health_due:
                self._report()
        self._end(self._decider.close())
        self._sightings.close()

    def _see(self, frame: Frame) -> None:
        """Judge a frame and pass on what is new; one that cannot be judged is left out.

        Raises whatever was no bad picture and no failing model, so often in a row.
        """
        try:
            found = self._viewer.look(frame.pixels, (frame.width, frame.height))
        except (ImageError, ModelError) as error:
            self._trouble.failed(error)
            self._counters.add("frames_failed")
            return
        except Exception as error:  # one frame must not cost all that follow
            log.exception("%s cannot be classified", frame.source)
            self._trouble.failed(error)
            self._counters.add("frames_failed")
            self._patience.lost(error)
            return
        self._trouble.recovered()
        self._counters.add("frames_classified")
        self._count += 1
        self._preprocess += found.timings.preprocess_ms
        self._invoke += found.timings.invoke_ms
        self._recorded = frame.recorded
        now = frame.time.timestamp() if frame.recorded else self._clock.since_boot()
        events = self._decider.see(found, now, frame.time)
        self._pass_on(events, lambda: self._sightings.messages(frame, events, self._decider.best))
        # Of several, the surest of something new: an end says what was there.
        news = min(events, key=lambda event: event.phase == "end", default=None)
        self._show(frame, found, news)

    def _show(self, frame: Frame, found: Classification, news: Event | None) -> None:
        """Have the watchers look at a frame, each whatever becomes of the others."""
        well = True
        for watch in self._watchers:
            try:
                watch(frame, found, news)
            except Exception as error:  # who only looks on must not cost a sighting
                well = False
                self._watching.failed(error)
        if well:
            self._watching.recovered()

    def _end(self, events: Sequence[Event]) -> None:
        self._pass_on(events, lambda: self._sightings.ends(events))

    def _pass_on(self, events: Sequence[Event], write: Callable[[], list[OfEvent]]) -> None:
        """Submit what `write` makes of events. What it cannot make anything of is lost, and said.

        Raises what is raised so often in a row.
        """
        try:
            messages = self._written(write)
        except Exception as error:
            log.exception("%d sightings cannot be written", len(events))
            self._telling.failed(error)
            self._counters.add("sightings_lost", len(events))
            self._patience.lost(error)
            return
        self._patience.won()
        self._tell(messages)

    def _written(self, write: Callable[[], list[OfEvent]]) -> list[OfEvent]:
        """Write; again after growing waits where memory or descriptors are short just now."""
        for seconds in _SHORTAGE_SECONDS:
            try:
                return write()
            except Exception as error:
                if not is_shortage(error):
                    raise
                self._counters.error(error)
                log.warning("sightings are written again: %s", told(error))
            self._stop.wait(seconds)
        return write()

    def _tell(self, messages: list[OfEvent]) -> None:
        """Wait for room while the disk refuses: older events are worth more than new frames."""
        while messages and not self._submit(messages) and not self._stop.is_set():
            pass

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
        with self._measuring.over(Exception):  # not to know how it is must not end it
            self._submit([self._health(timings)])
        self._health_due = self._clock.monotonic() + self._health_seconds
        self._begin_measuring()

    def _begin_measuring(self) -> None:
        self._since, self._captured = self._clock.monotonic(), self._frames.capture_seconds
        self._count, self._preprocess, self._invoke = 0, 0.0, 0.0
