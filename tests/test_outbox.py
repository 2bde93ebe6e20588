"""The durable queue."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from samples import drain, health, image, sighting

from edge.errors import OutboxDamagedError, OutboxError, UnwritableError
from edge.messages.sighting import Sighting
from edge.outbox.outbox import Outbox
from edge.outbox.rows import Kind, ranges
from edge.outbox.writer import Writer
from edge.system.counters import Counters


def test_messages_come_out_in_the_order_they_went_in(tmp_path):
    """Sightings are numbered from 1; pictures and health keep their place between them."""
    with Outbox(tmp_path / "o.db") as outbox:
        seqs = outbox.append_many([sighting(), image(), sighting(), health(), sighting()])
        assert seqs == [1, 0, 2, 0, 3]
        kinds = [row.kind for row in outbox.page()]
        assert kinds == [Kind.SIGHTING, Kind.IMAGE, Kind.SIGHTING, Kind.HEALTH, Kind.SIGHTING]
        assert drain(outbox) == [1, 2, 3]
        assert outbox.depth().waiting == 0
        assert outbox.depth().bytes == 0


def test_numbers_are_never_reused(tmp_path):
    """Not after deletion, not after reopening, not when the newest went first."""
    path = tmp_path / "o.db"
    with Outbox(path) as outbox:
        outbox.append_many([sighting() for _ in range(5)])
        drain(outbox)
        last_row = 5
    with Outbox(path) as outbox:
        assert outbox.append(sighting()) == 6
        assert outbox.page()[0].row > last_row


def test_numbers_go_on_beyond_a_damaged_database(tmp_path):
    """The damaged file is kept under another name; numbers continue above all given before."""
    path = tmp_path / "o.db"
    with Outbox(path) as outbox:
        outbox.append_many([sighting() for _ in range(50)])
    data = bytearray(path.read_bytes())
    data[4096:12288] = os.urandom(8192)
    path.write_bytes(data)
    with Outbox(path) as outbox:
        assert outbox.append(sighting()) > 50
    kept = [p for p in tmp_path.iterdir() if "damaged" in p.name]
    assert bytes(data) in [p.read_bytes() for p in kept]


@pytest.mark.parametrize("content", [b"no database at all" * 100, b""])
def test_a_file_that_is_no_database_is_set_aside(tmp_path, content):
    """Rubbish is kept aside; an empty file is simply used."""
    path = tmp_path / "o.db"
    path.write_bytes(content)
    with Outbox(path) as outbox:
        assert outbox.append(sighting()) == 1
    assert any("damaged" in p.name for p in tmp_path.iterdir()) == bool(content)


def test_another_programs_database_is_refused_and_left_alone(tmp_path):
    """An outbox path that points at someone else's data is an error."""
    path = tmp_path / "theirs.db"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE precious (x)")
    db.close()
    with pytest.raises(OutboxError, match=r"another program's database; set outbox\.path"):
        Outbox(path)
    assert path.exists()


def test_a_full_outbox_drops_pictures_then_health_then_the_oldest_sightings(tmp_path):
    """The rule of what goes first, and that all of it is counted."""
    with Outbox(tmp_path / "o.db", max_bytes=100_000) as outbox:
        outbox.append_many([sighting(), image(20_000), health(), image(20_000)])
        outbox.append_many([image(59_000)])
        assert outbox.dropped[Kind.IMAGE] >= 1
        assert outbox.dropped[Kind.HEALTH] == outbox.dropped[Kind.SIGHTING] == 0
        for _ in range(600):
            outbox.append(sighting())
        left = outbox.page(limit=1000)
        assert {row.kind for row in left} == {Kind.SIGHTING}
        seqs = [json.loads(row.payload)["seq"] for row in left]
        assert seqs == list(range(602 - len(seqs), 602))
        assert outbox.dropped[Kind.IMAGE] == 3
        assert outbox.dropped[Kind.HEALTH] == 1
        assert outbox.dropped[Kind.SIGHTING] == 601 - len(seqs) > 0
        assert 90_000 < outbox.depth().bytes <= 100_000
        assert outbox.depth().waiting == len(left)
    with Outbox(tmp_path / "o.db", max_bytes=100_000) as outbox:
        assert outbox.page(limit=1000) == left
        assert outbox.depth().waiting == len(left)


def test_a_full_disk_is_an_error_that_loses_nothing(tmp_path):
    """SQLite's own "full" leaves what is there, writes nothing half, and numbers stay gapless."""
    with Outbox(tmp_path / "o.db") as outbox:
        outbox.append(sighting())
        pages = outbox._file.writer.execute("PRAGMA page_count").fetchone()[0]
        outbox._file.writer.execute(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(OutboxError, match="database or disk is full; free space on that disk"):
            outbox.append_many([image(50_000), sighting()])
        assert outbox.depth().waiting == 1
        outbox._file.writer.execute("PRAGMA max_page_count = 1000000")
        assert outbox.append_many([image(50_000), sighting()]) == [0, 2]


def test_the_writer_waits_out_a_full_disk(tmp_path):
    """What was submitted while the disk was full is on disk afterwards, in order, logged once."""
    counters, woken = Counters(), threading.Event()
    with Outbox(tmp_path / "o.db") as outbox:
        writer = Writer(outbox, woken.set, counters, commit_seconds=0, retry_max_seconds=0.05)
        pages = outbox._file.writer.execute("PRAGMA page_count").fetchone()[0]
        outbox._file.writer.execute(f"PRAGMA max_page_count = {pages + 1}")
        writer.start()
        for _ in range(20):
            assert writer.submit([image(5_000), sighting()])
        assert not writer.flush(0.3)
        assert counters.problems()[0].startswith("outbox: ")
        with outbox._lock:
            outbox._file.writer.execute("PRAGMA max_page_count = 1000000")
        assert writer.flush(5)
        writer.close()
        assert counters.problems() == ()
        assert counters.errors()["OutboxFullError"] >= 2
        assert drain(outbox) == list(range(1, 21))
        assert woken.is_set()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda one: msgspec.structs.replace(one, confidence=10**5000),
        lambda one: msgspec.structs.replace(one, time=None),
        lambda one: msgspec.structs.replace(one, label=object()),
    ],
)
def test_a_message_that_cannot_be_encoded_stops_no_other(tmp_path, spoil):
    """The outbox names it and writes nothing; the writer hands it on and writes the rest."""
    counters, handed = Counters(), []
    good, bad, other = [sighting() for _ in range(3)], spoil(sighting()), spoil(sighting())
    with Outbox(tmp_path / "o.db") as outbox:
        with pytest.raises(UnwritableError, match=f"a sighting .'{bad.id}'. cannot be") as raised:
            outbox.append_many([good[0], bad])
        assert raised.value.message is bad
        assert outbox.depth().waiting == 0
        writer = Writer(
            outbox, lambda: None, counters, 0, unwritable=lambda *both: handed.append(both)
        )
        writer.start()
        writer.submit([good[0], bad, *good[1:]])
        writer.submit([other])
        assert writer.flush(5)
        writer.close()
        assert [one is bad or one is other for one, _ in handed] == [True, True]
        assert counters.errors() == {"UnwritableError": 2}
        assert [one.partition(":")[0] for one in counters.problems()] == ["unwritable"]
        assert counters["sightings_lost"] == 2
        assert [json.loads(row.payload)["id"] for row in outbox.page()] == [o.id for o in good]
        assert drain(outbox) == [1, 2, 3]


def test_a_commit_that_takes_its_time_at_the_end_is_waited_for(tmp_path):
    """Longer than a disk that refuses is tried; so is what came meanwhile."""
    late = 0.3

    class Slow(Outbox):
        def append_many(self, messages):
            begun.set()
            time.sleep(late)  # a card that tidies itself up
            return super().append_many(messages)

    begun = threading.Event()
    with Slow(tmp_path / "o.db") as outbox:
        writer = Writer(outbox, lambda: None, Counters(), 0)
        writer.start()
        writer.submit([sighting()])
        assert begun.wait(10)
        writer.submit([sighting()])
        writer.close(timeout_seconds=late - 5.0)
        assert not writer.unwritten
        assert drain(outbox) == [1, 2]


def test_a_message_that_cannot_even_be_set_aside_stops_no_other(tmp_path, caplog):
    """A full disk, or whatever keeps it from being kept; it stands in the log."""
    counters, bad = Counters(), msgspec.structs.replace(sighting(), time=None)

    def refuse(*_):
        raise ValueError("no room")

    with Outbox(tmp_path / "o.db") as outbox:
        writer = Writer(outbox, lambda: None, counters, 0, unwritable=refuse)
        writer.start()
        writer.submit([bad, sighting()])
        assert writer.flush(5)
        writer.close()
        assert drain(outbox) == [1]
    assert "it cannot be set aside: no room" in caplog.text
    assert counters.errors() == {"UnwritableError": 1, "ValueError": 1}
    counters.crew.check()


def test_text_without_utf_8_is_counted_and_kept_in_printable_form(tmp_path):
    """A label or an event with half a character in it keeps no count from being written."""
    now = datetime(2026, 6, 1, 12, 30, tzinfo=UTC)
    odd = msgspec.structs.replace(sighting("a\udcff", now), phase="begin", event="e\udcff")
    with Outbox(tmp_path / "o.db", delete_seconds=0) as outbox:
        outbox.append(odd)
        assert drain(outbox) == [1]
    with Outbox(tmp_path / "o.db") as outbox:
        (hour,) = outbox.hours(now)
        (life,) = outbox.lives()
        assert list(hour.labels.values()) == [1]
        assert life.label == next(iter(hour.labels))
        outbox.append(msgspec.structs.replace(odd, phase="end"))
        assert outbox.lives() == ()


def test_what_was_delivered_is_deleted_together_and_never_given_again(tmp_path):
    """Not while it is still in the file, not after a good stop; the file holds it until then."""
    path = tmp_path / "o.db"

    def on_disk() -> int:
        with contextlib.closing(sqlite3.connect(path)) as db:
            return db.execute("SELECT count(*) FROM message").fetchone()[0]

    with Outbox(path) as outbox:
        outbox.append_many([sighting() for _ in range(700)])
        assert outbox.delete(range(1, 11)) == 10
        assert outbox.delete(range(5, 16)) == 5
        assert (outbox.depth().waiting, on_disk()) == (685, 700)
        assert [row.row for row in outbox.page(0, 3)] == [16, 17, 18]
        assert [row.row for row in outbox.newest(0, 18, 5)] == [17, 16]
        assert not outbox.tidy()
        assert on_disk() == 700
        assert outbox.delete(range(16, 501)) == 485
        assert (outbox.depth().waiting, on_disk()) == (200, 200)
        assert outbox.delete([501, 502]) == 2
        (row,) = outbox.page(502, 1)
        old = json.loads(row.payload)
    assert on_disk() == 198
    with Outbox(path) as outbox:
        assert outbox.depth().waiting == 198
        assert json.loads(outbox.page(0, 1)[0].payload) == old
        assert outbox.append(sighting()) == 701


def test_what_was_delivered_is_deleted_after_some_time(tmp_path):
    """By whoever comes by: an append, a deletion, or the writer that has nothing to do."""
    with Outbox(tmp_path / "o.db", delete_seconds=0.05) as outbox:
        for by in (outbox.tidy, lambda: outbox.append(sighting()), lambda: outbox.delete([])):
            outbox.append_many([sighting() for _ in range(3)])
            gone = [row.row for row in outbox.page()]
            outbox.delete(gone)
            time.sleep(0.06)
            by()
            found = outbox._file.reader.execute("SELECT row FROM message").fetchall()
            assert not {row for (row,) in found} & set(gone)


def test_counts_are_the_same_after_a_kill(tmp_path):
    """Hours, lives, depth and rows come from what was written last and the messages since."""
    path, live = tmp_path / "o.db", tmp_path / "live" / "o.db"
    now = datetime(2026, 6, 1, 12, 30, tzinfo=UTC)

    def phase(of: str, event: str, label: str = "mite") -> Sighting:
        return msgspec.structs.replace(sighting(label, now), phase=of, event=event)

    with Outbox(live, delete_seconds=0) as outbox:
        outbox.append_many([phase("single", "s"), health(), phase("begin", "a")])
        outbox.append_many([phase("begin", "b"), image(), phase("update", "a", "ant")])
        outbox.delete([1, 2])
        outbox.append_many([phase("begin", "c"), phase("end", "b"), phase("single", "d", "ant")])
        outbox.append(health())
        told = (
            outbox.hours(now),
            outbox.lives(),
            outbox.depth(),
            outbox.page(),
        )
        for one in live.parent.iterdir():
            if not one.name.endswith("-shm"):
                shutil.copy(one, tmp_path)
        outbox.close()
    assert told[0][0].labels == {"mite": 4, "ant": 1}
    assert [(one.event, one.label) for one in told[1]] == [("a", "ant"), ("c", "mite")]
    with Outbox(path) as outbox:
        found = (outbox.hours(now), outbox.lives(), outbox.depth(), outbox.page())
        assert found == told
        outbox.append(phase("end", "a"))
        assert [one.event for one in outbox.lives()] == ["c"]
        assert outbox.page(limit=100)[-1].row == told[3][-1].row + 1
    with Outbox(path) as outbox:
        assert [one.event for one in outbox.lives()] == ["c"]
        assert outbox.hours(now) == told[0]


def test_commits_come_apart_when_sightings_come_fast(tmp_path):
    """The first is written at once; of those that follow, many share a commit."""

    class Counting(Outbox):
        commits = 0

        def append_many(self, messages):
            self.commits += 1
            return super().append_many(messages)

    with Counting(tmp_path / "o.db") as outbox:
        writer = Writer(outbox, lambda: None, Counters(), commit_seconds=0.05)
        writer.start()
        writer.submit([sighting()])
        assert writer.flush(5)
        assert outbox.commits == 1
        for _ in range(10):
            writer.submit([sighting()])
            time.sleep(0.02)
        assert writer.flush(5)
        writer.close()
        assert outbox.commits == 2
        assert drain(outbox) == list(range(1, 12))


@pytest.mark.parametrize("by", ["reading", "writing"])
def test_a_database_that_breaks_while_running_is_set_aside(tmp_path, by):
    """Whoever notices the damage gets an error once; then a new file takes over, numbers too."""
    counters, path = Counters(), tmp_path / "o.db"
    with Outbox(path) as outbox:
        outbox.append_many([sighting() for _ in range(200)])
        outbox._file.writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        path.write_bytes(os.urandom(path.stat().st_size))
        if by == "reading":
            with pytest.raises(OutboxDamagedError):
                outbox.page()
            outbox.append(sighting())
        else:
            outbox._file.writer.execute("PRAGMA shrink_memory")
            writer = Writer(outbox, lambda: None, counters, 0, retry_max_seconds=0.05)
            writer.start()
            writer.submit([sighting()])
            assert writer.flush(5)
            writer.close()
            assert counters.errors() == {"OutboxDamagedError": 1}
        assert [seq > 200 for seq in drain(outbox)] == [True]
    assert any("damaged" in p.name for p in tmp_path.iterdir())


def test_closing_the_writer_gives_up_on_a_dead_disk_in_time(tmp_path):
    """Shutdown is not held up for ever, and says what it could not write."""
    with Outbox(tmp_path / "o.db") as outbox:
        writer = Writer(outbox, lambda: None, Counters(), commit_seconds=0)
        outbox._file.writer.execute("PRAGMA query_only = 1")
        writer.start()
        writer.submit([sighting()])
        started = time.monotonic()
        writer.close(timeout_seconds=0.5)
        assert time.monotonic() - started < 30
        assert len(writer.unwritten) == 1


def test_hours_count_sightings_per_label(tmp_path):
    """The last 24 hours per label, still there after delivery; older hours fall out."""
    now = datetime(2026, 6, 1, 12, 30, tzinfo=UTC)
    with Outbox(tmp_path / "o.db") as outbox:
        for label, hours in (("aphid", 0), ("aphid", 0), (None, 0), ("mite", 23), ("mite", 24)):
            outbox.append(sighting(label, now - timedelta(hours=hours)))
        drain(outbox)
        found = outbox.hours(now)
    assert [(one.hour.hour, one.labels) for one in found] == [
        (13, {"mite": 1}),
        (12, {"": 1, "aphid": 2}),
    ]


@pytest.mark.parametrize("years", [-56, 20])
def test_hours_outlive_a_clock_that_was_wrong_for_a_day(tmp_path, years):
    """An hourly sighting for two days, one day with a wrong date: the true day is still counted."""
    now = datetime(2026, 6, 3, 12, 30, tzinfo=UTC)
    wrong = now.replace(year=now.year + years)
    with Outbox(tmp_path / "o.db") as outbox:
        for clock in (now, wrong):
            for hours in range(48, -1, -1):
                outbox.append(sighting("mite", clock - timedelta(hours=hours)))
        found = outbox.hours(now)
        outbox.append(sighting("mite", now))
        again = outbox.hours(now)
    assert [one.labels for one in found] == [{"mite": 1}] * 24
    assert [one.labels for one in again] == [{"mite": 1}] * 23 + [{"mite": 2}]


def test_hours_of_long_ago_are_forgotten(tmp_path):
    """Ten days of hourly sightings leave the counts of five."""
    now = datetime(2026, 6, 1, tzinfo=UTC)
    for day in range(10):
        time = now + timedelta(days=day)
        with Outbox(tmp_path / "o.db") as outbox:
            outbox.append_many(
                [sighting("mite", time + timedelta(hours=hour)) for hour in range(24)]
            )
    with contextlib.closing(sqlite3.connect(tmp_path / "o.db")) as db:
        kept = db.execute("SELECT count(*), max(hour) - min(hour) FROM hour").fetchone()
    assert kept == (24 + 48 + 48, 24 + 48 + 48 - 1)


KILLED = """
import sys; sys.path.insert(0, sys.argv[2])
from pathlib import Path
from edge.outbox.outbox import Outbox
from samples import sighting
outbox = Outbox(Path(sys.argv[1]))
while True:
    for seq in outbox.append_many([sighting() for _ in range(7)]):
        print(seq, flush=True)
"""


def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path):
    """Every number that append returned before the kill is on disk afterwards; three times."""
    path, highest = tmp_path / "o.db", 0
    for turn in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(path), str(Path(__file__).parent)],
            stdout=subprocess.PIPE,
            text=True,
        )
        seqs = [int(process.stdout.readline()) for _ in range(100)]
        process.send_signal(signal.SIGKILL)
        seqs += [int(line) for line in process.stdout.read().splitlines(keepends=True)]
        process.stdout.close()
        process.wait()
        assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
        with Outbox(path) as outbox:
            (first, *_) = (json.loads(row.payload) for row in outbox.page())
            assert first["seq"] - first["skipped"] == highest + 1
            assert (first["skipped"] > 0) == (turn > 0)
            found = drain(outbox)
            assert set(seqs) <= set(found)
            assert found == list(range(found[0], found[0] + len(found)))
            highest = found[-1]


def test_memory_stays_flat_whatever_waits(tmp_path):
    """Opening and walking through 100,000 waiting messages takes no more than a few megabytes."""
    with Outbox(tmp_path / "o.db") as outbox:
        for _ in range(100):
            outbox.append_many([sighting()] * 1000)
    code = (
        "import resource, sys; from pathlib import Path; from edge.outbox.outbox import Outbox\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "o = Outbox(Path(sys.argv[1])); before = peak()\n"
        "n = after = 0\n"
        "while page := o.page(after, 200):\n"
        "    n += len(page); after = page[-1].row\n"
        "    if n <= 20_000: o.delete(r.row for r in page)\n"
        "print(n, peak() - before)"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "o.db")],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert int(told[0]) == 100_000
    assert int(told[1]) < 8_000, "KiB"


@given(st.sets(st.integers(0, 60)))
def test_ranges_cover_exactly_the_numbers_given(numbers):
    """Runs of consecutive numbers, ascending, neither overlapping nor touching."""
    found = list(ranges(numbers))
    assert {n for first, last in found for n in range(first, last + 1)} == numbers
    assert all(a[1] + 1 < b[0] for a, b in pairwise(found))


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.sampled_from(["append", "batch", "deliver", "reopen"]), max_size=30))
def test_any_history_delivers_every_number_once_and_in_order(tmp_path_factory, history):
    """Appends, deliveries and restarts in any order lose, repeat and reorder nothing."""
    path = tmp_path_factory.mktemp("outbox") / "o.db"
    outbox, given_out, delivered = Outbox(path), [], []
    try:
        for action in [*history, "deliver"]:
            if action == "append":
                given_out.append(outbox.append(sighting()))
            elif action == "batch":
                given_out += [s for s in outbox.append_many([sighting(), image(), sighting()]) if s]
            elif action == "reopen":
                outbox.close()
                outbox = Outbox(path)
            else:
                delivered += drain(outbox)
    finally:
        outbox.close()
    assert delivered == given_out == list(range(1, len(given_out) + 1))


def test_how_much_waits_is_said_while_a_write_waits_for_the_disk(tmp_path):
    """Else a disk that takes minutes would keep the watchdog from being fed."""
    with Outbox(tmp_path / "o.db") as outbox:
        outbox.append_many([sighting() for _ in range(3)])
        other = sqlite3.connect(tmp_path / "o.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        began = threading.Event()
        outbox._file.writer.set_trace_callback(lambda _: began.set())
        thread = threading.Thread(target=outbox.append, args=[sighting()])
        thread.start()
        assert began.wait(10)
        assert outbox.depth().waiting == 3
        assert thread.is_alive()
        other.execute("ROLLBACK")
        thread.join(20)
        other.close()
        assert outbox.depth().waiting == 4
