"""A damaged outbox: what can still be read goes on, in order, and the rest is counted."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from samples import drain, health, sighting
from there import there

from edge.errors import OutboxDamagedError, OutboxError
from edge.messages.base import new_id
from edge.messages.health import Health
from edge.messages.sighting import Evidence, Sighting
from edge.outbox import sql as outbox_schema
from edge.outbox.counts import OutboxCounts
from edge.outbox.outbox import Outbox
from edge.outbox.rows import OVERHEAD_BYTES, Row
from edge.outbox.salvage import salvage
from edge.outbox.sqlite_pages import Pages
from edge.outbox.sqlite_wal import damage


def waiting(outbox: Outbox) -> list[Row]:
    """All rows, oldest first."""
    return outbox.page(limit=10_000)


def spoil(path: Path, page: int) -> None:
    """Overwrite a page of a file, counted from 1, with nonsense."""
    content = bytearray(path.read_bytes())
    content[(page - 1) * 1024 : page * 1024] = os.urandom(1024)
    path.write_bytes(content)


def filled(path: Path, count: int = 200) -> list[Row]:
    """Make an outbox; give what waits in it."""
    with Outbox(path) as outbox:
        outbox.append_many([sighting() for _ in range(count)])
        return waiting(outbox)


def test_of_a_long_outbox_only_what_stood_on_a_spoilt_page_is_lost(tmp_path):
    """However many are taken over together."""
    path = tmp_path / "o.db"
    before = [row.row for row in filled(path, 2600)]
    spoil(path, 300)
    with Outbox(path) as outbox:
        after = {row.row for row in waiting(outbox)}
    gone = [row for row in before if row not in after]
    assert 0 < len(gone) <= 6
    assert gone == list(range(gone[0], gone[-1] + 1))


def test_what_was_delivered_and_comes_out_again_hides_and_adds_no_loss(tmp_path):
    """Whichever page is spoilt: of what waited so much is lost as is not there."""
    path, damaged = tmp_path / "o.db", tmp_path / "damaged.db"
    rows = [row.row for row in filled(path)]
    with Outbox(path, delete_seconds=0) as outbox:
        outbox.delete(rows[:100])
    again = lost = 0
    for page in range(2, path.stat().st_size // 1024 + 1):
        shutil.copy(path, damaged)
        spoil(damaged, page)
        fresh = tmp_path / f"fresh-{page}.db"
        connections = outbox_schema.open_database(fresh)
        told = salvage(damaged, connections[0])
        out = {row for (row,) in connections[0].execute("SELECT row FROM message")}
        for connection in connections:
            connection.close()
        gone = set(rows[100:]) - out
        assert told.lost == len(gone)
        assert {n for first, last in told.missing for n in range(first, last + 1)} <= gone
        again, lost = again + len(out & set(rows[:100])), lost + len(gone)
    assert again
    assert lost


@pytest.mark.parametrize("page", [1, 2, 3, 9])
def test_a_spoilt_page_costs_what_stood_on_it(tmp_path, page, caplog):
    """Also where it is the first page, or the root of the tree: the others are read without it."""
    path = tmp_path / "o.db"
    before = filled(path)
    spoil(path, page)
    with Outbox(path) as outbox:
        after = waiting(outbox)
        assert len(before) - len(after) <= 6
        assert after == [row for row in before if row in after]
        assert outbox.salvaged == len(after)
        assert outbox.lost == len(before) - len(after)
        assert outbox.depth().waiting == len(after)
        assert outbox.append(sighting()) > 200
        assert waiting(outbox)[-1].row > before[-1].row
    assert f"{len(after)} messages were saved, {len(before) - len(after)} are lost" in caplog.text
    assert any("damaged" in one.name for one in tmp_path.iterdir())


def test_the_numbers_that_are_lost_are_named(tmp_path, caplog):
    """The log says which sightings a subscriber will miss."""
    path = tmp_path / "o.db"
    before = filled(path)
    spoil(path, 20)
    with Outbox(path) as outbox:
        there = {row.row for row in waiting(outbox)}
    gone = [row.row for row in before if row.row not in there]
    assert gone
    assert f"numbers {gone[0]} to {gone[-1]}" in caplog.text


def test_damage_in_the_log_is_noticed_before_sqlite_forgets_what_is_behind_it(tmp_path):
    """SQLite would read up to there and give numbers out again; nothing but the page is lost."""
    path, live = tmp_path / "o.db", tmp_path / "live"
    live.mkdir()
    with Outbox(live / "o.db") as outbox:
        for _ in range(20):
            outbox.append_many([sighting() for _ in range(10)])
        before = waiting(outbox)
        for suffix in ("", "-wal"):
            shutil.copy(live / f"o.db{suffix}", f"{path}{suffix}")
    assert damage(path) is None
    log = Path(f"{path}-wal")
    content = bytearray(log.read_bytes())
    content[len(content) // 3] ^= 1
    log.write_bytes(content)
    assert "cannot be used" in there(damage(path))
    with Outbox(path) as outbox:
        assert len(waiting(outbox)) >= len(before) - 6
        assert outbox.append(sighting()) > 200


def test_a_page_number_that_cannot_be_is_not_counted_up_to(tmp_path):
    """A frame that claims to be page four billion costs itself, and no hours at the start."""
    path, live = tmp_path / "o.db", tmp_path / "live"
    live.mkdir()
    with Outbox(live / "o.db") as outbox:
        outbox.append_many([sighting() for _ in range(200)])
        before = waiting(outbox)
        for suffix in ("", "-wal"):
            shutil.copy(live / f"o.db{suffix}", f"{path}{suffix}")
    log = Path(f"{path}-wal")
    content = bytearray(log.read_bytes())
    frame = 32 + 10 * (24 + 4096)
    content[frame : frame + 4] = b"\xff\xff\xff\xf0"
    log.write_bytes(content)
    pages = Pages(path)
    assert pages.count < 1_000
    pages.close()
    with Outbox(path) as outbox:
        assert len(waiting(outbox)) >= len(before) - 6


def test_a_log_that_ends_in_the_middle_of_a_write_is_no_damage(tmp_path):
    """A power cut leaves a piece of a transaction that was never committed."""
    path, live = tmp_path / "o.db", tmp_path / "live"
    live.mkdir()
    with Outbox(live / "o.db") as outbox:
        outbox.append_many([sighting() for _ in range(50)])
        for suffix in ("", "-wal"):
            shutil.copy(live / f"o.db{suffix}", f"{path}{suffix}")
    with Path(f"{path}-wal").open("ab") as log:
        log.write(os.urandom(6000))
    with Outbox(path) as outbox:
        assert drain(outbox) == list(range(1, 51))
    assert not any("damaged" in one.name for one in tmp_path.iterdir())


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.sampled_from(["sighting", "many", "picture", "large", "health", "deliver", "close"]),
        max_size=25,
    )
)
def test_from_a_sound_file_everything_is_salvaged_as_sqlite_reads_it(tmp_path_factory, history):
    """Page by page gives the same rows as SQL, whatever was deleted, reused or still in the log."""
    path = tmp_path_factory.mktemp("salvage") / "o.db"
    outbox = Outbox(path)
    large = Evidence(id=new_id(), time=sighting().time, jpeg=b"\xff\xd8" + os.urandom(30_000))
    small = Evidence(id=new_id(), time=large.time, jpeg=b"\xff\xd8" + bytes(900))
    for action in history:
        if action == "close":
            outbox.close()
            outbox = Outbox(path)
        elif action == "deliver":
            rows = waiting(outbox)
            outbox.delete(row.row for row in rows[: len(rows) * 2 // 3])
        else:
            batches: dict[str, list[Sighting | Evidence | Health]] = {
                "sighting": [sighting()],
                "many": [sighting() for _ in range(60)],
                "picture": [sighting(), small],
                "large": [sighting(), large],
                "health": [health()],
            }
            outbox.append_many(batches[action])
    with outbox:
        outbox.close()
        connections = outbox_schema.open_database(path.with_name("new.db"))
        found = salvage(path, connections[0])
        copied = connections[0].execute(outbox_schema.PAGE, (0, 10_000)).fetchall()
        hours = connections[0].execute("SELECT * FROM hour").fetchall()
        total = connections[0].execute("SELECT * FROM total").fetchone()
        for connection in connections:
            connection.close()
        theirs = sqlite3.connect(path)
        assert copied == theirs.execute(outbox_schema.PAGE, (0, 10_000)).fetchall()
        assert hours == theirs.execute("SELECT * FROM hour").fetchall()
        assert total == theirs.execute("SELECT * FROM total").fetchone()
        theirs.close()
    assert (found.saved, found.lost, found.missing) == (len(copied), 0, ())


def test_a_file_that_breaks_while_running_goes_on_under_the_same_rows(tmp_path, connections):
    """An acknowledgement that was under way deletes what it was for, and nothing newer."""
    path = tmp_path / "o.db"
    with Outbox(path) as outbox:
        outbox.append_many([sighting() for _ in range(200)])
        flying = [row.row for row in waiting(outbox)[:20]]
        connections.writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connections.writer.execute("PRAGMA shrink_memory")
        spoil(path, 2)
        spoil(path, 20)
        with pytest.raises(OutboxError, match="damaged"):
            outbox.append_many([sighting() for _ in range(300)])
        outbox.append(sighting())
        there = [row.row for row in waiting(outbox)]
        outbox.delete(flying)
        assert [row.row for row in waiting(outbox)] == [r for r in there if r not in flying]
        assert there[-1] > 200


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_power_cut_while_a_damaged_file_is_replaced_loses_nothing(tmp_path, when):
    """Before the old name is free the work is done anew; after, the new file takes it."""
    path, fresh = tmp_path / "o.db", tmp_path / "o.db.salvaged"
    before = filled(path)
    spoil(path, 9)
    if when == "before":
        fresh.write_bytes(b"half of it")
    else:
        shutil.copy(path, tmp_path / "copy.db")
        with Outbox(path) as outbox:
            outbox.depth()
        os.replace(path, fresh)
        Path(f"{path}-wal").write_bytes(b"the old file's log")
    with Outbox(path) as outbox:
        assert len(waiting(outbox)) >= len(before) - 6
    assert not fresh.exists()


def test_without_room_for_a_new_file_the_damaged_one_is_kept(tmp_path, monkeypatch, caplog):
    """The device goes on, and says where the messages are that it could not save."""
    path = tmp_path / "o.db"
    filled(path)
    spoil(path, 9)

    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(outbox_schema, "count_hours", full)
    with Outbox(path) as outbox:
        assert outbox.append(sighting()) > 200
    assert "could not be saved (database or disk is full)" in caplog.text
    assert any("damaged" in one.name for one in tmp_path.iterdir())


@pytest.mark.parametrize(
    "value",
    [
        "kind = -12",
        "topic = CAST(x'ff' AS TEXT)",
        "topic = x'00'",
        "payload = 'text'",
        "time_ms = 'never'",
        "bytes = bytes + 1",
    ],
)
def test_a_row_that_sqlite_finds_sound_but_is_no_message_costs_itself(tmp_path, value):
    """Its check looks at pages, not at values; the rest goes on in a new file, in order."""
    path = tmp_path / "o.db"
    before = filled(path)
    spoilt = before[20].row
    with sqlite3.connect(path) as db:
        db.execute(f"UPDATE message SET {value} WHERE row = {spoilt}")
    db.close()
    with Outbox(path) as outbox:
        with pytest.raises(OutboxError, match="damaged"):
            waiting(outbox)
        assert waiting(outbox) == [row for row in before if row.row != spoilt]
        assert outbox.lost == 1
        assert outbox.append(sighting()) > 200


@pytest.mark.parametrize(
    "change",
    ["UPDATE total SET waiting = 'many'", "DELETE FROM total", "UPDATE total SET next_seq = NULL"],
)
def test_totals_that_are_no_numbers_are_damage(tmp_path, change):
    """Nothing is lost with them: all messages are there, and numbering goes on above them."""
    path = tmp_path / "o.db"
    before = filled(path)
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA ignore_check_constraints = ON")
        with contextlib.suppress(sqlite3.IntegrityError):
            db.execute(change)
    db.close()
    with Outbox(path) as outbox:
        assert waiting(outbox) == before
        assert outbox.append(sighting()) > 200


NESTED = b'{"x":' + b"[" * 100_000


def test_a_message_that_is_nested_without_end_keeps_no_other_from_being_saved(tmp_path):
    """What no parser reads is no message."""
    path = tmp_path / "o.db"
    before = filled(path)
    with sqlite3.connect(path) as db:
        change = "UPDATE message SET payload = ?, bytes = ? WHERE row = ?"
        db.execute(change, (NESTED, len(NESTED) + OVERHEAD_BYTES, before[7].row))
        db.execute("UPDATE message SET topic = x'00' WHERE row = ?", (before[9].row,))
    db.close()
    with Outbox(path) as outbox:
        with pytest.raises(OutboxError, match="damaged"):
            waiting(outbox)
        assert waiting(outbox) == [*before[:7], before[8], *before[10:]]


@pytest.mark.parametrize("payload", [b"{", b"\xff", "text", None, 5, NESTED])
def test_a_life_that_cannot_be_read_keeps_no_device_from_starting(tmp_path, payload):
    """It is left out; so is a count per hour of nothing."""
    path = tmp_path / "o.db"
    filled(path)
    with sqlite3.connect(path) as db:
        db.execute("INSERT INTO life VALUES ('x', 1, ?)", (payload,))
        db.execute("INSERT INTO hour SELECT max(hour), x'00', 'some' FROM hour")
    db.close()
    with Outbox(path) as outbox:
        assert [life.seq for life in outbox.lives()] == [200]
        (hour,) = outbox.hours(sighting().time)
        assert list(hour.labels.values()) == [200]


def test_rows_that_a_damaged_tree_gives_twice_are_not_counted_twice(tmp_path):
    """They are damage, found when the file is opened: the count of what waits is to be right."""
    path = tmp_path / "o.db"
    filled(path, 3)
    db = sqlite3.connect(path)
    db.execute("UPDATE total SET next_row = 1, waiting = 0")
    db.execute("CREATE TABLE heap AS SELECT * FROM message UNION ALL SELECT * FROM message")
    db.execute("DROP TABLE message")
    db.execute("ALTER TABLE heap RENAME TO message")
    with pytest.raises(OutboxDamagedError, match="twice"):
        OutboxCounts(db)
    db.close()
