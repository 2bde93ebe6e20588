"""The publisher thread: keeps a connection and empties the outbox over it, oldest first."""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import random
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from edge.config import Broker
from edge.errors import (
    ConfigError,
    LostError,
    OutboxError,
    PublishError,
    ShortageError,
    StalledError,
)
from edge.mqtt.addresses import KnownAddresses
from edge.mqtt.client_id_conflict import Rivals
from edge.mqtt.delivery import Delivery, Waiting
from edge.mqtt.delivery_state import Standing
from edge.mqtt.dial import connect
from edge.mqtt.idle_sender import IdleSender, ParcelSource
from edge.mqtt.in_flight import Flight, Learned
from edge.mqtt.introduction import Announcer, Introduction, Introductions
from edge.mqtt.keep_alive import Quiet
from edge.mqtt.lane import Link
from edge.mqtt.request_channel import RequestChannel, RequestSink
from edge.mqtt.session import OFFLINE, ONLINE, Closing, Lanes, Session
from edge.mqtt.wire import Will, Wire
from edge.outbox.dead_letters import FOLDER, DeadLetters
from edge.system.bell import Bell
from edge.system.clock import Clock, SystemClock
from edge.system.counters import Backoff, Counters, Episode
from edge.system.threads import Patience

log = logging.getLogger(__name__)

_LETTERS_SECONDS = 1.0
"""Between looks into the folder of dead letters."""
_LETTERS_AGAIN_SECONDS = 10.0
"""Until what the disk did not take is tried again: nobody changes the folder meanwhile."""
_SETTLED_SECONDS = 10.0
"""A connection that lasted so long, or delivered something, starts the waits over."""

Dial = Callable[[Broker, str, Will | None, bool, int | None], Wire]
"""How a connection is made: :func:`edge.mqtt.dial.connect`."""


class Retained(NamedTuple):
    """What the device says of itself, retained; called on the publisher's thread."""

    info: Callable[[str], bytes]
    """The description, for the MQTT version agreed."""
    state: Callable[[], bytes]
    state_seconds: float = 5.0
    """From one state to the next at least."""
    more: Sequence[Introduction] = ()
    """What else is retained."""


class Publisher:
    """Publishes from its own thread; capturing never waits for it.

    `spare` is what is sent when nothing else waits; `requests` take what is asked of the device.
    `bell` is rung by whoever has something for it.
    """

    def __init__(
        self,
        broker: Broker,
        device: str,
        waiting: Waiting,
        retained: Retained,
        counters: Counters,
        clock: Clock | None = None,
        bell: Bell | None = None,
        spare: ParcelSource | None = None,
        requests: RequestSink | None = None,
        denied_seconds: float = 30.0,
        dial: Dial | None = None,
    ) -> None:
        self._bell = bell or Bell()
        self._broker, self._device, self._counters = broker, device, counters
        self._waiting, self._outbox, letters = waiting, waiting.outbox, waiting.letters
        self._retained = retained
        self._clock, self._spare, self._requests = clock or SystemClock(), spare, requests
        self._dial = dial or functools.partial(connect, known=KnownAddresses())
        self._learned = Learned(self._clock.monotonic)
        self.letters = (  # none that are held is not none given
            DeadLetters(self._outbox.path.with_name(FOLDER)) if letters is None else letters
        )
        self.standing = Standing(counters, self.letters, log, denied_seconds, self._clock.monotonic)
        self.base = f"{broker.base_topic}/{device}"
        self.protocol: str | None = None
        ours = (
            Introduction(f"{self.base}/availability", lambda: ONLINE),
            Introduction(f"{self.base}/info", lambda: retained.info(self.protocol or "")),
        )
        every = {one.topic: one for one in (*ours, *retained.more)}
        self._introductions = Introductions(every, set(), set())
        self._quiet = Quiet(broker.keepalive_seconds)
        self._closing = threading.Event()
        self._flush_until = 0.0
        self._letters = Episode("releasing dead letters", counters, log)
        self._letters_due = 0.0
        self._letters_again = math.inf
        """When what was released and the disk refused is tried once more."""
        self._rivals = Rivals(f"wheatear-{device}", broker.retry_max_seconds, counters, self._clock)
        self._patience = Patience()
        self._backoff = Backoff(broker.retry_min_seconds, broker.retry_max_seconds)
        self._thread = counters.crew.worker("publisher", self._run, self._closing.is_set)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self, flush_seconds: float = 2.0) -> None:
        """Deliver what can be delivered in `flush_seconds`, say goodbye, end the thread."""
        self._flush_until = self._clock.monotonic() + flush_seconds
        self._closing.set()
        self._bell.news()
        if self._thread.is_alive():
            self._thread.join(flush_seconds + 5.0)

    def _run(self) -> None:
        while not self._closing.is_set():
            self._closing.wait(self.attempt(random.random()))

    def attempt(self, spread: float) -> float:
        """Connect and carry messages until that ends; give the seconds until the next attempt,
        spread between half and whole by `spread`, from 0 to 1.

        Called on the publisher's thread, and by tests with scripted connections. Raises what is
        unexpected where it goes on and on.
        """
        if self._once():
            self._backoff.reset()
        if self._rivals.there:
            self._backoff.rest()
        return self._backoff.next(spread)

    def _once(self) -> bool:
        """Connect and carry messages until that ends; True where it lasted or was of use."""
        started, delivered = self._clock.monotonic(), self._counters["delivered"]
        stalled, ended = False, None
        try:
            with contextlib.closing(self._connect()) as connection:
                started = self._clock.monotonic()
                self._connected(connection)
                with self._bell.heard(connection.wake):
                    self._session(connection)
        except StalledError as error:  # which is an episode of its own
            stalled = True
            self._counters.add("broker_failures")
            self._counters.error(error)
        except (PublishError, OutboxError, ConfigError, ShortageError) as error:
            ended = error
            self._counters.add("broker_failures")
            self.standing.broken.failed(error)
        except Exception as error:  # bad luck; or a fault, which goes on and on
            log.exception("the publisher failed")
            self.standing.broken.failed(error)
            if self._clock.monotonic() - started > _SETTLED_SECONDS:
                self._patience.won()
            self._patience.lost(error)
        seconds, of_use = self._clock.monotonic() - started, self._counters["delivered"] > delivered
        # While something waits, it may be a bad link that carries a backlog bit by bit.
        self._rivals.ended(ended, seconds, self._nothing_waits())
        return (seconds > _SETTLED_SECONDS and not stalled) or of_use

    def _nothing_waits(self) -> bool:
        try:
            return not self._outbox.depth().waiting
        except OutboxError:
            return False

    def _connect(self) -> Wire:
        will = Will(f"{self.base}/availability", OFFLINE)
        most = self._requests.most_bytes if self._requests else None
        client_id = f"wheatear-{self._device}"
        broker = msgspec.structs.replace(
            self._broker, keepalive_seconds=self._quiet.keepalive_seconds
        )
        return self._dial(broker, client_id, will, self.protocol == "5", most)

    def _connected(self, connection: Wire) -> None:
        if self.protocol != connection.protocol:
            log.info("%s:%d speaks MQTT %s", *self._broker.address, connection.protocol)
            if connection.protocol != "5" and self._broker.protocol == "auto":
                log.warning("this broker does not speak MQTT 5: it can deny a message unnoticed")
            if not connection.limits.retain:
                log.warning(
                    "this broker keeps no retained messages: programs that connect later see no "
                    "state and no info"
                )
        self.protocol = connection.protocol
        self._counters.add("connects")
        self._introductions.begin()

    def _session(self, connection: Wire) -> None:
        """Carry messages until the connection breaks (PublishError) or the program ends."""
        broker, standing = self._broker, self.standing
        flight = Flight(
            connection,
            broker.acknowledge_seconds,
            self._clock.monotonic,
            lambda: standing.suspects.careful,
            self._learned,
        )
        link = Link(flight, self.base, standing, self._clock)
        late_ms = int(broker.historical_after_seconds * 1000)
        lanes = Lanes(
            Announcer(link, self._introductions),
            RequestChannel(link, self._requests),
            Delivery(link, self._waiting, broker.window, late_ms),
            IdleSender(link, self._spare),
        )
        session = Session(link, lanes, self._retained.state, self._retained.state_seconds)
        try:
            self._carry(session)
        except PublishError as error:
            session.lost(error)
            if not flight.keys:
                self._quiet.ended(error)
            code = error.code if isinstance(error, LostError) else None
            if self._learned.learn(code, len(flight.keys)):
                log.warning("%s", error)
            raise
        finally:
            session.close()

    def _carry(self, session: Session) -> None:
        while True:
            self._rivals.look()
            rung = self._bell.take()
            introductions = self._introductions
            introductions.renew(introductions.all if rung.everything else rung.topics)
            if rung.news:
                session.news()
            self._mind_letters()
            if not session.turn(Closing(self._closing.is_set(), self._flush_until)):
                return

    def _mind_letters(self) -> None:
        """Send again what was released, and say what is set aside, when that has changed."""
        now = self._clock.monotonic()
        if now < self._letters_due:
            return
        self._letters_due = now + _LETTERS_SECONDS
        if not self.letters.changed() and now < self._letters_again:
            return
        try:
            released = self.letters.collect(self._outbox.append)
        except OSError as error:
            self._letters_again = now + _LETTERS_AGAIN_SECONDS
            self._letters.failed(error)
            self._bell.news()  # some may have been released before
        else:
            self._letters_again = math.inf
            self._letters.recovered()
            if released:
                log.info("%d dead letters are released", released)
                self._bell.news()
        self.standing.count_letters()
