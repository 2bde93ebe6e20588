"""What is done for an outbox that is damaged, or whose log ends in a gap."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Collection, Sequence
from pathlib import Path

import msgspec

from edge.errors import OutboxError, OutboxFullError
from edge.messages.sighting import Sighting
from edge.outbox import sql as schema
from edge.outbox.counts import OutboxCounts
from edge.outbox.file_swap import discard, finish_exchange, replacement, set_aside
from edge.outbox.rows import Stored
from edge.outbox.sqlite_wal import damage
from edge.system.files import NO_ROOM

log = logging.getLogger(__name__)


class Replaced(msgspec.Struct, frozen=True):
    """What became of the messages of a damaged file."""

    saved: int
    lost: int
    text: str

    def __str__(self) -> str:
        return self.text


def left_behind(path: Path) -> list[tuple[Stored, Sighting | None]]:
    """Return the messages in a database's log that SQLite does not take, by row."""
    try:
        if not damage(path):
            return []
        from edge.outbox.salvage import left_behind as found

        return found(path)
    except OSError as error:
        log.warning("the end of the log of the outbox %s cannot be read: %s", path, error)
        return []


def adopt(
    db: sqlite3.Connection, tally: OutboxCounts, rows: Sequence[tuple[Stored, Sighting | None]]
) -> int:
    """Add rows behind the last one; give how many were.

    What would come before anything that is there, or bears a number that was given out, is not.
    Raises sqlite3.Error.
    """
    added = 0
    for row, sighting in rows:
        if row[0] >= tally.next_row and (sighting is None or sighting.seq >= tally.next_seq):
            schema.insert(db, [row])
            tally.add(row[0], row[5], row[4], sighting)
            added += 1
    return added


def replace(path: Path, delivered: Collection[int]) -> Replaced:
    """Put a new file with all that can be read in the place of a damaged one, which is kept.

    What was delivered is left out. Raises OutboxFullError where there is no room for what is to be
    saved: everything is as it was. Raises OutboxError where the damaged one cannot be renamed.
    """
    fresh = replacement(path)
    try:
        saved, lost, text = _salvaged(path, fresh, delivered)
    except (OutboxError, sqlite3.Error, OSError) as failure:
        with contextlib.suppress(OSError):
            discard(fresh)
        if for_want_of_room(failure, path):
            raise OutboxFullError(
                f"the outbox {path} is damaged, and there is no room for what can be saved of it "
                f"({failure}); free space on that disk"
            ) from failure
        saved, lost, text = 0, 0, f"what is in it could not be saved ({failure})"
    aside = set_aside(path)
    finish_exchange(path)
    return Replaced(saved, lost, f"it is kept as {aside} and a new one begins: {text}")


def for_want_of_room(failure: Exception, path: Path) -> bool:
    """Whether the disk refused because it is full, which is no damage of the file."""
    if isinstance(failure, sqlite3.Error):
        failure = schema.wrap(failure, path)
    if isinstance(failure, OSError) and failure.errno in NO_ROOM:
        return True
    return isinstance(failure, OutboxFullError)


def _salvaged(path: Path, fresh: Path, delivered: Collection[int]) -> tuple[int, int, str]:
    """Make the new file whole before it takes the old one's place."""
    from edge.outbox.salvage import salvage

    discard(fresh)
    connections = schema.open_database(fresh)
    try:
        found = salvage(path, connections[0], delivered)
    finally:
        for connection in connections:
            connection.close()
    return found.saved, found.lost, str(found)
