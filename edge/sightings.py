"""From decided events to the messages about them: sightings, and the pictures behind them."""

from __future__ import annotations

import logging
from datetime import date

from edge.cameras import Frame
from edge.cameras.photo import shrink_jpeg
from edge.clock import Clock
from edge.config import Images
from edge.counters import Counters, Episode
from edge.decision import Event
from edge.errors import ImageError
from edge.messages import Evidence, FrameRef, Location, ModelRef, Score, Sighting, new_id
from edge.outbox import Outgoing

log = logging.getLogger(__name__)


class Identity:
    """What every sighting of this run says of its origin."""

    def __init__(self, device: str, boot: str, model: ModelRef, location: Location | None) -> None:
        self.device, self.boot, self.model, self.location = device, boot, model, location


class Sightings:
    """Writes the messages of events; keeps the day's budget of pictures."""

    def __init__(
        self, identity: Identity, images: Images, counters: Counters, clock: Clock
    ) -> None:
        self._identity, self._images = identity, images
        self._counters, self._clock = counters, clock
        self._trouble = Episode("evidence", counters, log)
        self._image_day: date | None = None
        self._image_bytes = 0

    def messages(self, frame: Frame, events: tuple[Event, ...]) -> list[Outgoing]:
        """Give what is to be sent of a frame's events, each followed by its picture."""
        messages: list[Outgoing] = []
        for event in events:
            sighting = self._sighting(frame, event)
            evidence = self._evidence(frame, sighting) if self._images.send else None
            messages += [sighting, evidence] if evidence else [sighting]
        return messages

    def _sighting(self, frame: Frame, event: Event) -> Sighting:
        identity, found = self._identity, event.found
        return Sighting(
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
            frame=frame_ref(frame, event),
            location=frame.location or identity.location,
        )

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
        self._trouble.recovered()
        if jpeg is None:
            self._counters.add("images_over_budget")
            return None
        self._image_bytes += len(jpeg)
        return Evidence(id=sighting.id, time=sighting.time, jpeg=jpeg)


def frame_ref(frame: Frame, event: Event) -> FrameRef:
    """Say which picture, and which part of it, an event is about."""
    regions = event.found.regions
    return FrameRef(
        width=frame.width,
        height=frame.height,
        region=regions[0].box if regions else None,
        source=frame.source,
        regions=regions,
    )
