"""The publisher thread: keeps a connection and empties the outbox over it, oldest first."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable

from edge.config import Broker
from edge.counters import Backoff, Counters, Episode
from edge.delivery import Delivery
from edge.errors import ConfigError, OutboxError, PublishError
from edge.mqtt import Connection, Will, connect
from edge.outbox import Outbox

log = logging.getLogger(__name__)

ONLINE, OFFLINE = b"online", b"offline"
_SETTLED_SECONDS = 10.0
"""A connection that lasted so long, or delivered something, starts the waits over."""
_REFUSED_SECONDS = 30.0


class Publisher:
    """Publishes from its own thread; capturing never waits for it.

    `info` gives the retained description (for the MQTT version agreed), `state` the retained
    state; both are called on the publisher's thread.
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
        refused_seconds: float = _REFUSED_SECONDS,
    ) -> None:
        self._broker, self._device, self._outbox = broker, device, outbox
        self._info, self._state, self._counters = info, state, counters
        self._state_seconds, self._refused_seconds = state_seconds, refused_seconds
        self.base = f"{broker.base_topic}/{device}"
        self.protocol: str | None = None
        self._closing = threading.Event()
        self._flush_until = 0.0
        self._news = threading.Event()
        self._connection: Connection | None = None
        self._trouble = Episode("broker", counters, log)
        self._denied = Episode("broker access", counters, log)
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wake(self) -> None:
        """Say that the outbox has something new."""
        self._news.set()
        if (connection := self._connection) is not None:
            connection.wake()

    def close(self, flush_seconds: float = 2.0) -> None:
        """Deliver what can be delivered in `flush_seconds`, say goodbye, end the thread."""
        self._flush_until = time.monotonic() + flush_seconds
        self._closing.set()
        self.wake()
        if self._thread.is_alive():
            self._thread.join(flush_seconds + 5.0)

    def _run(self) -> None:
        backoff = Backoff(self._broker.retry_min_seconds, self._broker.retry_max_seconds)
        will = Will(f"{self.base}/availability", OFFLINE)
        client_id = f"wheatear-{self._device}"
        while not self._closing.is_set():
            started, delivered = time.monotonic(), self._counters["delivered"]
            try:
                with connect(self._broker, client_id, will, self.protocol == "5") as connection:
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

    def _connected(self, connection: Connection) -> None:
        self.protocol = connection.protocol
        self._counters.add("connects")
        self._trouble.recovered()
        log.info("connected to %s:%d, MQTT %s", *self._broker.address, connection.protocol)
        if connection.protocol != "5" and self._broker.protocol == "auto":
            log.warning("this broker does not speak MQTT 5: it can deny a message unnoticed")
        self._connection = connection
        connection.publish(f"{self.base}/availability", ONLINE, 1, retain=True)
        connection.publish(f"{self.base}/info", self._info(connection.protocol), 1, retain=True)

    def _session(self, connection: Connection) -> None:
        """Carry messages until the connection breaks (PublishError) or the program ends."""
        delivery = Delivery(
            self._outbox,
            connection,
            self.base,
            self._broker.window,
            int(self._broker.historical_after_seconds * 1000),
            self._refused_seconds,
            self._counters,
            self._denied,
        )
        state_due = 0.0
        dirty = True
        try:
            while True:
                if self._news.is_set():
                    self._news.clear()
                    delivery.looked, dirty = False, True
                delivery.fill()
                now = time.monotonic()
                closing = self._closing.is_set()
                done = closing and (now > self._flush_until or (delivery.idle and delivery.looked))
                if dirty and (now >= state_due or done):
                    connection.publish(f"{self.base}/state", self._state(), 1, retain=True)
                    state_due, dirty = now + self._state_seconds, False
                if done:
                    self._goodbye(connection, delivery)
                    return
                wait = 0.05 if closing or not delivery.idle else 0.5
                delivery.settle(connection.poll(min(wait, max(0.0, state_due - now) or wait)))
        finally:
            delivery.flush()

    def _goodbye(self, connection: Connection, delivery: Delivery) -> None:
        """Say ``offline`` ourselves, wait for its PUBACK, and leave in good order."""
        mid = connection.publish(f"{self.base}/availability", OFFLINE, 1, retain=True)
        deadline = time.monotonic() + 2.0
        while time.monotonic() < deadline:
            acks = connection.poll(0.1)
            delivery.settle(acks)
            if any(ack.mid == mid for ack in acks):
                break
        connection.disconnect()
