"""Carries messages from the outbox over one connection: a window in flight, deleted on PUBACK."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from edge.errors import ImageError, OutboxError
from edge.messages.sighting import mark_historical
from edge.mqtt.lane import Lane, Link
from edge.mqtt.poison_messages import Suspect
from edge.mqtt.reason_codes import About, reason
from edge.mqtt.wire import Ack
from edge.outbox.dead_letters import DeadLetters
from edge.outbox.outbox import Outbox
from edge.outbox.rows import Kind, Row
from edge.system.counters import Episode

_PAGE_ROWS = 200
_BATCH_ROWS = 200
_BATCH_SECONDS = 0.1
_DELETING = "deleting what was delivered"
_DISK_SECONDS = 1.0
"""Wait after a deletion that the disk refused."""
SIGHTING = Kind.SIGHTING.name
"""What :class:`edge.mqtt.denials.Denials` know sightings as."""

log = logging.getLogger(__name__)


class Waiting(NamedTuple):
    """What waits on disk to be sent; called on the publisher's thread."""

    outbox: Outbox
    shrink: Callable[[bytes, int], bytes | None]
    """Makes a JPEG that has so many bytes at most, or None."""
    letters: DeadLetters | None = None
    """Where goes what the broker does not take; None: to a folder beside the outbox."""
    hold: Callable[[], bool] = lambda: False
    """While it says so, what waits is not sent yet."""
    righted: Callable[[Sequence[Row]], list[Row]] = list
    """Returns the rows that are to be sent, with their right times where those are known."""


class Delivery(Lane[tuple[Row, float]]):
    """The messages under way over one connection, `window` at once. Rows leave the outbox only when
    acknowledged, given up or set aside.

    A denied sighting stays where it is and everything behind it waits, so that order holds; after
    a while it is tried again, alone, until the broker takes it. A picture that an access list
    forbids is given up and counted: pictures must not hold up sightings. A message that the broker
    does not take for what it is, or hangs up at, is set back (:mod:`edge.mqtt.poison_messages`).
    A sighting that is `late_ms` old says so. With each row goes when it was sent (monotonic).
    """

    def __init__(self, link: Link, waiting: Waiting, window: int, late_ms: int) -> None:
        super().__init__(link)
        self._waiting, self._outbox = waiting, waiting.outbox
        self._window, self._late_ms = window, late_ms
        self._synced = False
        self._edition = self._outbox.edition
        self._ready: deque[Row] = deque()
        self._cursor = 0
        self._done: list[int] = []
        self._done_since = self._flush_at = 0.0
        self._disk = Episode(_DELETING, self._counters, log)
        self._counters.failing(_DELETING, None)  # of an earlier connection
        self._rewound = False
        self.looked = False
        """The outbox was seen to hold nothing more; cleared when something new is in it."""

    @property
    def idle(self) -> bool:
        """Nothing is under way and nothing acknowledged waits to be deleted."""
        return super().idle and not self._done

    @property
    def settled(self) -> bool:
        """It is idle, and the outbox holds nothing more."""
        return self.idle and self.looked

    def under_way(self, row: int) -> Row | None:
        """The message of this row that is in flight, or None."""
        return next((one for one, _ in self._flying.values() if one.row == row), None)

    def fill(self, leave: int) -> None:
        """Publish until the window is full, there is room for no more than `leave` others, or
        nothing waits. Raises OutboxError.
        """
        if not self._may_send():
            return
        if (row := self._suspects.due()) is not None:
            self._rewind(row)
        synced, before = self._clock.quality() == "synced", self._synced
        self._synced = synced
        if self._edition != self._outbox.edition or (synced and not before):
            self._read_again()
        if self._rewound:
            if self._flying:
                return
            self.flush()  # what was acknowledged must not be read again
            self._rewound = False
        window = 1 if self._denials.denied(SIGHTING) else self._window
        with self._flight.together():
            now_ms = self._clock.now().timestamp() * 1000
            while len(self._flying) < window and self._flight.room > leave and self._next():
                self._send(self._ready.popleft(), now_ms)
        if self.looked and not self._flying and not self._ready:
            self._suspects.none_waits()

    def _may_send(self) -> bool:
        """Whether sightings may be sent now."""
        if self._flight.limits.maximum_qos == 0:
            self._standing.set_back(
                "this broker acknowledges nothing (its Maximum QoS is 0), so sightings would be "
                "lost unnoticed; they stay on disk. Allow QoS 1 there"
            )
            return False
        return not self._denials.resting(SIGHTING) and not self._waiting.hold()

    def _next(self) -> bool:
        """See that something is ready; False where nothing is, or it was rewound."""
        return not self._rewound and bool(self._ready or self._read())

    def settle(self, acks: Sequence[Ack]) -> list[Ack]:
        """Take acknowledgements, delete what was delivered in batches; give those not ours.

        Raises OutboxError.
        """
        others = super().settle(acks)
        if self._done and (
            len(self._done) >= _BATCH_ROWS
            or (not self._flying and not self._ready)
            or self._clock.monotonic() - self._done_since > _BATCH_SECONDS
        ):
            self._flush_later()
        return others

    def _settled(self, sent: tuple[Row, float], ack: Ack) -> None:
        row, since = sent
        if row.kind is not Kind.HEALTH:  # which nobody acknowledges
            self._counters.took("puback", (self._clock.monotonic() - since) * 1e3)
        if ack.refusal is None:
            self._delivered(row)
        else:
            self._refused(row, ack.why, reason(ack.code).about)

    def flush(self) -> None:
        """Delete what was acknowledged. Raises OutboxError."""
        if self._done:
            self._outbox.delete(self._done)
            self._done.clear()

    close = flush

    def _flush_later(self) -> None:
        """Delete what was acknowledged; where the disk refuses, go on delivering and try again.

        Breaking off instead would send all of it once more with every new connection.
        """
        if self._clock.monotonic() < self._flush_at:
            return
        try:
            self.flush()
        except OutboxError as error:
            self._disk.failed(error)
            self._flush_at = self._clock.monotonic() + _DISK_SECONDS
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
            self._ready.extend(self._waiting.righted(page))
        return bool(page)

    def _read_again(self) -> None:
        """Read what was not sent yet once more: its time was corrected."""
        self._edition = self._outbox.edition
        if self._ready:
            self._cursor, self.looked = self._ready[0].row - 1, False
            self._ready.clear()

    def _send(self, row: Row, now_ms: float) -> None:
        topic = f"{self._base}/{row.topic}"
        if self._suspects.is_back(row.row):
            return
        if row.kind is not Kind.SIGHTING and self._denials.resting(row.kind.name):
            self._give_up(row, "denied a moment ago")
            return
        payload = self._fitting(row, topic)
        if payload is None:
            return
        if row.kind is Kind.SIGHTING and now_ms - row.time_ms >= self._late_ms:
            payload = mark_historical(payload)
        qos = 0 if row.kind is Kind.HEALTH else 1
        mid = self._flight.publish(topic, payload, qos, key=row.row)
        self._flying[mid] = row, self._clock.monotonic()

    def _fitting(self, row: Row, topic: str) -> bytes | None:
        """A payload that the broker takes; None where there is none, and that is dealt with."""
        limits = self._flight.limits
        if limits.fits(topic, row.payload):
            return row.payload
        most = limits.most_bytes(topic) or 0
        if row.kind is Kind.IMAGE and (small := self._smaller(row.payload, most)) is not None:
            self._counters.add("images_shrunk")
            return small
        why = (
            f"{len(row.payload)} bytes are larger than the broker's limit of "
            f"{limits.maximum_packet_size} bytes a packet"
        )
        if row.kind is Kind.SIGHTING:
            self._set_back(row, why)
        elif row.kind is Kind.IMAGE:
            self._bury(Suspect(row, why))
        else:
            self._denials.deny(row.kind.name)
            self._give_up(row, why)
        return None

    def _smaller(self, jpeg: bytes, most: int) -> bytes | None:
        try:
            return self._waiting.shrink(jpeg, most)
        except ImageError:
            return None  # no JPEG: nothing here can make it smaller

    def _delivered(self, row: Row) -> None:
        self._counters.add("delivered")
        self._finish(row)
        self._suspects.cleared(row.row)
        for suspect in self._suspects.found(row):
            self._bury(suspect)
        if row.kind is not Kind.SIGHTING or not self._rewound:
            self._standing.taken(row.kind.name)  # what was sent before a denial does not end it
        if not self._suspects.back:
            self._standing.held.recovered()

    def _finish(self, row: Row) -> None:
        if not self._done:
            self._done_since = self._clock.monotonic()
        self._done.append(row.row)

    def _refused(self, row: Row, why: str, about: About) -> None:
        """Do what its kind and the reason ask for."""
        picture = row.kind is not Kind.SIGHTING
        if self._rewound and not picture:
            self._counters.add("denied")
            self._rewind(row.row)  # it was sent before the denial of another, and waits with it
        elif about is About.MESSAGE or (picture and about is About.QUOTA):
            self._counters.add("denied")
            self._set_back(row, why)
        elif picture:
            self._denials.deny(row.kind.name)
            self._give_up(row, why)
        else:
            topic = f"{self._base}/{row.topic}"
            self._standing.denied(
                SIGHTING,
                f"the broker denies {topic} ({why}); sightings stay on disk until it takes them",
            )
            self._rewind(row.row)

    def _set_back(self, row: Row, why: str) -> None:
        """Leave a message out until another passes; where none does, all wait in their order."""
        self._suspects.set_back(row, why)
        self.tell_set_back(row, why)

    def tell_set_back(self, row: Row, why: str) -> None:
        """Log that a message was set back, and set it aside where it is proved to be the cause;
        where the next one fares no better, make all wait.
        """
        if self._suspects.guilty(row.row):
            self._bury(Suspect(row, why))
            return
        what = f"{row.topic} ({len(row.payload)} bytes) is held back"
        if self._suspects.blameless:
            what = "all sightings wait: the broker takes none of them"
            self._denials.deny(SIGHTING)
            self._rewind(self._suspects.acquit())
        self._standing.set_back(f"{what}: {why}")

    def _bury(self, suspect: Suspect) -> None:
        """Make a dead letter of a message; where the disk refuses, it stays set back."""
        row, standing = suspect.row, self._standing
        try:
            standing.letters.add(row, suspect.why, self._clock.now())
        except OSError as error:
            standing.held.failed(error)
            if not self._suspects.is_back(row.row):
                self._suspects.set_back(row, suspect.why)
            return
        log.warning("%s is a dead letter: %s", row.topic, suspect.why)
        self._counters.add("dead_letters")
        standing.count_letters()
        self._suspects.settled(suspect)
        self._finish(row)

    def _rewind(self, row: int) -> None:
        """Go on from this row, once what is under way has come back."""
        self._ready.clear()
        self._cursor = min(self._cursor, row - 1)
        self._rewound, self.looked = True, False

    def _give_up(self, row: Row, why: str) -> None:
        self._standing.refused(f"{self._base}/{row.topic} is given up: {why}")
        self._finish(row)
