"""Reads what an MQTT client sends, strictly: each fault names the clause of the standard it breaks.

Clauses are those of MQTT 5.0; where 3.1.1 numbers them otherwise, both are given.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = 1, 2, 3, 4, 5, 6, 7
SUBSCRIBE, SUBACK, UNSUBSCRIBE, PINGREQ, PINGRESP, DISCONNECT = 8, 9, 10, 12, 13, 14

# Identifier: what it is encoded as, and the packets it may stand in (0: the will).
PROPERTIES = {
    0x01: ("byte", {PUBLISH, 0}),
    0x02: ("four", {PUBLISH, 0}),
    0x03: ("text", {PUBLISH, 0}),
    0x08: ("text", {PUBLISH, 0}),
    0x09: ("data", {PUBLISH, 0}),
    0x0B: ("vary", {SUBSCRIBE}),
    0x11: ("four", {CONNECT, DISCONNECT}),
    0x15: ("text", {CONNECT}),
    0x16: ("data", {CONNECT}),
    0x17: ("byte", {CONNECT}),
    0x18: ("four", {0}),
    0x19: ("byte", {CONNECT}),
    0x1F: ("text", {PUBACK, DISCONNECT}),
    0x21: ("two", {CONNECT}),
    0x22: ("two", {CONNECT}),
    0x23: ("two", {PUBLISH}),
    0x26: ("pair", {CONNECT, PUBLISH, 0, SUBSCRIBE, UNSUBSCRIBE, PUBACK, DISCONNECT}),
    0x27: ("four", {CONNECT}),
}
USER_PROPERTY = 0x26


class Fault(Exception):
    """A packet that breaks the standard so that nothing sensible can follow."""


@dataclass
class Reader:
    """Takes values off the body of a packet."""

    body: bytes
    at: int = 0

    def take(self, count: int) -> bytes:
        """Read the next bytes."""
        if self.at + count > len(self.body):
            raise Fault("[MQTT-4.13.1-1] a packet ends before what it announces")
        self.at += count
        return self.body[self.at - count : self.at]

    def byte(self) -> int:
        """Read one byte as a number."""
        return self.take(1)[0]

    def two(self) -> int:
        """Read a Two Byte Integer."""
        return int.from_bytes(self.take(2), "big")

    def four(self) -> int:
        """Read a Four Byte Integer."""
        return int.from_bytes(self.take(4), "big")

    def vary(self) -> int:
        """Read a Variable Byte Integer."""
        value = 0
        for position in range(4):
            byte = self.byte()
            value |= (byte & 127) << 7 * position
            if not byte & 128:
                if position and not byte:
                    raise Fault("[MQTT-1.5.5-1] a length is not encoded in the fewest bytes")
                return value
        raise Fault("[MQTT-1.5.5-1] a length takes more than four bytes")

    def data(self) -> bytes:
        """Read Binary Data."""
        return self.take(self.two())

    def text(self) -> str:
        """Read a UTF-8 Encoded String."""
        raw = self.data()
        try:
            text = raw.decode()  # refuses surrogates too
        except UnicodeDecodeError as error:
            raise Fault(f"[MQTT-1.5.4-1] a string is no UTF-8: {raw!r}") from error
        if "\0" in text:
            raise Fault(f"[MQTT-1.5.4-2] a string holds U+0000: {raw!r}")
        return text

    def pair(self) -> tuple[str, str]:
        """Read a UTF-8 String Pair."""
        return self.text(), self.text()

    @property
    def rest(self) -> bytes:
        """Read all that is left."""
        return self.take(len(self.body) - self.at)

    def properties(self, packet: int) -> dict[int, object]:
        """Read the properties of a kind of packet."""
        end = self.vary() + self.at
        found: dict[int, object] = {}
        while self.at < end:
            identifier = self.vary()
            encoding, packets = PROPERTIES.get(identifier, ("", set()))
            if packet not in packets:
                raise Fault(f"[2.2.2.2] property 0x{identifier:02X} in a packet of type {packet}")
            value = getattr(self, encoding)()
            if identifier in found and identifier != USER_PROPERTY:
                raise Fault(f"[2.2.2.2] property 0x{identifier:02X} stands there twice")
            found[identifier] = value
        if self.at != end:
            raise Fault("[MQTT-4.13.1-1] properties are longer than they say")
        return found


@dataclass
class Publish:
    """A message."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    dup: bool
    mid: int
    size: int
    properties: dict[int, object] = field(default_factory=dict)


@dataclass
class Connect:
    """The beginning of a connection."""

    level: int
    client_id: str
    keepalive: int
    clean: bool
    will: Publish | None
    username: str | None
    password: bytes | None
    properties: dict[int, object]


def connect(body: bytes) -> Connect:
    """Read a CONNECT."""
    reader = Reader(body)
    name, level = reader.data(), reader.byte()
    if name != b"MQTT" or level not in (4, 5):
        raise Fault(f"[MQTT-3.1.2-1] protocol {name!r} level {level}")
    flags, keepalive = reader.byte(), reader.two()
    if flags & 1:
        raise Fault("[MQTT-3.1.2-3] the reserved bit of the connect flags is set")
    has_will, will_qos = bool(flags & 4), flags >> 3 & 3
    if not has_will and flags & 0b111000:
        raise Fault("[MQTT-3.1.2-11] QoS or retain of a will that there is not")
    if will_qos == 3:
        raise Fault("[MQTT-3.1.2-12] a will with QoS 3")
    properties = reader.properties(CONNECT) if level == 5 else {}
    if properties.get(0x21) == 0 or properties.get(0x27) == 0:
        raise Fault("[3.1.2.11] Receive Maximum or Maximum Packet Size is 0")
    client_id, will = reader.text(), None
    if has_will:
        about = reader.properties(0) if level == 5 else {}
        topic, payload = reader.text(), reader.data()
        will = Publish(topic, payload, will_qos, bool(flags & 32), False, 0, 0, about)
    username = reader.text() if flags & 128 else None
    password = reader.data() if flags & 64 else None
    if level == 4 and flags & 64 and not flags & 128:
        raise Fault("[MQTT-3.1.2-22 of 3.1.1] a password without a user name")
    if reader.rest:
        raise Fault("[MQTT-4.13.1-1] more in a CONNECT than belongs there")
    return Connect(
        level, client_id, keepalive, bool(flags & 2), will, username, password, properties
    )


def publish(flags: int, body: bytes, level: int, size: int) -> Publish:
    """Read a PUBLISH."""
    reader = Reader(body)
    qos, dup, retain = flags >> 1 & 3, bool(flags & 8), bool(flags & 1)
    if qos == 3:
        raise Fault("[MQTT-3.3.1-4] a PUBLISH with QoS 3")
    if dup and not qos:
        raise Fault("[MQTT-3.3.1-2] DUP with QoS 0")
    topic = reader.text()
    mid = reader.two() if qos else 0
    if qos and not mid:
        raise Fault("[MQTT-2.2.1-3] packet identifier 0")
    properties = reader.properties(PUBLISH) if level == 5 else {}
    if set(topic) & set("+#"):
        raise Fault(f"[MQTT-3.3.2-2] a wildcard in the topic {topic!r}")
    if not topic and 0x23 not in properties:
        raise Fault("[MQTT-4.7.3-1] an empty topic")
    if 0x23 in properties:
        raise Fault("[MQTT-3.3.2-9] a topic alias, of which none are allowed")
    if 0x0B in properties:
        raise Fault("[MQTT-3.3.4-6] a subscription identifier from a client")
    if set(str(properties.get(0x08, ""))) & set("+#"):
        raise Fault("[MQTT-3.3.2-14] a wildcard in the response topic")
    return Publish(topic, reader.rest, qos, retain, dup, mid, size, properties)


def subscribe(body: bytes, level: int) -> tuple[int, list[tuple[str, int]]]:
    """Read a SUBSCRIBE: its packet identifier, and filters with their options."""
    reader = Reader(body)
    mid = reader.two()
    if not mid:
        raise Fault("[MQTT-2.2.1-3] packet identifier 0")
    if level == 5:
        reader.properties(SUBSCRIBE)
    filters = []
    while reader.at < len(body):
        topics, options = reader.text(), reader.byte()
        if options & 3 == 3 or options & (0xC0 if level == 5 else 0xFC):
            raise Fault("[MQTT-3.8.3-5] reserved bits in subscription options")
        filters.append((topics, options))
    if not filters:
        raise Fault("[MQTT-3.8.3-2] a SUBSCRIBE without a filter")
    return mid, filters


def vary(number: int) -> bytes:
    """Encode a Variable Byte Integer."""
    out = b""
    while True:
        number, byte = number >> 7, number & 127
        out += bytes([byte | (128 if number else 0)])
        if not number:
            return out


def packet(kind: int, body: bytes = b"", flags: int = 0) -> bytes:
    """Put a packet together."""
    return bytes([kind << 4 | flags]) + vary(len(body)) + body


def text(value: str | bytes) -> bytes:
    """Encode a UTF-8 string, or data."""
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack(">H", len(raw)) + raw


def message(topic: str | bytes, payload: bytes, properties: bytes = b"", qos: int = 0) -> bytes:
    """Put a PUBLISH of MQTT 5 together."""
    mid = struct.pack(">H", 77) if qos else b""
    about = vary(len(properties)) + properties
    return packet(PUBLISH, text(topic) + mid + about + payload, qos << 1)


def connack(code: int, level: int, properties: bytes) -> bytes:
    """Put a CONNACK together."""
    rest = vary(len(properties)) + properties if level == 5 else b""
    return packet(CONNACK, bytes([0, code]) + rest)


def answer(kind: int, mid: int, code: int, level: int) -> bytes:
    """Put a PUBACK together."""
    return packet(kind, struct.pack(">H", mid) + (bytes([code, 0]) if code and level == 5 else b""))
