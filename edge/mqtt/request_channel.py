"""Requests and answers over one connection: subscribes, hands over, publishes."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from edge.mqtt.delivery import DeniedError
from edge.mqtt.delivery_state import Standing
from edge.mqtt.in_flight import Flight
from edge.mqtt.packets import Incoming
from edge.mqtt.requests import RequestAnswer
from edge.mqtt.wire import Ack

log = logging.getLogger(__name__)


class RequestSink(Protocol):
    """Where requests go; :class:`edge.mqtt.requests.RequestServer` is one. Nothing in it waits."""

    @property
    def topics(self) -> str | None:
        """What to subscribe to."""
        ...

    @property
    def verbs(self) -> tuple[str, ...]:
        """What to subscribe to one by one where the broker takes no wildcard, in place of ``#``."""
        ...

    @property
    def most_bytes(self) -> int:
        """What is larger is better not sent to us at all."""
        ...

    def offer(self, message: Incoming) -> None:
        """Take a message in."""
        ...

    def answers(self) -> list[RequestAnswer]:
        """Return the answers that are to be sent."""
        ...


class RequestChannel:
    """The requests of one connection; ``None`` as inlet takes none.

    Nothing is kept on disk: who asked is gone by the time a device comes back, and would ask again.
    """

    def __init__(
        self,
        inlet: RequestSink | None,
        flight: Flight,
        standing: Standing,
    ) -> None:
        self._inlet, self._flight = inlet, flight
        self._standing, self._counters = standing, standing.counters
        self._denials = standing.denials
        self._waiting: deque[RequestAnswer] = deque()
        self._topics = inlet.topics if inlet else None
        self._asked: int | None = None
        self._subscribed = False
        self._flying: dict[int, RequestAnswer] = {}

    @property
    def idle(self) -> bool:
        """No answer waits to be sent or for its acknowledgement."""
        return not self._flying and not self._waiting

    def fill(self) -> None:
        """Subscribe where that is due; hand over what came in; publish answers."""
        if self._inlet is None:
            return
        self._subscribe()
        for message in self._flight.incoming():
            self._inlet.offer(message)
        self._waiting.extend(self._inlet.answers())
        while self._waiting and self._flight.room:
            self._publish(self._waiting.popleft())

    def close(self) -> None:
        """Count the answers that are lost with the connection."""
        self._counters.add("answers_lost", len(self._flying) + len(self._waiting))

    def settle(self, acks: Sequence[Ack]) -> list[Ack]:
        """Take acknowledgements; give those not ours."""
        others = []
        for ack in acks:
            if ack.mid == self._asked:
                self._answered(ack)
            elif (answer := self._flying.pop(ack.mid, None)) is not None:
                if ack.refusal:
                    self._refuse(answer.topic, ack.refusal)
                else:
                    self._standing.taken("response")
                self._standing.suspects.cleared(answer.topic)
            else:
                others.append(ack)
        return others

    def _subscribe(self) -> None:
        if self._topics is None or self._subscribed:
            return
        if self._asked is not None:
            if not self._flight.unanswered:
                return
            self._not_subscribed(f"does not answer the subscription to {self._topics}")
        if not self._denials.resting(self._topics):
            self._asked = self._flight.subscribe(self._wanted(self._topics))

    def _wanted(self, topics: str) -> list[str]:
        """The topics to subscribe to: one that stands for all, or each by itself."""
        assert self._inlet is not None
        if self._flight.limits.wildcards or not topics.endswith("#") or not self._inlet.verbs:
            return [topics]
        return [topics.removesuffix("#") + verb for verb in self._inlet.verbs]

    def _answered(self, ack: Ack) -> None:
        """Take the broker's answer to the subscription; a denial is tried again after a while."""
        assert self._topics is not None
        self._asked = None
        if ack.refusal:
            self._not_subscribed(f"denies the subscription to {self._topics} ({ack.refusal})")
            return
        self._subscribed = True
        self._counters.add("subscribed")
        self._standing.taken(self._topics)

    def _not_subscribed(self, why: str) -> None:
        """Log that no requests come in, and subscribe again after a while."""
        assert self._topics is not None
        self._asked = None
        self._denials.deny(self._topics)
        self._counters.add("denied")
        self._standing.access.failed(
            DeniedError(
                f"the broker {why}; this device takes no requests. Allow it in the broker's access "
                "list, or set requests.allow = []"
            )
        )

    def _publish(self, answer: RequestAnswer) -> None:
        limits = self._flight.limits
        if not limits.fits(answer.topic, answer.payload):
            limit = limits.maximum_packet_size
            self._refuse(answer.topic, f"larger than its limit of {limit} bytes")
            return
        mid = self._flight.publish(answer.topic, answer.payload, correlation=answer.correlation)
        self._flying[mid] = answer

    def _refuse(self, topic: str, why: str) -> None:
        self._counters.add("denied")
        self._denials.deny("response")
        self._standing.access.failed(
            DeniedError(f"the broker denies {topic} ({why}); an answer is lost")
        )
