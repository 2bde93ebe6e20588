"""What is said over one connection, turn by turn, until it breaks or the program ends.

No thread and no network are in here: :meth:`Session.turn` is called again and again, by
:class:`edge.mqtt.publisher.Publisher` on its thread, and by tests with a scripted connection.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import NamedTuple

from edge.errors import LostError, StalledError
from edge.mqtt.delivery import Delivery
from edge.mqtt.idle_sender import IdleSender
from edge.mqtt.introduction import Announcer
from edge.mqtt.lane import Link
from edge.mqtt.reason_codes import KEEP_ALIVE_TIMEOUT, About, reason
from edge.mqtt.request_channel import RequestChannel
from edge.outbox.rows import Kind

ONLINE, OFFLINE = b"online", b"offline"
_GOODBYE_SECONDS = 2.0


class Closing(NamedTuple):
    """Whether the program ends, and until when what waits may still be sent (monotonic)."""

    asked: bool
    flush_until: float = 0.0


class Lanes(NamedTuple):
    """All who send over one connection, what matters most first."""

    announcer: Announcer
    answers: RequestChannel
    delivery: Delivery
    spare: IdleSender


class Session:
    """The messages of one connection: introductions, answers, what waits, the state, what is spare.

    The state is published every `state_seconds` at most.
    """

    def __init__(
        self, link: Link, lanes: Lanes, state: Callable[[], bytes], state_seconds: float
    ) -> None:
        self._flight, base, self._standing, self._clock = link
        self._lanes, self._delivery = lanes, lanes.delivery
        self._availability, self._state_topic = f"{base}/availability", f"{base}/state"
        self._state, self._state_seconds = state, state_seconds
        self._state_due, self._dirty, self._idle_at = 0.0, True, self._clock.monotonic()
        self._seen: object = None
        self._parting: float | None = None
        self._offline: int | None = None

    def news(self) -> None:
        """Note that the outbox has something new, or that an introduction is to be renewed."""
        self._delivery.looked, self._dirty = False, True

    def turn(self, closing: Closing) -> bool:
        """Send what there is room for, and take what comes; False: all is said.

        Raises PublishError: the connection broke; OutboxError: the disk refuses.
        """
        if self._parting is not None:
            return self._part(self._parting)
        self._look_around()
        announcer, answers, delivery, spare = self._lanes
        announcer.fill(calm=delivery.settled)
        answers.fill()
        delivery.fill(leave=int(self._state_is_due()))
        settled, now = delivery.settled, self._clock.monotonic()
        done = closing.asked and (now > closing.flush_until or (settled and answers.idle))
        if self._dirty and (self._state_is_due() or done):
            self._tell_state(now)
        if done:
            self._parting = now + _GOODBYE_SECONDS
            return True
        if settled and not closing.asked:
            spare.fill()
        resting = delivery.idle
        wait = 0.5 if resting and answers.idle and not closing.asked else 0.05
        if self._dirty and 0 < (left := self._due() - now) < wait:
            wait = left
        self._hear(wait)
        self._idle_at = self._clock.monotonic() if resting else self._idle_at
        self._watch()
        return True

    def _hear(self, wait: float) -> None:
        """Let each lane take the answers to its own."""
        acks = self._flight.poll(wait)
        for lane in self._lanes:
            acks = lane.settle(acks)

    def lost(self, error: Exception) -> None:
        """Take note of what was under way when the connection broke."""
        keys = self._flight.keys
        if not keys:
            return
        standing, suspects = self._standing, self._standing.suspects
        alone = keys[0]
        row = self._delivery.under_way(alone) if isinstance(alone, int) else None
        picture = row is not None and row.kind is Kind.IMAGE
        if not (_may_be_a_message(error) or (picture and _may_be_too_slow(error))):
            return
        why = error.why if isinstance(error, LostError) else "it was never acknowledged"
        worst = suspects.broke(keys, row, why)
        if worst is not None:
            standing.denials.deny(worst)
            standing.set_back(f"{worst} is left out for a while: {why} with nothing else under way")
        elif row is not None and suspects.is_back(row.row):
            self._delivery.tell_set_back(row, why)

    def close(self) -> None:
        """Settle what is under way as lost. Raises OutboxError."""
        with contextlib.ExitStack() as closing:
            for lane in self._lanes:
                closing.callback(lane.close)

    def _look_around(self) -> None:
        """Renew the state where it changed without news: an hour ended, or something fails."""
        hour = self._clock.now().replace(minute=0, second=0, microsecond=0)
        before, self._seen = self._seen, (hour, self._standing.counters.failing_now())
        self._dirty = self._dirty or self._seen != before

    def _due(self) -> float:
        """When the state may be told: after what is on its way, or when that takes long."""
        if self._delivery.idle:
            return self._state_due
        return max(self._state_due, self._idle_at + self._state_seconds)

    def _state_is_due(self) -> bool:
        """Whether the state is to be published now."""
        resting = self._standing.denials.resting(self._state_topic)
        return self._dirty and not resting and self._clock.monotonic() >= self._due()

    def _tell_state(self, now: float) -> None:
        if not self._flight.room:
            return
        self._lanes.announcer.tell(self._state_topic, self._state())
        self._state_due = now + self._state_seconds
        self._dirty = not self._delivery.idle

    def _watch(self) -> None:
        """Log when acknowledgements stop while the connection stands, and when they come again."""
        for key in self._flight.answered:
            self._standing.stall.answered(key)
        oldest, stall = self._flight.oldest, self._standing.stall
        if oldest and self._flight.stands_still and not stall.is_on(oldest.key):
            stall.stands(oldest)

    def _part(self, deadline: float) -> bool:
        """Publish ``offline`` ourselves, wait for its PUBACK, and disconnect in good order; where
        that is impossible, leave without DISCONNECT, so that the last will says it.
        """
        announcer = self._lanes.announcer
        if self._offline is None and self._flight.room:
            self._offline = announcer.tell(self._availability, OFFLINE)
        said = self._offline is not None
        answered = said and not announcer.under_way(self._offline)
        if self._clock.monotonic() >= deadline or answered:
            if said:
                self._flight.disconnect()
            return False
        self._hear(0.05)
        return True


def _may_be_too_slow(error: Exception) -> bool:
    """Whether a connection may have ended because a message takes too long on this network:
    whoever waited for a sign of life meanwhile gave up.
    """
    return isinstance(error, LostError) and error.code in (None, KEEP_ALIVE_TIMEOUT)


def _may_be_a_message(error: Exception) -> bool:
    """Whether a message may be to blame for the end of a connection."""
    if isinstance(error, StalledError):
        return True
    if not isinstance(error, LostError) or not error.hung_up:
        return False
    return error.code is None or reason(error.code).about is About.MESSAGE
