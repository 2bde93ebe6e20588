"""When frames become a sighting: thresholds, k of n frames, unknowns, a rest per class. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import msgspec

from edge.classifier import Classification
from edge.config import Decision as DecisionConfig
from edge.messages import Reason, Votes


class Verdict(msgspec.Struct, frozen=True):
    """What one frame says."""

    label: str | None
    reason: Reason | None


class Event(msgspec.Struct, frozen=True):
    """A decided event."""

    label: str | None
    reason: Reason | None
    votes: Votes


def verdict(
    found: Classification, thresholds: Mapping[str, float], background: frozenset[str]
) -> Verdict:
    """Judge one frame; `thresholds` replace the model's own, `background` is never a sighting."""
    top = found.alternatives[0].label if found.alternatives else found.label
    if found.reason == "unknown" or top is None:
        return Verdict(None, "unknown")
    own = thresholds.get(top)
    enough = found.reason is None if own is None else found.confidence >= own
    if not enough:
        return Verdict(None, "below-threshold")
    return Verdict(None, "background") if top in background else Verdict(top, None)


class Decider:
    """Votes over the last frames.

    A verdict becomes an event when `agree` of the last `of` frames gave it, the newest among them.
    The frames that made an event are used up: the next event needs frames of its own. The same
    class then rests for `cooldown_seconds`. In the mode ``always`` every frame is an event.
    """

    def __init__(self, config: DecisionConfig) -> None:
        self._config = config
        self._always = config.mode == "always"
        self._background = frozenset(config.background)
        self._window: deque[Verdict] = deque(maxlen=config.of)
        self._last: dict[str | None, float] = {}

    def see(self, found: Classification, now: float) -> Event | None:
        """Take a frame's classification at the monotonic time `now` (seconds)."""
        judged = verdict(found, self._config.thresholds, self._background)
        if self._always:
            return Event(judged.label, judged.reason, Votes(agree=1, of=1))
        self._window.append(judged)
        if judged.label is None and not (
            judged.reason == "unknown" and self._config.report_unknown
        ):
            return None
        agree = sum(one == judged for one in self._window)
        if agree < self._config.agree or self._resting(judged.label, now):
            return None
        event = Event(judged.label, judged.reason, Votes(agree=agree, of=len(self._window)))
        self._last[judged.label] = now
        self._window.clear()
        return event

    def _resting(self, label: str | None, now: float) -> bool:
        last = self._last.get(label)
        return last is not None and now - last < self._config.cooldown_seconds
