"""An outbox's file as the first version of the program wrote it."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from edge.messages.base import encode
from edge.messages.health import Health
from edge.messages.sighting import Sighting

_TABLES = """
PRAGMA page_size = 4096; PRAGMA journal_mode = WAL; PRAGMA application_id = 0x57545231;
CREATE TABLE message (row INTEGER PRIMARY KEY AUTOINCREMENT, kind INTEGER NOT NULL,
    topic TEXT NOT NULL, payload BLOB NOT NULL, time_ms INTEGER NOT NULL, bytes INTEGER NOT NULL);
CREATE INDEX lesser ON message (kind, row) WHERE kind < 2;
CREATE TABLE total (next_seq INTEGER NOT NULL, waiting INTEGER NOT NULL, bytes INTEGER NOT NULL);
CREATE TABLE hour (hour INTEGER, label TEXT, count INTEGER, PRIMARY KEY (hour, label))
    WITHOUT ROWID;
INSERT INTO total VALUES (1, 0, 0);
"""
_LIFE = "CREATE TABLE life (event TEXT PRIMARY KEY, seq INTEGER, payload BLOB)"
_INSERT = "INSERT INTO message (kind, topic, payload, time_ms, bytes) VALUES (?, ?, ?, ?, ?)"


@contextlib.contextmanager
def first_outbox(
    path: Path, messages: Sequence[Sighting | Health], delivered: int = 0, lives: bool = True
) -> Iterator[sqlite3.Connection]:
    """Write messages and delete the first ones; the file is open meanwhile, its log in place."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.executescript(_TABLES + (_LIFE if lives else ""))
        for message in messages:
            _append(db, message, lives)
        db.execute(
            "UPDATE total SET waiting = waiting - ?1, bytes = bytes - "
            "(SELECT coalesce(sum(bytes), 0) FROM message WHERE row <= ?1)",
            (delivered,),
        )
        db.execute("DELETE FROM message WHERE row <= ?", (delivered,))
        path.with_name(path.name + ".seq").write_text("10001\n")
        yield db


def _append(db: sqlite3.Connection, message: Sighting | Health, lives: bool) -> None:
    """Do what the first version did with each message."""
    seq: int = db.execute("SELECT next_seq FROM total").fetchone()[0]
    time_ms = int(message.time.timestamp() * 1000)
    kind, topic = (2, "sighting") if isinstance(message, Sighting) else (1, "health")
    if isinstance(message, Sighting):
        message = msgspec.structs.replace(message, seq=seq)
    payload = encode(message).replace(b'"skipped":0,', b"")
    size = len(payload) + 100
    db.execute("BEGIN")
    db.execute(_INSERT, (kind, topic, payload, time_ms, size))
    db.execute(
        "UPDATE total SET next_seq = ?, waiting = waiting + 1, bytes = bytes + ?",
        (seq + (kind == 2), size),
    )
    if isinstance(message, Sighting):
        db.execute(
            "INSERT INTO hour VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET count = count + 1",
            (time_ms // 3_600_000, message.label or ""),
        )
        if lives and message.phase in ("begin", "update"):
            db.execute(
                "INSERT INTO life VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET payload = ?3",
                (message.event, seq, payload),
            )
    db.execute("COMMIT")
