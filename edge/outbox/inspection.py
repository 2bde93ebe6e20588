"""Looks into an outbox and leaves everything as it is: beside a running device, and without one."""

from __future__ import annotations

import contextlib
import sqlite3
import struct
import time
from pathlib import Path
from urllib.parse import quote

from edge.errors import OutboxError, os_errors_as
from edge.outbox.sql import wrap
from edge.outbox.sqlite_pages import Pages, table
from edge.system.state_lock import is_held

_WAITING = """SELECT waiting + (SELECT count(*) FROM message WHERE row >= next_row) FROM total"""
_WAITING_FIRST = "SELECT waiting FROM total"
"""Of a file of the first version."""

_LOOKS = 50
_PAUSE_SECONDS = 0.05
"""A commit comes every half second at most, and a look takes a tenth of that."""


def waiting(path: Path) -> int:
    """Count the messages that wait in an outbox; 0 where there is none.

    Nothing is written, and no file appears beside it. Raises OutboxError, StateError.
    """
    if not path.exists():
        return 0
    with os_errors_as(OutboxError, f"cannot look into {path}"):
        if is_held(path.parent) or _log(path):
            return _count_in_pages(path)
        return _count(path)


def _count_in_pages(path: Path) -> int:
    """Count where a log is, or a device that writes: it has the file to itself, and SQLite looks at
    no log without writing beside it.

    A look counts when the log was the same before and after it: no page in the file that the log
    does not hold was written meanwhile.
    """
    for _ in range(_LOOKS):
        before = _log(path)
        with contextlib.suppress(ValueError, IndexError, struct.error, StopIteration):
            count = _waiting(path)
            if _log(path) == before:
                return count
        time.sleep(_PAUSE_SECONDS)
    raise OutboxError(
        f"the messages that wait in {path} cannot be counted: it is damaged, or being written all "
        "the time; try again, or start the device, which saves what can be read"
    )


def _waiting(path: Path) -> int:
    """Count in the pages as they are. Raises what is no outbox brings."""
    with contextlib.closing(Pages(path, as_sqlite=True)) as pages:
        if not pages.count:  # its device is about to make it
            return 0
        roots = {record[1]: record[3] for _, record in table(pages, 1)}
        if "total" not in roots:
            return 0
        _, (_, waiting, _, *next_row) = next(table(pages, roots["total"]))
        if not next_row:  # of the first version
            return int(waiting)
        return int(waiting) + sum(1 for _ in table(pages, roots["message"], next_row[0]))


def _log(path: Path) -> bytes:
    try:
        return Path(f"{path}-wal").read_bytes()
    except FileNotFoundError:
        return b""


def _count(path: Path) -> int:
    """Count in a file without a log that nobody writes to."""
    address = f"file:{quote(bytes(path.absolute()))}?mode=ro&immutable=1"
    try:
        with contextlib.closing(sqlite3.connect(address, uri=True)) as db:
            found = db.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                raise sqlite3.DatabaseError(f"damaged: {found}")
            columns = [row[1] for row in db.execute("PRAGMA table_info(total)")]
            if not columns:  # its device is about to make it
                return 0
            query = _WAITING if "next_row" in columns else _WAITING_FIRST
            number = db.execute(query).fetchone()
            return int(number[0]) if number else 0
    except sqlite3.Error as error:
        raise wrap(error, path) from error
