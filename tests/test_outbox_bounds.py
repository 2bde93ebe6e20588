"""What the outbox gives, keeps, drops and counts, to the last of its bounds."""

from __future__ import annotations

import os
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from samples import drain, health, image, sighting, stored

from edge.errors import OutboxError
from edge.messages.health import Health
from edge.messages.sighting import Evidence, Sighting
from edge.outbox.append_attempt import Attempt
from edge.outbox.outbox import Depth, Outbox
from edge.outbox.rows import Kind, Row, rows_of
from edge.outbox.sequence_numbers import LOST_WRITES
from edge.outbox.sql import open_database

NOW = datetime(2026, 6, 1, 12, 30, tzinfo=UTC)


def numbers(rows: list[Row]) -> list[int]:
    """The rows' numbers."""
    return [row.row for row in rows]


def single(label: str, time: datetime = NOW) -> Sighting:
    """Make a message of no life."""
    return msgspec.structs.replace(sighting(label, time), phase="single")


def test_pages_begin_and_end_where_they_are_asked_to(tmp_path):
    """A hundred at once; what was delivered and is still in the file takes no place in them."""
    with Outbox(tmp_path / "o.db") as outbox:
        outbox.append_many([health()] * 150)
        assert numbers(outbox.page()) == list(range(1, 101))
        assert numbers(outbox.newest()) == list(range(150, 50, -1))
        assert numbers(outbox.newest(limit=150))[-1] == 1
        assert outbox.page(limit=0) == outbox.newest(limit=0) == []
        assert numbers(outbox.page(148, 2)) == [149, 150]
        assert numbers(outbox.newest(1, 4, 9)) == [3, 2]
        outbox.delete([1, 2, 3, 5, 148, 149, 150])
        assert numbers(outbox.page(limit=3)) == [4, 6, 7]
        assert numbers(outbox.newest(limit=3)) == [147, 146, 145]
        assert numbers(outbox.newest(limit=200)) == [*range(147, 5, -1), 4]


def test_a_closed_outbox_says_so_and_does_nothing(tmp_path):
    """Twice is fine."""
    outbox = Outbox(tmp_path / "o.db")
    outbox.append_many([single("a")])
    (row,) = outbox.page()
    outbox.close()
    for work in (lambda: outbox.append(single("b")), lambda: outbox.rewrite([(row, single("c"))])):
        with pytest.raises(OutboxError, match=r"o\.db is closed"):
            work()
    assert outbox.tidy() is False
    assert outbox.page() == []
    assert outbox.hours(NOW) == ()
    assert outbox.delete([1]) == 0
    outbox.close()
    with Outbox(tmp_path / "o.db") as again:
        assert numbers(again.page()) == [1]


@pytest.mark.parametrize("delete_seconds", [0, 60])
def test_an_append_writes_its_rows_and_nothing_else(tmp_path, delete_seconds, connections):
    """Whatever was done before it, as long as nothing failed."""
    with Outbox(tmp_path / "new.db") as outbox:
        done: list[str] = []
        connections.writer.set_trace_callback(done.append)
        connections.reader.set_trace_callback(done.append)
        outbox.append(single("a"))
        assert [one.split()[0] for one in done] == ["BEGIN", "INSERT", "COMMIT"]
    with Outbox(tmp_path / "o.db", delete_seconds=delete_seconds) as outbox:
        outbox.append_many([single("a") for _ in range(9)])
        row = outbox.page()[0]
        for before in (
            lambda: outbox.append(single("b")),
            lambda: outbox.rewrite([(row, single("c"))]),
            lambda: outbox.delete([3]),
            outbox.tidy,
        ):
            before()
            done.clear()
            connections.writer.set_trace_callback(done.append)
            connections.reader.set_trace_callback(done.append)
            outbox.append_many([single("d"), image()])
            connections.writer.set_trace_callback(None)
            connections.reader.set_trace_callback(None)
            assert [one.split()[0] for one in done] == ["BEGIN", "INSERT", "INSERT", "COMMIT"]


def test_the_file_of_numbers_costs_little(tmp_path, monkeypatch):
    """It is written over once; then each commit counts as a write that came after it."""
    synced: list[int] = []
    with Outbox(tmp_path / "o.db") as outbox:
        monkeypatch.setattr(os, "fdatasync", synced.append)
        for _ in range(60):
            outbox.append_many([single("a") for _ in range(20)])
        assert outbox.appended == 1200
    assert len(synced) == LOST_WRITES


def test_the_same_message_twice_is_two_messages(tmp_path):
    """Only of an append that failed is it known what it wrote."""
    one = single("a")
    with Outbox(tmp_path / "o.db") as outbox:
        assert outbox.append_many([one, one]) == [1, 2]
        assert outbox.append_many([one, one]) == [3, 4]
        assert drain(outbox) == [1, 2, 3, 4]


@pytest.mark.parametrize("written", ["in memory", "on disk"])
def test_hours_are_the_last_twenty_four(tmp_path, written):
    """Neither the one before them nor the one to come; by the hour in which they began."""
    outbox = Outbox(tmp_path / "o.db")
    for hours in (-1, 0, 23, 24):
        outbox.append(single("a", NOW - timedelta(hours=hours)))
    if written == "on disk":
        outbox.close()
        outbox = Outbox(tmp_path / "o.db")
    found = outbox.hours(NOW)
    hour = NOW.replace(minute=0)
    assert [one.hour for one in found] == [hour - timedelta(hours=23), hour]
    outbox.close()


def test_what_is_rewritten_counts_as_what_it_became(tmp_path):
    """Rows that are gone are left out, what was delivered stays so, hours and bytes go along."""
    later = NOW + timedelta(hours=2)
    with Outbox(tmp_path / "o.db") as outbox:
        outbox.append_many([single("a"), single("a"), single("a"), health()])
        one, two, three, four = outbox.page()
        assert outbox.rewrite([]) == 0
        assert outbox.edition == 0
        outbox.delete([1])
        new = msgspec.structs.replace(health(), time=later, clock="retimed")
        long = msgspec.structs.replace(single("a", later), id="longer than it was before")
        changes: list[tuple[Row, Sighting | Health]] = [
            (one, single("a", later)),
            (two, long),
            (four, new),
        ]
        assert outbox.rewrite(changes) == 2
        assert outbox.edition == 1
        assert outbox.rewrite([(three, single("a", later))]) == 1
        assert outbox.edition == 2
        assert outbox.rewrite([(one, single("a", later))]) == 0
        assert outbox.edition == 2
        rows = outbox.page()
        assert numbers(rows) == [2, 3, 4]
        assert {row.time_ms for row in rows} == {int(later.timestamp() * 1000)}
        assert outbox.depth() == Depth(3, stored(rows))
        told = [one.labels for one in outbox.hours(later)]
    assert told == [{"a": 1}, {"a": 2}]
    with Outbox(tmp_path / "o.db") as outbox:
        assert outbox.depth() == Depth(3, stored(rows))
        assert [one.labels for one in outbox.hours(later)] == told


def test_a_full_outbox_drops_no_more_than_it_must(tmp_path):
    """To the byte; what was delivered neither counts nor comes back; a kill changes nothing."""
    path = tmp_path / "o.db"
    with Outbox(path, max_bytes=3_000) as outbox:  # three pictures of 900 bytes
        outbox.append_many([image(900) for _ in range(3)])
        assert outbox.dropped[Kind.IMAGE] == 0
        outbox.append(image(900))
        assert outbox.dropped[Kind.IMAGE] == 1
        outbox.delete([2])
        assert outbox.depth() == Depth(2, 2_000)
        outbox.append_many([image(900), image(900)])
        assert outbox.dropped[Kind.IMAGE] == 2
        assert numbers(outbox.page()) == [4, 5, 6]
        assert outbox.depth() == Depth(3, 3_000)
        (tmp_path / "cut").mkdir()
        for one in tmp_path.glob("o.db*"):
            shutil.copy(one, tmp_path / "cut")
    with Outbox(tmp_path / "cut" / "o.db", max_bytes=3_000) as outbox:
        assert outbox.depth() == Depth(3, 3_000)
        assert numbers(outbox.page()) == [4, 5, 6]


def test_hours_are_counted_once_where_others_made_room(tmp_path):
    """They are written with what is dropped, and not again at the end."""
    with Outbox(tmp_path / "o.db", max_bytes=20_000) as outbox:
        outbox.append_many([image(15_000), single("a"), single("a")])
        outbox.delete([3])
        outbox.append_many([image(15_000), single("a")])
        assert outbox.dropped[Kind.IMAGE] == 1
        assert [one.labels for one in outbox.hours(NOW)] == [{"a": 3}]
    with Outbox(tmp_path / "o.db") as outbox:
        assert [one.labels for one in outbox.hours(NOW)] == [{"a": 3}]
        assert numbers(outbox.page()) == [2, 4, 5]


def test_an_outbox_without_room_for_its_file_is_empty_until_there_is_some(tmp_path):
    """Whatever is asked of it; it is opened by whoever comes by."""
    if os.geteuid() != 0:
        pytest.skip("FULL DISK ABSENT: mounting a small one needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    options = ["-t", "tmpfs", "-o", "size=8m,nr_inodes=2", "test"]
    subprocess.run(["mount", *options, disk], check=True)
    try:
        (disk / "ballast").touch()
        with Outbox(disk / "state" / "o.db") as outbox:
            assert "cannot create" in (outbox.full or "")
            with pytest.raises(OutboxError, match="cannot create"):
                outbox.append(single("a"))
            with pytest.raises(OutboxError, match="cannot create"):
                outbox.tidy()
            assert outbox.depth() == Depth(0, 0)
            assert outbox.page() == outbox.newest() == []
            assert (outbox.hours(NOW), outbox.lives()) == ((), ())
            assert outbox.delete([1]) == 0
            assert outbox.astray() is None
            subprocess.run(["mount", "-o", "remount,nr_inodes=99", disk], check=True)
            assert outbox.tidy() is True
            assert outbox.tidy() is False
            assert outbox.append(single("a")) == 1
            assert outbox.full is None
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def attempt(messages: list[Sighting | Evidence | Health | Row], first: int = 1) -> Attempt:
    """Make an attempt of messages that have their numbers."""
    count = sum(isinstance(one, Sighting) for one in messages)
    return Attempt(tuple(messages), messages, rows_of(messages, messages, first), count, None)


def test_an_attempt_knows_its_own_messages():
    """In front, all of them, in their order; others may follow."""
    a, b, c = (single(label) for label in "abc")
    tried = attempt([a, b])
    assert tried.begins([a, b])
    assert tried.begins([a, b, c])
    for others in ([], [a], [b, a], [a, c], [c, a, b], [a, single("b")]):
        assert not tried.begins(others)


def test_an_attempt_is_in_a_file_with_its_first_row(tmp_path: Path):
    """One commit writes all or nothing; an attempt of nothing is in none."""
    writer, reader = open_database(tmp_path / "o.db")
    writer.execute("INSERT INTO message VALUES (7, 2, 'sighting', x'', 0, 100)")
    writer.execute("INSERT INTO message VALUES (2, 2, 'sighting', x'', 0, 100)")
    a, b = single("a"), single("b")
    assert attempt([a], 7).is_in(writer) is True
    assert attempt([a, b], 7).is_in(writer) is True
    assert attempt([a], 8).is_in(writer) is False
    assert attempt([a, b], 6).is_in(writer) is False
    assert attempt([], 7).is_in(writer) is False
    writer.close()
    reader.close()


def test_an_attempt_knows_which_lives_it_ends():
    """Those of its ends alone."""
    lives = [msgspec.structs.replace(sighting(), phase=p, event=p) for p in ("begin", "end")]
    assert attempt([*lives, health(), image()]).ended() == {"end"}
