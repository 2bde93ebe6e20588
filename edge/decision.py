"""When frames become a sighting: k of n frames, a rest per class. Pure."""

from __future__ import annotations

from collections import deque

import msgspec

from edge.classifier import Classification
from edge.config import Decision as DecisionConfig
from edge.findings import Finding, findings
from edge.messages import Reason, Votes

_ONE = Votes(agree=1, of=1)


class Event(msgspec.Struct, frozen=True):
    """A decided event."""

    label: str | None
    reason: Reason | None
    votes: Votes
    found: Finding
    """What the frame says that decided it."""


class Window:
    """The last `of` frames: which of them said what, class by class."""

    def __init__(self, of: int) -> None:
        self._frames: deque[frozenset[str | None]] = deque(maxlen=of)
        self._seen = 0
        self._used: dict[str | None, int] = {}

    def add(self, labels: frozenset[str | None]) -> None:
        """Take what a frame says; None stands for *unknown*."""
        self._frames.append(labels)
        self._seen += 1

    def votes(self, label: str | None) -> tuple[int, int]:
        """Give (frames that said so, frames looked at), of those not used up for this class."""
        fresh = min(len(self._frames), self._seen - self._used.get(label, 0))
        frames = list(self._frames)[len(self._frames) - fresh :]
        return sum(label in said for said in frames), fresh

    def use_up(self, label: str | None) -> None:
        """Count the frames until now no more for this class."""
        self._used[label] = self._seen


class Decider:
    """Votes over the last frames.

    A class becomes an event when `agree` of the last `of` frames said so, the newest among them.
    The frames that made an event are used up: the next event of that class needs frames of its
    own. The same class then rests for `cooldown_seconds`. In the mode ``always`` all that a frame
    says is an event.
    """

    def __init__(self, config: DecisionConfig) -> None:
        self._config = config
        self._background = frozenset(config.background)
        self._window = Window(config.of)
        self._last: dict[str | None, float] = {}

    def see(self, found: Classification, now: float) -> tuple[Event, ...]:
        """Take a frame's classification at the monotonic time `now` (seconds)."""
        said = findings(found, self._config.thresholds, self._background)
        if self._config.mode == "always":
            return tuple(Event(one.label, one.reason, _ONE, one) for one in said)
        said = tuple(one for one in said if self._counts(one))
        self._window.add(frozenset(one.label for one in said))
        return tuple(event for one in said if (event := self._vote(one, now)))

    def _counts(self, one: Finding) -> bool:
        """Tell whether this could become a sighting."""
        return one.label is not None or (one.reason == "unknown" and self._config.report_unknown)

    def _vote(self, one: Finding, now: float) -> Event | None:
        agree, of = self._window.votes(one.label)
        if agree < self._config.agree or self._resting(one.label, now):
            return None
        self._last[one.label] = now
        self._window.use_up(one.label)
        return Event(one.label, one.reason, Votes(agree=agree, of=of), one)

    def _resting(self, label: str | None, now: float) -> bool:
        last = self._last.get(label)
        return last is not None and now - last < self._config.cooldown_seconds
