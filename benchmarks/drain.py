"""Send what waits in an outbox through the device's publisher; print messages per second.

``python -m benchmarks.drain OUTBOX PORT COUNT WINDOW``. The clock runs from the publisher's
description of itself, its first act on a new connection, to the last acknowledgement.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from edge.cameras.photo import shrink_jpeg
from edge.config import Broker
from edge.mqtt.delivery import Waiting
from edge.mqtt.publisher import Publisher, Retained
from edge.outbox.outbox import Outbox
from edge.system.counters import Counters


def main(path: Path, port: int, count: int, window: int) -> dict[str, float]:
    """Deliver ``count`` messages, then stop; what is still waiting stays."""
    counters = Counters()
    connected: list[float] = []

    def info(protocol: str) -> bytes:
        connected.append(time.monotonic())
        return protocol.encode()

    broker = Broker(host="127.0.0.1", port=port, window=window)
    opening = time.monotonic()
    with Outbox(path, max_bytes=sys.maxsize) as outbox:
        opened = time.monotonic()
        waiting, retained = Waiting(outbox, shrink_jpeg), Retained(info, lambda: b"{}")
        publisher = Publisher(broker, "bench", waiting, retained, counters)
        publisher.start()
        while counters["delivered"] < count:
            time.sleep(0.001)
            if time.monotonic() - opened > 300:
                raise SystemExit(f"{counters['delivered']} of {count} after 300 s")
        seconds = time.monotonic() - connected[0]
        delivered = counters["delivered"]
        publisher.close(0.0)
    return {"per_second": delivered / seconds, "open_seconds": opened - opening}


if __name__ == "__main__":
    numbers = [int(text) for text in sys.argv[2:]]
    print(json.dumps(main(Path(sys.argv[1]), *numbers)))
