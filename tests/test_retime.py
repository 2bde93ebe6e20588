"""Messages that wait get the right time once it is known."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import msgspec
import pytest
from clocks import RIGHT, Field
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import BOOT, health, image, sighting, stored, taken, waiting
from there import there

from edge.errors import OutboxFullError
from edge.messages.health import Health
from edge.messages.sighting import Sighting
from edge.outbox.outbox import Outbox
from edge.outbox.retime import Retimer, retime, retimed
from edge.outbox.rows import Kind
from edge.system.counters import Counters


def test_what_waits_gets_the_right_time_and_the_rest_is_left_alone(tmp_path):
    """Sightings and health of this start; not synced ones, other starts, pictures' own times."""
    clock = Field()
    with Outbox(tmp_path / "o.db") as outbox:
        earlier = taken(clock, boot="another start")
        outbox.append_many([earlier, image()])
        unsynced = taken(clock)
        clock.seconds += 60.25
        later = msgspec.structs.replace(
            health(), boot=BOOT, clock="rtc", time=clock.now(), boot_seconds=clock.seconds
        )
        exif = msgspec.structs.replace(taken(clock), boot_seconds=None)
        outbox.append_many([unsynced, image(), later, exif])
        clock.set()
        outbox.append(taken(clock))
        before, used = waiting(outbox), outbox.depth().bytes
        assert retime(outbox, BOOT, clock.booted())[0] == 2
        after = waiting(outbox)
        assert [one.clock for one in after] == ["unsynced", "retimed", "unsynced", "synced"]
        assert after[1].time == RIGHT + timedelta(seconds=100)
        assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, True, True]
        moved = {name: getattr(after[1], name) for name in ("time", "since", "best_time")}
        assert after[1] == msgspec.structs.replace(before[1], clock="retimed", **moved)
        assert len({getattr(after[1], n) - getattr(before[1], n) for n in moved}) == 1
        rows = outbox.page()
        (said,) = [row for row in rows if row.kind is Kind.HEALTH]
        found = msgspec.json.decode(said.payload, type=Health)
        assert (found.time, found.clock) == (RIGHT + timedelta(seconds=160.25), "retimed")
        assert said.time_ms == int(found.time.timestamp() * 1000)
        assert outbox.depth().bytes == stored(rows) != used
        assert retime(outbox, BOOT, clock.booted()) == (0, rows[-1].row)


def test_thousands_that_wait_are_rewritten_page_by_page_and_only_once(tmp_path):
    """Also where many of an earlier start lie before them; a second look finds nothing."""
    clock = Field()
    with Outbox(tmp_path / "o.db") as outbox:
        outbox.append_many([taken(clock, "another start") for _ in range(500)])
        for _ in range(5):
            clock.seconds += 1
            outbox.append_many([taken(clock) for _ in range(200)])
        clock.set()
        count, newest = retime(outbox, BOOT, clock.booted())
        assert (count, newest) == (1000, 1500)
        found = waiting(outbox)
        assert [one.seq for one in found] == list(range(1, 1501))
        assert {one.clock for one in found[500:]} == {"retimed"}
        assert {one.clock for one in found[:500]} == {"unsynced"}
        assert retime(outbox, BOOT, clock.booted(), newest) == (0, newest)


def test_a_kill_in_the_middle_of_retiming_loses_nothing(tmp_path, monkeypatch):
    """What a failed page leaves is as it was; the next attempt does the rest."""
    clock, path = Field(), tmp_path / "o.db"
    with Outbox(path) as outbox:
        outbox.append_many([taken(clock) for _ in range(450)])
        clock.set()
        real, pages = outbox.rewrite, []

        def dies(changes):
            pages.append(changes)
            if len(pages) == 2:
                raise KeyboardInterrupt
            return real(changes)

        monkeypatch.setattr(outbox, "rewrite", dies)
        with pytest.raises(KeyboardInterrupt):
            retime(outbox, BOOT, clock.booted())
    with Outbox(path) as outbox:
        assert [one.clock for one in waiting(outbox)] == ["unsynced"] * 250 + ["retimed"] * 200
        assert retime(outbox, BOOT, clock.booted())[0] == 250
        assert [one.clock for one in waiting(outbox)] == ["retimed"] * 450


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["see", "see", "picture", "wait", "wrong", "right", "look", "deliver", "power", "kill"]
        ),
        max_size=40,
    )
)
def test_any_history_ends_with_right_times_in_order_and_counted(tmp_path_factory, history):
    """Clocks set and lost, power cuts, kills, deliveries, in any order.

    Every sighting that waits has its number and its true time, or says honestly that it has not;
    the bytes add up; what is of another start was not touched.
    """
    path = tmp_path_factory.mktemp("retime") / "o.db"
    clock, boot, truth, looked = Field(), 1, {}, 0
    outbox = Outbox(path)
    try:
        for action in [*history, "look"]:
            clock.seconds += 1
            if action == "see":
                one = taken(clock, f"boot-{boot}")
                truth[one.id] = (RIGHT + timedelta(seconds=clock.seconds), one)
                outbox.append(one)
            elif action == "picture":
                outbox.append(image())
            elif action == "wait":
                clock.seconds += 3600
            elif action == "wrong":
                clock.wrong_by, clock.is_ = timedelta(days=-30), "unsynced"
            elif action == "right":
                clock.set()
            elif action == "look" and clock.is_ == "synced":
                looked = retime(outbox, f"boot-{boot}", clock.booted(), looked)[1]
            elif action == "deliver":
                outbox.delete(row.row for row in outbox.page(limit=3))
            elif action in ("power", "kill"):
                outbox.close()
                outbox, looked = Outbox(path), 0
                if action == "power":
                    boot += 1
                    clock = Field()
        left = waiting(outbox)
        assert [one.seq for one in left] == sorted(one.seq for one in left)
        rows = outbox.page(limit=1000)
        assert outbox.depth().bytes == stored(rows)
        for one in left:
            right, made = truth[one.id]
            if one.clock in ("synced", "retimed"):
                assert one.time == right
            else:
                assert one == msgspec.structs.replace(made, seq=one.seq)
                assert one.boot != f"boot-{boot}" or clock.is_ != "synced"
    finally:
        outbox.close()


def test_counts_per_hour_move_with_their_sightings(tmp_path):
    """Hours of a clock that was ahead do not hide those of the right one, nor stay."""
    clock = Field(timedelta(days=500))
    with Outbox(tmp_path / "o.db") as outbox:
        outbox.append_many([taken(clock), taken(clock), taken(clock, label="mite")])
        assert outbox.hours(RIGHT) == ()
        clock.set()
        outbox.append(taken(clock))
        assert outbox.hours(RIGHT)[0].labels == {"aphid": 1}
        retime(outbox, BOOT, clock.booted())
        assert outbox.hours(RIGHT)[0].labels == {"aphid": 3, "mite": 1}
        assert outbox.hours(RIGHT + timedelta(days=500)) == ()


def test_messages_wait_for_the_clock_once_and_not_for_ever(tmp_path):
    """From the first asking; until it is right, or the seconds are over."""
    for ends in ("clock", "seconds"):
        clock, news = Field(), Counters()
        with Outbox(tmp_path / f"{ends}.db") as outbox:
            retimer = Retimer(outbox, BOOT, clock, Counters(), 30, partial(news.add, "told"))
            outbox.append(taken(clock))
            retimer.tick()
            clock.seconds += 500
            assert retimer.hold()
            clock.seconds += 29
            assert retimer.hold()
            if ends == "clock":
                clock.set()
                assert retimer.hold(), "until what waits has been rewritten"
                retimer.tick()
                assert waiting(outbox)[0].clock == "retimed"
                assert news["told"] == 1
            else:
                clock.seconds += 1
            assert not retimer.hold()
            clock.is_ = "unsynced"
            retimer.tick()
            assert not retimer.hold(), "once a run"


def test_a_disk_that_refuses_to_rewrite_keeps_no_right_time_back(tmp_path, monkeypatch):
    """What is sent is right all the same, and does not wait for the disk; that it fails is said."""
    clock, counters = Field(), Counters()
    with Outbox(tmp_path / "o.db") as outbox:
        outbox.append_many([taken(clock), image(), taken(clock)])
        retimer = Retimer(outbox, BOOT, clock, counters, 30, lambda: None)
        assert retimer.hold()
        real = outbox.rewrite

        def rewrite(*_):
            raise OutboxFullError("no room")

        monkeypatch.setattr(outbox, "rewrite", rewrite)
        clock.set()
        retimer.tick()
        assert not retimer.hold()
        assert counters.problems() == ("retiming: no room",)
        sent = retimer.righted(outbox.page())
        assert [one.row for one in sent] == [1, 2, 3]
        assert msgspec.json.decode(sent[2].payload, type=Sighting).time.date() == RIGHT.date()
        assert sent[2].time_ms == int((RIGHT + timedelta(seconds=100)).timestamp() * 1000)
        assert {one.clock for one in waiting(outbox)} == {"unsynced"}
        monkeypatch.setattr(outbox, "rewrite", real)
        retimer.tick()
        assert [row.payload for row in outbox.page()] == [row.payload for row in sent]
        assert counters.problems() == ()


def test_the_same_row_rewritten_from_two_threads_is_counted_once(tmp_path):
    """Whoever comes second, with what it read before, changes nothing."""
    clock = Field()
    with Outbox(tmp_path / "o.db") as outbox:
        outbox.append(taken(clock))
        (row,), (before,) = outbox.page(), waiting(outbox)
        clock.set()
        better = there(retimed(before, BOOT, clock.booted()))
        assert [outbox.rewrite([(row, better)]) for _ in range(2)] == [1, 0]
        assert outbox.hours(RIGHT)[0].labels == {"aphid": 1}
        assert outbox.depth().bytes == stored(outbox.page())


def test_released_messages_of_another_start_hide_none_before_them(tmp_path):
    """They stand behind those of this start."""
    clock = Field()
    with Outbox(tmp_path / "o.db") as outbox:
        outbox.append_many([taken(clock) for _ in range(300)])
        outbox.append_many([taken(clock, "another start") for _ in range(20)])
        clock.set()
        assert retime(outbox, BOOT, clock.booted())[0] == 300


def test_a_message_of_an_older_program_keeps_its_time():
    """No seconds since the start: nothing to reckon with."""
    old = msgspec.structs.replace(sighting(), boot=BOOT, clock="unsynced", boot_seconds=None)
    assert retimed(old, BOOT, RIGHT) is None
