"""The outbox's SQL: how the file is opened, what its statements do, what its errors say."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import threading

import pytest
from open_files import open_files
from samples import health, image, sighting

from edge.errors import OutboxDamagedError, OutboxError, OutboxFullError
from edge.messages.health import Health
from edge.messages.sighting import Evidence, Sighting
from edge.outbox import sql as outbox_schema
from edge.outbox.rows import OVERHEAD_BYTES, Kind, Row, rows_of
from edge.outbox.sql import (
    add_bytes,
    count_hours,
    delete_oldest,
    has_row,
    insert,
    keep_lives,
    open_database,
    rewrite,
    totals,
    wrap,
    write_totals,
)

LOG_BYTES = 274_608


@pytest.fixture
def db(tmp_path):
    """The connection for appends, of a new file."""
    writer, reader = open_database(tmp_path / "o.db")
    yield writer
    writer.close()
    reader.close()


def test_a_file_is_opened_as_a_card_wears_least_by_it(tmp_path):
    """What an append writes waits for the disk, what a deletion writes does not."""
    writer, reader = open_database(tmp_path / "a" / "b" / "o.db")
    for db, synchronous in ((writer, 2), (reader, 1)):
        pragmas = {
            "journal_mode": "wal",
            "synchronous": synchronous,
            "page_size": 1024,
            "wal_autocheckpoint": 250,
            "secure_delete": 0,
            "temp_store": 2,
            "cache_size": -1000,
            "busy_timeout": 10_000,
        }
        found = {name: db.execute(f"PRAGMA {name}").fetchone()[0] for name in pragmas}
        assert found == pragmas
        assert db.isolation_level is None
    thread = threading.Thread(target=writer.close)
    thread.start()
    thread.join()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        writer.execute("SELECT 1")
    reader.close()


def test_the_log_has_its_size_from_the_beginning(tmp_path, monkeypatch):
    """In pieces of 4 KiB, synced once; one that has it already is left alone."""
    path, log, before = tmp_path / "o.db", tmp_path / "o.db-wal", open_files()
    written, synced, write, sync = list[int](), list[str](), os.pwrite, os.fsync

    def note_write(descriptor, data, at):
        written.append(len(data))
        return write(descriptor, data, at)

    def note_sync(descriptor):
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        sync(descriptor)

    monkeypatch.setattr(os, "pwrite", note_write)
    monkeypatch.setattr(os, "fsync", note_sync)
    opened = open_database(path)
    assert log.stat().st_size == LOG_BYTES
    assert set(written[:-1]) == {4096}
    assert 0 < written[-1] <= 4096
    assert synced == [str(log)]
    (tmp_path / "cut").mkdir()
    for one in (path, log):
        shutil.copy(one, tmp_path / "cut")
    for one in opened:
        one.close()
    written.clear()
    synced.clear()
    for one in open_database(tmp_path / "cut" / "o.db"):
        one.close()
    assert (written, synced) == ([], [])
    assert open_files() <= before


def test_a_log_that_a_full_disk_keeps_from_its_size_stays_as_it_was(tmp_path, monkeypatch):
    """Whole frames, and nothing begun behind them."""
    write, left = os.pwrite, [True, False]

    def refuse(descriptor, data, at):
        if not left.pop(0):
            raise OSError(28, "No space left on device")
        return write(descriptor, data, at)

    monkeypatch.setattr(os, "pwrite", refuse)
    opened = open_database(tmp_path / "o.db")
    size = (tmp_path / "o.db-wal").stat().st_size
    assert 32 < size < LOG_BYTES
    assert (size - 32) % (24 + 1024) == 0
    for one in opened:
        one.close()


def test_a_disk_that_fails_under_the_log_leaves_nothing_open(tmp_path, monkeypatch):
    """It can neither be made larger nor be cut back to what it was."""

    def refuse(*_):
        raise OSError(5, "Input/output error")

    before = open_files()
    monkeypatch.setattr(os, "pwrite", refuse)
    monkeypatch.setattr(os, "ftruncate", refuse)
    with pytest.raises(OSError, match="Input/output error"):
        open_database(tmp_path / "o.db")
    assert open_files() <= before


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    """It is not taken for a full disk, and nothing stays open."""
    (tmp_path / "file").touch()
    with pytest.raises(OutboxError, match=r"cannot create .*file for the outbox: ") as raised:
        open_database(tmp_path / "file" / "o.db")
    assert not isinstance(raised.value, OutboxFullError)


def test_what_cannot_be_opened_is_not_left_open(tmp_path):
    """A file of another program, and one that is none."""
    (tmp_path / "words").write_text("no database at all" * 100)
    with sqlite3.connect(tmp_path / "theirs") as theirs:
        theirs.execute("CREATE TABLE precious (x)")
        theirs.execute("PRAGMA application_id = 0x57545132")
    theirs.close()
    before = open_files()
    with pytest.raises(OutboxError, match="another program's"):
        open_database(tmp_path / "theirs")
    with pytest.raises(OutboxDamagedError, match=r"is damaged \(file is not a database\)"):
        open_database(tmp_path / "words")
    assert open_files() <= before


def test_a_script_that_fails_changes_nothing(db):
    """In its middle; and on a disk so full that SQLite has put all back itself."""
    with pytest.raises(sqlite3.OperationalError, match="syntax error"):
        outbox_schema.run_script(db, "CREATE TABLE half (x); nonsense;")
    assert not db.in_transaction
    pages = db.execute("PRAGMA page_count").fetchone()[0]
    db.execute(f"PRAGMA max_page_count = {pages + 1}")
    with pytest.raises(sqlite3.OperationalError, match="full"):
        outbox_schema.run_script(
            db, "CREATE TABLE half (x); INSERT INTO half VALUES (zeroblob(9999));"
        )
    assert not db.in_transaction
    assert not db.execute("SELECT * FROM sqlite_master WHERE name = 'half'").fetchall()


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM total",
        "INSERT INTO total VALUES (1, 0, 0, 1)",
        *(f"UPDATE total SET {c} = 'x'" for c in ("next_seq", "waiting", "bytes", "next_row")),
    ],
)
def test_totals_that_are_no_four_numbers_are_damage(db, change, tmp_path):
    """None of them, one of them, or two for one."""
    write_totals(db, 5, 4, 300, 7)
    add_bytes(db, -100)
    assert totals(db) == (5, 4, 200, 7)
    db.execute(change)
    with pytest.raises(OutboxDamagedError, match="its totals are not numbers"):
        totals(db)
    shutil.copy(tmp_path / "o.db", tmp_path / "copy.db")
    shutil.copy(tmp_path / "o.db-wal", tmp_path / "copy.db-wal")
    with pytest.raises(OutboxDamagedError, match=r"copy\.db is damaged \(its totals are not num"):
        open_database(tmp_path / "copy.db")


def test_a_row_is_rewritten_where_it_is_as_it_was_read(db):
    """It says by how much it grew; one that is gone, or has another time, is left alone."""
    insert(db, [(3, 2, "sighting", b"old", 1000, 103)])
    assert rewrite(db, 3, 999, b"newer", 2000, 105) is None
    assert rewrite(db, 4, 1000, b"newer", 2000, 105) is None
    assert rewrite(db, 3, 1000, b"newer", 2000, 105) == 2
    assert db.execute("SELECT * FROM message").fetchall() == [
        (3, 2, "sighting", b"newer", 2000, 105)
    ]
    assert has_row(db, 3) is True
    assert has_row(db, 4) is False


def test_the_oldest_of_a_kind_go_first_and_no_more_than_it_takes(db):
    """Exactly as much as is wanted is enough; pictures and health are found by their index."""
    messages: list[Sighting | Evidence | Health | Row] = [
        image(900),
        sighting(),
        health(),
        image(900),
        image(900),
    ]
    insert(db, rows_of(messages, messages, 1))
    assert delete_oldest(db, Kind.IMAGE, 2 * (900 + OVERHEAD_BYTES)) == (2, 2000)
    assert [row for (row,) in db.execute("SELECT row FROM message")] == [2, 3, 5]
    for kind, row in ((Kind.HEALTH, 3), (Kind.IMAGE, 5), (Kind.SIGHTING, 2)):
        done: list[str] = []
        db.set_trace_callback(done.append)
        assert delete_oldest(db, kind, 1)[0] == 1
        db.set_trace_callback(None)
        assert not has_row(db, row)
        (select,) = (one for one in done if one.startswith("SELECT"))
        plan = str(db.execute(f"EXPLAIN QUERY PLAN {select}").fetchall())
        assert ("INDEX lesser" in plan) == (kind is not Kind.SIGHTING)
        assert delete_oldest(db, kind, 1) == (0, 0)


def test_hours_long_before_those_counted_are_forgotten_but_the_newest(db):
    """48 hours before the oldest of them count, and of what is older the 48 newest."""
    count_hours(db, {(hour, "a"): 1 for hour in range(100)})
    count_hours(db, {})
    count_hours(db, {(1000, "a"): 1, (1001, "a"): 2, (1001, "b"): 0})
    count_hours(db, {(1001, "a"): 1})
    kept = db.execute("SELECT hour, label, count FROM hour ORDER BY hour").fetchall()
    assert kept == [(hour, "a", 1) for hour in range(52, 100)] + [(1000, "a", 1), (1001, "a", 3)]
    count_hours(db, {(147, "a"): 1, (900, "a"): 1})
    oldest = [hour for (hour,) in db.execute("SELECT hour FROM hour WHERE hour < 900")]
    assert oldest == [*range(52, 100), 147]


def test_a_life_keeps_its_place_and_its_newest_message(db):
    """Until it ends."""
    keep_lives(db, {"a": (1, b"one"), "b": (2, b"two")})
    keep_lives(db, {"a": (9, b"newer"), "b": None})
    assert db.execute("SELECT * FROM life").fetchall() == [("a", 1, b"newer")]


def error(code: int | None) -> sqlite3.Error:
    """Make an error of SQLite."""
    made = sqlite3.OperationalError("it fails")
    if code is not None:
        made.sqlite_errorcode = code
    return made


@pytest.mark.parametrize(
    ("code", "kind", "told"),
    [
        (sqlite3.SQLITE_CORRUPT, OutboxDamagedError, r"is damaged \(it fails\)"),
        (sqlite3.SQLITE_CORRUPT_INDEX, OutboxDamagedError, "is damaged"),
        (sqlite3.SQLITE_NOTADB, OutboxDamagedError, "is damaged"),
        (sqlite3.SQLITE_FULL, OutboxFullError, "it fails; free space on that disk"),
        (sqlite3.SQLITE_IOERR_READ, OutboxError, "look at the disk's health"),
        (sqlite3.SQLITE_READONLY, OutboxError, "make the file and its folder writable"),
        (sqlite3.SQLITE_CANTOPEN, OutboxError, "make the folder exist"),
        (sqlite3.SQLITE_BUSY, OutboxError, "stop the other program"),
        (None, OutboxError, "see the log"),
    ],
)
def test_an_error_of_sqlite_says_what_to_do(tmp_path, code, kind, told):
    """It names the file; only what is damaged or full is told as that."""
    wrapped = wrap(error(code), tmp_path / "o.db")
    assert type(wrapped) is kind
    with pytest.raises(kind, match=f"the outbox {tmp_path}/o.db.*{told}"):
        raise wrapped


def test_text_that_is_none_is_damage(tmp_path):
    """SQLite's library for Python says so without a code."""
    odd = sqlite3.OperationalError("Could not decode to UTF-8 column 'topic'")
    assert type(wrap(odd, tmp_path / "o.db")) is OutboxDamagedError


def test_sqlite_fails_otherwise_where_a_disk_is_full(tmp_path):
    """What it says of its own files is told as what it is; the rest is not."""
    if os.geteuid() != 0:
        pytest.skip("FULL DISK ABSENT: mounting a small one needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    before = open_files()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "test", disk], check=True)
    try:
        kinds = [type(wrap(error(sqlite3.SQLITE_IOERR), disk / "o.db"))]
        (disk / "ballast").write_bytes(bytes(1_000_000))
        kinds += [
            type(wrap(error(code), disk / "o.db"))
            for code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_BUSY)
        ]
        assert kinds == [OutboxError, OutboxFullError, OutboxFullError, OutboxError]
    finally:
        subprocess.run(["umount", "-l", disk], check=True)
    assert open_files() <= before


@pytest.mark.parametrize(
    ("free", "files", "free_files", "full"),
    [(24, 0, 0, True), (25, 0, 0, False), (99, 9, 0, True), (99, 9, 1, False), (0, 9, 9, True)],
)
def test_a_disk_that_makes_no_file_without_a_name_is_asked(
    tmp_path, monkeypatch, free, files, free_files, full
):
    """By its blocks, here of 4,000 bytes, and by its files, which some disks do not count."""

    def refuse(*_):
        raise OSError(95, "Operation not supported")

    said = os.statvfs_result((4000, 4000, 99, free, free, files, free_files, 0, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda _: said)
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        assert outbox_schema.is_full(tmp_path) is full


def test_a_folder_that_is_gone_is_not_full(tmp_path):
    """Neither its files nor its disk can be asked."""
    assert outbox_schema.is_full(tmp_path / "gone") is False


@pytest.mark.parametrize(("number", "full"), [(28, True), (122, True), (5, False)])
def test_a_disk_or_a_quota_that_refuses_room_is_full(tmp_path, monkeypatch, number, full):
    """Another error says nothing of room; a file that cannot be begun says the same."""

    def refuse(*_):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", refuse)
        assert outbox_schema.is_full(tmp_path) is full
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        assert outbox_schema.is_full(tmp_path) is full
