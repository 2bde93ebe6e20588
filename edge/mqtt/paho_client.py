"""The protocol itself: paho-mqtt, less what it makes of foreign packets.

paho ends a connection at a reason code or property that it does not know and at a text with U+FEFF,
takes minutes for some thousands of properties, and keeps whatever size of message in memory. So
what a broker says is read by :mod:`edge.mqtt.packets`, and paho is shown a plain packet in its
place.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import sys
import time

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from edge.mqtt import packets
from edge.mqtt.packets import Incoming, Said
from edge.mqtt.reason_codes import FAILURE, UNSUPPORTED_VERSION

_VERSIONS = {"5": paho.MQTTv5, "3.1.1": paho.MQTTv311}
_READ_BYTES = 65_536
_HEAD_BYTES = 4 * 65_536
"""More than topic, response topic and correlation data of a message."""
_OLD_BROKER = 1
"""What a broker of 3.1.1 answers to a CONNECT of 5."""
_UNSENT = 0x5411
"""SIOCOUTQ of Linux: bytes that the other end has not confirmed."""


class Client(paho.Client):
    """Connects to one address of a name that may have several; TLS is still about the name.

    Of a message larger than `most_bytes` the rest is not kept.
    """

    def __init__(self, client_id: str, protocol: str, most_bytes: int) -> None:
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=_VERSIONS[protocol],
            reconnect_on_failure=False,
        )
        self._level = 5 if protocol == "5" else 4
        self._most_kept = most_bytes + _HEAD_BYTES
        self.target = ("", 0)
        self.incoming: list[Incoming] = []
        self.codes: dict[int, int] = {}
        """Reason codes of failures, by what they answer."""
        self.said: Said | None = None
        """MQTT 5: how the broker took the connection, or ended it."""
        self.queued = 0
        """Bytes to be sent since the beginning."""
        self._sent = self._passed = self._ping_at = 0

    @property
    def last_mid(self) -> int:
        """The packet identifier that was given last; the next one follows it."""
        return self._last_mid

    @last_mid.setter
    def last_mid(self, mid: int) -> None:
        self._last_mid = mid

    @property
    def passed(self) -> int:
        """Bytes that have reached the other end."""
        sock = self.socket()
        waiting = 0
        if sys.platform == "linux" and isinstance(sock, socket.socket):
            waiting = struct.unpack("i", fcntl.ioctl(sock.fileno(), _UNSENT, bytes(4)))[0]
        passed = self._sent - waiting  # under TLS, what waits is a little more than it was
        if passed > self._passed:
            late = time.monotonic() - self._ping_t > self._keepalive / 2
            if passed < self._ping_at and late:
                self._ping_t = 0  # the broker cannot have seen the ping yet: ask again later
            self._passed = passed
        return self._passed

    def _create_socket_connection(self) -> socket.socket:
        return socket.create_connection(self.target, timeout=self.connect_timeout)

    def _packet_queue(
        self, command: int, packet: bytes | bytearray, *more: object, **others: object
    ) -> MQTTErrorCode:
        self.queued += len(packet)
        if command == paho.PINGREQ:
            self._ping_at = self.queued
        return super()._packet_queue(command, packet, *more, **others)  # type: ignore[arg-type]

    def _sock_send(self, buf: bytes | bytearray) -> int:
        sent = super()._sock_send(buf)
        self._sent += sent
        return sent

    def _sock_recv(self, bufsize: int) -> bytes:
        del self._in_packet["packet"][self._most_kept :]
        return super()._sock_recv(min(bufsize, _READ_BYTES))

    def _packet_handle(self) -> MQTTErrorCode:
        packet = self._in_packet
        packet["packet"] = bytearray(self._plain(packet["command"], bytes(packet["packet"])))
        return super()._packet_handle()

    def _plain(self, command: int, body: bytes) -> bytes:
        """Read a packet; give what paho may know of it. Raises PacketError."""
        kind = command >> 4
        if kind == packets.PUBLISH:
            return self._plain_message(command & 15, body)
        if kind == packets.SUBACK:
            return self._plain_subscribed(body)
        if self._level != 5:
            return body
        if kind in (packets.PUBACK, packets.PUBREC, packets.PUBCOMP):
            return self._plain_answer(kind, body)
        if kind == packets.CONNACK:
            return self._plain_connected(body)
        if kind == packets.DISCONNECT:
            self.said = packets.said(body)
            return b""
        return body

    def _plain_message(self, flags: int, body: bytes) -> bytes:
        left_out = self._in_packet["remaining_length"] - len(body)
        incoming, mid = packets.message(flags, body, self._level, left_out)
        self.incoming.append(incoming)
        return b"\0\1x" + (struct.pack(">H", mid) if mid else b"") + b"\0" * (self._level == 5)

    def _plain_subscribed(self, body: bytes) -> bytes:
        mid, code = packets.subscribed(body, self._level)
        if code >= FAILURE:
            self.codes[mid] = code
        return struct.pack(">H", mid) + b"\0\0"  # under 3.1.1 two codes, of which none is read

    def _plain_answer(self, kind: int, body: bytes) -> bytes:
        mid, code = packets.answer(body)
        if code >= FAILURE and mid in self._out_messages:
            self.codes[mid] = code
            if kind == packets.PUBREC:  # a no, and the last word
                self._in_packet["command"] = packets.PUBACK << 4
        return struct.pack(">H", mid)

    def _plain_connected(self, body: bytes) -> bytes:
        self.said = packets.said(body[1:])
        code = self.said.code
        if wanted := self.said.properties.number(packets.SERVER_KEEP_ALIVE):
            # What is said more often than it asks for is no fault, and tells whether it is there.
            self._keepalive = min(self._keepalive, wanted)
        plain = code if code in (0, _OLD_BROKER, UNSUPPORTED_VERSION) else FAILURE
        return body[:1] + bytes([plain]) + b"\0" * (code != _OLD_BROKER)


def reason_name(code: int) -> str:
    """The MQTT standard's name of a reason code."""
    names = ReasonCode(PacketTypes.CONNACK).names.get(code, {"Unknown reason": None})
    return str(next(iter(names)))
