"""What is done for an outbox that is damaged, step by step."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from open_files import open_files
from samples import drain, health, sighting

from edge.errors import OutboxError, OutboxFullError
from edge.outbox import salvage
from edge.outbox.counts import OutboxCounts
from edge.outbox.file_swap import replacement
from edge.outbox.outbox import Outbox
from edge.outbox.repair import adopt, for_want_of_room, left_behind, replace
from edge.outbox.rows import rows_of
from edge.outbox.sql import open_database


def spoilt(path: Path) -> None:
    """Make an outbox of sixty sightings whose first page is none."""
    with Outbox(path) as outbox:
        outbox.append_many([sighting() for _ in range(60)])
    data = bytearray(path.read_bytes())
    data[:100] = bytes(100)
    path.write_bytes(data)


def test_a_damaged_file_is_replaced_by_what_was_saved_of_it(tmp_path):
    """What was begun before and cut is no hindrance, what was delivered stays gone, and nothing
    stays open."""
    path = tmp_path / "o.db"
    spoilt(path)
    replacement(path).write_text("no whole copy" * 1000)
    before = open_files()
    done = replace(path, {1, 2, 60})
    assert open_files() <= before
    assert done.saved == 57
    assert path.exists()
    assert not replacement(path).exists()
    (aside,) = tmp_path.glob("*damaged*")
    assert str(done).startswith(f"it is kept as {aside} and a new one begins: ")
    with Outbox(path) as outbox:
        assert drain(outbox) == list(range(3, 60))


def test_what_cannot_be_saved_at_all_is_kept(tmp_path):
    """A folder in its place, say; nothing half is put there."""
    path = tmp_path / "o.db"
    path.mkdir()
    done = replace(path, ())
    assert (done.saved, done.lost) == (0, 0)
    assert "what is in it could not be saved (" in str(done)
    assert not path.exists()
    assert not replacement(path).exists()
    (aside,) = tmp_path.glob("*damaged*")
    assert aside.is_dir()


def full() -> sqlite3.Error:
    """Make SQLite's error of a full disk."""
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    return error


@pytest.mark.parametrize(
    ("failure", "room"),
    [
        (full(), False),
        (OSError(28, "No space left on device"), False),
        (OutboxFullError("no room"), False),
        (sqlite3.OperationalError("locked"), True),
        (OSError(5, "Input/output error"), True),
        (OutboxError("another"), True),
    ],
)
def test_what_fails_for_want_of_room_waits_for_it(tmp_path, failure, room):
    """All else is not cured by waiting."""
    assert for_want_of_room(failure, tmp_path / "o.db") is (not room)


def test_what_is_saved_waits_for_the_disk_or_nothing_changes(tmp_path, monkeypatch):
    """The damaged file goes aside when the other is on disk; where there is no room, it stays."""
    path, levels = tmp_path / "o.db", []
    spoilt(path)
    before = path.read_bytes()

    def no_room(_path, db, _delivered):
        levels.append(db.execute("PRAGMA synchronous").fetchone()[0])
        raise full()

    monkeypatch.setattr(salvage, "salvage", no_room)
    with pytest.raises(OutboxFullError, match=r"o\.db is damaged, and there is no room"):
        replace(path, ())
    assert levels == [2]
    assert path.read_bytes() == before
    assert not replacement(path).exists()
    assert not list(tmp_path.glob("*damaged*"))


def test_a_log_that_cannot_be_read_holds_nothing(tmp_path):
    """Nor does one that is not there, or is sound."""
    path = tmp_path / "o.db"
    assert left_behind(path) == []
    Path(f"{path}-wal").mkdir()
    assert left_behind(path) == []


def test_rows_behind_a_gap_are_adopted_where_nothing_comes_before_them(tmp_path):
    """Neither a row nor a number that is there is given out again; all are counted."""
    writer, reader = open_database(tmp_path / "o.db")
    messages = [sighting() for _ in range(6)]
    numbered = [
        type(one)(**{name: getattr(one, name) for name in one.__struct_fields__} | {"seq": seq})
        for seq, one in enumerate(messages, 5)
    ]
    tally = OutboxCounts(writer)
    first = rows_of(numbered[:1], numbered[:1], 10)
    assert adopt(writer, tally, [(first[0], numbered[0])]) == 1
    assert (tally.next_row, tally.next_seq, tally.waiting) == (11, 6, 1)
    found = [
        (rows_of(numbered[1:2], numbered[1:2], 10)[0], numbered[1]),  # a row that is there
        (rows_of(numbered[:1], numbered[:1], 11)[0], numbered[0]),  # a number that is there
        (rows_of([health()], [health()], 9)[0], None),
        (rows_of([health()], [health()], 11)[0], None),
        (rows_of(numbered[1:2], numbered[1:2], 12)[0], numbered[1]),
        (rows_of(numbered[3:4], numbered[3:4], 15)[0], numbered[3]),
    ]
    assert adopt(writer, tally, found) == 3
    kept = writer.execute("SELECT row, topic FROM message").fetchall()
    assert kept == [(10, "sighting"), (11, "health"), (12, "sighting"), (15, "sighting")]
    counted = OutboxCounts(writer)
    assert (tally.waiting, tally.bytes, tally.next_row, tally.next_seq) == (
        counted.waiting,
        counted.bytes,
        16,
        9,
    )
    assert tally.hours == counted.hours
    writer.close()
    reader.close()
