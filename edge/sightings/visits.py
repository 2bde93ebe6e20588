"""The life of a sighting: it begins, goes on, and ends with its duration and best frame. Pure.

A class enters when enough frames agree (:class:`edge.sightings.decision.Decider`). It stays while
frames show it at `leave` times its threshold or more: less than what it took to enter, so that a
confidence that wavers around the threshold is one life and not twenty. It ends when neither the
last `of` frames nor any of the last `cooldown_seconds` showed it, or when nobody looked for
`blind_seconds`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec

from edge.config import Decision as DecisionConfig
from edge.messages.base import Reason, new_id
from edge.messages.sighting import Ended, Finding, Phase, Votes


class Best(msgspec.Struct, frozen=True):
    """The frame of a life that showed it most surely."""

    found: Finding
    taken: datetime


class Event(msgspec.Struct, frozen=True):
    """A decided event."""

    label: str | None
    reason: Reason | None
    votes: Votes
    """Of an update and an end: frames that showed it, of those looked at until it was last seen."""
    found: Finding
    """What the frame says that decided it; at the end, what the best frame says."""
    taken: datetime
    """When the frame that decided it was taken."""
    phase: Phase = "single"
    life: str = ""
    """Of which life; the id of its first message."""
    since: datetime | None = None
    """When the first frame that voted for it was taken."""
    duration_seconds: float = 0.0
    """From the first frame that showed it to the last."""
    best: Best | None = None
    ended: Ended | None = None


class Visit:
    """One class that is there now."""

    def __init__(
        self, best: Best, votes: Votes, since: datetime, since_seconds: float, now: float
    ) -> None:
        self.id = new_id()
        self.best, self.votes = best, votes
        self.since, self.since_seconds = since, since_seconds
        self.last_seconds = self.told_seconds = now
        self.absent = 0
        """Frames since it was last seen."""

    def seen(self, now: float) -> None:
        """Count a frame that shows it."""
        votes = self.votes
        self.votes = Votes(agree=votes.agree + 1, of=votes.of + self.absent + 1)
        self.last_seconds, self.absent = now, 0

    def event(
        self, phase: Phase, found: Finding, taken: datetime, ended: Ended | None = None
    ) -> Event:
        """Make the event of a phase of this visit."""
        return Event(
            label=found.label,
            reason=found.reason,
            votes=self.votes,
            found=found,
            taken=taken,
            phase=phase,
            life=self.id,
            since=self.since,
            duration_seconds=round(max(0.0, self.last_seconds - self.since_seconds), 3),
            best=self.best,
            ended=ended,
        )


class Visits:
    """What is there now, at most one life per class."""

    def __init__(self, config: DecisionConfig) -> None:
        self._config = config
        self._lives: dict[str | None, Visit] = {}
        self._now = 0.0
        self._taken: datetime | None = None
        self.best: dict[str, Finding] = {}
        """What the last frame says of lives, by their id, of which it is the best so far."""

    @property
    def labels(self) -> set[str | None]:
        """The classes that live; None stands for *unknown*."""
        return set(self._lives)

    def see(
        self, there: Mapping[str | None, Finding], now: float, taken: datetime
    ) -> tuple[Event, ...]:
        """Take what a frame shows, by class; give what it changes for those that live."""
        self._now, self._taken, self.best = now, taken, {}
        events = [
            self._go_on(life, there[label], taken) if label in there else self._miss(label, life)
            for label, life in list(self._lives.items())
        ]
        return tuple(event for event in events if event)

    def begin(self, found: Finding, votes: Votes, since: datetime, since_seconds: float) -> Event:
        """Begin a life with what the frame seen last shows."""
        assert self._taken is not None
        best = Best(found, self._taken)
        life = self._lives[found.label] = Visit(best, votes, since, since_seconds, self._now)
        self.best[life.id] = found
        return life.event("begin", found, self._taken)

    def blind(self, now: float) -> bool:
        """Whether nothing was looked at for `blind_seconds`."""
        return self._taken is not None and now - self._now > self._config.blind_seconds

    def end(self, ended: Ended) -> tuple[Event, ...]:
        """End all lives."""
        return tuple(self._end(label, ended) for label in list(self._lives))

    def _go_on(self, life: Visit, found: Finding, taken: datetime) -> Event | None:
        life.seen(self._now)
        if found.confidence > life.best.found.confidence:
            life.best = Best(found, taken)
            self.best[life.id] = found
        every = self._config.update_seconds
        if not every or self._now - life.told_seconds < every:
            return None
        life.told_seconds = self._now
        return life.event("update", found, taken)

    def _miss(self, label: str | None, life: Visit) -> Event | None:
        life.absent += 1
        gone = self._now - life.last_seconds >= self._config.cooldown_seconds
        return (
            self._end(label, "gone") if gone and life.absent >= self._config.last_frames else None
        )

    def _end(self, label: str | None, ended: Ended) -> Event:
        life = self._lives.pop(label)
        assert self._taken is not None  # nothing lives before a frame was seen
        return life.event("end", life.best.found, self._taken, ended)
