"""What goes to and fro between a broker and what speaks to it, whoever carries it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import msgspec

from edge.mqtt.packets import (
    MAXIMUM_PACKET_SIZE,
    MAXIMUM_QOS,
    RECEIVE_MAXIMUM,
    RETAIN_AVAILABLE,
    WILDCARDS_AVAILABLE,
    Incoming,
    Properties,
)
from edge.mqtt.reason_codes import words

PACKET_OVERHEAD = 16
"""More than the header of an MQTT PUBLISH, beside topic and payload."""
MOST_UNDER_WAY = 65_535
"""What MQTT 5 allows where the broker says nothing; there are no more packet identifiers."""


class Limits(msgspec.Struct, frozen=True):
    """What the broker takes, as it said when it accepted the connection (3.1.1 says nothing)."""

    receive_maximum: int = MOST_UNDER_WAY
    """Messages of QoS 1 that may be under way, whoever sends them."""
    maximum_packet_size: int | None = None
    """Bytes; None: it did not say."""
    maximum_qos: int = 2
    retain: bool = True
    wildcards: bool = True
    """It takes subscriptions to more than one topic."""

    def fits(self, topic: str, payload: bytes) -> bool:
        """Whether the broker takes a message of this size."""
        most = self.most_bytes(topic)
        return most is None or len(payload) <= most

    def most_bytes(self, topic: str) -> int | None:
        """The largest payload on this topic, in bytes; None: there is no limit."""
        if self.maximum_packet_size is None:
            return None
        return max(0, self.maximum_packet_size - len(topic.encode()) - PACKET_OVERHEAD)


def limits_of(said: Properties) -> Limits:
    """Read what the broker takes. Nought would be nothing at all, which no broker can mean."""
    number = said.number
    return Limits(
        receive_maximum=number(RECEIVE_MAXIMUM) or MOST_UNDER_WAY,
        maximum_packet_size=number(MAXIMUM_PACKET_SIZE) or None,
        maximum_qos=2 if (qos := number(MAXIMUM_QOS)) is None else qos,
        retain=number(RETAIN_AVAILABLE) != 0,
        wildcards=number(WILDCARDS_AVAILABLE) != 0,
    )


class Will(msgspec.Struct, frozen=True):
    """What the broker says for us when the connection breaks."""

    topic: str
    payload: bytes
    retain: bool = True
    qos: int = 1


class Ack(msgspec.Struct, frozen=True):
    """The broker's answer to a publish or a subscription."""

    mid: int
    refusal: str | None
    """The name of the reason code with which the broker said no."""
    code: int = 0
    """The reason code (:mod:`edge.mqtt.reason_codes`)."""

    @property
    def why(self) -> str:
        """Why the broker said no, and what to do, in words."""
        return words(self.refusal or "", self.code)


class Wire(Protocol):
    """A connection to a broker; :class:`edge.mqtt.connection.Connection` is one. For one thread."""

    @property
    def protocol(self) -> str:
        """The MQTT version agreed on."""
        ...

    @property
    def limits(self) -> Limits:
        """What the broker takes."""
        ...

    @property
    def queued(self) -> int:
        """How many bytes were handed over since the beginning."""
        ...

    @property
    def passed(self) -> int:
        """How many of them have reached the other end."""
        ...

    def publish(
        self,
        topic: str,
        payload: bytes,
        qos: int,
        retain: bool = False,
        correlation: bytes | None = None,
    ) -> int:
        """Hand a message over; give the number its acknowledgement will carry."""
        ...

    def subscribe(self, topics: Sequence[str]) -> int:
        """Ask for what is published there; give the number its acknowledgement will carry."""
        ...

    def poll(self, timeout_seconds: float) -> list[Ack]:
        """Read and write; give new acknowledgements. Raises PublishError."""
        ...

    def incoming(self) -> list[Incoming]:
        """Return the messages that have come in."""
        ...

    def together(self) -> AbstractContextManager[object]:
        """Send what is published meanwhile in few packets."""
        ...

    def wake(self) -> None:
        """Make a poll in another thread return."""
        ...

    def disconnect(self) -> None:
        """Send DISCONNECT."""
        ...

    def close(self) -> None:
        """Drop the connection."""
        ...
