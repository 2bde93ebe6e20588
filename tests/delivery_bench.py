"""A delivery on a bench: an outbox, a scripted wire, a clock set by hand."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

import pytest
from clocks import Hand
from msgspec.structs import replace
from samples import sighting
from wires import ScriptedWire

from edge.errors import ImageError
from edge.mqtt.delivery import Delivery, Waiting
from edge.mqtt.delivery_state import Standing
from edge.mqtt.in_flight import Flight
from edge.mqtt.lane import Link
from edge.mqtt.wire import Ack, Limits
from edge.outbox.dead_letters import DeadLetters
from edge.outbox.outbox import Outbox
from edge.outbox.rows import Outgoing, Row
from edge.system.counters import Counters

log = logging.getLogger("test")


class Bench:
    """An outbox, a scripted wire and what stands between them; a new wire is a new connection."""

    def __init__(
        self, folder: Path, window: int = 4, letters_bytes: int = 10**6, **limits: Any
    ) -> None:
        self.outbox, self.clock, self.counters = Outbox(folder / "o.db"), Hand(), Counters()
        self.letters = DeadLetters(folder / "letters", letters_bytes)
        self.standing = Standing(self.counters, self.letters, log, 10.0, self.clock.monotonic)
        self.window, self.limits, self.held = window, Limits(**limits), False
        self.shrunk: list[int] = []
        self.righted: Callable[[Sequence[Row]], list[Row]] = list
        self.connect()

    def connect(self) -> None:
        """Begin a connection."""
        self.wire = ScriptedWire(self.limits)
        careful = lambda: self.standing.suspects.careful  # noqa: E731
        self.flight = Flight(self.wire, 60.0, self.clock.monotonic, careful)
        self.link = Link(self.flight, "wheatear/cam-1", self.standing, self.clock)
        righted = lambda rows: self.righted(rows)  # noqa: E731
        waiting = Waiting(self.outbox, self.shrink, None, lambda: self.held, righted)
        self.delivery = Delivery(self.link, waiting, self.window, 60_000)

    def one_at_a_time(self) -> None:
        """Begin a connection with a window of 1."""
        self.window = 1
        self.connect()

    @contextlib.contextmanager
    def no_room_for_letters(self) -> Iterator[None]:
        """Have the disk take no dead letter meanwhile."""

        def refuse(*_: object) -> NoReturn:
            raise OSError("no space")

        with pytest.MonkeyPatch.context() as full:
            full.setattr(self.letters, "add", refuse)
            yield

    def shrink(self, jpeg: bytes, most: int) -> bytes | None:
        """What a test put there."""
        self.shrunk.append(most)
        found = jpeg[:most] if jpeg[:1] == b"j" else None
        if jpeg[:1] == b"e":
            raise ImageError("no JPEG")
        return found

    def put(self, *messages: Outgoing) -> None:
        """Write messages, at the time of the clock."""
        self.outbox.append_many([replace(one, time=self.clock.now()) for one in messages])
        self.delivery.looked = False

    def sight(self, count: int) -> None:
        """Write sightings."""
        self.put(*(sighting() for _ in range(count)))

    def answer(self, *mids: int, code: int = 0) -> list[Ack]:
        """Let the broker answer, and take it; give what is not delivery's."""
        refusal = "No" if code else None
        self.wire.acknowledge(*mids, refusal=refusal, code=code)
        return self.delivery.settle(self.flight.poll(0))

    def turn(self, leave: int = 0) -> list[int]:
        """Send what there is room for; give the numbers of the messages."""
        before = len(self.wire.said)
        self.delivery.fill(leave)
        return self.wire.mids[before:]

    def seqs(self) -> list[int]:
        """The sightings that were sent over this connection, in order."""
        return [
            json.loads(one.payload)["seq"]
            for one in self.wire.said
            if one.topic.endswith("sighting")
        ]

    @property
    def waiting(self) -> int:
        """What is in the outbox."""
        return self.outbox.depth().waiting

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.seconds += seconds
        self.clock.time += timedelta(seconds=seconds)

    def problem(self, what: str) -> str | None:
        """What is failing now, in words."""
        found = [one for one in self.counters.problems() if one.startswith(f"{what}: ")]
        return found[0].removeprefix(f"{what}: ") if found else None
