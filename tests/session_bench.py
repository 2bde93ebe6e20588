"""A session on a bench: what is said over a scripted connection, turn by turn."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from delivery_bench import Bench

from edge.mqtt.idle_sender import IdleSender, Parcel
from edge.mqtt.introduction import Announcer, Introduction, Introductions
from edge.mqtt.packets import Incoming
from edge.mqtt.request_channel import RequestChannel
from edge.mqtt.requests import RequestAnswer
from edge.mqtt.session import Closing, Lanes, Session

BASE = "wheatear/cam-1"
OPEN = Closing(False)


class Inlet:
    """Takes requests, and has the answers that a test puts there."""

    topics: str | None = f"{BASE}/request/#"
    verbs = ("status", "capture")
    most_bytes = 1000

    def __init__(self) -> None:
        self.offered: list[Incoming] = []
        self.waiting: list[RequestAnswer] = []

    def offer(self, message: Incoming) -> None:
        """Keep a request."""
        self.offered.append(message)

    def answers(self) -> list[RequestAnswer]:
        """Return what waits."""
        taken, self.waiting = self.waiting, []
        return taken


class Parcels:
    """Hands out parcels, and remembers what became of them."""

    def __init__(self, *parcels: Parcel) -> None:
        self.parcels, self.outcomes = list(parcels), list[tuple[str, str]]()

    def next(self) -> Parcel | None:
        """Return the next one."""
        return self.parcels.pop(0) if self.parcels else None

    def settled(self, parcel: Parcel, outcome: str) -> None:
        """Remember."""
        self.outcomes.append((parcel.id, outcome))


class Talk(Bench):
    """A bench with a whole session over it."""

    def __init__(self, folder: Path, parcels: Iterable[Parcel] = (), **limits: Any) -> None:
        self.inlet, self.source = Inlet(), Parcels(*parcels)
        self.says = {f"{BASE}/availability": b"online", f"{BASE}/info": b"{}"}
        self.taken: list[str] = []
        super().__init__(folder, **limits)

    def connect(self) -> None:
        """Begin a connection and its session."""
        super().connect()
        self.broken = self.standing.broken
        took = self.taken.append
        every = {
            topic: Introduction(topic, partial(self.says.get, topic), partial(took, topic))
            for topic in self.says
        }
        self.pending = set(every)
        self.known: set[str] = getattr(self, "known", set())
        lanes = Lanes(
            Announcer(self.link, Introductions(every, self.pending, self.known)),
            RequestChannel(self.link, self.inlet),
            self.delivery,
            IdleSender(self.link, self.source),
        )
        self.session = Session(self.link, lanes, lambda: b"%d" % self.waiting, 5.0)

    def go(self, closing: Closing = OPEN, answer: bool = True) -> list[str]:
        """Take a turn; give the topics that were said; answer all, unless told not to."""
        before = len(self.wire.said)
        self.going = self.session.turn(closing)
        said = self.wire.said[before:]
        if answer:
            self.wire.acknowledge(*(one.mid for one in said if one.qos))
        return [one.topic.removeprefix(f"{BASE}/") for one in said]

    def settle(self) -> list[str]:
        """Take turns until nothing is said any more; give what was."""
        said: list[str] = []
        quiet = 0
        while quiet < 3:
            new = self.go()
            said += new
            quiet = 0 if new else quiet + 1
            assert len(said) < 100
        return said
