"""An outbox's database as plain SQLite reads it, without any of the program's own recovery."""

from __future__ import annotations

import contextlib
import errno
import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from edge.errors import OutboxDamagedError
from edge.outbox.compression import unpack


class Found(NamedTuple):
    """What stands in a database."""

    sightings: list[dict[str, Any]]
    """In the order of their rows."""
    pictures: set[str]
    """Ids of the sightings they belong to."""
    next_number: int
    """The one that would be given next."""
    sound: bool
    """SQLite's own check finds nothing."""
    unreadable: int = 0
    """Rows that are no message."""


@contextlib.contextmanager
def beside(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a copy of an outbox beside its device, which has the file itself to itself.

    What is in it may not have been synced yet. Raises OSError, sqlite3.Error: try again.
    """
    with tempfile.TemporaryDirectory(prefix="outbox-") as folder:
        copy, log = Path(folder) / path.name, Path(f"{path}-wal")
        for _ in range(50):
            before = log.read_bytes() if log.exists() else b""
            shutil.copyfile(path, copy)
            Path(f"{copy}-wal").write_bytes(before)
            if (log.read_bytes() if log.exists() else b"") == before:
                break  # else what the file holds may be of later than the log
        else:
            raise OSError(errno.EAGAIN, "it is written all the time", str(path))
        with contextlib.closing(sqlite3.connect(copy, isolation_level=None)) as database:
            yield database


def messages(path: Path) -> Found:
    """Open and read all. Raises sqlite3.Error where SQLite cannot."""
    sightings, pictures, unreadable = [], set(), 0
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.text_factory = lambda text: text.decode("utf-8", "replace")
        sound = database.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok"
        number = database.execute("SELECT next_seq FROM total").fetchone()[0]
        rows = database.execute("SELECT kind, topic, payload FROM message ORDER BY row")
        for kind, topic, payload in rows:
            try:
                if kind == 2:
                    sightings.append(json.loads(unpack(payload)))
                elif kind == 0:
                    pictures.add(topic.split("/")[1])
            except (OutboxDamagedError, ValueError, TypeError, IndexError, AttributeError):
                unreadable += 1
    highest = max((one["seq"] for one in sightings if isinstance(one.get("seq"), int)), default=0)
    return Found(sightings, pictures, max(number, highest + 1), sound, unreadable)
