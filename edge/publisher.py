"""The publisher thread: keeps a connection and empties the outbox over it, oldest first."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from edge.clock import Clock, SystemClock
from edge.config import Broker
from edge.counters import Backoff, Counters, Episode
from edge.delivery import Delivery, DeniedError
from edge.denials import Denials
from edge.errors import ConfigError, OutboxError, PublishError
from edge.exchange import Exchange, Inlet
from edge.mqtt import Ack, Connection, Will, connect
from edge.outbox import Outbox
from edge.spare import Source, Spare

log = logging.getLogger(__name__)

ONLINE, OFFLINE = b"online", b"offline"
_SETTLED_SECONDS = 10.0
"""A connection that lasted so long, or delivered something, starts the waits over."""


class Introduction(NamedTuple):
    """A retained message about the device, published on every connection and when renewed."""

    topic: str
    """The whole topic."""
    payload: Callable[[], bytes | None]
    """What to say, called on the publisher's thread; empty: take away what is retained; None: say
    nothing."""
    acknowledged: Callable[[], None] = lambda: None
    """Called on the publisher's thread when the broker has taken it."""


class Publisher:
    """Publishes from its own thread; capturing never waits for it.

    `info` gives the retained description (for the MQTT version agreed), `state` the retained
    state; both are called on the publisher's thread. `introductions` are what else is retained,
    `spare` is what is sent when nothing else waits; `requests` take what is asked of the device.
    While `hold` says so, what waits in the outbox is not sent yet.
    """

    def __init__(
        self,
        broker: Broker,
        device: str,
        outbox: Outbox,
        info: Callable[[str], bytes],
        state: Callable[[], bytes],
        counters: Counters,
        state_seconds: float = 5.0,
        denied_seconds: float = 30.0,
        introductions: Sequence[Introduction] = (),
        clock: Clock | None = None,
        spare: Source | None = None,
        requests: Inlet | None = None,
        hold: Callable[[], bool] = lambda: False,
    ) -> None:
        self._broker, self._device, self._outbox = broker, device, outbox
        self._state, self._counters = state, counters
        self._clock, self._hold = clock or SystemClock(), hold
        self._state_seconds, self._spare, self._requests = state_seconds, spare, requests
        self._denials = Denials(denied_seconds)
        self.base = f"{broker.base_topic}/{device}"
        self.protocol: str | None = None
        ours = (
            Introduction(f"{self.base}/availability", lambda: ONLINE),
            Introduction(f"{self.base}/info", lambda: info(self.protocol or "")),
        )
        self._introductions = {one.topic: one for one in (*ours, *introductions)}
        self._told: dict[int, str] = {}
        self._pending: set[str] = set()
        self._closing = threading.Event()
        self._flush_until = 0.0
        self._news = threading.Event()
        self._connection: Connection | None = None
        self._trouble = Episode("broker", counters, log)
        self._access = Episode("broker access", counters, log)
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wake(self) -> None:
        """Say that the outbox has something new."""
        self._news.set()
        self.nudge()

    def nudge(self) -> None:
        """Say that there is something to send, though not in the outbox."""
        if (connection := self._connection) is not None:
            connection.wake()

    def renew(self, topic: str | None = None) -> None:
        """Publish the introduction with this topic, or all, again: what it says has changed."""
        self._pending |= set(self._introductions) if topic is None else {topic}
        self.wake()

    def close(self, flush_seconds: float = 2.0) -> None:
        """Deliver what can be delivered in `flush_seconds`, say goodbye, end the thread."""
        self._flush_until = time.monotonic() + flush_seconds
        self._closing.set()
        self.wake()
        if self._thread.is_alive():
            self._thread.join(flush_seconds + 5.0)

    def _run(self) -> None:
        backoff = Backoff(self._broker.retry_min_seconds, self._broker.retry_max_seconds)
        while not self._closing.is_set():
            started, delivered = time.monotonic(), self._counters["delivered"]
            try:
                with self._connect() as connection:
                    started = time.monotonic()
                    self._connected(connection)
                    self._session(connection)
            except (PublishError, OutboxError, ConfigError) as error:
                self._counters.add("broker_failures")
                self._trouble.failed(error)
            except Exception as error:  # a bug must not end delivery for good
                log.exception("the publisher failed; it goes on")
                self._trouble.failed(error)
            finally:
                self._connection = None
            lasted = time.monotonic() - started > _SETTLED_SECONDS
            if lasted or self._counters["delivered"] > delivered:
                backoff.reset()
            self._closing.wait(backoff.next(random.random()))

    def _connect(self) -> Connection:
        will = Will(f"{self.base}/availability", OFFLINE)
        most = self._requests.most_bytes if self._requests else None
        client_id = f"wheatear-{self._device}"
        return connect(self._broker, client_id, will, self.protocol == "5", most)

    def _connected(self, connection: Connection) -> None:
        if self.protocol != connection.protocol:
            log.info("%s:%d speaks MQTT %s", *self._broker.address, connection.protocol)
            if connection.protocol != "5" and self._broker.protocol == "auto":
                log.warning("this broker does not speak MQTT 5: it can deny a message unnoticed")
        self.protocol = connection.protocol
        self._counters.add("connects")
        self._connection = connection
        self._told = {}
        self._pending = set(self._introductions)

    def _introduce(self) -> None:
        """Say that we are there, and what we are: once a connection, again after a denial."""
        for topic, introduction in self._introductions.items():
            if topic in self._pending and not self._denials.resting(topic):
                self._pending.discard(topic)
                if (payload := introduction.payload()) is not None:
                    self._tell(topic, payload)

    def _tell(self, topic: str, payload: bytes) -> int | None:
        """Publish a retained message about the device, unless the broker denied it lately."""
        connection = self._connection
        if connection is None or self._denials.resting(topic):
            return None
        if not connection.fits(topic, payload):
            self._refused(topic, f"larger than its limit of {connection.maximum_packet_size} bytes")
            return None
        mid = connection.publish(topic, payload, 1, retain=True)
        self._told[mid] = topic
        return mid

    def _session(self, connection: Connection) -> None:
        """Carry messages until the connection breaks (PublishError) or the program ends."""
        delivery = Delivery(
            self._outbox,
            connection,
            self.base,
            self._broker.window,
            int(self._broker.historical_after_seconds * 1000),
            self._counters,
            self._denials,
            self._access,
            self._hold,
        )
        spare = Spare(
            self._spare, connection, self.base, self._counters, self._denials, self._access
        )
        exchange = Exchange(self._requests, connection, self._counters, self._denials, self._access)
        try:
            self._carry(connection, delivery, spare, exchange)
        finally:
            spare.close()
            delivery.flush()

    def _carry(
        self, connection: Connection, delivery: Delivery, spare: Spare, exchange: Exchange
    ) -> None:
        state_due, dirty, seen, idle_at = 0.0, True, None, 0.0
        while True:
            # Without news its counts per hour are true until the hour ends; and a disk that
            # refuses brings no news.
            hour = self._clock.now().replace(minute=0, second=0, microsecond=0)
            seen, before = (hour, self._counters.failing_now()), seen
            dirty = dirty or seen != before
            if self._news.is_set():
                self._news.clear()
                delivery.looked, dirty = False, True
            delivery.fill()
            self._introduce()
            exchange.fill()
            idle = delivery.idle and exchange.idle
            now = time.monotonic()
            closing = self._closing.is_set()
            settled = delivery.idle and delivery.looked
            done = closing and (now > self._flush_until or (settled and exchange.idle))
            # What is on its way does not wait: the state comes after it, or when that takes long.
            due = state_due if delivery.idle else max(state_due, idle_at + self._state_seconds)
            if dirty and (now >= due or done):
                self._tell(f"{self.base}/state", self._state())
                state_due, dirty = now + self._state_seconds, not delivery.idle
            if done:
                self._goodbye(connection, delivery)
                return
            if settled and not closing:
                spare.fill()
            wait = 0.05 if closing or not idle else 0.5
            if dirty:
                wait = min(wait, max(0.001, due - now))
            acks = exchange.settle(spare.settle(connection.poll(wait)))
            idle_at = time.monotonic() if delivery.idle else idle_at
            if self._settle(acks, delivery):
                dirty = True

    def _settle(self, acks: list[Ack], delivery: Delivery) -> bool:
        """Take acknowledgements; True where they end an outage."""
        for ack in delivery.settle(acks):
            topic = self._told.pop(ack.mid, "")
            if ack.refusal is not None:
                self._refused(topic, ack.refusal)
                continue
            if self._denials.allow(topic) and not self._denials.any():
                self._access.recovered()
            if topic in self._introductions:
                self._counters.add("introduced")
                self._introductions[topic].acknowledged()
        proved = any(ack.refusal is None for ack in acks)
        return proved and self._trouble.recovered()

    def _refused(self, topic: str, why: str) -> None:
        """Leave a retained message alone for a while."""
        self._counters.add("denied")
        self._denials.deny(topic)
        self._pending |= {topic} & set(self._introductions)
        self._access.failed(DeniedError(f"the broker denies {topic} ({why})"))

    def _goodbye(self, connection: Connection, delivery: Delivery) -> None:
        """Say ``offline`` ourselves, wait for its PUBACK, and leave in good order."""
        mid = self._tell(f"{self.base}/availability", OFFLINE)
        deadline = time.monotonic() + 2.0
        while mid in self._told and time.monotonic() < deadline:
            self._settle(connection.poll(0.1), delivery)
        connection.disconnect()
