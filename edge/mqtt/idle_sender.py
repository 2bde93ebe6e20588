"""What may wait: sent over the publisher's connection, one parcel at a time, when nothing else is.

The outbox is in strict order, so a picture in it would stand before later sightings. What goes this
way never does.
"""

from __future__ import annotations

from collections import deque
from typing import Literal, Protocol

import msgspec

from edge.mqtt.lane import Lane, Link
from edge.mqtt.wire import PACKET_OVERHEAD, Ack

SPARE = "spare"
"""What :class:`edge.mqtt.denials.Denials` and :class:`edge.mqtt.poison_messages.Suspects` know
parcels as."""

Outcome = Literal["taken", "refused", "lost"]
"""Acknowledged, denied by the broker, or the connection broke off first."""


class Parcel(msgspec.Struct, frozen=True):
    """Messages that belong together, QoS 1, in this order."""

    id: str
    messages: tuple[tuple[str, bytes], ...]
    """Topic below ``wheatear/<device>/``, and payload."""

    @property
    def bytes(self) -> int:
        """What goes over the network, to a few bytes."""
        return sum(len(topic) + len(payload) + PACKET_OVERHEAD for topic, payload in self.messages)


class ParcelSource(Protocol):
    """Where parcels come from; :class:`edge.feedback.inbox.PictureInbox` is one. Called on one
    thread.
    """

    def next(self) -> Parcel | None:
        """Return what may be sent now, without waiting; it is settled exactly once."""
        ...

    def settled(self, parcel: Parcel, outcome: Outcome) -> None:
        """Learn what became of a parcel."""
        ...


class IdleSender(Lane[str]):
    """The parcel under way over one connection; ``None`` as source sends nothing.

    A sighting that comes up meanwhile waits for what is already written to the socket, never for
    more: the next parcel begins when this one is acknowledged and nothing else waits.
    """

    def __init__(self, link: Link, source: ParcelSource | None) -> None:
        super().__init__(link)
        self._source = source
        self._parcel: Parcel | None = None
        self._left: deque[tuple[str, bytes]] = deque()

    def fill(self) -> None:
        """Publish a parcel if none is under way; as much of it at once as there is room for."""
        if self._parcel is None:
            self._begin()
        with self._flight.together():
            while self._left and self._flight.room:
                topic, payload = self._left.popleft()
                self._flying[self._flight.publish(topic, payload, key=SPARE)] = topic

    def _begin(self) -> None:
        limits = self._flight.limits
        if self._source is None or limits.maximum_qos == 0 or self._denials.resting(SPARE):
            return
        self._parcel = self._source.next()
        if self._parcel is None:
            self._suspects.absent(SPARE)
            return
        self._left.extend((f"{self._base}/{name}", load) for name, load in self._parcel.messages)
        for topic, payload in self._left:
            if not limits.fits(topic, payload):
                limit = limits.maximum_packet_size
                self._refuse(f"{topic} is larger than the broker's limit of {limit} bytes")
                return

    def _settled(self, _topic: str, ack: Ack) -> None:
        if ack.refusal is not None:
            # At once: some brokers hang up before they answer the rest.
            self._refuse(f"the broker denies {self._base}/inbox ({ack.refusal})")
        elif self.idle and not self._left and self._parcel is not None:
            self._end("taken")
            self._suspects.cleared(SPARE)
            self._standing.taken(SPARE)

    def close(self) -> None:
        """Treat what is in flight as lost with the connection."""
        self._end("lost")

    def _refuse(self, why: str) -> None:
        """Let parcels rest for a while; sightings go on."""
        if self._parcel is not None:
            self._standing.denied(SPARE, f"{why}; it is tried again later")
            self._end("refused")

    def _end(self, outcome: Outcome) -> None:
        parcel, self._parcel = self._parcel, None
        self._left.clear()
        if parcel is not None and self._source is not None:
            self._source.settled(parcel, outcome)
