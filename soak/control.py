"""An outbox's database as plain SQLite reads it, without any of the program's own recovery."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any, NamedTuple

from edge.errors import OutboxDamagedError
from edge.outbox_payload import unpack


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
