"""The writer and its outbox: disks that refuse, messages that cannot be written, commits."""

from __future__ import annotations

import json
import threading
import time
from typing import cast

import msgspec
import pytest
from patience import PATIENCE
from samples import drain, image, sighting

from edge.errors import UnwritableError
from edge.messages.sighting import Sighting
from edge.outbox.outbox import Outbox
from edge.outbox.writer import Writer
from edge.system.counters import Counters


def test_the_writer_waits_out_a_full_disk(tmp_path, connections):
    """What was submitted while the disk was full is on disk afterwards, in order, logged once."""
    counters, woken = Counters(), threading.Event()
    with Outbox(tmp_path / "o.db") as outbox:
        writer = Writer(outbox, woken.set, counters, commit_seconds=0, retry_max_seconds=0.05)
        pages = connections.writer.execute("PRAGMA page_count").fetchone()[0]
        connections.writer.execute(f"PRAGMA max_page_count = {pages + 1}")
        writer.start()
        for _ in range(20):
            assert writer.submit([image(5_000), sighting()])
        assert not writer.flush(0.3)
        assert counters.problems()[0].startswith("outbox: ")
        connections.writer.execute("PRAGMA max_page_count = 1000000")
        assert writer.flush(PATIENCE)
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
    good = [sighting() for _ in range(3)]
    bad, other = (cast(Sighting, spoil(sighting())) for _ in range(2))
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
        assert writer.flush(PATIENCE)
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
        assert writer.flush(PATIENCE)
        writer.close()
        assert drain(outbox) == [1]
    assert "it cannot be set aside: no room" in caplog.text
    assert counters.errors() == {"UnwritableError": 1, "ValueError": 1}
    counters.crew.check()


def test_commits_come_apart_when_sightings_come_fast(tmp_path):
    """The first is written at once; of those that follow, many share a commit."""

    class Counting(Outbox):
        commits = 0

        def append_many(self, messages):
            self.commits += 1
            return super().append_many(messages)

    with Counting(tmp_path / "o.db") as outbox:
        writer = Writer(outbox, lambda: None, Counters(), commit_seconds=0.05)
        apart = 10 * 0.05  # seconds at least between two commits
        writer.start()
        writer.submit([sighting()])
        assert writer.flush(PATIENCE)
        assert outbox.commits == 1
        started = time.monotonic()
        for _ in range(10):
            writer.submit([sighting()])
            time.sleep(0.02)  # for longer than one commit takes to gather: time is what is tried
        assert writer.flush(PATIENCE)
        writer.close()
        assert 2 <= outbox.commits <= 2 + (time.monotonic() - started) / apart
        assert drain(outbox) == list(range(1, 12))


def test_closing_the_writer_gives_up_on_a_dead_disk_in_time(tmp_path, connections):
    """Shutdown is not held up for ever, and says what it could not write."""
    with Outbox(tmp_path / "o.db") as outbox:
        writer = Writer(outbox, lambda: None, Counters(), commit_seconds=0)
        connections.writer.execute("PRAGMA query_only = 1")
        writer.start()
        writer.submit([sighting()])
        started = time.monotonic()
        writer.close(timeout_seconds=0.5)
        assert time.monotonic() - started < 30
        assert len(writer.unwritten) == 1
