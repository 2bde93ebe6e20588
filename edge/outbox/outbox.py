"""The durable queue: what is appended here is on disk before it is sent, and leaves on PUBACK.

One SQLite file in WAL mode. Appends are committed with ``synchronous=FULL``: when
:meth:`Outbox.append_many` returns, a power cut loses none of its messages.

A sighting's ``seq`` is given at commit and never reused (:mod:`edge.outbox.sequence_numbers`).
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

import msgspec

from edge.errors import OutboxError, OutboxFullError
from edge.messages.device import HourCount
from edge.messages.health import Health
from edge.messages.sighting import Sighting
from edge.outbox import sql as schema
from edge.outbox.append_attempt import Attempt
from edge.outbox.counts import HourCounts, OutboxCounts, merged
from edge.outbox.file import OutboxFile
from edge.outbox.rows import Kind, Outgoing, Row, read_rows, row_of, rows_of

log = logging.getLogger(__name__)

_DELETE_SECONDS = 60.0


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
        self.appended = 0
        self.edition = 0
        """Rises when waiting messages were rewritten: who holds some must read them again."""
        self._lock = threading.Lock()
        self._closed = False
        self._file = OutboxFile(path, delete_seconds)
        self._last: Attempt | None = None
        """An append, until whoever asked for it has its numbers."""
        try:
            with self._file.errors():
                self._file.open()
        except OutboxFullError as error:
            self._file.full = str(error)
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
            if self._file.connected:
                with contextlib.suppress(OutboxError, OSError, sqlite3.Error):
                    self._be_sure()
                    self._file.settle()
                    self._file.keep_name()
            self._file.close()

    @property
    def full(self) -> str | None:
        """Why the disk has no room for new messages, as far as it was tried."""
        return self._file.full

    @property
    def salvaged(self) -> int:
        """Messages got out of damaged files."""
        return self._file.salvaged

    @property
    def lost(self) -> int:
        """Messages that waited in damaged files and could not be got out."""
        return self._file.lost

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
            with self._file.errors():
                self._ready()
                self._file.settle_if_due()
                seqs = self._written_before(messages)
                seqs += self._append(messages[len(seqs) :])
            self._last = None
            return seqs

    def _append(self, messages: Sequence[Outgoing]) -> list[int]:
        file = self._file
        with file.committing(file.writer) as (db, tally):
            file.hold_room()
            numbered = self._with_numbers(messages)
            rows = rows_of(messages, numbered, tally.next_row)
            count = sum(isinstance(message, Sighting) for message in messages)
            file.numbers.cover(file.following, count)
            dropped = self._make_room(db, tally, sum(row[5] for row in rows))
            attempt = Attempt(tuple(messages), numbered, rows, count, dropped)
            schema.insert(db, rows)
            self._last = attempt
        if dropped is not None:
            file.written(tally)
            for number, size in dropped.values():
                tally.remove(number, size)
        attempt.add_to(tally)
        self._count(attempt)
        file.unsure = False
        return attempt.seqs

    def _written_before(self, messages: Sequence[Outgoing]) -> list[int]:
        """The numbers of the first of `messages`, which the call before wrote although it ended
        in an error; empty where it wrote none of them.
        """
        return self._last.seqs if self._last and self._last.begins(messages) else []

    def _count(self, attempt: Attempt) -> None:
        """Count an append that is on disk; all of it, or nothing."""
        appended, dropped = self.appended + attempt.count, dict(self.dropped)
        for kind, (number, _) in (attempt.dropped or {}).items():
            dropped[kind] += number
        self._file.numbers.committed()
        self._file.skipped = 0 if attempt.count else self._file.skipped
        self.dropped, self.appended, self._file.full = dropped, appended, None

    def _with_numbers(self, messages: Sequence[Outgoing]) -> list[Outgoing]:
        """Number the sightings; the first also says how many numbers were skipped before it."""
        seq, skipped, numbered = self._file.following, self._file.skipped, list[Outgoing]()
        for message in messages:
            if isinstance(message, Sighting):
                message = msgspec.structs.replace(message, seq=seq, skipped=skipped)
                seq, skipped = seq + 1, 0
            numbered.append(message)
        return numbered

    def page(self, after: int = 0, limit: int = 100) -> list[Row]:
        """The oldest waiting messages beyond row `after`, oldest first. Raises OutboxError."""
        return self._waiting(schema.PAGE, lambda last: (last or after, limit), limit)

    def newest(self, after: int = 0, below: int | None = None, limit: int = 100) -> list[Row]:
        """The newest waiting messages between two rows, newest first. Raises OutboxError."""
        end = schema.NO_ROW if below is None else below
        return self._waiting(schema.NEWEST, lambda last: (after, last or end, limit), limit)

    def _waiting(
        self, query: str, bounds: Callable[[int], tuple[int, ...]], limit: int
    ) -> list[Row]:
        """Look on behind the `last` row found, 0 at first, until that are `limit` that wait."""
        rows: list[Row] = []
        last = 0
        while len(rows) < limit:
            found, left = self._read(query, bounds(last))
            rows += left
            if len(found) < limit:
                break
            last = found[-1].row
        return rows[:limit]

    def _read(self, query: str, bounds: tuple[int, ...]) -> tuple[list[Row], list[Row]]:
        """Return the rows that the file holds, and those of them that were not delivered yet."""
        with self._lock, self._file.errors():
            if not self._file.connected:
                return [], []  # there was no room to open the file
            found = read_rows(self._file.reader.execute(query, bounds), self.path)
            return found, [row for row in found if row.row not in self._file.delivered]

    def rewrite(
        self, changes: Sequence[tuple[Row, Sighting | Health]], lives: Sequence[Sighting] = ()
    ) -> int:
        """Put messages with another time in the place of waiting ones, in one durable commit.

        Rows that were delivered or rewritten meanwhile are left out. Give how many were rewritten.
        Counts per hour go along; `lives` replace what :meth:`lives` gave. Raises OutboxError:
        nothing changed.
        """
        count, grown, hours = 0, 0, HourCounts()
        with self._lock, self._file.errors():
            self._ready()
            with self._file.committing(self._file.writer) as (db, tally):
                self._file.delete_delivered(db, tally)
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
            self._file.written(tally)
            tally.bytes += grown
            tally.restate(lives)
            self._file.unsure = False
            self.edition += bool(count)
        return count

    def delete(self, rows: Iterable[int]) -> int:
        """Take delivered messages out; give how many there were. Raises OutboxError: the deletion
        stays to be done, and what was delivered is not given again all the same.

        On a full disk the room that is kept for that is used.
        """
        with self._lock, self._file.errors():
            if not self._file.connected:
                return 0
            self._be_sure()
            count = self._file.deliver(rows)
            self._file.settle_if_due()
        return count

    def tidy(self) -> bool:
        """Do what is due: delete what was delivered, open a file for which there was no room.

        True where it was opened: messages may wait in it. Raises OutboxError.
        """
        with self._lock, self._file.errors():
            if self._closed:
                return False
            if not self._file.connected:
                self._file.open()
                return True
            self._ready()
            self._file.settle_if_due()
            if self._file.full:
                self._file.hold_room()
                self._file.full = None
        return False

    def astray(self) -> str | None:
        """In words, that the file was moved away or its file system unmounted; None: it was not."""
        with self._lock:
            if not self._file.moved:
                return None
        return (
            f"the outbox {self.path} was moved away, or its file system unmounted, while in use: "
            "messages still go into it where it is now, but the next start will not find it there; "
            "put it back, then restart"
        )

    def depth(self) -> Depth:
        """How much is waiting; answers at once, so that callers do not wait for a slow disk."""
        tally = self._file.tally
        return Depth(tally.waiting, tally.bytes) if tally else Depth(0, 0)

    def hours(self, now: datetime) -> tuple[HourCount, ...]:
        """Count the sightings per label of the last 24 hours, oldest first. Raises OutboxError."""
        last = int(now.timestamp()) // 3600
        with self._lock, self._file.errors():
            if not self._file.connected:
                return ()
            found = self._file.reader.execute(schema.HOURS, (last - 23, last)).fetchall()
            counts = merged(found, self._file.known.hours, range(last - 23, last + 1))
        epoch = datetime(1970, 1, 1, tzinfo=UTC)
        return tuple(
            HourCount(hour=epoch + timedelta(hours=hour), labels=labels)
            for hour, labels in counts.items()
        )

    def lives(self) -> tuple[Sighting, ...]:
        """The newest message of each life that goes on, oldest first."""
        with self._lock:
            return self._file.tally.lives() if self._file.tally else ()

    def _ready(self) -> None:
        if self._closed:
            raise OutboxError(f"the outbox {self.path} is closed")
        if not self._file.connected:  # there was no room for a new file
            self._file.open()
        self._be_sure()
        self._file.keep_name()

    def _be_sure(self) -> None:
        """Learn from the file what came of a commit that ended in an error."""
        if not self._file.unsure:
            return
        tally, last = self._file.look_again(self._last)
        if last:
            self._count(last)
        self._file.tally, self._last, self._file.unsure = tally, last, False

    def _make_room(
        self, db: sqlite3.Connection, tally: OutboxCounts, added: int
    ) -> dict[Kind, tuple[int, int]] | None:
        """Drop the oldest images, then health, then sightings until `added` bytes fit.

        None where they do: nothing was written.
        """
        used = tally.bytes
        if used + added <= self.max_bytes:
            return None
        self._file.delete_delivered(db, tally)
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
