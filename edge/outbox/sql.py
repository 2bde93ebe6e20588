"""The outbox's SQL: tables, statements, opening, and files of earlier versions."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from edge.errors import OutboxDamagedError, OutboxError, OutboxFullError
from edge.outbox.rows import Stored
from edge.system.files import NO_ROOM
from edge.system.resource_limits import larger_files

APPLICATION_ID = 0x57545232
"""Marks the file as ours, and its version ("WTR2")."""

_FIRST_VERSION = 0x57545231

PAGE_BYTES = 1024
"""Of a page: an append of one sighting mostly touches one, and so one block of the disk. Files
from earlier versions keep theirs."""

_LOG_PAGES = 250
"""The log is brought into the file when it has so many pages."""

_LOG_BYTES = 32 + (_LOG_PAGES + 12) * (24 + PAGE_BYTES)
"""The log's file is made so large when it is opened: a commit that does not change a file's size
needs no write of the file system's own."""

_BLOCK_BYTES = 4096

_TABLES = """
CREATE TABLE message (
    row INTEGER PRIMARY KEY,
    kind INTEGER NOT NULL, topic TEXT NOT NULL, payload BLOB NOT NULL,
    time_ms INTEGER NOT NULL, bytes INTEGER NOT NULL);
-- Finds the oldest image or health message at once; sightings are found by the primary key.
CREATE INDEX lesser ON message (kind, row) WHERE kind < 2;
-- All three as it was when the row `next_row` was next: what stands from there on is counted at
-- each start, so that no start has to count a million rows, and an append writes its rows alone.
CREATE TABLE total (next_seq INTEGER NOT NULL, waiting INTEGER NOT NULL, bytes INTEGER NOT NULL,
    next_row INTEGER NOT NULL);
CREATE TABLE hour (hour INTEGER, label TEXT, count INTEGER, PRIMARY KEY (hour, label))
    WITHOUT ROWID;
-- Lives that go on, each with its newest message, so that a start after a kill can end them.
CREATE TABLE life (event TEXT PRIMARY KEY, seq INTEGER, payload BLOB);
INSERT INTO total VALUES (1, 0, 0, 1);
"""

# Of a file of the first version, which counted with every append, and whose rows came from
# AUTOINCREMENT: nothing is copied, so no room is needed.
_FROM_FIRST = """
CREATE TABLE IF NOT EXISTS life (event TEXT PRIMARY KEY, seq INTEGER, payload BLOB);
ALTER TABLE total ADD COLUMN next_row INTEGER NOT NULL DEFAULT 1;
UPDATE total SET next_row = 1 + max(
    coalesce((SELECT max(row) FROM message), 0),
    coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'message'), 0));
"""

_ROW = "SELECT row, kind, topic, payload, time_ms, bytes FROM message "
PAGE = _ROW + "WHERE row > ? ORDER BY row LIMIT ?"
NEWEST = _ROW + "WHERE row > ? AND row < ? ORDER BY row DESC LIMIT ?"
SINCE = _ROW + "WHERE row >= ? ORDER BY row"
SIZES = "SELECT row, bytes FROM message WHERE row BETWEEN ? AND ? AND typeof(bytes) = 'integer'"
NO_ROW = 2**63 - 1
"""Above any row."""
LIVES = "SELECT seq, payload FROM life WHERE typeof(seq) = 'integer' ORDER BY seq"
HOURS = (
    "SELECT hour, label, count FROM hour WHERE hour BETWEEN ? AND ? "
    "AND typeof(label) = 'text' AND typeof(count) = 'integer' ORDER BY hour, label"
)

_COUNT_HOUR = (
    "INSERT INTO hour VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET count = count + excluded.count"
)
_HOURS_KEPT = 48
"""Twice what is asked for, so that a wrong clock has a day to be put right."""
_FORGET_HOURS = (
    "DELETE FROM hour WHERE count <= 0 OR hour < :oldest AND hour NOT IN "
    "(SELECT DISTINCT hour FROM hour WHERE hour < :oldest ORDER BY hour DESC LIMIT :kept)"
)


def open_database(path: Path) -> tuple[sqlite3.Connection, sqlite3.Connection]:
    """Open or create the file: one connection for appends, one for reads and deletions.

    Raises:
        OutboxDamagedError: the file is no sound outbox.
        OutboxFullError: the disk has no room for what opening it takes.
        OutboxError: it cannot be opened.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        kind = OutboxFullError if error.errno in NO_ROOM else OutboxError
        raise kind(f"cannot create {path.parent} for the outbox: {error.strerror}") from None
    opened: list[sqlite3.Connection] = []
    try:
        for synchronous in ("FULL", "NORMAL"):
            db = sqlite3.connect(
                _address(path), uri=True, isolation_level=None, check_same_thread=False, timeout=10
            )
            opened.append(db)
            db.execute(f"PRAGMA page_size = {PAGE_BYTES}")  # of a new file
            db.execute("PRAGMA temp_store = MEMORY")
            db.execute("PRAGMA secure_delete = OFF")  # pages that become free are not written
            db.execute("PRAGMA journal_mode = WAL")
            db.execute(f"PRAGMA synchronous = {synchronous}")
            db.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
            db.execute("PRAGMA cache_size = -1000")  # KiB: memory stays flat whatever waits
            if synchronous == "FULL":
                _prepare(db, path)
        _stretch(Path(f"{path}-wal"))
    except BaseException as error:
        for db in opened:
            db.close()
        if isinstance(error, sqlite3.Error):
            raise wrap(error, path) from error
        raise
    return opened[0], opened[1]


def _address(path: Path) -> str:
    """SQLite's name of a file that this process has to itself.

    What says where a page is in the log is then in memory, not in a file of 32 KiB that is written
    every half a minute. Others who look go by :mod:`edge.outbox.inspection`.
    """
    return f"file:{quote(bytes(path.absolute()))}?vfs=unix-excl"


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    """Create the tables in a new file; check an old one."""
    version = db.execute("PRAGMA application_id").fetchone()[0]
    tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if not tables:
        run_script(db, _TABLES)
        return
    if version >> 8 != APPLICATION_ID >> 8:
        raise OutboxError(
            f"{path} is another program's database; set outbox.path to a file of its own"
        )
    later = db.execute("PRAGMA user_version").fetchone()[0]  # 0 in all files until now
    if version not in (_FIRST_VERSION, APPLICATION_ID) or later:
        found = chr(version & 0xFF) + (f".{later}" if later else "")
        raise OutboxError(
            f"{path} is of version {found!r}, this program reads '1' and '2'; "
            "install the version that wrote it, or set outbox.path to a file of its own"
        )
    found = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise OutboxDamagedError(f"the outbox {path} is damaged ({found})")
    if version == _FIRST_VERSION:
        run_script(db, _FROM_FIRST)
    try:
        totals(db)
    except OutboxDamagedError as error:
        raise OutboxDamagedError(f"the outbox {path} is damaged ({error})") from None


def run_script(db: sqlite3.Connection, script: str) -> None:
    """Make a file of this version in one transaction."""
    try:
        db.executescript(f"BEGIN; {script} PRAGMA application_id = {APPLICATION_ID}; COMMIT;")
    except sqlite3.Error:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _stretch(log: Path) -> None:
    """Fill the log's file up to the size it will have, unless the disk is too full for that."""
    try:
        opened = os.open(log, os.O_WRONLY)
    except OSError:
        return
    try:
        size = os.fstat(opened).st_size
        if size < _LOG_BYTES:
            # In pieces, so that the kernel keeps the file in pieces as small, and writes those.
            for at in range(size, _LOG_BYTES, _BLOCK_BYTES):
                os.pwrite(opened, bytes(min(_BLOCK_BYTES, _LOG_BYTES - at)), at)
            os.fsync(opened)
    except OSError:
        os.ftruncate(opened, size)
    finally:
        os.close(opened)


def totals(db: sqlite3.Connection) -> tuple[int, int, int, int]:
    """Return next number, waiting messages, their bytes, and the row that was next then.

    Raises OutboxDamagedError.
    """
    found = db.execute("SELECT next_seq, waiting, bytes, next_row FROM total").fetchall()
    if len(found) != 1 or not all(isinstance(value, int) for value in found[0]):
        raise OutboxDamagedError("its totals are not numbers")
    next_seq, waiting, size, next_row = found[0]
    return next_seq, waiting, size, next_row


def write_totals(
    db: sqlite3.Connection, next_seq: int, waiting: int, size: int, next_row: int
) -> None:
    """Put other totals in their place."""
    db.execute(
        "UPDATE total SET next_seq = ?, waiting = ?, bytes = ?, next_row = ?",
        (next_seq, waiting, size, next_row),
    )


def add_bytes(db: sqlite3.Connection, size: int) -> None:
    """Add to the bytes that wait."""
    db.execute("UPDATE total SET bytes = bytes + ?", (size,))


def insert(db: sqlite3.Connection, rows: Sequence[Stored]) -> None:
    """Write rows."""
    db.executemany("INSERT INTO message VALUES (?, ?, ?, ?, ?, ?)", rows)


def has_row(db: sqlite3.Connection, row: int) -> bool:
    """Whether a row exists."""
    return db.execute("SELECT 1 FROM message WHERE row = ?", (row,)).fetchone() is not None


def count_hours(db: sqlite3.Connection, hours: Mapping[tuple[int, str], int]) -> None:
    """Add to the counts per hour and label; forget all long before them but the newest.

    What seems long ago may be of today: the clock may have jumped ahead, and be put right again.
    """
    if hours:
        db.executemany(_COUNT_HOUR, [(hour, label, n) for (hour, label), n in hours.items()])
        oldest = min(hour for hour, _ in hours)
        db.execute(_FORGET_HOURS, {"oldest": oldest - _HOURS_KEPT, "kept": _HOURS_KEPT})


def rewrite(
    db: sqlite3.Connection, row: int, before_ms: int, payload: bytes, time_ms: int, size: int
) -> int | None:
    """Change a row of this time before; give by how many bytes it grew, None where it is gone, or
    has another time by now.
    """
    query = "SELECT bytes FROM message WHERE row = ? AND time_ms = ?"
    found = db.execute(query, (row, before_ms)).fetchone()
    if found is None:
        return None
    db.execute(
        "UPDATE message SET payload = ?, time_ms = ?, bytes = ? WHERE row = ?",
        (payload, time_ms, size, row),
    )
    return size - int(found[0])


def keep_lives(db: sqlite3.Connection, newest: Mapping[str, tuple[int, bytes] | None]) -> None:
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


def delete_range(db: sqlite3.Connection, first: int, last: int) -> None:
    """Delete the rows first..last."""
    db.execute("DELETE FROM message WHERE row BETWEEN ? AND ?", (first, last))


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


def wrap(error: sqlite3.Error, path: Path) -> OutboxError:
    """Turn an error of SQLite into ours, with its cure."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or "decode to UTF-8" in str(error):
        return OutboxDamagedError(f"the outbox {path} is damaged ({error})")
    if code == sqlite3.SQLITE_FULL or (code in _ROOMLESS and is_full(path.parent)):
        return OutboxFullError(f"the outbox {path}: {error}; free space on that disk")
    cures = {
        sqlite3.SQLITE_READONLY: "make the file and its folder writable by this user",
        sqlite3.SQLITE_CANTOPEN: "make the folder exist and writable by this user",
        sqlite3.SQLITE_BUSY: "stop the other program that holds it",
        sqlite3.SQLITE_IOERR: larger_files(path, Path(f"{path}-wal"))
        or "look at the disk's health (dmesg)",
    }
    return OutboxError(f"the outbox {path}: {error}; {cures.get(code, 'see the log')}")


_ROOMLESS = (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)
"""What SQLite says where it cannot make a file of its own larger."""

_FULL_BYTES = 100_000


def is_full(folder: Path) -> bool:
    """Whether a disk, or a quota on it, has less room than SQLite takes to open a file."""
    try:
        opened = os.open(folder, os.O_TMPFILE | os.O_WRONLY)
    except OSError as error:
        return error.errno in NO_ROOM or _seems_full(folder)
    try:
        os.posix_fallocate(opened, 0, _FULL_BYTES)
    except OSError as error:
        return error.errno in NO_ROOM
    finally:
        os.close(opened)
    return False


def _seems_full(folder: Path) -> bool:
    """Ask a disk that makes no file without a name."""
    try:
        disk = os.statvfs(folder)
    except OSError:
        return False
    return disk.f_bavail * disk.f_frsize < _FULL_BYTES or disk.f_ffree == 0 < disk.f_files
