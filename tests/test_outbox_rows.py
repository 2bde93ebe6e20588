"""How messages lie in the outbox, what is no message, and what is counted of them."""

from __future__ import annotations

import contextlib
import sqlite3
import zlib
from collections.abc import Iterator
from pathlib import Path
from random import Random

import msgspec
import pytest
from samples import health, image, sighting, stored

from edge.errors import OutboxDamagedError, UnwritableError
from edge.messages.sighting import Sighting
from edge.outbox import compression as outbox_payload
from edge.outbox import sql as outbox_schema
from edge.outbox.compression import pack, unpack
from edge.outbox.counts import HourCounts, OutboxCounts, merged
from edge.outbox.outbox import Outbox
from edge.outbox.rows import OVERHEAD_BYTES, Kind, Row, read_rows, rows_of

HOUR = 3_600_000
"""Milliseconds."""


def phase(of: str, event: str, seq: int = 0) -> Sighting:
    """Make a message of a life."""
    return msgspec.structs.replace(sighting(), phase=of, event=event, seq=seq)


@contextlib.contextmanager
def database(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a new one."""
    with contextlib.ExitStack() as stack:
        writer, _ = (
            stack.enter_context(contextlib.closing(one))
            for one in outbox_schema.open_database(path)
        )
        yield writer


def insert(db: sqlite3.Connection, messages: list[Sighting], first: int) -> None:
    """Write messages as an append does."""
    outbox_schema.insert(db, rows_of(messages, messages, first))


def test_what_is_stored_is_told_by_its_first_byte_and_its_checksum():
    """One for the first dictionary; the bytes between are deflated, and nothing but that."""
    payload = b'{"schema":1,"device":"cam-7"}'
    packed = pack(payload)
    inflate = zlib.decompressobj(-15, zdict=outbox_payload.DICTIONARY)
    assert packed[0] == 1
    assert inflate.decompress(packed[1:-4]) == payload
    assert inflate.eof
    assert inflate.unused_data == b""
    assert packed[-4:] == zlib.adler32(payload).to_bytes(4, "big")
    assert unpack(packed) == unpack(payload) == payload


def test_what_a_long_message_says_twice_is_stored_once():
    """Up to the 32 KiB that deflating looks back."""
    words = Random(1).randbytes(14_000).hex().encode()
    assert len(pack(words + words)) < 1.1 * len(pack(words))
    assert unpack(pack(words + words)) == words + words


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda packed: b"\2" + packed[1:], "begins with"),
        (lambda _: b"", "begins with"),
        (lambda packed: packed[:1] + b"\xff" * 9 + packed[-4:], "cannot be inflated"),
        (lambda packed: packed[:-1] + bytes((packed[-1] ^ 1,)), "another checksum"),
    ],
)
def test_bytes_that_are_no_message_are_damage(spoil, told):
    """Each kind of it is told."""
    with pytest.raises(OutboxDamagedError, match=told):
        unpack(spoil(pack(b'{"schema":1}')))


@pytest.mark.parametrize(
    ("at", "value"),
    [(1, 3), (2, 7), (3, "text"), (4, None), (5, OVERHEAD_BYTES), (3, b"\2" + bytes(6))],
)
def test_a_row_with_any_value_that_cannot_be_is_damage(tmp_path, at, value):
    """Kind, topic, payload, time, size; the error names file and row."""
    payload = pack(b"{}")
    good = (7, 2, "sighting", payload, 1000, len(payload) + OVERHEAD_BYTES)
    assert read_rows([good], tmp_path) == [Row(7, Kind.SIGHTING, "sighting", b"{}", 1000)]
    bad: list[object] = list(good)
    bad[at] = value
    if isinstance(value, bytes):
        bad[5] = len(value) + OVERHEAD_BYTES
    with pytest.raises(OutboxDamagedError, match=rf"the outbox {tmp_path} is damaged \(row 7"):
        read_rows([tuple(bad)], tmp_path)


def test_a_row_that_is_appended_again_is_as_it_was(tmp_path):
    """A released dead letter: its payload, its number, its time; and it counts as what it is."""
    with Outbox(tmp_path / "o.db") as outbox:
        outbox.append_many([sighting(), image(), health()])
        rows = outbox.page()
        outbox.delete(row.row for row in rows)
        outbox.append_many(rows)
        again = outbox.page()
        assert [msgspec.structs.replace(row, row=row.row - 3) for row in again] == rows
        assert outbox.depth().bytes == stored(again)
    with Outbox(tmp_path / "o.db") as outbox:
        assert outbox.page() == again


def test_a_picture_whose_topic_cannot_be_written_is_named(tmp_path):
    """Half a character in its name; what was handed in with it can be tried without it."""
    bad = msgspec.structs.replace(image(), id="a\udcff")
    with Outbox(tmp_path / "o.db") as outbox:
        with pytest.raises(UnwritableError) as raised:
            outbox.append_many([sighting(), bad])
        assert raised.value.message is bad
        assert outbox.append(sighting()) == 1


@pytest.mark.parametrize("column", ["time_ms", "bytes"])
def test_a_row_that_cannot_be_counted_is_damage(tmp_path, column):
    """It is found by whoever counts what was appended since the totals were written."""
    with database(tmp_path / "o.db") as db:
        insert(db, [sighting()], 1)
        assert OutboxCounts(db).waiting == 1
        db.execute(f"UPDATE message SET {column} = 'text'")
        with pytest.raises(OutboxDamagedError, match="row 1 is not a message"):
            OutboxCounts(db)


def test_totals_are_written_for_every_thousand_messages(tmp_path, connections):
    """So many at most are counted anew at a start; an append alone writes none."""
    with Outbox(tmp_path / "o.db") as outbox:

        def written() -> int:
            outbox.tidy()
            return connections.reader.execute("SELECT waiting FROM total").fetchone()[0]

        for before in (0, 1000):
            outbox.append_many([health()] * 999)
            assert written() == before
            outbox.append(health())
            assert written() == before + 1000


def test_a_tally_that_follows_another_gives_nothing_out_again(tmp_path):
    """Numbers, rows and lives go on in a new file, and are written to it."""
    with database(tmp_path / "old.db") as db:
        insert(db, [phase("begin", "a", 7), phase("begin", "b", 8)], 40)
        before = OutboxCounts(db)
    with database(tmp_path / "new.db") as db:
        tally = OutboxCounts(db)
        tally.follow(before)
        assert (tally.next_seq, tally.next_row) == (9, 42)
        assert [life.event for life in tally.lives()] == ["a", "b"]
        tally.write(db)
        again = OutboxCounts(db)
        assert (again.next_seq, again.next_row, again.lives()) == (9, 42, before.lives())
        db.execute("UPDATE total SET next_seq = 100, next_row = 200")
        ahead = OutboxCounts(db)
        ahead.follow(before)
        assert (ahead.next_seq, ahead.next_row) == (100, 200)


def test_a_tally_that_resumes_another_of_the_same_file_loses_no_life(tmp_path):
    """What the one before had yet to write is written; what ended meanwhile does not live on."""
    with database(tmp_path / "o.db") as db:
        insert(db, [phase("begin", "a", 1), phase("begin", "b", 2), phase("begin", "c", 3)], 1)
        before = OutboxCounts(db)
        before.write(db)
        before.written()
        db.execute("DELETE FROM life WHERE event <> 'a'")  # as after a file that was damaged
        db.execute("UPDATE total SET next_seq = 1, next_row = 1")
        db.execute("DELETE FROM message")
        newer = phase("update", "a", 4)
        insert(db, [newer], 1)
        tally = OutboxCounts(db)
        tally.resume(before, {"c"})
        assert (tally.next_seq, tally.next_row) == (5, 4)
        assert [(life.event, life.seq) for life in tally.lives()] == [("a", 4), ("b", 2)]
        tally.write(db)
        assert OutboxCounts(db).lives() == tally.lives()
        db.execute("UPDATE total SET next_seq = 100, next_row = 200")
        ahead = OutboxCounts(db)
        ahead.resume(before, ())
        assert (ahead.next_seq, ahead.next_row) == (100, 200)


def test_only_the_newest_message_of_a_life_is_restated(tmp_path):
    """Not by one that is older, not of a life that ended; it keeps its place, also on disk."""
    with Outbox(tmp_path / "o.db") as outbox:
        outbox.append_many([phase("begin", "a"), phase("begin", "b"), phase("update", "a")])
        old, other = outbox.lives()
        right = msgspec.structs.replace(old, clock="retimed")
        older = msgspec.structs.replace(other, seq=1, clock="retimed")
        outbox.rewrite((), [right, older, phase("update", "gone", 3)])
        assert outbox.lives() == (right, other)
    with Outbox(tmp_path / "o.db") as outbox:
        assert outbox.lives() == (right, other)


def test_what_is_on_disk_is_not_written_again(tmp_path):
    """A card wears by it: of what stayed as it was the totals alone."""
    with database(tmp_path / "o.db") as db:
        tally = OutboxCounts(db)
        tally.add(1, 100, 0, phase("begin", "a", 1))
        tally.write(db)
        tally.written()
        before = db.total_changes
        tally.write(db)
        assert db.total_changes == before + 1


def test_hours_of_which_nothing_is_left_are_not_given():
    """Their sightings were given another time; what lies outside does not count."""
    counts = HourCounts({(1, "a"): -1, (2, "b"): 1, (9, "b"): 1})
    assert merged([(1, "a", 1), (2, "b", 2)], counts, range(3)) == {2: {"b": 3}}
