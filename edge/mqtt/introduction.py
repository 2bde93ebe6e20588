"""What the device says of itself, retained: who it is when it connects, its state, that it goes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from edge.mqtt.lane import Lane, Link
from edge.mqtt.wire import Ack

_LASTED_SECONDS = 10.0
"""From then on what the broker knows already is said again, in case that it forgot."""


class Introduction(NamedTuple):
    """A retained message about the device, published on every connection and when renewed."""

    topic: str
    """The whole topic."""
    payload: Callable[[], bytes | None]
    """What to say, called on the publisher's thread; empty: take away what is retained; None: say
    nothing."""
    acknowledged: Callable[[], None] = lambda: None
    """Called on the publisher's thread when the broker has taken it."""


class Introductions(NamedTuple):
    """All that a device publishes when it connects, by topic; outlives connections."""

    all: Mapping[str, Introduction]
    pending: set[str]
    """Topics still to be published."""
    known: set[str]
    """Topics that the broker has taken, on an earlier connection too: they wait until nothing else
    does, or the connection has lasted a while, lest a link that soon breaks carries nothing else.
    """

    def begin(self) -> None:
        """Mark all as pending: a connection is new."""
        self.pending.update(self.all)

    def renew(self, topics: Iterable[str]) -> None:
        """Mark these as pending, and as unknown to the broker."""
        self.known.difference_update(topics)
        self.pending.update(topics)


class Announcer(Lane[str]):
    """The introductions of one connection, and what else is retained; known by their topics."""

    def __init__(self, link: Link, introductions: Introductions) -> None:
        super().__init__(link)
        self._all, self._pending, self._known = introductions
        self._since = self._clock.monotonic()

    def fill(self, calm: bool) -> None:
        """Publish that we are there, and what we are: once a connection, again after a denial.
        `calm`: nothing else waits.
        """
        calm = calm or self._clock.monotonic() - self._since > _LASTED_SECONDS
        for topic, introduction in self._all.items():
            if topic not in self._pending or self._denials.resting(topic):
                continue
            if topic in self._known and not calm:
                continue
            if not self._flight.room:
                return
            self._pending.discard(topic)
            payload = introduction.payload()
            if payload is None:
                self._suspects.absent(topic)
            else:
                self.tell(topic, payload)

    def tell(self, topic: str, payload: bytes) -> int | None:
        """Publish a retained message about the device; returns the number its acknowledgement will
        carry, None where the broker denied it lately, or would.
        """
        limits = self._flight.limits
        if self._denials.resting(topic):
            return None
        if not limits.fits(topic, payload):
            self._refused(topic, f"larger than its limit of {limits.maximum_packet_size} bytes")
            return None
        mid = self._flight.publish(topic, payload, retain=True)
        self._flying[mid] = topic
        return mid

    def under_way(self, mid: int | None) -> bool:
        """Whether the message of this number is not answered yet."""
        return mid in self._flying

    def _settled(self, topic: str, ack: Ack) -> None:
        self._suspects.cleared(topic)
        if ack.refusal is not None:
            self._refused(topic, ack.why)
            return
        self._standing.taken(topic)
        if topic in self._all:
            self._counters.add("introduced")
            self._all[topic].acknowledged()
            if topic != f"{self._base}/availability":  # the last will unsays it
                self._known.add(topic)

    def _refused(self, topic: str, why: str) -> None:
        """Leave a retained message alone for a while."""
        self._standing.denied(topic, f"the broker denies {topic} ({why})")
        self._pending.update({topic} & set(self._all))
