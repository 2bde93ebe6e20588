"""One connection to a scripted broker: what comes is held to the standard, and answered."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import mqtt_packets as mqtt
from broker_script import Script
from mqtt_packets import Connect, Fault, Publish

if TYPE_CHECKING:
    from strict_broker import StrictBroker

QUIET_FACTOR = 1.5
"""[MQTT-3.1.2-22]: so many keep alive times without a packet end a connection."""


class _HangUp(Exception):
    """The script says so, or the client was at fault."""


class Peer:
    """One connection."""

    def __init__(self, broker: StrictBroker, sock: socket.socket, closing: threading.Event) -> None:
        self._broker, self._sock, self._closing = broker, sock, closing
        self._limits = broker.script
        """What it told this client it takes."""
        self._level, self._keepalive = 5, 0
        self._said: Connect | None = None
        self._goodbye = False
        self._under_way: dict[int, tuple[float, Publish]] = {}
        self._held: list[bytes] = []
        self._publishes = 0
        self._buffer = b""
        self._heard = time.monotonic()

    @property
    def _script(self) -> Script:
        return replace(
            self._broker.script,
            **{name: getattr(self._limits, name) for name in _AGREED},
        )

    def run(self) -> None:
        """Answer until the connection ends."""
        try:
            while not self._closing.is_set():
                self._acknowledge()
                if self._read():
                    while (found := self._split()) is not None:
                        self._heard = time.monotonic()
                        self._handle(*found)
                self._check_quiet()
        except Fault as fault:
            self._note(str(fault))
            self._disconnect(0x81)
        except (_HangUp, ConnectionError, OSError):
            pass

    def _note(self, finding: str) -> None:
        with self._broker.notes():
            self._broker.findings.append(finding)

    def _breach(self, finding: str, code: int) -> None:
        self._note(finding)
        self._disconnect(code)
        raise _HangUp

    def _disconnect(self, code: int) -> None:
        if self._level == 5 and self._said:
            with contextlib.suppress(OSError):
                self._send(mqtt.packet(mqtt.DISCONNECT, bytes([code, 0])))

    def _send(self, data: bytes) -> None:
        if not self._script.trickle:
            self._sock.sendall(data)
            return
        for byte in data:
            self._sock.sendall(bytes([byte]))
            time.sleep(0.001)

    def _read(self) -> bool:
        """Wait a little for bytes; True where some came."""
        pending = getattr(self._sock, "pending", lambda: 0)
        if not pending() and not select.select([self._sock], [], [], 0.01)[0]:
            return False
        speed = self._script.bytes_per_second
        data = self._sock.recv(1024 if speed else 65536)
        if not data:
            raise _HangUp
        if speed:
            time.sleep(len(data) / speed)
        self._buffer += data
        return True

    def _split(self) -> tuple[int, int, bytes, int] | None:
        """Take a whole packet off what came: type, flags, body and size."""
        if len(self._buffer) < 2:
            return None
        if len(self._buffer) < 5 and all(byte & 128 for byte in self._buffer[1:]):
            return None
        reader = mqtt.Reader(self._buffer, 1)
        length = reader.vary()
        if reader.at + length > len(self._buffer):
            return None
        first, body = self._buffer[0], reader.take(length)
        self._buffer = self._buffer[reader.at :]
        return first >> 4, first & 15, body, reader.at

    def _check_quiet(self) -> None:
        quiet = time.monotonic() - self._heard
        if self._said and self._script.idle_seconds and quiet > self._script.idle_seconds:
            raise _HangUp
        if self._said and self._keepalive and quiet > QUIET_FACTOR * self._keepalive:
            self._breach(
                f"[MQTT-3.1.2-20] nothing for {quiet:.1f} s, with a keep alive of "
                f"{self._keepalive} s",
                0x8D,
            )

    def _handle(self, kind: int, flags: int, body: bytes, size: int) -> None:
        if self._goodbye:
            raise Fault("[MQTT-3.14.4-1] a packet after DISCONNECT")
        if self._said is None:
            if kind != mqtt.CONNECT:
                raise Fault(f"[MQTT-3.1.0-1] the first packet is of type {kind}")
            self._connect(mqtt.connect(body))
            return
        most = self._script.maximum_packet_size if self._level == 5 else None
        if most is not None and size > most:
            self._breach(f"[MQTT-3.2.2-15] a packet of {size} bytes, {most} are allowed", 0x95)
        wanted = 2 if kind in (mqtt.SUBSCRIBE, mqtt.UNSUBSCRIBE, mqtt.PUBREL) else 0
        if kind != mqtt.PUBLISH and flags != wanted:
            raise Fault(f"[MQTT-2.1.3-1] flags {flags:04b} in a packet of type {kind}")
        if kind == mqtt.PUBLISH:
            self._publish(mqtt.publish(flags, body, self._level, size))
        elif kind == mqtt.SUBSCRIBE:
            self._subscribe(*mqtt.subscribe(body, self._level))
        elif kind == mqtt.PINGREQ:
            self._ping(body)
        elif kind == mqtt.PUBREL and self._script.pubrecs:
            self._send(mqtt.packet(mqtt.PUBCOMP, body[:2]))
        elif kind in (mqtt.PUBREC, mqtt.PUBCOMP) and self._script.says:
            pass
        elif kind == mqtt.DISCONNECT:
            self._goodbye = True
            with self._broker.notes():
                self._broker.goodbyes += 1
        elif kind == mqtt.CONNECT:
            raise Fault("[MQTT-3.1.0-2] a second CONNECT")
        elif kind != mqtt.PUBACK:
            raise Fault(f"[2.1.2] a packet of type {kind} from a client that has no use for it")

    def _connect(self, said: Connect) -> None:
        script = self._script
        self._level = said.level
        if said.level in script.silent:
            raise _HangUp
        if said.level not in script.speaks:
            self._send(mqtt.packet(mqtt.CONNACK, bytes([0, 1])))
            raise _HangUp
        with self._broker.notes():
            self._broker.connects.append(said)
        code = script.connack
        if said.level == 5 and said.will:
            if script.maximum_qos is not None and said.will.qos > script.maximum_qos:
                code = code or 0x9B
            if said.will.retain and not script.retain:
                code = code or 0x9A
        self._keepalive = said.keepalive
        if said.level == 5 and script.keep_alive is not None:
            self._keepalive = script.keep_alive
        self._send(mqtt.connack(code, said.level, self._properties()))
        if code:
            raise _HangUp
        self._said = said

    def _properties(self) -> bytes:
        script, out = self._script, b""
        for identifier, value, form in (
            (0x21, script.receive_maximum, ">H"),
            (0x24, script.maximum_qos, ">B"),
            (0x25, None if script.retain else 0, ">B"),
            (0x27, script.maximum_packet_size, ">I"),
            (0x28, None if script.wildcards else 0, ">B"),
            (0x2A, None if script.shared else 0, ">B"),
            (0x13, script.keep_alive, ">H"),
        ):
            if value is not None:
                out += bytes([identifier]) + struct.pack(form, value)
        return out + script.properties

    def _publish(self, message: Publish) -> None:
        self._publishes += 1
        self._check_publish(message)
        with self._broker.notes():
            self._broker.seen.append(message)
        self._do_wrong(message)
        if message.qos:
            due = time.monotonic() + self._script.late_seconds
            self._under_way[message.mid] = (due, message)
            under_way = len(self._under_way)
            with self._broker.notes():
                self._broker.most_under_way = max(self._broker.most_under_way, under_way)
            most = self._script.receive_maximum if self._level == 5 else None
            if most is not None and under_way > most:
                self._breach(
                    f"[MQTT-3.3.4-7] {under_way} messages under way, {most} are allowed "
                    f"({message.topic})",
                    0x93,
                )
        else:
            with self._broker.notes():
                self._broker.published.append(message)

    def _check_publish(self, message: Publish) -> None:
        script = self._script
        if message.mid and message.mid in self._under_way:
            self._breach(f"[MQTT-2.2.1-3] packet identifier {message.mid} is in use", 0x82)
        if message.dup:
            self._breach("[MQTT-3.3.1-1] DUP on a message that is new in this session", 0x82)
        if self._level != 5:
            return
        if script.maximum_qos is not None and message.qos > script.maximum_qos:
            self._breach(f"[MQTT-3.2.2-11] QoS {message.qos} on {message.topic}", 0x9B)
        if message.retain and not script.retain:
            self._breach(f"[MQTT-3.2.2-14] retain on {message.topic}", 0x9A)

    def _do_wrong(self, message: Publish) -> None:
        """Do what the script wants at this message."""
        script = self._script
        if _ends(message.topic, script.hang_up) or (
            (script.hang_up_bytes is not None and message.size > script.hang_up_bytes)
            or (script.hang_up_payload is not None and script.hang_up_payload in message.payload)
            or (script.hang_up_after is not None and self._publishes > script.hang_up_after)
        ):
            raise _HangUp
        for end, code in script.goodbyes.items():
            if message.topic.endswith(end):
                self._disconnect(code)
                raise _HangUp
        if script.half_packet_after == self._publishes:
            self._sock.sendall(mqtt.answer(mqtt.PUBACK, message.mid, 0, self._level)[:2])
            raise _HangUp
        if script.garbage_after == self._publishes:
            self._sock.sendall(b"\xf0\xff\xff\xff\xff\xffHTTP/1.1 400 Bad Request\r\n\r\n")
        if script.swallow_after is not None and self._publishes > script.swallow_after:
            self._swallow()

    def _swallow(self) -> None:
        while not self._closing.wait(0.02):
            while not self._script.stop_reading and self._read():
                self._buffer = b""
        raise _HangUp

    def _acknowledge(self) -> None:
        """Answer what is due."""
        script, now = self._script, time.monotonic()
        for mid, (due, message) in list(self._under_way.items()):
            if due > now or _ends(message.topic, script.mute):
                continue
            sent = mid ^ 0x4000 if _ends(message.topic, script.wrong_ids) else mid
            codes = (code for end, code in script.codes.items() if message.topic.endswith(end))
            code = next(codes, 0)
            if script.refuse_payload and script.refuse_payload[0] in message.payload:
                code = script.refuse_payload[1]
            if _ends(message.topic, script.subacks):
                self._held.append(_suback(mid, self._level, b"\0"))
                continue
            kind = mqtt.PUBREC if _ends(message.topic, script.pubrecs) else mqtt.PUBACK
            self._held.append(mqtt.answer(kind, sent, code, self._level))
            if sent == mid:
                del self._under_way[mid]
                if code < 0x80:
                    with self._broker.notes():
                        self._broker.published.append(message)
            else:
                self._under_way[mid] = (float("inf"), message)
        if len(self._held) >= script.gather or (self._held and not self._under_way):
            held, self._held = self._held, []
            self._send(b"".join(reversed(held)))

    def _subscribe(self, mid: int, filters: list[tuple[str, int]]) -> None:
        if mid in self._under_way:
            self._breach(f"[MQTT-2.2.1-3] packet identifier {mid} is in use", 0x82)
        for topics, _ in filters:
            if self._level == 5 and not self._script.wildcards and set(topics) & set("+#"):
                self._breach(
                    f"[3.2.2.3.11] a wildcard in {topics}, of which none are allowed", 0xA2
                )
            if self._level == 5 and not self._script.shared and topics.startswith("$share/"):
                self._breach(f"[3.2.2.3.13] {topics}: no shared subscriptions are allowed", 0x9E)
        with self._broker.notes():
            self._broker.filters += [topics for topics, _ in filters]
        if not self._script.subscriptions:
            return
        granted = self._script.granted
        codes = (min(one & 3, 1) if granted is None else granted for _, one in filters)
        self._send(_suback(mid, self._level, bytes(codes)))
        for said in self._script.says:
            self._sock.sendall(said)

    def _ping(self, body: bytes) -> None:
        if body:
            raise Fault("[3.12.1] a PINGREQ with a body")
        with self._broker.notes():
            self._broker.pings += 1
        if self._script.pings:
            self._send(mqtt.packet(mqtt.PINGRESP))


_AGREED = (
    "receive_maximum",
    "maximum_qos",
    "retain",
    "maximum_packet_size",
    "keep_alive",
    "wildcards",
    "shared",
)


def _suback(mid: int, level: int, codes: bytes) -> bytes:
    none = b"\0" if level == 5 else b""
    return mqtt.packet(mqtt.SUBACK, struct.pack(">H", mid) + none + codes)


def _ends(topic: str, ends: tuple[str, ...]) -> bool:
    return any(topic.endswith(end) for end in ends)
