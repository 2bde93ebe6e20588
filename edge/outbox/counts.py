"""What the outbox knows of its messages without looking: counts, the next number, open lives.

On disk it stands as it was when some row was next; what was appended since is counted when the
file is opened. So an append writes its message and nothing else.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import msgspec

from edge.errors import OutboxDamagedError
from edge.messages.base import encode
from edge.messages.sighting import Sighting
from edge.outbox import sql as schema
from edge.outbox.compression import pack, unpack
from edge.outbox.rows import Kind, Stored
from edge.text.json_text import from_json
from edge.text.printable import printable

_decoder = msgspec.json.Decoder(Sighting)


class HourCounts(Counter[tuple[int, str]]):
    """Sightings by hour (since 1970) and label, to be added to those on disk."""

    def add(self, sighting: Sighting, time_ms: int, count: int) -> None:
        """Count a sighting as taken at this time, unless it was counted when it began."""
        if sighting.phase not in ("update", "end"):
            self[time_ms // 3_600_000, printable(sighting.label or "")] += count


class OutboxCounts:
    """Kept in memory; :meth:`write` brings it to disk."""

    def __init__(self, db: sqlite3.Connection) -> None:
        """Read it, and count what was appended since it was written.

        Raises OutboxDamagedError, sqlite3.Error.
        """
        self.next_seq, self.waiting, self.bytes, self.next_row = schema.totals(db)
        self.hours = HourCounts()
        self.unwritten = 0
        """Messages that it counts and the disk's does not."""
        self._lives: dict[str, tuple[int, Sighting]] = {}
        self._changed: set[str] = set()
        for seq, payload in db.execute(schema.LIVES):
            if life := _sighting(payload):  # else written by a later version, or damaged
                self._lives[life.event] = (seq, life)
        for row in db.execute(schema.SINCE, (self.next_row,)):
            self._take(row)

    def _take(self, row: Stored) -> None:
        number, kind, _, payload, time_ms, size = row
        if not isinstance(time_ms, int) or not isinstance(size, int):
            raise OutboxDamagedError(f"row {number} is not a message")
        if number < self.next_row:
            raise OutboxDamagedError(f"row {number} occurs twice, or behind a later one")
        sighting = _sighting(payload) if kind == Kind.SIGHTING else None
        self.add(number, size, time_ms, sighting)

    def add(self, row: int, size: int, time_ms: int, sighting: Sighting | None) -> None:
        """Count a message that was appended, with its number."""
        self.next_row = row + 1
        self.waiting, self.bytes = self.waiting + 1, self.bytes + size
        self.unwritten += 1
        if sighting is None:
            return
        self.next_seq = max(self.next_seq, sighting.seq + 1)
        self.hours.add(sighting, time_ms, 1)
        if sighting.phase == "single":
            return
        event = printable(sighting.event)
        self._changed.add(event)
        if sighting.phase == "end":
            self._lives.pop(event, None)
        else:
            # Its place in the order is that of its begin.
            began = self._lives.get(event, (sighting.seq, sighting))[0]
            self._lives[event] = (began, sighting)

    def remove(self, count: int, size: int) -> None:
        """Count messages that are gone."""
        self.waiting, self.bytes = self.waiting - count, self.bytes - size

    def lives(self) -> tuple[Sighting, ...]:
        """The newest message of each life that goes on, oldest first."""
        return tuple(life for _, life in sorted(self._lives.values(), key=lambda one: one[0]))

    def follow(self, before: OutboxCounts) -> None:
        """Go on where another one stopped, whose file was damaged: nothing is given out again."""
        self.next_seq = max(self.next_seq, before.next_seq)
        self.next_row = max(self.next_row, before.next_row)
        self._lives = before._lives
        self._changed = set(before._lives)

    def resume(self, before: OutboxCounts, ended: Collection[str]) -> None:
        """Go on where another one of the same file stopped, which may have missed the last append.

        Lives that are not in the file yet, as after :meth:`follow`, go on unless they `ended`.
        """
        self.next_seq = max(self.next_seq, before.next_seq)
        self.next_row = max(self.next_row, before.next_row)
        for event, life in before._lives.items():
            if event not in self._lives and event not in ended:
                self._lives[event] = life
                self._changed.add(event)

    def restate(self, lives: Sequence[Sighting]) -> None:
        """Change the newest messages of lives that have no newer one."""
        for life in lives:
            known = self._lives.get(life.event)
            if known and known[1].seq == life.seq:
                self._lives[life.event] = known[0], life
                self._changed.add(life.event)

    def write(self, db: sqlite3.Connection) -> None:
        """Write all of it, within a transaction. Call :meth:`written` when that is committed."""
        schema.write_totals(db, self.next_seq, self.waiting, self.bytes, self.next_row)
        schema.count_hours(db, self.hours)
        schema.keep_lives(db, {event: self._stored(event) for event in self._changed})

    def written(self) -> None:
        """Learn that it is on disk."""
        self.hours, self.unwritten = HourCounts(), 0
        self._changed.clear()

    def _stored(self, event: str) -> tuple[int, bytes] | None:
        if event not in self._lives:
            return None
        began, life = self._lives[event]
        return began, pack(encode(life))


def merged(
    stored: Sequence[tuple[int, str, int]], more: Mapping[tuple[int, str], int], hours: range
) -> dict[int, dict[str, int]]:
    """Add counts that are not on disk yet; by hour, oldest first."""
    sums = Counter({(hour, label): count for hour, label, count in stored})
    sums.update({key: count for key, count in more.items() if key[0] in hours})
    counts: dict[int, dict[str, int]] = {}
    for (hour, label), count in sorted(sums.items()):
        if count > 0:
            counts.setdefault(hour, {})[label] = count
    return counts


def _sighting(stored: object) -> Sighting | None:
    if isinstance(stored, bytes):
        with contextlib.suppress(msgspec.DecodeError, OutboxDamagedError):
            return from_json(unpack(stored), _decoder)
    return None
