"""The subscriber of the demo: counts what arrives and proves, by ``seq``, what does not.

Deliveries of one ``id`` count once, as docs/topics.md tells every subscriber: where a broker goes
away before its acknowledgement arrives, the device sends the same message again.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from rich.table import Table

RECENT = 8


@dataclass
class Dashboard:
    """All sightings of one device, by ``seq``.

    Attributes:
        sightings: the first delivery of each ``seq``.
        ids: the ``seq`` of each ``id``.
        redelivered: messages that came again, with an ``id`` seen before.
        contradictions: what no device may send, in words.
    """

    port: int
    device: str
    sightings: dict[int, dict[str, Any]] = field(default_factory=dict)
    ids: dict[str, int] = field(default_factory=dict)
    redelivered: int = 0
    contradictions: list[str] = field(default_factory=list)
    connected: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Connect in the background; reconnects within 0.1 s whenever the broker is there."""
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="dashboard")
        self._client.reconnect_delay_set(min_delay=1, max_delay=1)
        self._client.on_connect = lambda client, *_: client.subscribe(
            f"wheatear/{self.device}/sighting", qos=1
        )
        self._client.on_subscribe = lambda *_: self.connected.set()
        self._client.on_disconnect = lambda *_: self.connected.clear()
        self._client.on_message = self._on_message
        self._client.connect("127.0.0.1", self.port)
        self._client.loop_start()

    def stop(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()

    def _on_message(self, _client: mqtt.Client, _user: object, message: mqtt.MQTTMessage) -> None:
        self.take(json.loads(message.payload))

    def take(self, sighting: dict[str, Any]) -> None:
        """Count a sighting, once for each ``id``."""
        seq, id_ = sighting["seq"], sighting["id"]
        known = self.sightings.setdefault(seq, sighting)
        if self.ids.setdefault(id_, seq) != seq:
            self.contradictions.append(f"{id_} is seq {self.ids[id_]} and seq {seq}")
        elif known["id"] != id_:
            self.contradictions.append(f"seq {seq} is {known['id']} and {id_}")
        elif known | {"historical": None} != sighting | {"historical": None}:
            self.contradictions.append(f"{id_} came with another content")
        elif known is not sighting:
            self.redelivered += 1

    def missing(self) -> int:
        """Count the gaps between the first and the last ``seq`` seen."""
        if not self.sightings:
            return 0
        return max(self.sightings) - min(self.sightings) + 1 - len(self.sightings)

    def table(self, title: str) -> Table:
        """Draw the latest sightings."""
        columns = ("seq", "time (UTC)", "sighting", "confidence", "late")
        table = Table(*columns, title=title, title_justify="left")
        for seq in sorted(self.sightings)[-RECENT:]:
            sighting = self.sightings[seq]
            label = sighting["label"] or f"[italic]{sighting['reason']}[/italic]"
            late = "yes" if sighting["historical"] else ""
            confidence = f"{sighting['confidence']:.2f}"
            table.add_row(str(seq), sighting["time"][11:19], label, confidence, late)
        return table
