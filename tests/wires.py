"""A connection that follows a script: no network, no time but what the test gives it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from edge.mqtt.packets import Incoming
from edge.mqtt.wire import Ack, Limits


@dataclass
class Said:
    """A message that was published."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    correlation: bytes | None
    mid: int


@dataclass
class ScriptedWire:
    """Implements :class:`edge.mqtt.in_flight.Wire`: keeps what is said; acknowledges what it is
    told to.
    """

    limits: Limits = field(default_factory=Limits)
    protocol: str = "5"
    said: list[Said] = field(default_factory=list)
    subscribed: list[list[str]] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)
    """The numbers of the subscriptions."""
    waits: list[float] = field(default_factory=list)
    arriving: list[Incoming] = field(default_factory=list)
    breaks: Exception | None = None
    """What the next poll raises."""
    goodbyes: int = 0
    together_now: bool = False
    queued: int = 0
    slow: bool = False
    """What is published passes when the test says so."""
    passed: int = 0
    _acks: list[Ack] = field(default_factory=list)
    mid: int = 0
    """The number that was given last."""

    def publish(
        self,
        topic: str,
        payload: bytes,
        qos: int,
        retain: bool = False,
        correlation: bytes | None = None,
    ) -> int:
        """Keep a message; QoS 0 is acknowledged by itself."""
        self.mid += 1
        self.said.append(Said(topic, payload, qos, retain, correlation, self.mid))
        self.queued += len(payload)
        if not self.slow:
            self.passed = self.queued
        if not qos:
            self.acknowledge(self.mid)
        return self.mid

    def subscribe(self, topics: Sequence[str]) -> int:
        """Keep a subscription."""
        self.mid += 1
        self.subscribed.append(list(topics))
        self.asked.append(self.mid)
        return self.mid

    def acknowledge(self, *mids: int, refusal: str | None = None, code: int = 0) -> None:
        """Answer these in the next poll."""
        self._acks += [Ack(mid, refusal, code) for mid in mids]

    def poll(self, timeout_seconds: float) -> list[Ack]:
        """Return the answers at once."""
        self.waits.append(timeout_seconds)
        if self.breaks is not None:
            error, self.breaks = self.breaks, None
            raise error
        acks, self._acks = self._acks, []
        return acks

    def incoming(self) -> list[Incoming]:
        """What arrived."""
        taken, self.arriving = self.arriving, []
        return taken

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Note that it is used."""
        self.together_now = True
        yield
        self.together_now = False

    def wake(self) -> None:
        """Nothing waits."""

    def disconnect(self) -> None:
        """Count goodbyes."""
        self.goodbyes += 1

    def close(self) -> None:
        """Nothing is open."""

    @property
    def mids(self) -> list[int]:
        """The numbers of what was said."""
        return [one.mid for one in self.said]

    def topics(self) -> list[str]:
        """What was said on, in order, without the device."""
        return [one.topic.removeprefix("wheatear/cam-1/") for one in self.said]
