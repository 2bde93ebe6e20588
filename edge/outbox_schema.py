"""The outbox's SQL: tables, statements, opening, and what to do with a damaged file."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from edge.errors import OutboxDamagedError, OutboxError, OutboxFullError
from edge.files import sync_folder, write_whole
from edge.sqlite_log import PAGE_BYTES

APPLICATION_ID = 0x57545231
"""Marks the file as ours ("WTR1")."""

OVERHEAD_BYTES = 100
"""What a row costs beside its payload: topic, page slack, the index."""

Stored = tuple[int, int, str, bytes, int, int]
"""A row of the table of messages."""

_LOG_PAGES = 250
"""The log is brought into the file when it has so many: 1 MB, the least that edge/room.py keeps."""

RESERVE = 10_000
"""How many numbers the file beside the database is ahead by: one small write per so many."""

_TABLES = """
CREATE TABLE message (
    row INTEGER PRIMARY KEY AUTOINCREMENT,  -- never reused, so a cursor never steps back
    kind INTEGER NOT NULL, topic TEXT NOT NULL, payload BLOB NOT NULL,
    time_ms INTEGER NOT NULL, bytes INTEGER NOT NULL);
-- Finds the oldest image or health message at once; sightings are found by the primary key.
CREATE INDEX lesser ON message (kind, row) WHERE kind < 2;
-- Kept by the same transactions, so that no start has to count a million rows.
CREATE TABLE total (next_seq INTEGER NOT NULL, waiting INTEGER NOT NULL, bytes INTEGER NOT NULL);
CREATE TABLE hour (hour INTEGER, label TEXT, count INTEGER, PRIMARY KEY (hour, label))
    WITHOUT ROWID;
"""

# Lives that go on, each with its newest message, so that a start after a kill can end them. Written
# by the transaction that appends the message; files of earlier versions get the table when opened.
_LIFE = "CREATE TABLE IF NOT EXISTS life (event TEXT PRIMARY KEY, seq INTEGER, payload BLOB)"

_ROW = "SELECT row, kind, topic, payload, time_ms, bytes FROM message "
PAGE = _ROW + "WHERE row > ? ORDER BY row LIMIT ?"
NEWEST = _ROW + "WHERE row > ? AND row < ? ORDER BY row DESC LIMIT ?"
NO_ROW = 2**63 - 1
"""Above any row."""
DEPTH = "SELECT waiting, bytes FROM total"
LIVES = "SELECT payload FROM life WHERE typeof(payload) = 'blob' ORDER BY seq"
HOURS = (
    "SELECT hour, label, count FROM hour WHERE hour BETWEEN ? AND ? "
    "AND typeof(label) = 'text' AND typeof(count) = 'integer' ORDER BY hour, label"
)

_INSERT = "INSERT INTO message (kind, topic, payload, time_ms, bytes) VALUES (?, ?, ?, ?, ?)"
_COUNT_HOUR = (
    "INSERT INTO hour VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET count = count + excluded.count"
)
_HOURS_KEPT = 48
"""Twice what is asked for, so that a wrong clock has a day to be put right."""
_FORGET_HOURS = (
    "DELETE FROM hour WHERE count <= 0 OR hour < :oldest AND hour NOT IN "
    "(SELECT DISTINCT hour FROM hour WHERE hour < :oldest ORDER BY hour DESC LIMIT :kept)"
)


def open_database(path: Path, first_seq: int) -> tuple[sqlite3.Connection, sqlite3.Connection]:
    """Open or create the file: one connection for appends, one for reads and deletions.

    Raises:
        OutboxDamagedError: the file is no sound outbox.
        OutboxError: it cannot be opened.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutboxError(f"cannot create {path.parent} for the outbox: {error.strerror}") from None
    opened: list[sqlite3.Connection] = []
    try:
        for synchronous in ("FULL", "NORMAL"):
            db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
            opened.append(db)
            db.execute(f"PRAGMA page_size = {PAGE_BYTES}")  # of a new file
            db.execute("PRAGMA journal_mode = WAL")
            db.execute(f"PRAGMA synchronous = {synchronous}")
            db.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
            db.execute("PRAGMA cache_size = -1000")  # KiB: memory stays flat whatever waits
            if synchronous == "FULL":
                _prepare(db, path, first_seq)
    except BaseException as error:
        for db in opened:
            db.close()
        if isinstance(error, sqlite3.Error):
            raise wrap(error, path) from error
        raise
    return opened[0], opened[1]


def _prepare(db: sqlite3.Connection, path: Path, first_seq: int) -> None:
    """Create the tables in a new file; check an old one."""
    application = db.execute("PRAGMA application_id").fetchone()[0]
    tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if not tables:
        db.executescript(
            f"BEGIN; PRAGMA application_id = {APPLICATION_ID}; {_TABLES} {_LIFE}; "
            f"INSERT INTO total VALUES ({int(first_seq)}, 0, 0); COMMIT;"
        )
        return
    if application != APPLICATION_ID:
        raise OutboxError(
            f"{path} is another program's database; set outbox.path to a file of its own"
        )
    found = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise OutboxDamagedError(f"the outbox {path} is damaged ({found})")
    totals = db.execute("SELECT * FROM total").fetchall()
    if len(totals) != 1 or not all(isinstance(value, int) for value in totals[0]):
        raise OutboxDamagedError(f"the outbox {path} is damaged (its totals are no numbers)")
    db.execute(_LIFE)


def restore(db: sqlite3.Connection, rows: Sequence[Stored]) -> None:
    """Put rows back as they were; the totals follow."""
    db.executemany("INSERT INTO message VALUES (?, ?, ?, ?, ?, ?)", rows)
    account(db, len(rows), sum(row[5] for row in rows))


def adopt(db: sqlite3.Connection, rows: Sequence[tuple[Stored, int]]) -> list[Stored]:
    """Add rows (each with its number, 0: none) behind the last one; give those that were added.

    What would come before anything that is there, or bears a number that was given out, is not.
    """
    added = []
    last = db.execute("SELECT max(seq) FROM sqlite_sequence WHERE name = 'message'").fetchone()[0]
    following, last = next_seq(db), last or 0
    for row, seq in rows:
        if row[0] <= last or 0 < seq < following:
            continue
        added.append(row)
        following, last = max(following, seq + 1), row[0]
    restore(db, added)
    raise_seq(db, following)
    return added


def start_rows(db: sqlite3.Connection, row: int) -> None:
    """Let new rows begin behind this one, so that a cursor into an earlier file stays true."""
    db.execute("DELETE FROM sqlite_sequence WHERE name = 'message'")
    db.execute("INSERT INTO sqlite_sequence VALUES ('message', ?)", (row,))


def raise_seq(db: sqlite3.Connection, seq: int) -> None:
    """See that no number below this one is given out."""
    db.execute("UPDATE total SET next_seq = max(next_seq, ?)", (seq,))


def next_seq(db: sqlite3.Connection) -> int:
    """Give the number the next sighting gets."""
    seq: int = db.execute("SELECT next_seq FROM total").fetchone()[0]
    return seq


def insert(
    db: sqlite3.Connection,
    rows: Sequence[tuple[int, str, bytes, int, int]],
    seq: int,
    added: int,
    hours: Mapping[tuple[int, str], int],
) -> None:
    """Write rows, the totals and the counts per hour."""
    db.executemany(_INSERT, rows)
    db.execute(
        "UPDATE total SET next_seq = ?, waiting = waiting + ?, bytes = bytes + ?",
        (seq, len(rows), added),
    )
    count_hours(db, hours)


def count_hours(db: sqlite3.Connection, hours: Mapping[tuple[int, str], int]) -> None:
    """Add to the counts per hour and label; forget all long before them but the newest.

    What seems long ago may be of today: the clock may have jumped ahead, and be put right again.
    """
    if hours:
        db.executemany(_COUNT_HOUR, [(hour, label, n) for (hour, label), n in hours.items()])
        oldest = min(hour for hour, _ in hours)
        db.execute(_FORGET_HOURS, {"oldest": oldest - _HOURS_KEPT, "kept": _HOURS_KEPT})


def rewrite(
    db: sqlite3.Connection, row: int, payload: bytes, time_ms: int, size: int
) -> int | None:
    """Change a row; give by how many bytes it grew, None where it is gone."""
    found = db.execute("SELECT bytes FROM message WHERE row = ?", (row,)).fetchone()
    if found is None:
        return None
    db.execute(
        "UPDATE message SET payload = ?, time_ms = ?, bytes = ? WHERE row = ?",
        (payload, time_ms, size, row),
    )
    return size - int(found[0])


def keep_lives(db: sqlite3.Connection, newest: dict[str, tuple[int, bytes] | None]) -> None:
    """Keep the newest message (seq, payload) of lives that go on; None: this one ended."""
    for event, message in newest.items():
        if message is None:
            db.execute("DELETE FROM life WHERE event = ?", (event,))
        else:
            # Its place in the order is that of its begin.
            db.execute(
                "INSERT INTO life VALUES (?, ?, ?) "
                "ON CONFLICT DO UPDATE SET payload = excluded.payload",
                (event, *message),
            )


def account(db: sqlite3.Connection, count: int, size: int) -> None:
    """Change the totals by `count` messages and `size` bytes."""
    db.execute("UPDATE total SET waiting = waiting + ?, bytes = bytes + ?", (count, size))


def rewrite_lives(db: sqlite3.Connection, newest: Iterable[tuple[str, int, bytes]]) -> None:
    """Change the newest message (event, seq, payload) of lives that have no newer one."""
    db.executemany(
        "UPDATE life SET payload = ?3 WHERE event = ?1 AND seq = ?2",
        newest,
    )


def delete_range(db: sqlite3.Connection, first: int, last: int) -> tuple[int, int]:
    """Delete the rows first..last; give how many there were and their bytes."""
    sizes = db.execute(
        "DELETE FROM message WHERE row BETWEEN ? AND ? RETURNING bytes", (first, last)
    ).fetchall()
    return len(sizes), sum(size for (size,) in sizes)


def delete_oldest(db: sqlite3.Connection, kind: int, wanted: int) -> tuple[int, int]:
    """Delete oldest rows of `kind` until `wanted` bytes are free, at most 100 at a time."""
    # The comparison is spelled so that the partial index serves images and health.
    where = f"kind = {int(kind)} AND kind < 2" if kind < 2 else f"kind = {int(kind)}"
    count = freed = 0
    for row, size in db.execute(
        f"SELECT row, bytes FROM message WHERE {where} AND typeof(bytes) = 'integer' "
        "ORDER BY row LIMIT 100"
    ).fetchall():
        if freed >= wanted:
            break
        db.execute("DELETE FROM message WHERE row = ?", (row,))
        count, freed = count + 1, freed + size
    return count, freed


def _beside(path: Path) -> Path:
    return path.with_name(path.name + ".seq")


def reserved(path: Path) -> int:
    """Read the number from which seq may go on where the database cannot say; 1 when new."""
    try:
        return int(_beside(path).read_text("ascii"))
    except FileNotFoundError:
        return 1
    except (OSError, ValueError):
        # Unreadable: seconds since 1970 are beyond any number given out at one a second.
        return int(time.time())


def reserve(path: Path, seq: int) -> int:
    """Write durably a number well beyond `seq`; give it. Raises OSError."""
    number = seq + RESERVE
    write_whole(_beside(path), f"{number}\n".encode())
    sync_folder(path.parent)
    return number


def set_aside(path: Path) -> Path:
    """Rename the file and its log, so that a person can look at them; give the new name."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    number = 0
    aside = path.with_name(f"{path.name}.damaged-{stamp}")
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.damaged-{stamp}-{number}")
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.replace(f"{path}{suffix}", f"{aside}{suffix}")
    return aside


def finish_exchange(path: Path) -> None:
    """Put the file made of a damaged one in its place, now or after a cut of the power.

    Raises OutboxError.
    """
    fresh = replacement(path)
    try:
        if not fresh.exists():
            return
        if path.exists():
            discard(fresh)  # it may not be whole
        else:
            set_aside(path)  # a log without its file must not be taken for that of the new one
            os.replace(fresh, path)
            sync_folder(path.parent)
    except OSError as error:
        raise OutboxError(
            f"cannot replace the damaged outbox {path}: {error.strerror or error}; "
            f"{path.parent} must be writable"
        ) from error


def replacement(path: Path) -> Path:
    """Say where the file is made that takes a damaged one's place."""
    return path.with_name(path.name + ".salvaged")


def discard(path: Path) -> None:
    """Remove a database that was never used, with its log."""
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def wrap(error: sqlite3.Error, path: Path) -> OutboxError:
    """Turn an error of SQLite into ours, with its cure."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or "decode to UTF-8" in str(error):
        return OutboxDamagedError(f"the outbox {path} is damaged ({error})")
    if code == sqlite3.SQLITE_FULL:
        return OutboxFullError(f"the outbox {path}: {error}; free space on that disk")
    cures = {
        sqlite3.SQLITE_READONLY: "make the file and its folder writable by this user",
        sqlite3.SQLITE_CANTOPEN: "make the folder exist and writable by this user",
        sqlite3.SQLITE_BUSY: "stop the other program that holds it",
        sqlite3.SQLITE_IOERR: "look at the disk's health (dmesg)",
    }
    return OutboxError(f"the outbox {path}: {error}; {cures.get(code, 'see the log')}")
