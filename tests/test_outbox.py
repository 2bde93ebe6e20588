"""The durable queue."""

from __future__ import annotations

import contextlib
import json
import signal
import sqlite3
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from samples import drain, health, image, sighting
from there import there

from edge.errors import OutboxError
from edge.outbox.outbox import Outbox
from edge.outbox.rows import Kind, ranges


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


def test_a_full_disk_is_an_error_that_loses_nothing(tmp_path, connections):
    """SQLite's own "full" leaves what is there, writes nothing half, and numbers stay gapless."""
    with Outbox(tmp_path / "o.db") as outbox:
        outbox.append(sighting())
        pages = connections.writer.execute("PRAGMA page_count").fetchone()[0]
        connections.writer.execute(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(OutboxError, match="database or disk is full; free space on that disk"):
            outbox.append_many([image(50_000), sighting()])
        assert outbox.depth().waiting == 1
        connections.writer.execute("PRAGMA max_page_count = 1000000")
        assert outbox.append_many([image(50_000), sighting()]) == [0, 2]


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


def test_what_was_delivered_is_deleted_after_some_time(tmp_path, connections):
    """By whoever comes by: an append, a deletion, or the writer that has nothing to do."""
    with Outbox(tmp_path / "o.db", delete_seconds=0.05) as outbox:
        for by in (outbox.tidy, lambda: outbox.append(sighting()), lambda: outbox.delete([])):
            outbox.append_many([sighting() for _ in range(3)])
            gone = [row.row for row in outbox.page()]
            outbox.delete(gone)
            time.sleep(0.06)  # of the file's own clock: time itself is what is tried
            by()
            found = connections.reader.execute("SELECT row FROM message").fetchall()
            assert not {row for (row,) in found} & set(gone)


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
        seqs = [int(there(process.stdout).readline()) for _ in range(100)]
        process.send_signal(signal.SIGKILL)
        seqs += [int(line) for line in there(process.stdout).read().splitlines(keepends=True)]
        there(process.stdout).close()
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
