"""The durable queue: what is appended here is on disk before it is sent, and leaves on PUBACK.

One SQLite file in WAL mode. Appends are committed with ``synchronous=FULL``: when
:meth:`Outbox.append_many` returns, a power cut loses none of its messages. Deletions need no such
care (a message that comes back is sent twice, and de-duplicated by its id), so they are gathered,
and go through a second connection with ``synchronous=NORMAL``, which waits for no disk.

A sighting's ``seq`` is given at commit and never reused (:mod:`edge.outbox_numbers`).
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

import msgspec

from edge import outbox_schema as schema
from edge.errors import OutboxDamagedError, OutboxError, OutboxFullError
from edge.messages import Health, HourCount, Sighting
from edge.outbox_attempt import Attempt
from edge.outbox_exchange import clear_names, finish_exchange
from edge.outbox_numbers import Numbers
from edge.outbox_place import Place, write_again
from edge.outbox_repair import adopt, left_behind, replace
from edge.outbox_rows import Kind, Outgoing, Row, ranges, read_rows, row_of, rows_of
from edge.outbox_tally import HourCounts, Tally, merged
from edge.room import NO_ROOM, ROOM_BYTES, Room

log = logging.getLogger(__name__)

_DELETE_SECONDS = 60.0
_DELETE_ROWS = 500
_WRITE_ROWS = 1_000
"""So many messages at most are counted anew at a start."""


class Depth(msgspec.Struct, frozen=True):
    """How full the outbox is."""

    waiting: int
    bytes: int


class Outbox:
    """A queue on disk, bounded in bytes; safe to use from several threads.

    Where the disk has no room for a new file it is opened later (:meth:`tidy`, or by an append).
    What was delivered is deleted from the file after `delete_seconds` at the latest, if
    :meth:`tidy` is called meanwhile; until then it comes again after a kill.

    Raises:
        OutboxError: the file cannot be opened (a damaged one is set aside, not an error).
    """

    def __init__(
        self, path: Path, max_bytes: int = 256_000_000, delete_seconds: float = _DELETE_SECONDS
    ) -> None:
        self.path = path
        self.max_bytes = max_bytes
        self.dropped = {kind: 0 for kind in Kind}
        self.salvaged = self.lost = 0
        """Messages got out of a damaged file, and those that waited there and are lost."""
        self.appended = 0
        self.edition = 0
        """Rises when waiting messages were rewritten: who holds some must read them again."""
        self.full: str | None = None
        """Why the disk has no room for new messages, as far as it was tried."""
        self._delete_seconds = delete_seconds
        self._lock = threading.Lock()
        self._connections: list[sqlite3.Connection] = []
        self._place: Place | None = None
        self._closed = False
        self._tally: Tally | None = None
        self._delivered: set[int] = set()
        self._delivered_since = 0.0
        self._unsure = False
        """What is known of the file may not be so: a commit ended in an error."""
        self._last: Attempt | None = None
        """An append, until whoever asked for it has its numbers."""
        self._room = Room(path)
        self._numbers = Numbers(path)
        self._first = self._skipped = 0
        """The number to go on with, and how many are left out before it: its sighting says so."""
        try:
            with self._errors():
                self._open()
        except OutboxFullError as error:
            self.full = str(error)
            log.warning("%s; new messages wait in memory until there is room", error)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Delete what was delivered and close the file; doing so twice is fine."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if self._connections and self._tally:
                with contextlib.suppress(OutboxError, OSError, sqlite3.Error):
                    self._be_sure()
                    self._settle()
                    self._keep_name()
            self._disconnect()
            if self._tally:
                self._say_goodbye(self._following(self._tally))

    def _say_goodbye(self, following: int) -> None:
        try:
            try:
                self._numbers.end(following)
            except OSError:
                self._room.spend()
                self._numbers.end(following)
        except OSError as error:
            log.warning("the next start leaves some numbers out: %s", error)

    def append(self, message: Outgoing) -> int:
        """Write one message; give its seq (0 for what has none). See :meth:`append_many`."""
        return self.append_many([message])[0]

    def append_many(self, messages: Sequence[Outgoing]) -> list[int]:
        """Write messages in one commit: all are on disk when this returns, or none is.

        Returns their ``seq``, 0 for messages that have none.

        Raises:
            UnwritableError: one of them, which it names, cannot be encoded; nothing was written.
            OutboxError: nothing was written (disk full, ...); the same call may be tried again.
            OutboxDamagedError: the file was damaged and is now set aside; try again.
        """
        with self._lock:
            with self._errors():
                self._opened()
                if self._overdue():
                    with contextlib.suppress(OutboxFullError):
                        self._settle()
                seqs = self._written_before(messages)
                seqs += self._append(messages[len(seqs) :])
            self._last = None
            return seqs

    def _append(self, messages: Sequence[Outgoing]) -> list[int]:
        with self._committing(self._writer) as (db, tally):
            self._hold_room(db)
            numbered = self._with_numbers(messages, tally)
            rows = rows_of(messages, numbered, tally.next_row)
            count = sum(isinstance(message, Sighting) for message in messages)
            self._numbers.cover(self._following(tally), count)
            dropped = self._make_room(db, tally, sum(row[5] for row in rows))
            attempt = Attempt(tuple(messages), numbered, rows, count, dropped)
            schema.insert(db, rows)
            self._last = attempt
        if dropped is not None:
            self._written(tally)
            for number, size in dropped.values():
                tally.remove(number, size)
        attempt.add_to(tally)
        self._count(attempt)
        self._unsure = False
        return attempt.seqs

    def _written_before(self, messages: Sequence[Outgoing]) -> list[int]:
        """Give the numbers of those messages, from the first on, that the call before wrote,
        although it ended in an error.
        """
        return self._last.seqs if self._last and self._last.begins(messages) else []

    def _count(self, attempt: Attempt) -> None:
        """Count an append that is on disk; all of it, or nothing."""
        appended, dropped = self.appended + attempt.count, dict(self.dropped)
        for kind, (number, _) in (attempt.dropped or {}).items():
            dropped[kind] += number
        self._numbers.committed()
        self._skipped = 0 if attempt.count else self._skipped
        self.dropped, self.appended, self.full = dropped, appended, None

    def _with_numbers(self, messages: Sequence[Outgoing], tally: Tally) -> list[Outgoing]:
        """Give sightings their numbers; the first says how many were left out before it."""
        seq, skipped, numbered = self._following(tally), self._skipped, list[Outgoing]()
        for message in messages:
            if isinstance(message, Sighting):
                message = msgspec.structs.replace(message, seq=seq, skipped=skipped)
                seq, skipped = seq + 1, 0
            numbered.append(message)
        return numbered

    def _following(self, tally: Tally) -> int:
        return max(tally.next_seq, self._first)

    def page(self, after: int = 0, limit: int = 100) -> list[Row]:
        """Give the oldest waiting messages beyond row `after`, oldest first. Raises OutboxError."""
        rows: list[Row] = []
        while len(rows) < limit:
            found, left = self._read(schema.PAGE, (after, limit))
            rows += left
            if len(found) < limit:
                break
            after = found[-1].row
        return rows[:limit]

    def newest(self, after: int = 0, below: int | None = None, limit: int = 100) -> list[Row]:
        """Give the newest waiting messages between two rows, newest first. Raises OutboxError."""
        rows: list[Row] = []
        below = below if below is not None else schema.NO_ROW
        while len(rows) < limit:
            found, left = self._read(schema.NEWEST, (after, below, limit))
            rows += left
            if len(found) < limit:
                break
            below = found[-1].row
        return rows[:limit]

    def _read(self, query: str, bounds: tuple[int, ...]) -> tuple[list[Row], list[Row]]:
        """Give what the file holds, and of that what was not delivered yet."""
        with self._lock, self._errors():
            if not self._connections:
                return [], []  # there was no room to open the file
            found = read_rows(self._reader.execute(query, bounds), self.path)
            return found, [row for row in found if row.row not in self._delivered]

    def rewrite(
        self, changes: Sequence[tuple[Row, Sighting | Health]], lives: Sequence[Sighting] = ()
    ) -> int:
        """Put messages with another time in the place of waiting ones, in one durable commit.

        Rows that were delivered or rewritten meanwhile are left out. Give how many were rewritten.
        Counts per hour go along; `lives` replace what :meth:`lives` gave. Raises OutboxError:
        nothing changed.
        """
        count, grown, hours = 0, 0, HourCounts()
        with self._lock, self._errors():
            self._opened()
            with self._committing(self._writer) as (db, tally):
                self._delete(db, tally)
                for old, message in changes:
                    _, _, payload, time_ms, size = row_of(message)
                    more = schema.rewrite(db, old.row, old.time_ms, payload, time_ms, size)
                    if more is None:
                        continue
                    count, grown = count + 1, grown + more
                    if isinstance(message, Sighting):
                        hours.add(message, old.time_ms, -1)
                        hours.add(message, time_ms, 1)
                schema.count_hours(db, hours)
                schema.add_bytes(db, grown)
            self._written(tally)
            tally.bytes += grown
            tally.restate(lives)
            self._unsure = False
            self.edition += bool(count)
        return count

    def delete(self, rows: Iterable[int]) -> int:
        """Take delivered messages out; give how many there were. Raises OutboxError: the deletion
        stays to be done, and what was delivered is not given again all the same.

        On a full disk the room that is kept for that is used.
        """
        with self._lock, self._errors():
            if not self._connections or self._tally is None:
                return 0
            self._be_sure()
            found = [
                (row, size)
                for run in ranges(rows)
                for row, size in self._reader.execute(schema.SIZES, run)
                if row not in self._delivered
            ]
            if found and not self._delivered:
                self._delivered_since = time.monotonic()
            self._unsure = True
            self._delivered.update(row for row, _ in found)
            self._tally.remove(len(found), sum(size for _, size in found))
            self._unsure = False
            if self._overdue():
                self._settle()
        return len(found)

    def tidy(self) -> bool:
        """Do what is due: delete what was delivered, open a file for which there was no room.

        True where it was opened: messages may wait in it. Raises OutboxError.
        """
        with self._lock, self._errors():
            if self._closed:
                return False
            if not self._connections:
                self._open()
                return True
            self._opened()
            if self._overdue():
                self._settle()
            if self.full:
                self._hold_room(self._writer)
                self.full = None
        return False

    def astray(self) -> str | None:
        """Say where the file is not any more; None: it lies under its name."""
        with self._lock:
            if self._place is None or not self._place.moved:
                return None
        return (
            f"the outbox {self.path} was moved away, or its file system unmounted, while in use: "
            "what is written lies where it is now, and the next start does not find it; put it "
            "back, then restart"
        )

    def depth(self) -> Depth:
        """Say how much is waiting, at once: whoever asks must not wait for a slow disk."""
        tally = self._tally
        return Depth(tally.waiting, tally.bytes) if tally else Depth(0, 0)

    def hours(self, now: datetime) -> tuple[HourCount, ...]:
        """Count the sightings per label of the last 24 hours, oldest first. Raises OutboxError."""
        last = int(now.timestamp()) // 3600
        with self._lock, self._errors():
            if not self._connections or self._tally is None:
                return ()
            found = self._reader.execute(schema.HOURS, (last - 23, last)).fetchall()
            counts = merged(found, self._tally.hours, range(last - 23, last + 1))
        epoch = datetime(1970, 1, 1, tzinfo=UTC)
        return tuple(
            HourCount(hour=epoch + timedelta(hours=hour), labels=labels)
            for hour, labels in counts.items()
        )

    def lives(self) -> tuple[Sighting, ...]:
        """Give the newest message of each life that goes on, oldest first."""
        with self._lock:
            return self._tally.lives() if self._tally else ()

    def _opened(self) -> None:
        if self._closed:
            raise OutboxError(f"the outbox {self.path} is closed")
        if not self._connections:  # there was no room for a new file
            self._open()
        self._be_sure()
        self._keep_name()

    def _be_sure(self) -> None:
        """Learn from the file what came of a commit that ended in an error."""
        if not self._unsure or self._tally is None:
            return
        for db in self._connections:
            if db.in_transaction:  # there was no memory to roll it back
                db.execute("ROLLBACK")
        tally, last = Tally(self._writer), self._last
        if last and not last.is_in(self._writer):
            last = None
        tally.resume(self._tally, last.ended() if last else ())
        self._discount(tally, self._reader)
        if last:
            self._count(last)
        self._tally, self._last, self._unsure = tally, last, False

    def _discount(self, tally: Tally, db: sqlite3.Connection) -> None:
        """Count what was delivered, and is not deleted yet, as gone. Raises sqlite3.Error."""
        for run in ranges(self._delivered):
            for _, size in db.execute(schema.SIZES, run):
                tally.remove(1, size)

    def _keep_name(self) -> None:
        """Write all that waits under the outbox's name again, where somebody deleted its files."""
        place = self._place
        if place is None or not (place.deleted or place.log_deleted):
            return
        self._settle()
        if place.deleted:
            write_again(self.path, self._reader)
        else:
            self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        log.error("the outbox %s was deleted while in use; it is written anew", self.path)
        self._disconnect()
        self._numbers.forget()
        self._room.forget()
        self._attach(schema.open_database(self.path))

    def _attach(self, connections: tuple[sqlite3.Connection, sqlite3.Connection]) -> None:
        self._writer, self._reader = connections
        self._connections, self._place = list(connections), Place(self.path)

    def _disconnect(self) -> None:
        for connection in self._connections:
            connection.close()
        self._connections = []
        if self._place:
            self._place.close()
            self._place = None

    def _open(self) -> None:
        try:
            self._open_as_it_is()
        except OutboxFullError as error:
            if not self._room.there():
                raise
            self._use_room(error)
            self._open_as_it_is()

    def _use_room(self, error: OutboxFullError) -> None:
        """Give up the room, and say so: nothing new is written until there is as much again."""
        if self._room.there():
            log.warning("%s; the room kept in %s is used", error, self._room.file)
            self.full = str(error)
        self._room.spend()

    def _open_as_it_is(self) -> None:
        clear_names(self.path)
        finish_exchange(self.path)
        try:
            self._connect()
        except OutboxDamagedError as error:
            self._begin_anew(error)

    def _connect(self, anew: bool = False) -> None:
        """Open the file; `anew`: what it lacks may be lost."""
        anew = anew or not self.path.exists()
        behind = left_behind(self.path)  # SQLite forgets it when it opens the file
        connections = schema.open_database(self.path)
        try:
            tally = Tally(connections[0])
            added = adopt(connections[0], tally, behind)
        except BaseException:
            for connection in connections:
                connection.close()
            raise
        if added:
            self.salvaged += added
            log.warning("%d messages behind a gap in the log of %s are saved", added, self.path)
        if before := self._tally:
            tally.follow(before)
            self._discount(tally, connections[1])
        else:
            self._first, self._skipped = self._numbers.begin(tally.next_seq)
        if anew:  # what is missing may be lost: nothing is said to be left out
            tally.next_seq, self._skipped = max(tally.next_seq, self._first), 0
        self._tally = tally
        self._attach(connections)

    def _begin_anew(self, error: Exception) -> None:
        """Go on in a new file with what can be read of the damaged one, which is kept aside."""
        self._disconnect()
        found = replace(self.path, self._delivered)
        lost = self._tally.waiting - found.saved if self._tally else found.lost
        self.salvaged, self.lost = self.salvaged + found.saved, self.lost + max(0, lost)
        self._delivered.clear()
        log.error("%s; %s", error, found)
        self._connect(anew=True)

    def _overdue(self) -> bool:
        since = time.monotonic() - self._delivered_since
        tally = self._tally
        return (
            bool(self._delivered)
            and (len(self._delivered) >= _DELETE_ROWS or since >= self._delete_seconds)
        ) or (tally is not None and tally.unwritten >= _WRITE_ROWS)

    def _settle(self) -> None:
        """Delete what was delivered; on a full disk with the room that is kept for it."""
        try:
            self._try_to_settle()
        except sqlite3.Error as error:
            ours = schema.wrap(error, self.path)
            if not isinstance(ours, OutboxFullError):
                raise
            self._use_room(ours)
            self._reader.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._try_to_settle()

    def _try_to_settle(self) -> None:
        with self._committing(self._reader) as (db, tally):
            self._delete(db, tally)
        self._written(tally)
        self._unsure = False

    def _delete(self, db: sqlite3.Connection, tally: Tally) -> None:
        for first, last in ranges(self._delivered):
            schema.delete_range(db, first, last)
        tally.write(db)

    def _written(self, tally: Tally) -> None:
        """Learn that what :meth:`_delete` did is committed."""
        self._delivered.clear()
        tally.written()

    def _hold_room(self, db: sqlite3.Connection) -> None:
        """See that deleting stays possible: room is held, or the file has so much to use again."""
        try:
            self._room.hold()
        except OSError:
            free: int = db.execute("PRAGMA freelist_count").fetchone()[0]
            page: int = db.execute("PRAGMA page_size").fetchone()[0]
            if free * page < ROOM_BYTES // 2:
                raise

    def _make_room(
        self, db: sqlite3.Connection, tally: Tally, added: int
    ) -> dict[Kind, tuple[int, int]] | None:
        """Drop the oldest images, then health, then sightings until `added` bytes fit.

        None where they do: nothing was written.
        """
        used = tally.bytes
        if used + added <= self.max_bytes:
            return None
        self._delete(db, tally)
        dropped: dict[Kind, tuple[int, int]] = {}
        for kind in Kind:
            while used + added > self.max_bytes:
                count, freed = schema.delete_oldest(db, kind, used + added - self.max_bytes)
                if not count:
                    break
                used -= freed
                before, size = dropped.get(kind, (0, 0))
                dropped[kind] = before + count, size + freed
        left = tally.waiting - sum(count for count, _ in dropped.values())
        schema.write_totals(db, tally.next_seq, left, used, tally.next_row)
        return dropped

    @contextlib.contextmanager
    def _committing(self, db: sqlite3.Connection) -> Iterator[tuple[sqlite3.Connection, Tally]]:
        assert self._tally is not None
        self._unsure = True
        try:
            db.execute("BEGIN IMMEDIATE")
            yield db, self._tally
            db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error, MemoryError):
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
            kind = OutboxFullError if error.errno in NO_ROOM else OutboxError
            raise kind(
                f"cannot write beside the outbox {self.path}: {error.strerror or error}; "
                f"{os.fspath(self.path.parent)} must be writable and not full"
            ) from error
