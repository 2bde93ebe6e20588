"""When frames become a sighting: k of n frames, then a life or a rest per class. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from datetime import datetime

import msgspec

from edge.config import Decision as DecisionConfig
from edge.messages.sighting import Finding, Votes
from edge.model.classifier import Classification
from edge.sightings.findings import findings
from edge.sightings.visits import Event, Visits

_ONE = Votes(agree=1, of=1)


class Tally(msgspec.Struct, frozen=True):
    """How the last frames voted for one class."""

    agree: int
    of: int
    since: datetime
    """When the first of the frames that agree was taken."""
    since_seconds: float
    """The same by the clock that decides."""


class VoteWindow:
    """The last `of` frames: which of them said what, class by class."""

    def __init__(self, of: int) -> None:
        self._frames: deque[tuple[frozenset[str | None], datetime, float]] = deque(maxlen=of)
        self._seen = 0
        self._used: dict[str | None, int] = {}

    def add(self, labels: frozenset[str | None], taken: datetime, now: float) -> None:
        """Take what a frame says; None stands for *unknown*."""
        self._frames.append((labels, taken, now))
        self._seen += 1

    def tally(self, label: str | None) -> Tally:
        """Count the votes for a class that the newest frame names, of frames not used up for it."""
        fresh = min(len(self._frames), self._seen - self._used.get(label, 0))
        frames = list(self._frames)[len(self._frames) - fresh :]
        voted = [frame for frame in frames if label in frame[0]]
        return Tally(len(voted), fresh, voted[0][1], voted[0][2])

    def use_up(self, label: str | None) -> None:
        """Count the frames until now no more for this class."""
        self._used[label] = self._seen

    def forget(self) -> None:
        """Count the frames until now no more at all."""
        self._frames.clear()


class Decider:
    """Votes over the last frames: a class counts when `agree` of the last `of` frames say so.

    In the mode ``life`` it then begins a life (:mod:`edge.sightings.visits`): events at its begin,
    now and then while it lasts, and at its end. In the mode ``votes`` it is an event each time; the
    frames that made it are used up, so that the next needs frames of its own, and the class then
    rests for `cooldown_seconds`. In the mode ``always`` all that a frame says is an event.

    `thresholds` are the model's own, by label; the configured ones go before them.
    """

    def __init__(
        self, config: DecisionConfig, thresholds: Mapping[str, float] | None = None
    ) -> None:
        self._config = config
        self._background = frozenset(config.background)
        self._leave = self._leaves(thresholds or {})
        self._window = VoteWindow(config.last_frames)
        self._last: dict[str | None, float] = {}
        self._cut: tuple[Event, ...] = ()
        self._lives = Visits(config)

    @property
    def best(self) -> Mapping[str, Finding]:
        """What the last frame says of lives, by their id, of which it is the best so far."""
        return self._lives.best

    def see(self, found: Classification, now: float, taken: datetime) -> tuple[Event, ...]:
        """Take the classification of a frame, looked at `now` (seconds that never jump)."""
        config = self._config
        said = findings(found, config.thresholds, self._background)
        if config.mode == "always":
            return tuple(Event(one.label, one.reason, _ONE, one, taken) for one in said)
        ended, self._cut = self._cut + self.idle(now), ()
        said = self._countable(said)
        self._window.add(frozenset(one.label for one in said), taken, now)
        if config.mode == "votes":
            return tuple(event for one in said if (event := self._vote(one, now, taken)))
        there = {one.label: one for one in said}
        if self._lives.labels - there.keys():
            weak = self._countable(findings(found, self._leave, self._background))
            there = {one.label: one for one in weak} | there
        lived = self._lives.see(there, now, taken)
        return ended + lived + tuple(event for one in said if (event := self._begin(one)))

    def idle(self, now: float) -> tuple[Event, ...]:
        """End what lived when nothing was looked at for `blind_seconds`."""
        if not self._lives.blind(now):
            return ()
        self._window.forget()
        return self._lives.end("blind")

    def close(self) -> tuple[Event, ...]:
        """End what lives, because the program stops."""
        ended, self._cut = self._cut + self._lives.end("stop"), ()
        return ended

    def exchange(self, thresholds: Mapping[str, float]) -> None:
        """Go on with what another model says: votes begin anew, and what lives ends with the next
        frame.
        """
        self._leave = self._leaves(thresholds)
        self._window.forget()
        self._cut += self._lives.end("model")

    def _leaves(self, thresholds: Mapping[str, float]) -> dict[str, float]:
        """For each class, the confidence above which a life goes on."""
        config = self._config
        own = {**thresholds, **config.thresholds}
        return {label: config.stay_share * threshold for label, threshold in own.items()}

    def _countable(self, said: tuple[Finding, ...]) -> tuple[Finding, ...]:
        """The findings that could become a sighting."""
        unknown = self._config.report_unknown
        return tuple(
            one for one in said if one.label is not None or (one.reason == "unknown" and unknown)
        )

    def _begin(self, one: Finding) -> Event | None:
        if one.label in self._lives.labels:
            return None
        tally = self._window.tally(one.label)
        if tally.agree < self._config.agreeing_frames:
            return None
        votes = Votes(agree=tally.agree, of=tally.of)
        return self._lives.begin(one, votes, tally.since, tally.since_seconds)

    def _vote(self, one: Finding, now: float, taken: datetime) -> Event | None:
        tally = self._window.tally(one.label)
        if tally.agree < self._config.agreeing_frames or self._resting(one.label, now):
            return None
        self._last[one.label] = now
        self._window.use_up(one.label)
        return Event(one.label, one.reason, Votes(agree=tally.agree, of=tally.of), one, taken)

    def _resting(self, label: str | None, now: float) -> bool:
        last = self._last.get(label)
        return last is not None and now - last < self._config.cooldown_seconds
