"""A publisher over an outbox, as the program puts them together."""

from __future__ import annotations

import json
import time

from brokers import PATIENCE
from samples import sighting

from edge.cameras.photo import shrink_jpeg
from edge.config import Broker
from edge.mqtt.publisher import Publisher
from edge.outbox.outbox import Outbox
from edge.system.bell import Bell
from edge.system.counters import Counters


class Sender:
    """An outbox and a publisher, as `wheatear run` puts them together."""

    def __init__(
        self,
        folder,
        broker: Broker,
        denied_seconds=0.3,
        state=lambda: b"{}",
        delete_seconds=20.0,
        bell=None,
        **more,
    ):
        self.outbox = Outbox(folder / "outbox.db", delete_seconds=delete_seconds)
        self.counters, self.bell = Counters(), bell or Bell()
        self.publisher = Publisher(
            broker,
            "cam-1",
            self.outbox,
            lambda protocol: json.dumps({"protocol": protocol}).encode(),
            state,
            self.counters,
            shrink_jpeg,
            state_seconds=0.1,
            denied_seconds=denied_seconds,
            bell=self.bell,
            **more,
        )

    def sight(self, count: int) -> None:
        """Write sightings, and say so."""
        self.outbox.append_many([sighting() for _ in range(count)])
        self.bell.news()

    def drained(self, seconds=PATIENCE) -> bool:
        """Wait until everything was acknowledged and deleted."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not self.outbox.depth().waiting:
                return True
            time.sleep(0.01)
        return False

    def __enter__(self):
        self.publisher.start()
        return self

    def __exit__(self, *_):
        self.publisher.close()
        self.outbox.close()


def settings(port: int, **more) -> Broker:
    """Give a broker's settings with short waits."""
    return Broker(
        host="127.0.0.1", port=port, retry_min_seconds=0.05, retry_max_seconds=0.2, **more
    )


def received(subscriber) -> list[int]:
    """Give the numbers of the sightings in the order of their first arrival."""
    return list(dict.fromkeys(json.loads(p)["seq"] for p in subscriber.on("/sighting")))
