"""Requests and answers over one connection: subscribes, hands over, publishes."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Protocol

from edge.mqtt.lane import Lane, Link
from edge.mqtt.packets import Incoming
from edge.mqtt.requests import RequestAnswer
from edge.mqtt.wire import Ack


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


class RequestChannel(Lane[str]):
    """The requests of one connection; ``None`` as inlet takes none.

    Nothing is kept on disk: who asked is gone by the time a device comes back, and would ask again.
    """

    def __init__(self, link: Link, inlet: RequestSink | None) -> None:
        super().__init__(link)
        self._inlet = inlet
        self._waiting: deque[RequestAnswer] = deque()
        self._topics = (inlet.topics if inlet else None) or ""
        self._asked: int | None = None
        self._subscribed = False

    @property
    def idle(self) -> bool:
        """No answer waits to be sent or for its acknowledgement."""
        return super().idle and not self._waiting

    def fill(self) -> None:
        """Subscribe where that is due; hand over what came in; publish answers."""
        if self._inlet is None:
            return
        self._subscribe(self._inlet.verbs)
        for message in self._flight.incoming():
            self._inlet.offer(message)
        self._waiting.extend(self._inlet.answers())
        while self._waiting and self._flight.room:
            self._publish(self._waiting.popleft())

    def close(self) -> None:
        """Count the answers that are lost with the connection; none is sent again."""
        for topic in self._flying.values():
            self._suspects.forget(topic)
        self._counters.add("answers_lost", len(self._flying) + len(self._waiting))

    def settle(self, acks: Sequence[Ack]) -> list[Ack]:
        """Take acknowledgements, also of the subscription; returns those of other lanes."""
        others = []
        for ack in super().settle(acks):
            if ack.mid == self._asked:
                self._answered(ack)
            else:
                others.append(ack)
        return others

    def _settled(self, topic: str, ack: Ack) -> None:
        if ack.refusal is not None:
            self._refuse(topic, ack.refusal)
        else:
            self._standing.taken("response")
        self._suspects.cleared(topic)

    def _subscribe(self, verbs: Sequence[str]) -> None:
        """Subscribe to one topic that stands for all, or to each verb by itself."""
        topics = self._topics
        if not topics or self._subscribed:
            return
        if self._asked is not None:
            if not self._flight.unanswered:
                return
            self._not_subscribed(f"does not answer the subscription to {topics}")
        if self._denials.resting(topics):
            return
        wanted = [topics]
        if not self._flight.limits.wildcards and topics.endswith("#") and verbs:
            wanted = [topics.removesuffix("#") + verb for verb in verbs]
        self._asked = self._flight.subscribe(wanted)

    def _answered(self, ack: Ack) -> None:
        """Take the broker's answer to the subscription; a denial is tried again after a while."""
        self._asked = None
        if ack.refusal is not None:
            self._not_subscribed(f"denies the subscription to {self._topics} ({ack.refusal})")
            return
        self._subscribed = True
        self._counters.add("subscribed")
        self._standing.taken(self._topics)

    def _not_subscribed(self, why: str) -> None:
        """Log that no requests come in, and subscribe again after a while."""
        self._asked = None
        self._standing.denied(
            self._topics,
            f"the broker {why}; this device takes no requests. Allow it in the broker's access "
            "list, or set requests.allow = []",
        )

    def _publish(self, answer: RequestAnswer) -> None:
        topic, payload, limits = answer.topic, answer.payload, self._flight.limits
        if not limits.fits(topic, payload):
            self._refuse(topic, f"larger than its limit of {limits.maximum_packet_size} bytes")
            return
        mid = self._flight.publish(topic, payload, correlation=answer.correlation)
        self._flying[mid] = topic

    def _refuse(self, topic: str, why: str) -> None:
        self._standing.denied("response", f"the broker denies {topic} ({why}); an answer is lost")
