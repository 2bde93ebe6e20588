"""One connection to an MQTT broker: connect, publish, collect acknowledgements; one thread.

paho-mqtt does the protocol; its own threads, queues and reconnection stay unused, because the
outbox is the queue and must be the only one. A :class:`Connection` is made anew for every attempt,
so nothing of an earlier session lingers.
"""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Iterator, Sequence
from typing import Self

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties as PahoProperties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge.config import Broker
from edge.errors import LostError, PublishError, ShortageError
from edge.mqtt.connection_errors import broken_off, unreachable
from edge.mqtt.packets import (
    REASON_STRING,
    SERVER_REFERENCE,
    Incoming,
    Properties,
    Said,
)
from edge.mqtt.paho_client import Client, reason_name
from edge.mqtt.reason_codes import FAILURE, UNSUPPORTED_VERSION, words
from edge.mqtt.tls import tls_context
from edge.mqtt.wire import Ack, Limits, Will, limits_of
from edge.system.clock import boot_seconds
from edge.system.resource_limits import SHORTAGES

HUNG_UP = "it closed the connection"
"""Why a connection ended of which nothing more is known."""
_LOG_IN = "check broker.username, its password and the access list"
_LOG_IN_CODES = (0x80, 0x83, 0x86, 0x87, 0x8A)
_NOT_MQTT = "Protocol error"
"""What paho says of a packet that is none."""
_MOST_BYTES = 1_000_000
"""Of a message, where nobody says what is enough."""


class ProtocolRefusedError(PublishError):
    """The broker does not speak the MQTT version that was tried."""

    def __init__(self, message: str, plainly: bool) -> None:
        """Take whether it said so; else it only hung up."""
        super().__init__(message)
        self.plainly = plainly


class Connection:
    """An open connection. Use it from one thread only."""

    last_mid = 0
    """Packet identifiers go on from one connection to the next: an acknowledgement that comes too
    late, by whatever way, is for no other message."""

    def __init__(
        self,
        broker: Broker,
        client_id: str,
        will: Will | None,
        protocol: str,
        most_bytes: int | None = None,
        at: str | None = None,
    ) -> None:
        """Connect; to the address `at` where one is given, else to any of the broker's name."""
        self.protocol = protocol
        self.limits = Limits()
        self.connected = False
        self.lost: LostError | None = None
        self._acks: list[Ack] = []
        self._answer: tuple[int, str] | None = None
        self._failure = ""
        self._asked: set[int] = set()
        self._heard = boot_seconds()  # to the broker it is quiet, too, while the computer sleeps
        host, port = broker.address
        self._address = f"{host}:{port}" + (f" ({at})" if at and at != host else "")
        try:
            self._client = self._configured(broker, client_id, will, most_bytes)
            self._client.target = (at or host, port)
            self._wake_read, self._wake_write = socket.socketpair()
        except OSError as error:
            if error.errno in SHORTAGES:
                raise ShortageError(f"cannot connect to {self._address}: {error}") from error
            raise
        self._wake_read.setblocking(False)
        self._wake_write.setblocking(False)
        try:
            self._open(broker, most_bytes)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def publish(
        self,
        topic: str,
        payload: bytes,
        qos: int,
        retain: bool = False,
        correlation: bytes | None = None,
    ) -> int:
        """Hand a message over; give the number its :class:`Ack` will carry."""
        properties = None
        if correlation is not None and self.protocol == "5":
            properties = PahoProperties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.CorrelationData = correlation
        self._heard = boot_seconds()
        sent = self._client.publish(topic, payload, qos, retain, properties)
        if sent.rc == paho.MQTT_ERR_QUEUE_SIZE:
            raise PublishError(f"{self._address} has not answered message {sent.mid}")
        return sent.mid

    def subscribe(self, topics: Sequence[str]) -> int:
        """Ask for what is published on `topics`, QoS 1; give the number of its :class:`Ack`.

        Under MQTT 5 what the broker has retained is not sent now, and what is retained later says
        so; 3.1.1 knows neither.
        """
        if self.protocol == "5":
            options = SubscribeOptions(
                qos=1,
                retainAsPublished=True,
                retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND,
            )
            mid = self._client.subscribe([(topic, options) for topic in topics])[1]
        else:
            mid = self._client.subscribe([(topic, 1) for topic in topics])[1]
        if mid is None:
            raise PublishError(f"the connection to {self._address} was lost while subscribing")
        self._asked.add(mid)
        return mid

    def accepted(self, mid: int, what: str, deadline: float) -> None:
        """Wait for the broker's yes to a publish or a subscription until the monotonic `deadline`;
        other answers are passed over.

        Raises PublishError: it says no, or nothing in time.
        """
        while True:
            for ack in self.poll(0.2):
                if ack.mid == mid and ack.refusal is None:
                    return
                if ack.mid == mid:
                    raise PublishError(
                        f"the broker denies {what} ({ack.refusal}); allow it in its access list"
                    )
            if time.monotonic() >= deadline:
                raise PublishError(f"the broker does not acknowledge {what}; look at its log")

    def incoming(self) -> list[Incoming]:
        """What has come in during :meth:`poll`, oldest first."""
        taken, self._client.incoming = self._client.incoming, []
        return taken

    @property
    def queued(self) -> int:
        """How many bytes were handed over since the beginning."""
        return self._client.queued

    @property
    def passed(self) -> int:
        """How many of them have reached the other end (elsewhere than on Linux: the kernel)."""
        return self._client.passed

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Send what is published meanwhile in as few packets as possible (Linux: TCP_CORK).

        Over a mobile network that saves an IP header a message; everywhere it saves the broker
        a wake-up a message.
        """
        self._cork(True)
        try:
            yield
        finally:
            self._cork(False)

    def _cork(self, on: bool) -> None:
        sock = self._client.socket()
        if isinstance(sock, socket.socket) and hasattr(socket, "TCP_CORK"):
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, int(on))

    def poll(self, timeout_seconds: float) -> list[Ack]:
        """Read and write what is there, waiting so long at most; give new acknowledgements.

        Raises LostError when the connection was lost.
        """
        sock = self._client.socket()
        if sock is not None:
            self._turn(sock, min(timeout_seconds, self._client.keepalive / 4))
        acks, self._acks = self._acks, []
        if not acks and self.lost is not None:
            raise self.lost
        return acks

    def _turn(self, sock: paho.SocketLike, seconds: float) -> None:
        """Let paho read and write once."""
        pending = getattr(sock, "pending", None)  # TLS may hold bytes select cannot see
        wait = 0.0 if pending and pending() else seconds
        writers = [sock] if self._client.want_write() else []
        readable, writable, _ = select.select([sock, self._wake_read], writers, [], wait)
        if self._wake_read in readable:
            with contextlib.suppress(BlockingIOError):
                self._wake_read.recv(4096)
        try:
            if sock in readable or (pending and pending()):
                self._client.loop_read()
                self._heard = boot_seconds()
            if writable:
                self._client.loop_write()
            self._client.loop_misc()
        except Exception as error:  # paho raises whatever its parser meets
            self.connected = False
            self.lost = LostError(
                f"{self._address} sent something that is not MQTT ({error!r}); is it an MQTT "
                "broker?"
            )

    def wake(self) -> None:
        """Make a :meth:`poll` in another thread return at once."""
        with contextlib.suppress(OSError):
            self._wake_write.send(b"x")

    def disconnect(self) -> None:
        """Send DISCONNECT, so that the broker does not publish the last will."""
        if self.connected:
            self._client.disconnect()
            with contextlib.suppress(PublishError, OSError, ValueError):
                self.poll(0.1)

    def close(self) -> None:
        """Drop the connection without a word; doing so twice is fine."""
        self._client.on_disconnect = None
        Connection.last_mid = self._client.last_mid
        sock = self._client.socket()
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.close()
        self._wake_read.close()
        self._wake_write.close()

    def _configured(
        self, broker: Broker, client_id: str, will: Will | None, most_bytes: int | None
    ) -> Client:
        client = Client(client_id, self.protocol, most_bytes or _MOST_BYTES)
        client.max_inflight_messages_set(0)  # the window is ours: paho would queue in memory
        client.connect_timeout = broker.timeout_seconds
        if will:
            client.will_set(will.topic, will.payload, qos=will.qos, retain=will.retain)
        if broker.username is not None:
            client.username_pw_set(broker.username, broker.password())
        if broker.tls:
            client.tls_set_context(tls_context(broker.tls))
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        client.on_log = self._on_log
        client.last_mid = Connection.last_mid
        return client

    def _open(self, broker: Broker, most_bytes: int | None) -> None:
        properties = None
        if most_bytes is not None and self.protocol == "5":
            properties = PahoProperties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.MaximumPacketSize = most_bytes
        try:
            self._client.connect(
                *broker.address, keepalive=broker.keepalive_seconds, properties=properties
            )
        except (OSError, ValueError) as error:
            raise PublishError(unreachable(self._address, error)) from error
        deadline = time.monotonic() + broker.timeout_seconds
        while self._answer is None:
            if time.monotonic() > deadline:
                raise PublishError(
                    f"{self._address} did not answer within {broker.timeout_seconds:g} s; "
                    "is it an MQTT broker?"
                )
            try:
                self.poll(0.2)
            except LostError as error:
                if self._answer is None and not error.hung_up:
                    raise PublishError(
                        f"no MQTT connection with {self._address}: {error.why}"
                    ) from error
                if self._answer is None:
                    raise ProtocolRefusedError(
                        f"{self._address} did not complete an MQTT {self.protocol} connection "
                        f"({error.why}); is it an MQTT broker"
                        + (", and does it take this device's certificate?" if broker.tls else "?"),
                        plainly=False,
                    ) from error
        code, name = self._answer
        if code >= FAILURE:
            why = f"{name}; {_LOG_IN}" if code in _LOG_IN_CODES else words(name, code)
            text = f"{self._address} refused the connection: {why}"
            if code == UNSUPPORTED_VERSION:
                raise ProtocolRefusedError(f"{text} (tried: {self.protocol})", plainly=True)
            raise LostError(text + _elsewhere(self._client.said), code=code)
        self.connected = True
        self.lost = None

    def _on_connect(
        self, _client: object, _data: object, _flags: object, reason: ReasonCode, _more: object
    ) -> None:
        said, self._answer = self._client.said, (reason.value, str(reason))
        if said is not None and reason.value != UNSUPPORTED_VERSION:
            self._answer = (said.code, reason_name(said.code))
            self.limits = limits_of(said.properties)

    def _on_disconnect(
        self,
        _client: object,
        _data: object,
        flags: paho.DisconnectFlags,
        reason: ReasonCode,
        _more: object,
    ) -> None:
        self.connected = False
        told, said, code = flags.is_disconnect_packet_from_server, self._client.said, None
        why = broken_off(self._failure) or HUNG_UP
        if told and said is not None and said.code >= FAILURE:
            code, why = said.code, words(reason_name(said.code), said.code) + _elsewhere(said)
        elif str(reason) == _NOT_MQTT:
            why = "it sent something that is not MQTT"
        elif told or str(reason) != "Unspecified error":
            why = str(reason)
        self.lost = LostError(
            f"the connection to {self._address} was lost: {why}",
            why=why,
            code=code,
            hung_up=told or why == HUNG_UP,
            quiet_seconds=boot_seconds() - self._heard,
        )

    def _on_publish(
        self, _client: object, _data: object, mid: int, _reason: object, _properties: object
    ) -> None:
        self._acks.append(self._ack(mid))

    def _on_subscribe(
        self,
        _client: object,
        _data: object,
        mid: int,
        _reasons: object,
        _properties: object,
    ) -> None:
        if mid not in self._asked:
            return  # it would count as the acknowledgement of a message
        self._asked.discard(mid)
        self._acks.append(self._ack(mid))

    def _ack(self, mid: int) -> Ack:
        code = self._client.codes.pop(mid, 0)
        return Ack(mid, reason_name(code) if code else None, code)

    def _on_log(self, _client: object, _data: object, level: int, text: str) -> None:
        """Keep what the network said: nothing else gives it away."""
        if level == paho.MQTT_LOG_ERR:
            self._failure = text


def _elsewhere(said: Said | None) -> str:
    """Which server the broker names in its place, and what else it says."""
    properties = said.properties if said else Properties()
    named, more = properties.text(SERVER_REFERENCE), properties.text(REASON_STRING)
    return (f" (it names {named})" if named else "") + (f" (it says: {more})" if more else "")
