"""What is said over one connection, turn by turn, until it breaks or the program ends.

No thread and no network are in here: :meth:`Session.turn` is called again and again, by
:class:`edge.mqtt.publisher.Publisher` on its thread, and by tests with a scripted connection.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import NamedTuple

from edge.errors import LostError, StalledError
from edge.mqtt.delivery import Delivery, DeniedError, SetBackError
from edge.mqtt.delivery_state import Standing
from edge.mqtt.idle_sender import SPARE, IdleSender
from edge.mqtt.in_flight import Flight, Key
from edge.mqtt.introduction import Introduction
from edge.mqtt.reason_codes import KEEP_ALIVE_TIMEOUT, About, reason
from edge.mqtt.request_channel import RequestChannel
from edge.mqtt.wire import Ack
from edge.outbox.rows import Kind
from edge.system.clock import Clock
from edge.system.counters import Episode

log = logging.getLogger(__name__)

ONLINE, OFFLINE = b"online", b"offline"
_GOODBYE_SECONDS = 2.0
_LASTED_SECONDS = 10.0
"""From then on what the broker knows already is said again, in case that it forgot."""


class Closing(NamedTuple):
    """Whether the program ends, and until when what waits may still be sent (monotonic)."""

    asked: bool
    flush_until: float = 0.0


class Session:
    """The messages of one connection: introductions, answers, what waits, the state, what is spare.

    `pending` are the topics of the introductions that are still to be said; whoever renews one adds
    it, also from another thread. Those in `known` the broker has taken on an earlier connection:
    they wait until nothing else does, or the connection has lasted a while, lest a link that soon
    breaks carries nothing else. `broken` is the episode of the connection. After `stalled_seconds`
    without an acknowledgement of the oldest message under way the state says so.
    """

    def __init__(
        self,
        flight: Flight,
        base: str,
        delivery: Delivery,
        spare: IdleSender,
        exchange: RequestChannel,
        introductions: Mapping[str, Introduction],
        pending: set[str],
        state: Callable[[], bytes],
        state_seconds: float,
        stalled_seconds: float,
        standing: Standing,
        broken: Episode,
        clock: Clock,
        known: set[str] | None = None,
    ) -> None:
        self._flight, self._base = flight, base
        self._delivery, self._spare, self._exchange = delivery, spare, exchange
        self._introductions, self._pending = introductions, pending
        self._state, self._state_seconds = state, state_seconds
        self._stalled_seconds = stalled_seconds
        self._standing, self._counters = standing, standing.counters
        self._broken, self._clock = broken, clock
        self._known = set() if known is None else known
        self._since = clock.monotonic()
        self._told: dict[int, str] = {}
        self._state_due, self._dirty, self._idle_at = 0.0, True, clock.monotonic()
        self._seen: object = None
        self._parting: float | None = None
        self._offline: int | None = None
        self._parted: set[int] = set()

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
        self._introduce()
        self._exchange.fill()
        delivery = self._delivery
        delivery.fill(leave=int(self._state_is_due()))
        idle = delivery.idle and self._exchange.idle
        settled = delivery.idle and delivery.looked
        now = self._clock.monotonic()
        done = closing.asked and (now > closing.flush_until or (settled and self._exchange.idle))
        if self._dirty and (self._state_is_due() or done):
            self._tell_state(now)
        if done:
            self._parting = now + _GOODBYE_SECONDS
            return True
        if settled and not closing.asked:
            self._spare.fill()
        wait = 0.05 if closing.asked or not idle else 0.5
        if self._dirty and 0 < (left := self._due() - now) < wait:
            wait = left
        acks = self._exchange.settle(self._spare.settle(self._flight.poll(wait)))
        self._idle_at = self._clock.monotonic() if delivery.idle else self._idle_at
        self._settle(acks)
        self._watch()
        return True

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
        for key in keys:
            if isinstance(key, str) and not self._comes_again(key):
                suspects.forget(key)
        if worst is not None:
            standing.denials.deny(worst)
            standing.held.failed(
                SetBackError(f"{worst} is left out for a while: {why} with nothing else under way")
            )
        elif row is not None and suspects.is_back(row.row):
            self._delivery.tell_set_back(row, why)

    def close(self) -> None:
        """Settle what is under way as lost. Raises OutboxError."""
        self._spare.close()
        self._exchange.close()
        self._delivery.flush()

    def _comes_again(self, key: Key) -> bool:
        return key in self._introductions or key in (f"{self._base}/state", SPARE)

    def _look_around(self) -> None:
        """Renew the state where it changed without news: an hour ended, or something fails."""
        hour = self._clock.now().replace(minute=0, second=0, microsecond=0)
        before, self._seen = self._seen, (hour, self._counters.failing_now())
        self._dirty = self._dirty or self._seen != before

    def _due(self) -> float:
        """When the state may be told: after what is on its way, or when that takes long."""
        if self._delivery.idle:
            return self._state_due
        return max(self._state_due, self._idle_at + self._state_seconds)

    def _state_is_due(self) -> bool:
        """Whether the state is to be published now."""
        resting = self._standing.denials.resting(f"{self._base}/state")
        return self._dirty and not resting and self._clock.monotonic() >= self._due()

    def _tell_state(self, now: float) -> None:
        if not self._flight.room:
            return
        self._tell(f"{self._base}/state", self._state())
        self._state_due = now + self._state_seconds
        self._dirty = not self._delivery.idle

    def _introduce(self) -> None:
        """Publish that we are there, and what we are: once a connection, again after a denial."""
        settled = self._delivery.idle and self._delivery.looked
        calm = settled or self._clock.monotonic() - self._since > _LASTED_SECONDS
        for topic, introduction in self._introductions.items():
            if topic not in self._pending or self._standing.denials.resting(topic):
                continue
            if topic in self._known and not calm:
                continue
            if not self._flight.room:
                return
            self._pending.discard(topic)
            payload = introduction.payload()
            if payload is None:
                self._standing.suspects.absent(topic)
            else:
                self._tell(topic, payload)

    def _tell(self, topic: str, payload: bytes) -> int | None:
        """Publish a retained message about the device, unless the broker denied it lately."""
        limits = self._flight.limits
        if self._standing.denials.resting(topic):
            return None
        if not limits.fits(topic, payload):
            self._refused(topic, f"larger than its limit of {limits.maximum_packet_size} bytes")
            return None
        mid = self._flight.publish(topic, payload, retain=True)
        self._told[mid] = topic
        return mid

    def _settle(self, acks: list[Ack]) -> None:
        """Take acknowledgements."""
        for ack in self._delivery.settle(acks):
            topic = self._told.pop(ack.mid, None)
            if topic is None:
                continue
            self._standing.suspects.cleared(topic)
            if ack.refusal is not None:
                self._refused(topic, ack.why)
                continue
            self._standing.taken(topic)
            if topic in self._introductions:
                self._counters.add("introduced")
                self._introductions[topic].acknowledged()
                if topic != f"{self._base}/availability":  # the last will unsays it
                    self._known.add(topic)
        if any(ack.refusal is None for ack in acks):
            self._broken.recovered()

    def _refused(self, topic: str, why: str) -> None:
        """Leave a retained message alone for a while."""
        self._counters.add("denied")
        self._standing.denials.deny(topic)
        self._pending |= {topic} & set(self._introductions)
        self._standing.access.failed(DeniedError(f"the broker denies {topic} ({why})"))

    def _watch(self) -> None:
        """Log when acknowledgements stop while the connection stands, and when they come again."""
        for key in self._flight.answered:
            self._standing.stall.answered(key)
        if self._flight.stands_seconds > self._stalled_seconds:
            oldest, stall = self._flight.oldest, self._standing.stall
            if oldest and not stall.is_on(oldest.key):
                stall.stands(oldest)

    def _part(self, deadline: float) -> bool:
        """Publish ``offline`` ourselves, wait for its PUBACK, and disconnect in good order; where
        that is impossible, leave without DISCONNECT, so that the last will says it.
        """
        if self._offline is None and self._flight.room:
            self._offline = self._tell(f"{self._base}/availability", OFFLINE)
        if self._clock.monotonic() >= deadline or self._offline in self._parted:
            if self._offline is not None:
                self._flight.disconnect()
            return False
        acks = self._exchange.settle(self._spare.settle(self._flight.poll(0.05)))
        self._parted |= {ack.mid for ack in acks}
        self._settle(acks)
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
