"""What is under way over one connection: every message of QoS 1, whoever sent it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

import msgspec

from edge.errors import StalledError
from edge.mqtt.denials import Denials
from edge.mqtt.packets import Incoming
from edge.mqtt.reason_codes import (
    QOS_NOT_SUPPORTED,
    RATE_TOO_HIGH,
    RECEIVE_MAXIMUM_EXCEEDED,
    RETAIN_NOT_SUPPORTED,
)
from edge.mqtt.wire import Ack, Limits, Wire

Key = int | str
"""Who a message is for those who look for the one that breaks connections: its row in the outbox,
or its topic where it is not from there."""


class Sent(NamedTuple):
    """A message under way."""

    topic: str
    key: Key
    end: int
    """How many bytes are handed over with it and before it."""


_RETAIN, _QOS = "retain", "QoS"
_DOUBT_SECONDS = 30.0


class Learned:
    """What the broker takes less of than it said, told by why it ended connections.

    Going without retain or QoS is not for good: by the next time it may be another broker, or
    another configuration, and without QoS no sighting goes.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._most: int | None = None
        self._without = Denials(_DOUBT_SECONDS, monotonic)

    def learn(self, code: int | None, under_way: int) -> bool:
        """Take the reason code of a lost connection; True where there was something to learn."""
        if code in (RECEIVE_MAXIMUM_EXCEEDED, RATE_TOO_HIGH) and under_way > 1:
            self._most = under_way // 2
        elif code == RETAIN_NOT_SUPPORTED and not self._without.resting(_RETAIN):
            self._without.deny(_RETAIN)
        elif code == QOS_NOT_SUPPORTED and not self._without.resting(_QOS):
            self._without.deny(_QOS)
        else:
            return False
        return True

    def within(self, limits: Limits) -> Limits:
        """The narrower of these limits and `limits`, field by field."""
        return msgspec.structs.replace(
            limits,
            receive_maximum=min(limits.receive_maximum, self._most or limits.receive_maximum),
            retain=limits.retain and not self._without.resting(_RETAIN),
            maximum_qos=0 if self._without.resting(_QOS) else limits.maximum_qos,
        )


class Flight:
    """Counts what is under way, so that all senders together keep within what the broker allows,
    and watches that the oldest of it is acknowledged.

    `careful` says whether only one message may be under way.
    """

    def __init__(
        self,
        wire: Wire,
        limit_seconds: float,
        monotonic: Callable[[], float],
        careful: Callable[[], bool] = lambda: False,
        learned: Learned | None = None,
    ) -> None:
        self._wire, self._limit, self._monotonic = wire, limit_seconds, monotonic
        self._asked_at: float | None = None
        self._careful = careful
        self._learned = learned or Learned()
        self._under_way: dict[int, Sent] = {}
        self._oldest_since = 0.0
        self._passed = 0
        self.answered: tuple[Key, ...] = ()
        """Whose messages were answered, with yes or no, in the last :meth:`poll`."""

    @property
    def limits(self) -> Limits:
        """What the broker takes."""
        return self._learned.within(self._wire.limits)

    @property
    def room(self) -> int:
        """How many messages more may be under way now."""
        most = 1 if self._careful() else self.limits.receive_maximum
        return max(0, most - len(self._under_way))

    @property
    def keys(self) -> tuple[Key, ...]:
        """Whose messages are under way, oldest first."""
        return tuple(dict.fromkeys(sent.key for sent in self._under_way.values()))

    @property
    def oldest(self) -> Sent | None:
        """The message that has been under way the longest."""
        return next(iter(self._under_way.values()), None)

    @property
    def stands_seconds(self) -> float:
        """For how long nothing has gone on with the oldest message under way: neither was the one
        before it acknowledged, nor another of its bytes taken, as long as some are left.
        """
        return self._monotonic() - self._oldest_since if self._under_way else 0.0

    @property
    def stands_still(self) -> bool:
        """It has stood for half of what is granted."""
        return self.stands_seconds > self._limit / 2

    def publish(
        self,
        topic: str,
        payload: bytes,
        qos: int = 1,
        retain: bool = False,
        correlation: bytes | None = None,
        key: Key | None = None,
    ) -> int:
        """Hand a message over, with no more QoS and retain than the broker takes.

        Ask for :attr:`room` before. Give the number its acknowledgement will carry.
        """
        limits = self.limits
        qos = min(qos, limits.maximum_qos)
        mid = self._wire.publish(topic, payload, qos, retain and limits.retain, correlation)
        if qos:
            if not self._under_way:
                self._oldest_since, self._passed = self._monotonic(), self._wire.passed
            key = topic if key is None else key
            self._under_way[mid] = Sent(topic, key, self._wire.queued)
        return mid

    def subscribe(self, topics: Sequence[str]) -> int:
        """Ask for what is published there; it does not count as under way."""
        self._asked_at = self._monotonic()
        return self._wire.subscribe(topics)

    @property
    def unanswered(self) -> bool:
        """The last subscription is older than what an answer may take."""
        return self._asked_at is not None and self._monotonic() - self._asked_at > self._limit

    def incoming(self) -> list[Incoming]:
        """What has come in."""
        return self._wire.incoming()

    def together(self) -> AbstractContextManager[object]:
        """Send what is published meanwhile in few packets."""
        return self._wire.together()

    def poll(self, timeout_seconds: float) -> list[Ack]:
        """Return new acknowledgements.

        Raises:
            LostError: the connection was lost.
            StalledError: the oldest message under way was not acknowledged in time.
        """
        acks, answered = self._wire.poll(timeout_seconds), []
        self._progress()
        for ack in acks:
            oldest = next(iter(self._under_way), None)
            if (sent := self._under_way.pop(ack.mid, None)) is not None:
                answered.append(sent.key)
            if ack.mid == oldest:
                self._oldest_since = self._monotonic()
        self.answered = tuple(answered)
        if self.oldest and self.stands_seconds > self._limit:
            raise StalledError(
                f"connected, but {self.oldest.topic} was not acknowledged within {self._limit:g} s "
                "(broker.acknowledge_seconds); the device connects again"
            )
        return acks

    def _progress(self) -> None:
        """See whether more of the oldest message has reached the other end: a slow network takes
        long for a large one, and is no broker that does not answer.
        """
        before, self._passed = self._passed, self._wire.passed
        if self.oldest and before < min(self._passed, self.oldest.end):
            self._oldest_since = self._monotonic()

    def disconnect(self) -> None:
        """Send DISCONNECT."""
        self._wire.disconnect()
