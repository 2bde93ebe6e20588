"""The outbox's file in use: what is due, what is damaged, what is opened again."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from pathlib import Path
from typing import NoReturn

import pytest
from connections import Connections
from open_files import open_files
from samples import drain, sighting

from edge.errors import OutboxDamagedError, OutboxError, OutboxFullError
from edge.outbox import file as outbox_file
from edge.outbox import repair
from edge.outbox.outbox import Outbox


def in_file(connections: Connections) -> int:
    """Count the rows that the file holds, delivered or not."""
    return connections.reader.execute("SELECT count(*) FROM message").fetchone()[0]


def filled(path: Path, count: int) -> None:
    """Make an outbox of so many sightings."""
    with Outbox(path) as outbox:
        outbox.append_many([sighting() for _ in range(count)])


def change(path: Path, statement: str) -> None:
    """Change the file of an outbox that is closed."""
    db = sqlite3.connect(path)
    with db:
        db.execute(statement)
    db.close()


def test_five_hundred_that_were_delivered_are_deleted(tmp_path, connections):
    """One fewer waits for its time."""
    with Outbox(tmp_path / "o.db") as outbox:
        outbox.append_many([sighting() for _ in range(600)])
        outbox.delete(range(1, 500))
        assert in_file(connections) == 600
        outbox.delete([500])
        assert in_file(connections) == 100


def test_what_was_delivered_first_says_when_all_is_deleted(tmp_path, monkeypatch, connections):
    """After its time, however much comes meanwhile."""
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with Outbox(tmp_path / "o.db") as outbox:
        outbox.append_many([sighting() for _ in range(5)])
        outbox.delete([1])
        now += 4
        outbox.delete([2])
        outbox.delete([2])
        now += 0.5
        outbox.tidy()
        assert in_file(connections) == 5
        now += 0.5
        outbox.tidy()
        assert in_file(connections) == 3
        now += 100
        outbox.delete([3])
        assert in_file(connections) == 3


def test_soon_after_a_start_less_time_is_gathered(tmp_path, monkeypatch, connections):
    """From 5 s on the wait doubles: a device that is cut off again and again does not send for ever
    what was delivered long ago.
    """
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)

    def waits(outbox: Outbox) -> list[float]:
        nonlocal now
        found = []
        for _ in range(6):
            outbox.delete([outbox.append(sighting())])
            began, now = now, now + 1
            while in_file(connections):
                now += 1
                outbox.tidy()
            found.append(now - began)
        return found

    with Outbox(tmp_path / "o.db") as outbox:
        assert waits(outbox) == [5, 10, 20, 40, 60, 60]
    with Outbox(tmp_path / "o.db") as outbox:
        assert waits(outbox) == [5, 10, 20, 40, 60, 60]
    with Outbox(tmp_path / "o.db", delete_seconds=7) as outbox:
        assert waits(outbox) == [5, 7, 7, 7, 7, 7]


def no_rollback(action: int, what: str | None, *_: object) -> int:
    """Refuse to end a transaction, either way."""
    ends = action == sqlite3.SQLITE_TRANSACTION and what in ("COMMIT", "ROLLBACK")
    return sqlite3.SQLITE_DENY if ends else sqlite3.SQLITE_OK


def test_a_transaction_that_could_not_be_ended_is_undone_first(tmp_path, connections):
    """There was no memory for it; nobody else could write."""
    with Outbox(tmp_path / "o.db") as outbox:
        outbox.append(sighting())
        connections.writer.set_authorizer(no_rollback)
        with pytest.raises(OutboxError):
            outbox.append(sighting())
        assert connections.writer.in_transaction
        connections.writer.set_authorizer(None)
        assert outbox.append(sighting()) == 2
        assert drain(outbox) == [1, 2]


def test_a_commit_that_fails_is_undone_at_once(tmp_path, connections):
    """And nothing of the room that is kept is used for it, as the disk is not full."""
    with Outbox(tmp_path / "o.db", delete_seconds=0) as outbox:
        outbox.append_many([sighting() for _ in range(3)])
        for db, work in (
            (connections.writer, lambda: outbox.append(sighting())),
            (connections.reader, lambda: outbox.delete([1])),
        ):
            db.execute("PRAGMA query_only = 1")
            with pytest.raises(OutboxError, match="writable"):
                work()
            assert not db.in_transaction
            db.execute("PRAGMA query_only = 0")
        assert (tmp_path / "o.db.room").exists()
        assert drain(outbox) == [2, 3]
        assert in_file(connections) == 0


def no_room(*_: object) -> NoReturn:
    """Refuse as a full disk does."""
    raise OutboxFullError("no room")


def test_a_file_that_is_opened_again_counts_what_was_delivered_as_gone(
    tmp_path, connections, monkeypatch
):
    """As after a replacement for which there was no room."""
    with Outbox(tmp_path / "o.db") as outbox:
        outbox.append_many([sighting() for _ in range(5)])
        before = outbox.depth()
        outbox.delete([1, 2, 4])
        left = outbox.depth()
        whole = connections.writer.execute("SELECT payload FROM message WHERE row = 3").fetchone()
        with monkeypatch.context() as patch:
            patch.setattr(outbox_file, "replace", no_room)
            connections.writer.execute("UPDATE message SET payload = x'02' WHERE row = 3")
            with pytest.raises(OutboxFullError):
                outbox.page()
        assert outbox.page() == []
        with contextlib.closing(sqlite3.connect(outbox.path)) as db, db:
            db.execute("UPDATE message SET payload = ? WHERE row = 3", whole)
        assert outbox.tidy()
        assert outbox.depth() == left
        assert outbox.depth().waiting == before.waiting - 3
        assert drain(outbox) == [3, 5]


def test_whatever_lies_where_the_file_belongs_it_is_opened(tmp_path):
    """A folder is put aside; a file that was made of a damaged one takes its place."""
    path = tmp_path / "o.db"
    path.mkdir()
    with Outbox(path) as outbox:
        outbox.append_many([sighting() for _ in range(3)])
    path.rename(tmp_path / "o.db.salvaged")
    with Outbox(path) as outbox:
        assert drain(outbox) == [1, 2, 3]
    assert [one.name for one in tmp_path.iterdir() if one.is_dir()] == ["o.db.aside-1"]


def test_what_is_adopted_from_behind_a_gap_waits_for_the_disk(tmp_path, monkeypatch):
    """The log it stood in is written over."""
    seen: list[int] = []

    def adopt(db, *more, real=repair.adopt):
        seen.append(db.execute("PRAGMA synchronous").fetchone()[0])
        return real(db, *more)

    monkeypatch.setattr(outbox_file, "adopt", adopt)
    filled(tmp_path / "o.db", 1)
    assert seen == [2]


@pytest.mark.parametrize(
    ("statement", "lost"),
    [
        ("UPDATE total SET waiting = 'x'", []),
        ("UPDATE message SET time_ms = 'x' WHERE row = 9", [9]),
        ("UPDATE message SET bytes = 'x' WHERE row >= 9", [9, 10]),
    ],
)
def test_damage_found_at_a_start_costs_what_is_damaged(tmp_path, statement, lost):
    """It is counted; no number is said to be left out, as it may be one that was lost."""
    path = tmp_path / "o.db"
    filled(path, 10)
    change(path, "UPDATE total SET next_row = 1, waiting = 0, bytes = 0, next_seq = 1")
    change(path, statement)
    path.with_name("o.db.seq").write_text("below 300")
    before = open_files()
    with Outbox(path) as outbox:
        assert outbox.salvaged == 10 - len(lost)
        assert outbox.append(sighting()) == 300
        (new,) = (row for row in outbox.page() if b'"seq":300,' in row.payload)
        assert json.loads(new.payload)["skipped"] == 0
        assert drain(outbox) == [one for one in range(1, 11) if one not in lost] + [300]
    assert open_files() <= before


def test_damage_found_while_running_is_told_once_and_counted(tmp_path, connections):
    """Twice over, too: what was delivered is neither lost nor given again."""
    with Outbox(tmp_path / "o.db") as outbox:
        outbox.append_many([sighting() for _ in range(10)])
        outbox.delete([1, 2])
        for lost, row in ((1, 5), (2, 7)):
            connections.writer.execute(f"UPDATE message SET payload = x'02' WHERE row = {row}")
            connections.writer.execute(f"UPDATE message SET bytes = 101 WHERE row = {row}")
            with pytest.raises(OutboxDamagedError, match=f"row {row}: a message begins with"):
                outbox.page()
            assert outbox.lost == lost
            assert outbox.depth().waiting == 8 - lost
        assert outbox.salvaged == 7 + 6
        assert drain(outbox) == [3, 4, 6, 8, 9, 10]


def test_an_outbox_written_anew_has_all_its_files_and_no_more_open(tmp_path, connections):
    """Its numbers and the room that is kept lie beside it again."""
    folder = tmp_path / "state"
    with Outbox(folder / "o.db") as outbox:
        outbox.append_many([sighting() for _ in range(5)])
        outbox.delete([1, 2])
        opened = open_files()
        for one in folder.iterdir():
            one.unlink()
        assert outbox.append(sighting()) == 6
        assert in_file(connections) == 4
        assert {one.name for one in folder.iterdir()} == {
            *("o.db", "o.db-wal", "o.db.seq", "o.db.room"),
        }
        assert open_files() <= opened
