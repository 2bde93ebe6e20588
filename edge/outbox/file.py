"""The outbox's file in use: opened, kept under its name, replaced where it is damaged.

With it goes what is known of it without looking: counts, the number to go on with, and what was
delivered and is still to be deleted. Deletions need no care (a message that comes back is sent
twice, and de-duplicated by its id), so they are gathered, and go through a second connection with
``synchronous=NORMAL``, which waits for no disk.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import math
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from edge.errors import OutboxDamagedError, OutboxError, OutboxFullError
from edge.outbox import sql as schema
from edge.outbox.append_attempt import Attempt
from edge.outbox.counts import OutboxCounts
from edge.outbox.disk_reserve import ROOM_BYTES, DiskReserve
from edge.outbox.file_location import FileLocation, write_again
from edge.outbox.file_swap import clear_names, finish_exchange
from edge.outbox.repair import adopt, left_behind, replace
from edge.outbox.rows import ranges
from edge.outbox.sequence_numbers import READ_SECONDS, READ_TRIES, Numbers
from edge.system.files import NO_ROOM, is_readable
from edge.system.resource_limits import larger_files

log = logging.getLogger(__name__)

_DELETE_ROWS = 500
_WRITE_ROWS = 1_000
"""So many messages at most are counted anew at a start."""
_EXAMINED_SECONDS = 60.0
"""What seems damaged once more so soon is, whatever SQLite's check says."""
_FIRST_SECONDS = 5.0
"""A device that is cut off soon after each start must not send the same again each time."""


class OutboxFile:
    """The open database and what belongs to it; one thread at a time.

    There is none yet while the disk has no room for it: `connected` is false then.
    """

    def __init__(self, path: Path, delete_seconds: float) -> None:
        self.path = path
        self.salvaged = self.lost = 0
        self.full: str | None = None
        self.tally: OutboxCounts | None = None
        """None until the file was opened once."""
        self.delivered: set[int] = set()
        """Rows that are in the file still."""
        self.unsure = False
        """What is known of the file may not be so: a commit ended in an error."""
        self.numbers = Numbers(path)
        self.skipped = 0
        """Numbers that are left out before the next one: its sighting says so."""
        self._first = 0
        """No number below it is given."""
        self._delete_seconds = delete_seconds
        self._wait = min(_FIRST_SECONDS, delete_seconds)
        """Until what was delivered is deleted: grows to `delete_seconds`."""
        self._delivered_since = 0.0
        self._connections: list[sqlite3.Connection] = []
        self._place: FileLocation | None = None
        self._room = DiskReserve(path)
        self._examined = -math.inf

    def open(self) -> None:
        """Open or create the file; where a full disk keeps it from that, with the room held for it.

        Raises OutboxError, OSError, sqlite3.Error.
        """
        try:
            self._open_as_it_is()
        except OutboxFullError as error:
            if not self._room.there():
                raise
            self._use_room(error)
            self._open_as_it_is()

    def _use_room(self, error: OutboxFullError) -> None:
        """Free the disk reserve and log it: nothing new is written until it can be held again."""
        if self._room.there():
            log.warning("%s; the disk space kept in reserve as %s is used", error, self._room.file)
            self.full = str(error)
        self._room.spend()

    @property
    def connected(self) -> bool:
        """Whether the file is open: it is not where there was no room to open it."""
        return bool(self._connections)

    @property
    def moved(self) -> bool:
        """Whether the file is no longer the one under its name."""
        return self._place is not None and self._place.moved

    @property
    def known(self) -> OutboxCounts:
        """The tally of a file that was opened."""
        assert self.tally is not None
        return self.tally

    @property
    def following(self) -> int:
        """The next sighting's number."""
        return max(self.known.next_seq, self._first)

    def close(self) -> None:
        """Close the file, and write down the next number."""
        self._disconnect()
        if self.tally:
            self._say_goodbye()

    def _say_goodbye(self) -> None:
        try:
            try:
                self.numbers.end(self.following)
            except OSError:
                self._room.spend()
                self.numbers.end(self.following)
        except OSError as error:
            log.warning("the next start skips some numbers: %s", error)

    def look_again(self, last: Attempt | None) -> tuple[OutboxCounts, Attempt | None]:
        """Count what is in the file, and say whether the last append is.

        Raises OutboxDamagedError, sqlite3.Error.
        """
        for db in self._connections:
            if db.in_transaction:  # there was no memory to roll it back
                db.execute("ROLLBACK")
        tally = OutboxCounts(self.writer)
        if last and not last.is_in(self.writer):
            last = None
        tally.resume(self.known, last.ended() if last else ())
        self._discount(tally, self.reader)
        return tally, last

    def _discount(self, tally: OutboxCounts, db: sqlite3.Connection) -> None:
        """Count what was delivered, and is not deleted yet, as gone. Raises sqlite3.Error."""
        for run in ranges(self.delivered):
            for _, size in db.execute(schema.SIZES, run):
                tally.remove(1, size)

    def keep_name(self) -> None:
        """Write all that waits under the outbox's name again, where somebody deleted its files.

        Raises OutboxError, OSError, sqlite3.Error.
        """
        place = self._place
        if place is None or not (place.deleted or place.log_deleted):
            return
        self.settle()
        if place.deleted:
            write_again(self.path, self.reader)
        else:
            self.writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        log.error("the outbox %s was deleted while in use; it is made again", self.path)
        self._disconnect()
        self.numbers.forget()
        self._room.forget()
        self._attach(schema.open_database(self.path))

    def _attach(self, connections: tuple[sqlite3.Connection, sqlite3.Connection]) -> None:
        try:
            place = FileLocation(self.path)
        except OSError:
            for connection in connections:
                connection.close()
            raise
        self.writer, self.reader = connections
        self._connections, self._place = list(connections), place

    def _disconnect(self) -> None:
        for connection in self._connections:
            connection.close()
        self._connections = []
        if self._place:
            self._place.close()

    def _open_as_it_is(self) -> OutboxDamagedError | None:
        """Open the file; give what is wrong with it where it was, and a new one begins.

        A file that the disk fails to read looks damaged too (SQLITE_IOERR_CORRUPTFS), and may be
        read in a moment.
        """
        clear_names(self.path)
        finish_exchange(self.path)
        for tried in range(READ_TRIES):
            readable = is_readable(self.path)
            try:
                self._connect()
                return None
            except OutboxFullError:
                raise
            except OutboxDamagedError as error:
                found = error
            except OutboxError:
                if readable or tried == READ_TRIES - 1:
                    raise
            if readable and tried:
                break
            time.sleep(0.0 if readable else READ_SECONDS / READ_TRIES)
        self._begin_anew(found)
        return found

    def _examine(self, error: OutboxDamagedError) -> OutboxError:
        """Open the file anew; say whether it was damaged, or the disk had failed to read it."""
        self._disconnect()
        now = time.monotonic()
        again, self._examined = now - self._examined < _EXAMINED_SECONDS, now
        if again:  # though it seemed sound
            self._begin_anew(error)
            return error
        return self._open_as_it_is() or OutboxError(
            f"the disk failed to read the outbox {self.path}, which is sound; it is tried again"
        )

    def _connect(self, anew: bool = False) -> None:
        """Open the file; `anew`: what it lacks may be lost."""
        anew = anew or not self.path.exists()
        behind = left_behind(self.path)  # SQLite forgets it when it opens the file
        connections = schema.open_database(self.path)
        try:
            tally = OutboxCounts(connections[0])
            added = adopt(connections[0], tally, behind)
        except BaseException:
            for connection in connections:
                connection.close()
            raise
        if added:
            self.salvaged += added
            log.warning("%d messages behind a gap in the log of %s are saved", added, self.path)
        if before := self.tally:
            tally.follow(before)
            self._discount(tally, connections[1])
        else:
            self._first, self.skipped = self.numbers.begin(tally.next_seq)
        if anew:  # what is missing may be lost: nothing is said to be left out
            tally.next_seq, self.skipped = max(tally.next_seq, self._first), 0
        self.tally = tally
        self._attach(connections)

    def _begin_anew(self, error: Exception) -> None:
        """Go on in a new file with what can be read of the damaged one, which is kept aside."""
        self._disconnect()
        found = replace(self.path, self.delivered)
        lost = self.tally.waiting - found.saved if self.tally else found.lost
        self.salvaged, self.lost = self.salvaged + found.saved, self.lost + max(0, lost)
        self.delivered.clear()
        log.error("%s; %s", error, found)
        self._connect(anew=True)

    def deliver(self, rows: Iterable[int]) -> int:
        """Take rows for delivered that are not yet; give how many were. Raises sqlite3.Error."""
        found = [
            (row, size)
            for run in ranges(rows)
            for row, size in self.reader.execute(schema.SIZES, run)
            if row not in self.delivered
        ]
        if found and not self.delivered:
            self._delivered_since = time.monotonic()
        self.unsure = True
        self.delivered.update(row for row, _ in found)
        self.known.remove(len(found), sum(size for _, size in found))
        self.unsure = False
        return len(found)

    def settle_if_due(self) -> None:
        """Delete what was delivered where it is much, or a while ago; write down the counts.

        Raises sqlite3.Error.
        """
        since = time.monotonic() - self._delivered_since
        many = len(self.delivered) >= _DELETE_ROWS
        late = self.delivered and since >= self._wait
        if many or late or self.known.unwritten >= _WRITE_ROWS:
            self.settle()
            self._wait = min(2 * self._wait, self._delete_seconds)

    def settle(self) -> None:
        """Delete what was delivered; on a full disk with the room that is kept for it.

        Raises sqlite3.Error.
        """
        try:
            self._write_out()
        except sqlite3.Error as error:
            ours = schema.wrap(error, self.path)
            if not isinstance(ours, OutboxFullError):
                raise
            self._use_room(ours)
            self.reader.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._write_out()

    def _write_out(self) -> None:
        with self.committing(self.reader) as (db, tally):
            self.delete_delivered(db, tally)
        self.written(tally)
        self.unsure = False

    def delete_delivered(self, db: sqlite3.Connection, tally: OutboxCounts) -> None:
        """Delete it and write down the counts; call :meth:`written` when that is committed."""
        for first, last in ranges(self.delivered):
            schema.delete_range(db, first, last)
        tally.write(db)

    def written(self, tally: OutboxCounts) -> None:
        """Learn that what :meth:`delete_delivered` did is committed."""
        self.delivered.clear()
        tally.written()

    def hold_room(self) -> None:
        """See that deleting stays possible: room is held, or the file has so much to use again.

        Raises OSError, sqlite3.Error.
        """
        try:
            self._room.hold()
        except OSError:
            free: int = self.writer.execute("PRAGMA freelist_count").fetchone()[0]
            page: int = self.writer.execute("PRAGMA page_size").fetchone()[0]
            if free * page < ROOM_BYTES // 2:
                raise

    @contextlib.contextmanager
    def committing(
        self, db: sqlite3.Connection
    ) -> Iterator[tuple[sqlite3.Connection, OutboxCounts]]:
        """Commit what is done with a connection, or none of it."""
        self.unsure = True
        try:
            db.execute("BEGIN IMMEDIATE")
            yield db, self.known
            db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error, MemoryError):
                db.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Turn SQLite's and the disk's errors into ours."""
        try:
            yield
        except sqlite3.Error as error:
            ours = schema.wrap(error, self.path)
            if isinstance(ours, OutboxDamagedError):
                if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_CORRUPT:
                    ours = self._examine(ours)
                else:
                    self._begin_anew(ours)
            raise ours from error
        except OutboxDamagedError as error:
            self._begin_anew(error)
            raise
        except OutboxError:
            raise
        except OSError as error:
            kind = OutboxFullError if error.errno in NO_ROOM else OutboxError
            large = larger_files(self.path) if error.errno == errno.EFBIG else None
            raise kind(
                f"cannot write beside the outbox {self.path}: {error.strerror or error}; "
                + (large or f"{os.fspath(self.path.parent)} must be writable and not full")
            ) from error
