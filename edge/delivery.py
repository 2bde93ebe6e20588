"""Carries messages from the outbox over one connection: a window in flight, deleted on PUBACK."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence

from edge.counters import Counters, Episode
from edge.messages import mark_historical
from edge.mqtt import Ack, Connection
from edge.outbox import Kind, Outbox, Row

_PAGE_ROWS = 200
_BATCH_ROWS = 200
_BATCH_SECONDS = 0.1


class DeniedError(ConnectionRefusedError):
    """The broker answered a publish with no."""


class Delivery:
    """The messages under way over one connection. Rows leave the outbox only when acknowledged.

    A refused sighting stays where it is and everything behind it waits, so that order holds; after
    `retry_seconds` it is tried again, alone, until the broker takes it. A refused picture or health
    message is given up and counted: pictures that an access list forbids must not hold up
    sightings.
    """

    def __init__(
        self,
        outbox: Outbox,
        connection: Connection,
        base: str,
        window: int,
        late_ms: int,
        retry_seconds: float,
        counters: Counters,
        denied: Episode,
    ) -> None:
        self._outbox, self._connection, self._base = outbox, connection, base
        self._window = max(1, min(window, connection.receive_maximum))
        self._late_ms, self._retry_seconds = late_ms, retry_seconds
        self._counters, self._denied = counters, denied
        self._ready: deque[Row] = deque()
        self._cursor = 0
        self._flying: dict[int, Row] = {}
        self._done: list[int] = []
        self._done_since = 0.0
        self._blocked_until = 0.0
        self._refused_row: int | None = None
        self.looked = False

    @property
    def idle(self) -> bool:
        """Nothing is under way and nothing acknowledged waits to be deleted."""
        return not self._flying and not self._done

    def fill(self) -> None:
        """Publish until the window is full or nothing waits. Raises OutboxError."""
        window = self._window
        if len(self._flying) >= window:
            return
        if self._refused_row is not None:
            if self._flying or time.monotonic() < self._blocked_until:
                return
            window = 1
        with self._connection.together():
            self._fill(window)

    def _fill(self, window: int) -> None:
        now_ms = time.time() * 1000
        while len(self._flying) < window:
            if not self._ready and not self._read():
                return
            row = self._ready.popleft()
            payload = row.payload
            if now_ms - row.time_ms > self._late_ms and row.kind is Kind.SIGHTING:
                payload = mark_historical(payload)
            limit = self._connection.maximum_packet_size
            if limit and len(payload) + len(self._base) + len(row.topic) + 16 > limit:
                self._give_up(row, f"larger than the broker's limit of {limit} bytes")
                continue
            qos = 0 if row.kind is Kind.HEALTH else 1
            mid = self._connection.publish(f"{self._base}/{row.topic}", payload, qos)
            self._flying[mid] = row

    def settle(self, acks: Sequence[Ack]) -> int:
        """Take acknowledgements; delete what was delivered, in batches. Gives how many were ours.

        Raises OutboxError.
        """
        ours = 0
        for ack in acks:
            row = self._flying.pop(ack.mid, None)
            if row is None:
                if ack.refusal:
                    self._denied.failed(DeniedError(f"a message about this device: {ack.refusal}"))
                continue
            ours += 1
            if ack.refusal is None:
                self._delivered(row)
            elif row.kind is Kind.SIGHTING:
                self._refused(row, ack.refusal)
            else:
                self._give_up(row, ack.refusal)
        if self._done and (
            len(self._done) >= _BATCH_ROWS
            or (not self._flying and not self._ready)
            or time.monotonic() - self._done_since > _BATCH_SECONDS
        ):
            self.flush()
        return ours

    def flush(self) -> None:
        """Delete what was acknowledged. Raises OutboxError."""
        if self._done:
            self._outbox.delete(self._done)
            self._done.clear()

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

    def _delivered(self, row: Row) -> None:
        self._counters.add("delivered")
        self._finish(row)
        if self._refused_row is not None and row.row >= self._refused_row:
            self._refused_row = None
            self._denied.recovered()

    def _finish(self, row: Row) -> None:
        if not self._done:
            self._done_since = time.monotonic()
        self._done.append(row.row)

    def _refused(self, row: Row, why: str) -> None:
        """Go back to the refused row, and wait before trying it again."""
        self._counters.add("denied")
        self._denied.failed(
            DeniedError(
                f"the broker refuses {self._base}/{row.topic} ({why}); it stays on disk. Allow "
                "this device to publish there in the broker's access list"
            )
        )
        self._blocked_until = time.monotonic() + self._retry_seconds
        if self._refused_row is None or row.row <= self._refused_row:
            self._refused_row = row.row
        self._ready.clear()
        self._cursor = self._refused_row - 1
        self.looked = False

    def _give_up(self, row: Row, why: str) -> None:
        self._counters.add("denied")
        self._denied.failed(DeniedError(f"{self._base}/{row.topic} is given up: {why}"))
        self._finish(row)
