"""What all who send over one connection have in common, each with its own lane of messages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

from edge.mqtt.delivery_state import Standing
from edge.mqtt.in_flight import Flight
from edge.mqtt.wire import Ack
from edge.system.clock import Clock

Item = TypeVar("Item")


class Link(NamedTuple):
    """One connection, as all lanes share it."""

    flight: Flight
    base: str
    """``wheatear/<device>``, before every topic."""
    standing: Standing
    clock: Clock


class Lane(ABC, Generic[Item]):
    """Messages for one purpose over one connection; of each under way an `Item` is kept.

    ``fill`` publishes what there is room for; :meth:`settle` is handed what the broker answered.
    """

    def __init__(self, link: Link) -> None:
        self._flight, self._base, self._standing, self._clock = link
        self._counters, self._denials = self._standing.counters, self._standing.denials
        self._suspects = self._standing.suspects
        self._flying: dict[int, Item] = {}

    @property
    def idle(self) -> bool:
        """Nothing is under way, nor waits here to be sent."""
        return not self._flying

    def settle(self, acks: Sequence[Ack]) -> list[Ack]:
        """Take acknowledgements; returns those of other lanes."""
        others = []
        for ack in acks:
            if ack.mid not in self._flying:
                others.append(ack)
                continue
            self._settled(self._flying.pop(ack.mid), ack)
            if ack.refusal is None:
                self._standing.broken.recovered()
        return others

    def close(self) -> None:
        """Take what is under way as lost with the connection."""

    @abstractmethod
    def _settled(self, item: Item, ack: Ack) -> None:
        """Act on the broker's answer to a message of this lane."""
