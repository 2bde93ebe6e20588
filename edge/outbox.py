"""The durable queue: what is appended here is on disk before it is sent, and leaves on PUBACK.

One SQLite file in WAL mode. Appends are committed with ``synchronous=FULL``: when
:meth:`Outbox.append_many` returns, a power cut loses none of its messages. Deletions need no such
care (a message that comes back is sent twice, and de-duplicated by its id), so they go through a
second connection with ``synchronous=NORMAL`` and cost no wait for the disk.

A sighting's ``seq`` is given at commit and never reused: the next number stands in the database,
and a number beyond it in a small file beside, for the day the database is damaged.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Self

import msgspec

from edge import outbox_schema as schema
from edge.errors import OutboxDamagedError, OutboxError, OutboxFullError
from edge.messages import Health, HourCount, Sighting, encode
from edge.outbox_rows import Kind, Outgoing, Row, read_rows, row_of
from edge.room import ROOM_BYTES, Room
from edge.sqlite_log import PAGE_BYTES, damage

if TYPE_CHECKING:
    from edge.salvage import Salvage

log = logging.getLogger(__name__)

_decoder = msgspec.json.Decoder(Sighting)


class Depth(msgspec.Struct, frozen=True):
    """How full the outbox is."""

    waiting: int
    bytes: int


class Outbox:
    """A queue on disk, bounded in bytes; safe to use from several threads.

    Raises:
        OutboxError: the file cannot be opened (a damaged one is set aside, not an error).
    """

    def __init__(self, path: Path, max_bytes: int = 256_000_000) -> None:
        self.path = path
        self.max_bytes = max_bytes
        self.dropped = {kind: 0 for kind in Kind}
        self.salvaged = self.lost = 0
        """Messages got out of a damaged file, and those that waited there and are lost."""
        self.appended = 0
        self.edition = 0
        """Rises when waiting messages were rewritten: who holds some must read them again."""
        self._lock = threading.Lock()
        self._connections: list[sqlite3.Connection] = []
        self._closed = False
        self._room = Room(path)
        self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; doing so twice is fine."""
        with self._lock:
            self._closed = True
            for connection in self._connections:
                connection.close()
            self._connections = []

    def append(self, message: Outgoing) -> int:
        """Write one message; give its seq (0 for what has none). See :meth:`append_many`."""
        return self.append_many([message])[0]

    def append_many(self, messages: Sequence[Outgoing]) -> list[int]:
        """Write messages in one commit: all are on disk when this returns, or none is.

        Returns their ``seq``, 0 for messages that have none.

        Raises:
            OutboxError: nothing was written (disk full, ...); the same call may be tried again.
            OutboxDamagedError: the file was damaged and is now set aside; try again.
        """
        with self._transaction(self._writer) as db:
            self._hold_room(db)
            first = seq = schema.next_seq(db)
            rows, seqs = [], []
            hours = HourCounts()
            lives: dict[str, tuple[int, bytes] | None] = {}
            for message in messages:
                numbered = isinstance(message, Sighting)
                seqs.append(seq if numbered else 0)
                rows.append(row_of(message, seq))
                if isinstance(message, Sighting):
                    if message.phase != "single":
                        ended = message.phase == "end"
                        lives[message.event] = None if ended else (seq, rows[-1][2])
                    seq += 1
                    hours.add(message, rows[-1][3], 1)
            if seq > first:
                self._reserve(seq)
            added = sum(row[4] for row in rows)
            dropped = self._make_room(db, added)
            schema.insert(db, rows, seq, added, hours)
            schema.keep_lives(db, lives)
        self.appended += seq - first
        for kind, count in dropped.items():
            self.dropped[kind] += count
        return seqs

    def page(self, after: int = 0, limit: int = 100) -> list[Row]:
        """Give the oldest waiting messages beyond row `after`, oldest first. Raises OutboxError."""
        with self._lock, self._errors():
            return read_rows(self._reader.execute(schema.PAGE, (after, limit)), self.path)

    def newest(self, after: int = 0, below: int | None = None, limit: int = 100) -> list[Row]:
        """Give the newest waiting messages between two rows, newest first. Raises OutboxError."""
        bounds = (after, below if below is not None else schema.NO_ROW, limit)
        with self._lock, self._errors():
            return read_rows(self._reader.execute(schema.NEWEST, bounds), self.path)

    def rewrite(
        self, changes: Sequence[tuple[Row, Sighting | Health]], lives: Sequence[Sighting] = ()
    ) -> int:
        """Put messages with another time in the place of waiting ones, in one durable commit.

        Rows that were delivered meanwhile are left out. Give how many were rewritten. Counts per
        hour go along; `lives` replace what :meth:`lives` gave. Raises OutboxError: nothing changed.
        """
        count, hours = 0, HourCounts()
        with self._transaction(self._writer) as db:
            for old, message in changes:
                seq = message.seq if isinstance(message, Sighting) else 0
                _, _, payload, time_ms, size = row_of(message, seq)
                grown = schema.rewrite(db, old.row, payload, time_ms, size)
                if grown is not None:
                    schema.account(db, 0, grown)
                    count += 1
                if isinstance(message, Sighting):
                    hours.add(message, old.time_ms, -1)
                    hours.add(message, time_ms, 1)
            schema.count_hours(db, hours)
            schema.rewrite_lives(db, [(one.event, one.seq, encode(one)) for one in lives])
        self.edition += bool(count)
        return count

    def delete(self, rows: Iterable[int]) -> int:
        """Remove delivered messages; give how many there were. Raises OutboxError.

        On a full disk the room that is kept for that is used.
        """
        runs = list(ranges(rows))
        try:
            return self._delete(runs)
        except OutboxFullError:
            self._room.spend()
            with self._lock, self._errors():
                self._reader.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return self._delete(runs)

    def _delete(self, runs: Sequence[tuple[int, int]]) -> int:
        removed = 0
        with self._transaction(self._reader) as db:
            for first, last in runs:
                count, freed = schema.delete_range(db, first, last)
                schema.account(db, -count, -freed)
                removed += count
        return removed

    def depth(self) -> Depth:
        """Say how much is waiting. Raises OutboxError."""
        with self._lock, self._errors():
            waiting, used = self._reader.execute(schema.DEPTH).fetchone()
        return Depth(waiting, used)

    def hours(self, now: datetime) -> tuple[HourCount, ...]:
        """Count the sightings per label of the last 24 hours, oldest first. Raises OutboxError."""
        last = int(now.timestamp()) // 3600
        with self._lock, self._errors():
            found = self._reader.execute(schema.HOURS, (last - 23, last)).fetchall()
        counts: dict[int, dict[str, int]] = {}
        for hour, label, count in found:
            counts.setdefault(hour, {})[label] = count
        epoch = datetime(1970, 1, 1, tzinfo=UTC)
        return tuple(
            HourCount(hour=epoch + timedelta(hours=hour), labels=labels)
            for hour, labels in counts.items()
        )

    def lives(self) -> tuple[Sighting, ...]:
        """Give the newest message of each life that goes on, oldest first. Raises OutboxError."""
        with self._lock, self._errors():
            found = self._reader.execute(schema.LIVES).fetchall()
        lives = []
        for (payload,) in found:
            # Written by a later version, or damaged.
            with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
                lives.append(_decoder.decode(payload))
        return tuple(lives)

    def _open(self) -> None:
        self._reserved = schema.reserved(self.path)
        try:
            schema.finish_exchange(self.path)
            self._connect()
        except OutboxDamagedError as error:
            self._begin_anew(error)

    def _connect(self) -> None:
        behind = self._left_behind()  # SQLite forgets it when it opens the file
        self._writer, self._reader = schema.open_database(self.path, self._reserved)
        self._connections = [self._writer, self._reader]
        if behind:
            self._adopt(behind)

    def _left_behind(self) -> list[tuple[schema.Stored, int]]:
        """Give what is in the log and SQLite does not take, with numbers."""
        try:
            if not damage(self.path):
                return []
            from edge.salvage import left_behind, number

            return [(row, number(row)) for row in left_behind(self.path)]
        except OSError as error:
            log.warning("the end of the log of the outbox %s cannot be read: %s", self.path, error)
            return []

    def _adopt(self, behind: list[tuple[schema.Stored, int]]) -> None:
        db = self._writer
        try:
            db.execute("BEGIN IMMEDIATE")
            added = schema.adopt(db, behind)
            db.execute("COMMIT")
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):
                db.execute("ROLLBACK")
            log.warning("what stands behind a gap in the log of %s is lost: %s", self.path, error)
            return
        if added:
            self.salvaged += len(added)
            log.warning(
                "the log of %s has a gap; %d messages behind it were saved", self.path, len(added)
            )

    def _begin_anew(self, error: OutboxDamagedError) -> None:
        """Go on in a new file with what can be read of the damaged one, which is kept aside."""
        for connection in self._connections:
            connection.close()
        self._connections = []
        fresh = schema.replacement(self.path)
        try:
            found = self._salvage(fresh)
            self.salvaged, self.lost = self.salvaged + found.saved, self.lost + found.lost
            outcome = str(found)
        except (OutboxError, sqlite3.Error, OSError) as failure:
            schema.discard(fresh)
            outcome = f"what is in it could not be saved ({failure})"
        aside = schema.set_aside(self.path)
        schema.finish_exchange(self.path)
        log.error("%s; it is kept as %s and a new one begins: %s", error, aside, outcome)
        self._connect()

    def _salvage(self, fresh: Path) -> Salvage:
        """Make the new file whole before it takes the old one's place."""
        from edge.salvage import salvage

        schema.discard(fresh)
        connections = schema.open_database(fresh, self._reserved)
        try:
            return salvage(self.path, connections[0])
        finally:
            for connection in connections:
                connection.close()

    def _reserve(self, seq: int) -> None:
        """See that the file beside the database holds a number that was not given out yet."""
        if seq > self._reserved:
            self._reserved = schema.reserve(self.path, seq)

    def _hold_room(self, db: sqlite3.Connection) -> None:
        """See that deleting stays possible: room is held, or the file has so much to use again."""
        try:
            self._room.hold()
        except OSError:
            free: int = db.execute("PRAGMA freelist_count").fetchone()[0]
            if free * PAGE_BYTES < ROOM_BYTES // 2:
                raise

    def _make_room(self, db: sqlite3.Connection, added: int) -> dict[Kind, int]:
        """Drop the oldest images, then health, then sightings until `added` bytes fit."""
        dropped: dict[Kind, int] = {}
        _, used = db.execute(schema.DEPTH).fetchone()
        for kind in Kind:
            while used + added > self.max_bytes:
                count, freed = schema.delete_oldest(db, kind, used + added - self.max_bytes)
                if not count:
                    break
                schema.account(db, -count, -freed)
                used -= freed
                dropped[kind] = dropped.get(kind, 0) + count
        return dropped

    @contextlib.contextmanager
    def _transaction(self, db: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
        with self._lock, self._errors():
            if self._closed:
                raise OutboxError(f"the outbox {self.path} is closed")
            if not self._connections:  # there was no room for a new file
                self._open()
                db = self._writer
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    db.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn SQLite's and the disk's errors into ours."""
        try:
            yield
        except sqlite3.Error as error:
            ours = schema.wrap(error, self.path)
            if isinstance(ours, OutboxDamagedError):
                self._begin_anew(ours)
            raise ours from error
        except OutboxDamagedError as error:
            self._begin_anew(error)
            raise
        except OutboxError:
            raise
        except OSError as error:
            kind = OutboxFullError if error.errno == errno.ENOSPC else OutboxError
            raise kind(
                f"cannot write beside the outbox {self.path}: {error.strerror or error}; "
                f"{os.fspath(self.path.parent)} must be writable and not full"
            ) from error


class HourCounts(Counter[tuple[int, str]]):
    """Sightings by hour (since 1970) and label, to be added to those on disk."""

    def add(self, sighting: Sighting, time_ms: int, count: int) -> None:
        """Count a sighting as taken at this time, unless it was counted when it began."""
        if sighting.phase not in ("update", "end"):
            self[time_ms // 3_600_000, sighting.label or ""] += count


def ranges(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Give the runs of consecutive numbers as (first, last)."""
    first = last = None
    for number in sorted(numbers):
        if last is None or first is None:
            first = last = number
        elif number == last + 1:
            last = number
        else:
            yield first, last
            first = last = number
    if first is not None and last is not None:
        yield first, last
