"""What the outbox counts: how much waits, sightings of each hour, lives that go on."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import threading
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from samples import drain, health, image, sighting

from edge.messages.sighting import Sighting
from edge.outbox.outbox import Outbox


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


def test_how_much_waits_is_said_while_a_write_waits_for_the_disk(tmp_path, connections):
    """Else a disk that takes minutes would keep the watchdog from being fed."""
    with Outbox(tmp_path / "o.db") as outbox:
        outbox.append_many([sighting() for _ in range(3)])
        other = sqlite3.connect(tmp_path / "o.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        began = threading.Event()
        connections.writer.set_trace_callback(lambda _: began.set())
        thread = threading.Thread(target=outbox.append, args=[sighting()])
        thread.start()
        assert began.wait(10)
        assert outbox.depth().waiting == 3
        assert thread.is_alive()
        other.execute("ROLLBACK")
        thread.join(20)
        other.close()
        assert outbox.depth().waiting == 4
