"""Carries messages from the outbox over one connection: a window in flight, deleted on PUBACK."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence

from edge.counters import Counters, Episode
from edge.denials import Denials
from edge.errors import OutboxError
from edge.messages import mark_historical
from edge.mqtt import Ack, Connection
from edge.outbox import Outbox
from edge.outbox_rows import Kind, Row

_PAGE_ROWS = 200
_BATCH_ROWS = 200
_BATCH_SECONDS = 0.1
_DELETING = "deleting what was delivered"
_DISK_SECONDS = 1.0
"""Wait after a deletion that the disk refused."""

log = logging.getLogger(__name__)


class DeniedError(ConnectionRefusedError):
    """The broker answered a publish with no."""


class Delivery:
    """The messages under way over one connection. Rows leave the outbox only when acknowledged.

    A denied sighting stays where it is and everything behind it waits, so that order holds; after
    a while it is tried again, alone, until the broker takes it. A denied picture or health message
    is given up and counted: pictures that an access list forbids must not hold up sightings.
    While `hold` says so, nothing is sent.
    """

    def __init__(
        self,
        outbox: Outbox,
        connection: Connection,
        base: str,
        window: int,
        late_ms: int,
        counters: Counters,
        denials: Denials,
        trouble: Episode,
        hold: Callable[[], bool] = lambda: False,
    ) -> None:
        self._hold = hold
        self._edition = outbox.edition
        self._outbox, self._connection, self._base = outbox, connection, base
        self._window = max(1, min(window, connection.receive_maximum))
        self._late_ms = late_ms
        self._counters, self._denials, self._trouble = counters, denials, trouble
        self._ready: deque[Row] = deque()
        self._cursor = 0
        self._flying: dict[int, Row] = {}
        self._sent: dict[int, float] = {}
        self._done: list[int] = []
        self._done_since = self._flush_at = 0.0
        self._disk = Episode(_DELETING, counters, log)
        counters.failing(_DELETING, None)  # of an earlier connection
        self._rewound = False
        self.looked = False
        """The outbox was seen to hold nothing more; cleared when something new is in it."""

    @property
    def idle(self) -> bool:
        """Nothing is under way and nothing acknowledged waits to be deleted."""
        return not self._flying and not self._done

    def fill(self) -> None:
        """Publish until the window is full or nothing waits. Raises OutboxError."""
        window = 1 if self._denials.denied("sighting") else self._window
        if len(self._flying) >= window or self._denials.resting("sighting"):
            return
        if self._hold():
            return
        if self._edition != self._outbox.edition:
            self._read_again()
        if self._rewound:
            if self._flying:
                return
            self.flush()  # what was acknowledged must not be read again
            self._rewound = False
        with self._connection.together():
            now_ms = time.time() * 1000
            while len(self._flying) < window and (self._ready or self._read()):
                self._send(self._ready.popleft(), now_ms)

    def settle(self, acks: Sequence[Ack]) -> list[Ack]:
        """Take acknowledgements, delete what was delivered in batches; give those not ours.

        Raises OutboxError.
        """
        others, now = [], time.monotonic()
        for ack in acks:
            row = self._flying.pop(ack.mid, None)
            if (sent := self._sent.pop(ack.mid, None)) is not None:
                self._counters.took("puback", (now - sent) * 1e3)
            if row is None:
                others.append(ack)
            elif ack.refusal is None:
                self._delivered(row)
            elif row.kind is Kind.SIGHTING:
                self._denied(row, ack.refusal)
            else:
                self._denials.deny(row.kind.name)
                self._give_up(row, ack.refusal)
        if self._done and (
            len(self._done) >= _BATCH_ROWS
            or (not self._flying and not self._ready)
            or time.monotonic() - self._done_since > _BATCH_SECONDS
        ):
            self._flush_later()
        return others

    def flush(self) -> None:
        """Delete what was acknowledged. Raises OutboxError."""
        if self._done:
            self._outbox.delete(self._done)
            self._done.clear()

    def _flush_later(self) -> None:
        """Delete what was acknowledged; where the disk refuses, go on delivering and try again.

        Breaking off instead would send all of it once more with every new connection.
        """
        if time.monotonic() < self._flush_at:
            return
        try:
            self.flush()
        except OutboxError as error:
            self._disk.failed(error)
            self._flush_at = time.monotonic() + _DISK_SECONDS
        else:
            self._disk.recovered()

    def _read(self) -> bool:
        """Read the next page; False where nothing more waits (until `looked` is cleared)."""
        if self.looked:
            return False
        page = self._outbox.page(self._cursor, _PAGE_ROWS)
        self.looked = len(page) < _PAGE_ROWS
        if page:
            self._cursor = page[-1].row
            self._ready.extend(page)
        return bool(page)

    def _read_again(self) -> None:
        """Read what was not sent yet once more: its time was corrected."""
        self._edition = self._outbox.edition
        if self._ready:
            self._cursor, self.looked = self._ready[0].row - 1, False
            self._ready.clear()

    def _send(self, row: Row, now_ms: float) -> None:
        payload, topic = row.payload, f"{self._base}/{row.topic}"
        if not self._connection.fits(topic, payload):
            limit = self._connection.maximum_packet_size
            self._give_up(row, f"larger than the broker's limit of {limit} bytes")
        elif row.kind is not Kind.SIGHTING and self._denials.resting(row.kind.name):
            self._give_up(row, "denied a moment ago")
        else:
            if row.kind is Kind.SIGHTING and now_ms - row.time_ms > self._late_ms:
                payload = mark_historical(payload)
            qos = 0 if row.kind is Kind.HEALTH else 1
            mid = self._connection.publish(topic, payload, qos)
            self._flying[mid] = row
            if qos:
                self._sent[mid] = time.monotonic()

    def _delivered(self, row: Row) -> None:
        self._counters.add("delivered")
        self._finish(row)
        kind = "sighting" if row.kind is Kind.SIGHTING else row.kind.name
        if self._denials.allow(kind) and not self._denials.any():
            self._trouble.recovered()

    def _finish(self, row: Row) -> None:
        if not self._done:
            self._done_since = time.monotonic()
        self._done.append(row.row)

    def _denied(self, row: Row, why: str) -> None:
        """Go back to the denied row, and let it rest before trying it again."""
        self._counters.add("denied")
        self._trouble.failed(
            DeniedError(
                f"the broker denies {self._base}/{row.topic} ({why}); sightings stay on disk. "
                "Allow this device to publish there in the broker's access list"
            )
        )
        if not self._rewound:
            self._denials.deny("sighting")
        self._ready.clear()
        self._cursor = min(self._cursor, row.row - 1)
        self._rewound, self.looked = True, False

    def _give_up(self, row: Row, why: str) -> None:
        self._counters.add("denied")
        self._trouble.failed(DeniedError(f"{self._base}/{row.topic} is given up: {why}"))
        self._finish(row)
