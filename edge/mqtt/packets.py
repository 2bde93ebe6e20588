"""What a broker sends, read: pure functions on the bodies of MQTT packets.

Whoever may publish to a device chooses the properties of a message, and brokers grow reason codes
and properties of their own. None of that is a reason to end a connection, so what is not known here
is passed over, and what is no text is read as well as it goes. (OASIS MQTT 5.0, chapter 3.)
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from edge.errors import PacketError

PUBLISH, PUBACK, PUBREC, PUBCOMP = 3, 4, 5, 7
CONNACK, SUBACK, DISCONNECT = 2, 9, 14

RESPONSE_TOPIC, CORRELATION_DATA = 0x08, 0x09
SERVER_KEEP_ALIVE, SERVER_REFERENCE, REASON_STRING = 0x13, 0x1C, 0x1F
RECEIVE_MAXIMUM, MAXIMUM_QOS, RETAIN_AVAILABLE = 0x21, 0x24, 0x25
MAXIMUM_PACKET_SIZE, WILDCARDS_AVAILABLE = 0x27, 0x28

_NUMBERS = {0x01: 1, 0x02: 4, 0x11: 4, 0x13: 2, 0x17: 1, 0x18: 4, 0x19: 1, 0x21: 2, 0x22: 2}
_NUMBERS |= {0x23: 2, 0x24: 1, 0x25: 1, 0x27: 4, 0x28: 1, 0x29: 1, 0x2A: 1}
"""Properties that are numbers, and their bytes."""
_DATA = {0x03, 0x08, 0x09, 0x12, 0x15, 0x16, 0x1A, 0x1C, 0x1F}
"""Properties that are a text, or data."""
_VARIABLE, _PAIR = 0x0B, 0x26


class Incoming(msgspec.Struct, frozen=True):
    """A message from the broker."""

    topic: str
    payload: bytes
    retained: bool = False
    response_topic: str | None = None
    """MQTT 5: where the sender wants the answer."""
    correlation: bytes | None = None
    """MQTT 5: what the sender wants to see again in the answer."""
    left_out: int = 0
    """Bytes of the payload that were not kept, because the message is too large."""


class Properties:
    """The properties of a packet under MQTT 5; a property that comes twice is the last of them."""

    def __init__(self, found: dict[int, int | bytes] | None = None) -> None:
        self._found = found or {}

    def number(self, identifier: int) -> int | None:
        """A property that is a number; None: it is not there."""
        value = self._found.get(identifier)
        return value if isinstance(value, int) else None

    def data(self, identifier: int) -> bytes | None:
        """A property that is binary data; None: it is not there."""
        value = self._found.get(identifier)
        return value if isinstance(value, bytes) else None

    def text(self, identifier: int) -> str | None:
        """A property that is text, with U+FFFD for invalid UTF-8; None: it is not there."""
        value = self.data(identifier)
        return None if value is None else value.decode(errors="replace")


class Said(NamedTuple):
    """A CONNACK or DISCONNECT under MQTT 5."""

    code: int
    properties: Properties


class PacketAnswer(NamedTuple):
    """A PUBACK, PUBREC, PUBCOMP or SUBACK."""

    mid: int
    code: int
    """Of several, the worst."""


class _BodyReader:
    def __init__(self, body: bytes) -> None:
        self.body, self.at = body, 0

    @property
    def left(self) -> int:
        return len(self.body) - self.at

    def take(self, count: int) -> bytes:
        if count > self.left:
            raise PacketError("a packet ends before what it announces")
        self.at += count
        return self.body[self.at - count : self.at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def data(self) -> bytes:
        return self.take(self.number(2))

    def variable(self) -> int:
        value = 0
        for position in range(4):
            byte = self.number(1)
            value |= (byte & 127) << 7 * position
            if not byte & 128:
                return value
        raise PacketError("a length takes more than four bytes")

    def properties(self) -> Properties:
        """Read as far as what is known goes, and step behind all of them."""
        length = self.variable()
        inner = _BodyReader(self.take(min(length, self.left)))
        found: dict[int, int | bytes] = {}
        try:
            while inner.left:
                inner.property(found)
        except PacketError:
            pass  # not known here, of which the length is not known either; or cut off
        return Properties(found)

    def property(self, found: dict[int, int | bytes]) -> None:
        identifier = self.variable()
        if size := _NUMBERS.get(identifier):
            found[identifier] = self.number(size)
        elif identifier in _DATA:
            found[identifier] = self.data()
        elif identifier == _VARIABLE:
            self.variable()
        elif identifier == _PAIR:
            self.take(self.number(2))
            self.take(self.number(2))
        else:
            raise PacketError(f"property 0x{identifier:02X} is not known")


def message(flags: int, body: bytes, level: int, left_out: int = 0) -> tuple[Incoming, int]:
    """Read a PUBLISH of which the last `left_out` bytes are not there; give its packet identifier
    too, 0 with QoS 0. Raises PacketError.
    """
    reader = _BodyReader(body)
    topic = reader.data().decode(errors="replace")
    mid = reader.number(2) if flags >> 1 & 3 else 0
    properties = reader.properties() if level == 5 else Properties()
    incoming = Incoming(
        topic,
        reader.take(reader.left),
        bool(flags & 1),
        properties.text(RESPONSE_TOPIC),
        properties.data(CORRELATION_DATA),
        left_out,
    )
    return incoming, mid


def answer(body: bytes) -> PacketAnswer:
    """Read a PUBACK, PUBREC or PUBCOMP. Raises PacketError."""
    reader = _BodyReader(body)
    return PacketAnswer(reader.number(2), reader.number(1) if reader.left else 0)


def subscribed(body: bytes, level: int) -> PacketAnswer:
    """Read a SUBACK. Raises PacketError."""
    reader = _BodyReader(body)
    mid = reader.number(2)
    if level == 5:
        reader.properties()
    return PacketAnswer(mid, max(reader.take(reader.left), default=0x80))


def said(body: bytes) -> Said:
    """Read a DISCONNECT under MQTT 5, or a CONNACK without its flags. Raises PacketError."""
    reader = _BodyReader(body)
    code = reader.number(1) if reader.left else 0
    return Said(code, reader.properties() if reader.left else Properties())
