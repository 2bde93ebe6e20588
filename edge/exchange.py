"""Requests and answers over one connection: subscribes, hands over, publishes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol

from edge.counters import Counters, Episode
from edge.delivery import DeniedError
from edge.denials import Denials
from edge.mqtt import Ack, Connection, Incoming
from edge.requests import Answer

log = logging.getLogger(__name__)


class Inlet(Protocol):
    """Where requests go; :class:`edge.requests.Requests` is one. Nothing in it waits."""

    @property
    def topics(self) -> str | None:
        """What to subscribe to."""
        ...

    @property
    def most_bytes(self) -> int:
        """What is larger is better not sent to us at all."""
        ...

    def offer(self, message: Incoming) -> None:
        """Take a message in."""
        ...

    def answers(self) -> list[Answer]:
        """Give answers to send."""
        ...


class Exchange:
    """The requests of one connection; ``None`` as inlet takes none.

    Nothing is kept on disk: who asked is gone by the time a device comes back, and would ask again.
    """

    def __init__(
        self,
        inlet: Inlet | None,
        connection: Connection,
        counters: Counters,
        denials: Denials,
        trouble: Episode,
    ) -> None:
        self._inlet, self._connection = inlet, connection
        self._counters, self._denials, self._trouble = counters, denials, trouble
        self._topics = inlet.topics if inlet else None
        self._asked: int | None = None
        self._subscribed = False
        self._flying: dict[int, Answer] = {}

    @property
    def idle(self) -> bool:
        """No answer waits for its acknowledgement."""
        return not self._flying

    def fill(self) -> None:
        """Subscribe where that is due; hand over what came in; publish answers."""
        if self._inlet is None:
            return
        self._subscribe()
        for message in self._connection.incoming():
            self._inlet.offer(message)
        for answer in self._inlet.answers():
            self._publish(answer)

    def settle(self, acks: Sequence[Ack]) -> list[Ack]:
        """Take acknowledgements; give those not ours."""
        others = []
        for ack in acks:
            if ack.mid == self._asked:
                self._answered(ack)
            elif (answer := self._flying.pop(ack.mid, None)) is not None:
                if ack.refusal:
                    self._refuse(answer.topic, ack.refusal)
                elif self._denials.allow("response"):
                    self._recovered()
            else:
                others.append(ack)
        return others

    def _subscribe(self) -> None:
        if self._topics is None or self._subscribed or self._asked is not None:
            return
        if not self._denials.resting(self._topics):
            self._asked = self._connection.subscribe(self._topics)

    def _answered(self, ack: Ack) -> None:
        """Take the broker's answer to the subscription; a denial is tried again after a while."""
        assert self._topics is not None
        self._asked = None
        if ack.refusal:
            self._denials.deny(self._topics)
            self._counters.add("denied")
            self._trouble.failed(
                DeniedError(
                    f"the broker denies the subscription to {self._topics} ({ack.refusal}); this "
                    "device takes no requests. Allow it in the broker's access list, or set "
                    "requests.allow = []"
                )
            )
            return
        self._subscribed = True
        self._counters.add("subscribed")
        if self._denials.allow(self._topics):
            self._recovered()

    def _publish(self, answer: Answer) -> None:
        if not self._connection.fits(answer.topic, answer.payload):
            limit = self._connection.maximum_packet_size
            self._refuse(answer.topic, f"larger than its limit of {limit} bytes")
            return
        mid = self._connection.publish(
            answer.topic, answer.payload, 1, correlation=answer.correlation
        )
        self._flying[mid] = answer

    def _refuse(self, topic: str, why: str) -> None:
        self._counters.add("denied")
        self._denials.deny("response")
        self._trouble.failed(DeniedError(f"the broker denies {topic} ({why}); an answer is lost"))

    def _recovered(self) -> None:
        if not self._denials.any():
            self._trouble.recovered()
