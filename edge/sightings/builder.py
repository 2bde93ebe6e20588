"""From decided events to the messages about them: sightings, and the pictures behind them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from edge.cameras import Frame
from edge.cameras.photo import crop_jpeg, shrink_jpeg
from edge.config import Images
from edge.messages.base import new_id
from edge.messages.sighting import (
    Evidence,
    Finding,
    FrameRef,
    Location,
    ModelRef,
    OfEvent,
    Sighting,
)
from edge.sightings.identity import Identity
from edge.sightings.visits import Event
from edge.system.clock import Clock
from edge.system.counters import Counters, Episode
from edge.system.daily_budget import Budget

log = logging.getLogger(__name__)


@dataclass(slots=True)
class BestFrame:
    """The best frame of a life until its end."""

    frame: FrameRef
    location: Location | None
    jpeg: bytes | None
    """The picture, as small as it is sent; None where it was sent already, or is not to be."""
    recorded: bool
    """As in :class:`edge.cameras.Frame`."""
    model: ModelRef
    """What saw it; another may run by the end."""


class SightingBuilder:
    """Writes the messages of events; keeps the best picture of lives and the day's budget."""

    def __init__(
        self,
        identity: Identity,
        images: Images,
        counters: Counters,
        clock: Clock,
        budget: Budget | None = None,
    ) -> None:
        self._identity, self._images = identity, images
        self._counters, self._clock = counters, clock
        self._trouble = Episode("evidence", counters, log)
        self._budget = budget or Budget(None, images.max_bytes_per_day)
        self._best: dict[str, BestFrame] = {}

    def messages(
        self, frame: Frame, events: Sequence[Event], best: Mapping[str, Finding]
    ) -> list[OfEvent]:
        """Return what is to be sent of a frame's events, each followed by its picture.

        `best` is :attr:`edge.sightings.decision.Decider.best`. Whoever has no memory for it may
        call again.
        """
        begun = {event.life for event in events if event.phase == "begin"}
        for life, found in best.items():
            jpeg = None if life in begun else self._shrunk(frame, found)
            self._best[life] = BestFrame(
                frame_ref(frame, found),
                self._place(frame),
                jpeg,
                frame.recorded,
                self._identity.model,
            )
        messages: list[OfEvent] = []
        for event in events:
            if event.phase == "end":
                messages += self._end(event)
                continue
            ref, place = frame_ref(frame, event.found), self._place(frame)
            sighting = self._sighting(event, ref, place, frame.recorded, self._identity.model)
            messages.append(sighting)
            if event.phase != "update":
                messages += self._evidence(sighting, self._shrunk(frame, event.found))
        self._forget(events)
        return messages

    def close(self) -> None:
        """Return to the budget what was set aside of the day and not used."""
        self._budget.close()

    def ends(self, events: Sequence[Event]) -> list[OfEvent]:
        """Return what is to be sent of lives that end without a frame."""
        messages = [message for event in events for message in self._end(event)]
        self._forget(events)
        return messages

    def _forget(self, events: Sequence[Event]) -> None:
        for event in events:
            if event.phase == "end":
                self._best.pop(event.life, None)

    def _end(self, event: Event) -> list[OfEvent]:
        kept = self._best[event.life]
        sighting = self._sighting(event, kept.frame, kept.location, kept.recorded, kept.model)
        return [sighting, *self._evidence(sighting, kept.jpeg)]

    def _sighting(
        self,
        event: Event,
        frame: FrameRef,
        place: Location | None,
        recorded: bool,
        model: ModelRef,
    ) -> Sighting:
        identity, found, clock = self._identity, event.found, self._clock
        # The clock may have jumped since the frame was taken, and more so since a life began.
        quality, booted = clock.quality(), clock.booted()
        told = partial(clock.restated, booted=booted) if not recorded else lambda moment: moment
        own = event.life if event.phase == "begin" else new_id()
        return Sighting(
            device=identity.device,
            installation=identity.installation,
            boot=identity.boot,
            id=own,
            time=told(event.taken),
            clock=quality,
            boot_seconds=None if recorded else round(clock.seconds_since_boot(event.taken), 3),
            label=event.label,
            reason=event.reason,
            confidence=found.confidence,
            alternatives=found.alternatives,
            votes=event.votes,
            model=model,
            frame=frame,
            location=place,
            phase=event.phase,
            event=event.life or own,
            since=told(event.since or event.taken),
            duration_seconds=event.duration_seconds,
            best_time=told(event.best.taken if event.best else event.taken),
            ended=event.ended,
        )

    def _place(self, frame: Frame) -> Location | None:
        return frame.location or self._identity.location

    def _shrunk(self, frame: Frame, found: Finding) -> bytes | None:
        """The picture as small as it is sent; None where the day has no room for it."""
        if not self._images.send:
            return None
        most = min(self._images.max_bytes, self._budget.left(self._clock.now()))
        try:
            whole = frame.jpeg()
            if self._images.crop and found.regions:
                whole = crop_jpeg(whole, found.regions[0].box)
            jpeg = shrink_jpeg(whole, most, self._images.max_side)
        except Exception as error:  # no picture must cost its sighting
            self._trouble.failed(error)
            return None
        self._trouble.recovered()
        if jpeg is None:
            self._counters.add("images_over_budget")
        return jpeg

    def _evidence(self, sighting: Sighting, jpeg: bytes | None) -> list[OfEvent]:
        """The picture behind a sighting, if there is one and the day has room for it."""
        if jpeg is None:
            return []
        try:
            if not self._budget.take(len(jpeg), self._clock.now()):
                self._counters.add("images_over_budget")
                return []
        except OSError as error:
            self._trouble.failed(error)
            return []
        return [Evidence(id=sighting.id, time=sighting.time, jpeg=jpeg)]


def picture_budget(images: Images, outbox: Path) -> Budget:
    """Open the budget of a device, kept beside the outbox; a fiftieth of the day is noted at once,
    as the camera's frames do not wait for the disk.
    """
    most = images.max_bytes_per_day
    return Budget(outbox.with_name("images.json"), most, block=most // 50)


def frame_ref(frame: Frame, found: Finding) -> FrameRef:
    """Which picture, and which part of it, a finding is about."""
    return FrameRef(
        width=frame.width,
        height=frame.height,
        region=found.regions[0].box if found.regions else None,
        source=frame.source,
        regions=found.regions,
    )


def cut_off(last: Sighting) -> Sighting:
    """Make the end of a life of which `last` was the last message when the program was killed."""
    return msgspec.structs.replace(last, id=new_id(), phase="end", ended="cut", historical=False)
