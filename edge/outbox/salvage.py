"""Moves what can still be read of a damaged outbox into a new one, in order."""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from edge.errors import OutboxDamagedError
from edge.messages.health import Health
from edge.messages.sighting import Sighting
from edge.outbox import sql as schema
from edge.outbox.compression import unpack
from edge.outbox.rows import OVERHEAD_BYTES, Kind, Stored
from edge.outbox.sqlite_pages import Pages, Record, index_records, read, records
from edge.outbox.sqlite_wal import PAGE_SIZES
from edge.text.json_text import from_json

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BATCH = 500

_sighting = msgspec.json.Decoder(Sighting)
_health = msgspec.json.Decoder(Health)


class Salvage(msgspec.Struct, frozen=True):
    """What became of the messages in a damaged outbox."""

    saved: int = 0
    lost: int = 0
    """Messages that waited and cannot be read, as far as the file tells how many there were."""
    missing: tuple[tuple[int, int], ...] = ()
    """Numbers of sightings, first and last, that are known to be lost."""

    def __str__(self) -> str:
        text = f"{self.saved} messages were saved, {self.lost} are lost"
        if not self.missing:
            return text
        shown = ", ".join(str(a) if a == b else f"{a} to {b}" for a, b in self.missing[:10])
        more = f" and {len(self.missing) - 10} more gaps" if len(self.missing) > 10 else ""
        return f"{text}; numbers {shown}{more} are missing"


class _Known:
    """What the file says of itself besides messages."""

    def __init__(self) -> None:
        self.next_seq = self.waiting = self.next_row = 0
        self.lives: dict[str, tuple[int, bytes] | None] = {}

    @property
    def first(self) -> int:
        """The first row that waited: what is delivered, and deleted, are the oldest. 0: unknown."""
        return max(1, self.next_row - self.waiting) if self.next_row else 0

    def take(self, record: Record) -> None:
        """Look whether this is a record of one of the small tables."""
        match record:
            case (int(seq), int(waiting), int(), *rest) if len(rest) < 2:
                # The newest there is: numbers rise, and deliveries make fewer wait.
                row = rest[0] if rest and isinstance(rest[0], int) else 0
                newest = (row, seq, -waiting)
                if newest > (self.next_row, self.next_seq, -self.waiting):
                    self.next_row, self.next_seq, self.waiting = row, seq, waiting
            case (str(event), int(seq), bytes(payload)) if _decodes(_sighting, payload):
                self.lives[event] = (seq, payload)


def left_behind(path: Path) -> list[tuple[Stored, Sighting | None]]:
    """The messages in the log that SQLite does not take, by row; read before it opens the log.

    Behind a page that cannot be used there may be others that were committed. Most of what they
    hold SQLite has too. Raises OSError.
    """
    pages = Pages(path, behind=True)
    try:
        found = list(_sound(pages, _Known(), pages.behind))
    finally:
        pages.close()
    return [(row, decoded(row)) for row in found]


def salvage(damaged: Path, db: sqlite3.Connection, delivered: Collection[int] = ()) -> Salvage:
    """Copy all sound messages of a file into a new outbox, with their rows and numbers.

    Rows that were `delivered` are left out. Raises OSError where the file cannot be opened,
    sqlite3.Error where `db` cannot be written.
    """
    pages = _pages(damaged)
    try:
        return _copy(pages, db, delivered)
    finally:
        pages.close()


def _pages(path: Path) -> Pages:
    """Open a file; one that does not say how large its pages are as it gives the most records."""
    pages = Pages(path)
    if pages.certain:
        return pages
    pages.close()
    found = []
    for size in PAGE_SIZES:
        pages = Pages(path, page_bytes=size)
        found.append((sum(1 for _ in records(pages)), size))
        pages.close()
    return Pages(path, page_bytes=max(found)[1])


def _copy(pages: Pages, db: sqlite3.Connection, delivered: Collection[int]) -> Salvage:
    known, saved, last, last_row, missing = _Known(), 0, 0, 0, list[tuple[int, int]]()
    waiting = size = of_those = 0
    sound = (row for row in _sound(pages, known) if row[0] not in delivered)
    while batch := list(islice(sound, _BATCH)):
        db.execute("BEGIN")
        schema.insert(db, batch)
        db.execute("COMMIT")
        saved, last_row = saved + len(batch), batch[-1][0]
        for row in batch:
            if not known.next_row or row[0] < known.next_row:
                waiting, size = waiting + 1, size + row[5]
            before = row[0] - known.first
            of_those += before >= 0
            if seq := number(row):
                # What stood before the first that waited was delivered.
                first = max(last + 1, seq - before) if known.first else last + 1
                if last and seq > first and before >= 0:
                    missing.append((first, seq - 1))
                last = max(last, seq)
    if last and known.next_seq > last + 1:
        missing.append((last + 1, known.next_seq - 1))
    hours = {(one[0], one[1]): one[2] for one in index_records(pages) if _counts(one)}
    db.execute("BEGIN")
    schema.count_hours(db, hours)
    schema.keep_lives(db, known.lives)
    next_seq = known.next_seq if known.next_row else max(last + 1, known.next_seq)
    schema.write_totals(db, next_seq, waiting, size, known.next_row or last_row + 1)
    db.execute("COMMIT")
    if known.next_row:
        lost = max(last_row + 1, known.next_row) - known.first - of_those
    else:
        holes = sum(end - start + 1 for start, end in missing)
        lost = max(holes, known.waiting - waiting, 0)
    return Salvage(saved, lost, tuple(missing))


def _sound(pages: Pages, known: _Known, numbers: Iterable[int] | None = None) -> Iterator[Stored]:
    """Yield the messages in the order of their rows, each once."""
    places = _places(pages, numbers)
    last = 0
    for row, number, at in places:
        record = read(pages, int(number), int(at))
        if record is None:
            continue
        if _is_message(record):
            if row > last:
                last = int(row)
                yield (last, *record[1:])
        else:
            known.take(record)


def _places(pages: Pages, numbers: Iterable[int] | None) -> NDArray[np.int64]:
    """Find all records of tables: int64 (records, 3) of row, page and place, by row."""
    found = array("q")
    for number, at, row in records(pages, numbers):
        if row < schema.NO_ROW:
            found.extend((row, number, at))
    places = np.frombuffer(found, np.int64).reshape(-1, 3) if found else np.empty((0, 3), np.int64)
    return places[np.argsort(places[:, 0], kind="stable")]


def _is_message(record: Record) -> bool:
    match record:
        case (None, int(kind), str(topic), bytes(payload), int(), int(size)):
            return size == len(payload) + OVERHEAD_BYTES and _reads(kind, topic, payload)
    return False


def _reads(kind: int, topic: str, payload: bytes) -> bool:
    """Whether a payload can be decoded as its kind."""
    if kind == Kind.IMAGE:
        return topic.endswith("/image") and payload[:2] == b"\xff\xd8"
    if kind == Kind.HEALTH:
        return topic == "health" and _decodes(_health, payload)
    return kind == Kind.SIGHTING and topic == "sighting" and _decodes(_sighting, payload)


def _decodes(decoder: msgspec.json.Decoder[Any], stored: bytes) -> bool:
    try:
        from_json(unpack(stored), decoder)
    except (msgspec.DecodeError, OutboxDamagedError):
        return False
    return True


def _counts(record: Record) -> bool:
    match record:
        case (int(), str(), int()):
            return True
    return False


def decoded(row: Stored) -> Sighting | None:
    """Decode a sighting; None for what is none."""
    return _sighting.decode(unpack(row[3])) if row[1] == Kind.SIGHTING else None


def number(row: Stored) -> int:
    """A sighting's number, 0 for what has none."""
    sighting = decoded(row)
    return sighting.seq if sighting else 0
