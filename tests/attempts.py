"""Attempts to carry messages: connections that a test scripts, a clock by hand, no thread."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from clocks import Hand
from msgspec.structs import replace
from samples import sighting
from senders import publisher
from wires import ScriptedWire

from edge.config import Broker
from edge.errors import LostError
from edge.mqtt.wire import Ack, Limits, Will
from edge.outbox.outbox import Outbox
from edge.system.bell import Bell
from edge.system.counters import Counters

BASE = "wheatear/cam-1"
HUNG_UP = LostError("lost", "it hung up", hung_up=True)
NETWORK = LostError("the network is gone")
Step = Exception | Callable[["Line"], object]
"""How an attempt goes: no connection, or what each poll of it does."""


class Line(ScriptedWire):
    """A connection on which each poll first does what a test wants; all is answered at once."""

    def __init__(self, does: Callable[[Line], object], limits: Limits, protocol: str) -> None:
        super().__init__(limits=limits, protocol=protocol)
        self.does, self.answers, self.closed, self.woken = does, True, 0, 0
        self.left: set[int] = set()

    def poll(self, timeout_seconds: float) -> list[Ack]:
        """Do that, then answer."""
        self.does(self)
        if self.answers:
            self.acknowledge(*(mid for mid in self.mids if mid not in self.left))
            self.left = set(self.mids)
        return super().poll(timeout_seconds)

    def wake(self) -> None:
        """Count it."""
        self.woken += 1

    def close(self) -> None:
        """Count it."""
        self.closed += 1


class Dialled(NamedTuple):
    """What a connection was asked for with."""

    id: str
    will: Will | None
    v5: bool
    most: int


class Field:
    """A publisher, and the connections that a test gives it, one after the other."""

    def __init__(self, folder: Path, broker: dict[str, Any] | None = None, **more: Any) -> None:
        self.clock, self.counters, self.bell = Hand(), Counters(), Bell()
        self.clock.forward(1000)  # of no meaning, as those of a computer
        self.outbox = Outbox(folder / "o.db")
        self.limits, self.protocol = Limits(), "5"
        self.lines: list[Line] = []
        self.dialled: list[Dialled] = []
        self.plan: list[Step] = []
        self.dialling_seconds, self.pings = 0.0, list[float]()
        self.publisher = publisher(
            Broker(**{"retry_min_seconds": 1.0, "retry_max_seconds": 16.0, **(broker or {})}),
            self.outbox,
            self.counters,
            self.bell,
            clock=self.clock,
            dial=self.dial,
            **more,
        )

    def dial(
        self,
        broker: Broker,
        client_id: str,
        will: Will | None,
        speaks_5: bool,
        most_bytes: int,
    ) -> Line:
        """Return the next connection, or raise the error that a test put there."""
        self.dialled.append(Dialled(client_id, will, speaks_5, most_bytes))
        self.pings.append(broker.keepalive_seconds)
        self.clock.forward(self.dialling_seconds)
        does = self.plan.pop(0)
        if isinstance(does, Exception):
            raise does
        line = Line(does, self.limits, self.protocol)
        self.lines.append(line)
        return line

    def attempt(self, does: Step, spread: float = 1.0) -> float:
        """Make one attempt that goes like this."""
        self.plan.append(does)
        return self.publisher.attempt(spread)

    def sight(self, count: int = 1) -> None:
        """Write sightings, and say so."""
        self.outbox.append_many([replace(sighting(), time=self.clock.now()) for _ in range(count)])
        self.bell.news()

    def problem(self, what: str) -> str | None:
        """What is failing now, in words."""
        found = [one for one in self.counters.problems() if one.startswith(f"{what}: ")]
        return found[0].removeprefix(f"{what}: ") if found else None


def ending(
    error: Exception, polls: int = 0, does: Callable[[Line, int], object] | None = None
) -> Callable[[Line], None]:
    """A script: so many polls go well, then the connection ends like this."""
    count = iter(range(10**6))

    def step(line: Line) -> None:
        number = next(count)
        if does is not None:
            does(line, number)
        if number >= polls:
            line.breaks = error

    return step
