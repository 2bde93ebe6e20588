"""A publisher over an outbox, as the program puts them together."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from brokers import Subscriber
from patience import PATIENCE
from samples import sighting

from edge.cameras.photo import shrink_jpeg
from edge.config import Broker
from edge.mqtt.delivery import Waiting
from edge.mqtt.introduction import Introduction
from edge.mqtt.publisher import Publisher, Retained
from edge.outbox.outbox import Outbox
from edge.system.bell import Bell
from edge.system.counters import Counters


def publisher(
    broker: Broker,
    outbox: Outbox,
    counters: Counters,
    bell: Bell,
    introductions: Sequence[Introduction] = (),
    **more: Any,
) -> Publisher:
    """Put a publisher together, for a test's own settings of any of its parts."""

    def info(protocol: str) -> bytes:
        return json.dumps({"protocol": protocol}).encode()

    state, seconds = more.pop("state", lambda: b"{}"), more.pop("state_seconds", 5.0)
    waiting = {name: more.pop(name) for name in ("letters", "hold", "righted") if name in more}
    return Publisher(
        broker,
        "cam-1",
        Waiting(outbox, shrink_jpeg, **waiting),
        Retained(info, state, seconds, introductions),
        counters,
        bell=bell,
        **more,
    )


class Sender:
    """An outbox and a publisher, as `wheatear run` puts them together."""

    def __init__(
        self,
        folder: Path,
        broker: Broker,
        denied_seconds: float = 0.3,
        state: Callable[[], bytes] = lambda: b"{}",
        delete_seconds: float = 20.0,
        bell: Bell | None = None,
        **more: Any,
    ) -> None:
        self.outbox = Outbox(folder / "outbox.db", delete_seconds=delete_seconds)
        self.counters, self.bell = Counters(), bell or Bell()
        self.publisher = publisher(
            broker,
            self.outbox,
            self.counters,
            self.bell,
            state=state,
            state_seconds=0.1,
            denied_seconds=denied_seconds,
            **more,
        )

    def sight(self, count: int) -> None:
        """Write sightings, and say so."""
        self.outbox.append_many([sighting() for _ in range(count)])
        self.bell.news()

    def drained(self, seconds: float = PATIENCE) -> bool:
        """Wait until everything was acknowledged and deleted."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not self.outbox.depth().waiting:
                return True
            time.sleep(0.01)
        return False

    def __enter__(self) -> Self:
        self.publisher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.publisher.close()
        self.outbox.close()


def settings(port: int, **more: Any) -> Broker:
    """A broker's settings with short waits."""
    return Broker(
        host="127.0.0.1", port=port, retry_min_seconds=0.05, retry_max_seconds=0.2, **more
    )


def received(subscriber: Subscriber) -> list[int]:
    """The numbers of the sightings in the order of their first arrival."""
    return list(dict.fromkeys(json.loads(p)["seq"] for p in subscriber.on("/sighting")))
