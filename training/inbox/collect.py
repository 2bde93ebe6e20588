"""Receives pictures over MQTT: acknowledged when they are on disk, never before."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from edge.config import Broker
from edge.errors import DataError, PublishError
from edge.mqtt.connection_errors import unreachable
from edge.mqtt.tls import tls_context
from edge.system.counters import Backoff
from training.inbox.store import Record, Store

_POLL_SECONDS = 0.2
QUIET_SECONDS = 2.0
"""With ``once``: so long without a message is quiet: the broker holds no more, most likely."""


class Collector:
    """One session at the broker, which keeps what comes while nobody collects.

    MQTT 3.1.1 with a session that is not clean: every broker has that. `saw` is called with each
    picture that became whole, `say` with what a person should know.
    """

    def __init__(
        self,
        broker: Broker,
        store: Store,
        client_id: str,
        saw: Callable[[Record], None],
        say: Callable[[str], None],
    ) -> None:
        self._broker, self._store, self._saw, self._say = broker, store, saw, say
        self._address = "{}:{}".format(*broker.address)
        self._heard = time.monotonic()
        self._refusal: str | None = None
        self._failure: BaseException | None = None
        self._subscribed = False
        self.resumed = False
        """The broker knew us, and kept what came meanwhile."""
        self._client = self._configured(client_id)

    def run(self, stop: threading.Event, seconds: float | None = None, once: bool = False) -> None:
        """Collect until `stop`, so many seconds, or (`once`) until it is quiet.

        A connection that breaks is made again; one that never came about is an error.

        Raises:
            PublishError: the broker cannot be reached, or refuses.
            OSError: the disk refuses.
        """
        until = None if seconds is None else time.monotonic() + seconds
        self._connect()
        backoff = Backoff(1.0, 60.0)
        while not self._over(stop, until, once):
            if self._client.loop(_POLL_SECONDS) == paho.MQTT_ERR_SUCCESS:
                if self._failure is not None:
                    raise self._failure
                backoff.reset()
                continue
            self._say(f"the connection to {self._address} was lost; trying again")
            if self._failure is not None:
                raise self._failure
            stop.wait(backoff.next(1.0))
            with contextlib.suppress(PublishError):
                self._connect()
        self._client.disconnect()
        self._client.loop(_POLL_SECONDS)

    def _over(self, stop: threading.Event, until: float | None, once: bool) -> bool:
        now = time.monotonic()
        if stop.is_set() or (until is not None and now >= until):
            return True
        return once and now - self._heard > QUIET_SECONDS

    def _configured(self, client_id: str) -> paho.Client:
        broker = self._broker
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=False,
            protocol=paho.MQTTv311,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.connect_timeout = broker.timeout_seconds
        if broker.username is not None:
            client.username_pw_set(broker.username, broker.password())
        if broker.tls:
            client.tls_set_context(tls_context(broker.tls))
        client.on_connect = self._on_connect
        client.on_message = self._on_message
        client.on_subscribe = self._on_subscribe
        return client

    def _connect(self) -> None:
        self._refusal, self._subscribed = None, False
        try:
            self._client.connect(*self._broker.address, keepalive=self._broker.keepalive_seconds)
        except (OSError, ValueError) as error:
            raise PublishError(unreachable(self._address, error)) from error
        deadline = time.monotonic() + self._broker.timeout_seconds
        while not self._subscribed:
            answer = self._client.loop(_POLL_SECONDS)
            if self._refusal:
                raise PublishError(f"{self._address} refused: {self._refusal}")
            if answer != paho.MQTT_ERR_SUCCESS or time.monotonic() > deadline:
                raise PublishError(f"{self._address} does not answer; is it an MQTT broker?")
        self._heard = time.monotonic()

    def _on_connect(
        self,
        client: paho.Client,
        _data: object,
        flags: paho.ConnectFlags,
        reason: ReasonCode,
        _: object,
    ) -> None:
        if reason.is_failure:
            self._refusal = f"{reason}; check the user name, its password and the access list"
            return
        self.resumed = flags.session_present
        base = self._broker.base_topic
        client.subscribe([(f"{base}/+/inbox/+", 1), (f"{base}/+/inbox/+/meta", 1)])

    def _on_subscribe(
        self,
        _client: object,
        _data: object,
        _mid: int,
        reasons: list[ReasonCode],
        _: object,
    ) -> None:
        if any(reason.is_failure for reason in reasons):
            self._refusal = (
                f"it denies {self._broker.base_topic}/+/inbox/#; allow this user to read it in the "
                "broker's access list"
            )
        self._subscribed = True

    def _on_message(self, client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        self._heard = time.monotonic()
        try:
            record = self._store.take(message.topic, bytes(message.payload))
        except DataError as error:
            # Acknowledged all the same: it would come again and again, and stop what is behind it.
            self._say(f"left out: {error}")
            record = None
        except OSError as error:
            self._failure = error  # not acknowledged: the broker keeps it
            return
        client.ack(message.mid, message.qos)
        if record is not None:
            self._saw(record)
