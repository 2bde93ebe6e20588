"""What may wait: sent over the publisher's connection, one parcel at a time, when nothing else is.

The outbox is in strict order, so a picture in it would stand before later sightings. What goes this
way never does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec

from edge.counters import Counters, Episode
from edge.delivery import DeniedError
from edge.denials import Denials
from edge.mqtt import PACKET_OVERHEAD, Ack, Connection

_KIND = "spare"

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


class Source(Protocol):
    """Where parcels come from; :class:`edge.inbox.Inbox` is one. Called on one thread."""

    def next(self) -> Parcel | None:
        """Give what may be sent now, without waiting; it is settled exactly once."""
        ...

    def settled(self, parcel: Parcel, outcome: Outcome) -> None:
        """Learn what became of a parcel."""
        ...


class Spare:
    """The parcel under way over one connection; ``None`` as source sends nothing.

    A sighting that comes up meanwhile waits for what is already written to the socket, never for
    more: the next parcel begins when this one is acknowledged and nothing else waits.
    """

    def __init__(
        self,
        source: Source | None,
        connection: Connection,
        base: str,
        counters: Counters,
        denials: Denials,
        trouble: Episode,
    ) -> None:
        self._source, self._connection, self._base = source, connection, base
        self._counters, self._denials, self._trouble = counters, denials, trouble
        self._parcel: Parcel | None = None
        self._flying: set[int] = set()

    def fill(self) -> None:
        """Publish a parcel if none is under way."""
        if self._source is None or self._flying or self._denials.resting(_KIND):
            return
        self._parcel = self._source.next()
        if self._parcel is None:
            return
        messages = [(f"{self._base}/{name}", load) for name, load in self._parcel.messages]
        for topic, payload in messages:
            if not self._connection.fits(topic, payload):
                limit = self._connection.maximum_packet_size
                self._refuse(f"{topic} is larger than the broker's limit of {limit} bytes")
                return
        with self._connection.together():
            self._flying = {self._connection.publish(*message, 1) for message in messages}

    def settle(self, acks: Sequence[Ack]) -> list[Ack]:
        """Take acknowledgements; give those not ours."""
        others = []
        for ack in acks:
            if ack.mid not in self._flying:
                others.append(ack)
                continue
            self._flying.discard(ack.mid)
            if ack.refusal:
                # At once: some brokers hang up before they answer the rest.
                self._refuse(f"the broker denies {self._base}/inbox ({ack.refusal})")
            elif not self._flying and self._parcel is not None:
                self._end("taken")
                if self._denials.allow(_KIND) and not self._denials.any():
                    self._trouble.recovered()
        return others

    def close(self) -> None:
        """Say that what is under way is lost with the connection."""
        self._end("lost")

    def _refuse(self, why: str) -> None:
        """Let parcels rest for a while; sightings go on."""
        if self._parcel is not None:
            self._counters.add("denied")
            self._denials.deny(_KIND)
            self._trouble.failed(DeniedError(f"{why}; it is tried again later"))
            self._end("refused")

    def _end(self, outcome: Outcome) -> None:
        parcel, self._parcel = self._parcel, None
        if parcel is not None and self._source is not None:
            self._source.settled(parcel, outcome)
