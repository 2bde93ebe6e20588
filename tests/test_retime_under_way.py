"""The clock is set right while sightings are made, written or sent."""

from __future__ import annotations

import json
import threading
import time
from datetime import timedelta

import msgspec
import numpy as np
import pytest
from brokers import Mosquitto, Subscriber
from clocks import RIGHT, Field
from results import APHID, MITE
from samples import BOOT, image, taken, waiting
from senders import Sender
from there import there

from edge.cameras import Frame
from edge.config import Broker, Decision, Images
from edge.errors import OutboxFullError
from edge.messages.sighting import ModelRef, Sighting
from edge.outbox.outbox import Outbox
from edge.outbox.retime import Retimer, retime
from edge.outbox.writer import Writer
from edge.sightings.builder import SightingBuilder
from edge.sightings.decision import Decider
from edge.sightings.identity import Identity
from edge.system.counters import Counters


def test_what_a_slow_disk_writes_after_the_clock_was_set_is_put_right_too(tmp_path):
    """Every look goes on where the last one ended."""
    clock, counters = Field(), Counters()
    with Outbox(tmp_path / "o.db") as outbox:
        retimer = Retimer(outbox, BOOT, clock, counters, 0, lambda: None)
        stuck = taken(clock)
        clock.set()
        retimer.tick()
        outbox.append(stuck)
        retimer.tick()
        assert waiting(outbox)[0].time == RIGHT + timedelta(seconds=100)
        assert counters["retimed"] == 1


def test_what_was_still_in_memory_when_the_clock_was_set_goes_out_right(tmp_path):
    """Written after the clock's watch has looked, and sent at once; its hour is counted too."""
    clock = Field()
    with Mosquitto(tmp_path) as broker, Subscriber(broker.port) as subscriber:
        settings_ = Broker(host="127.0.0.1", port=broker.port)
        retimer: Retimer
        righted = lambda rows: retimer.righted(rows)  # noqa: E731
        with Sender(tmp_path, settings_, clock=clock, righted=righted) as device:
            retimer = Retimer(device.outbox, BOOT, clock, device.counters, 30, lambda: None)
            gathered, released = taken(clock), taken(clock, "another start")
            clock.set()
            retimer.tick()
            device.outbox.append_many([gathered, released, image(), taken(clock)])
            device.bell.news()
            assert device.drained()
            assert device.counters["retimed"] == 1
            assert device.outbox.hours(RIGHT)[0].labels == {"aphid": 2}
        assert subscriber.wait(lambda _: len(subscriber.on("/sighting")) == 3)
        sent = [msgspec.json.decode(one, type=Sighting) for one in subscriber.on("/sighting")]
    assert [one.clock for one in sent] == ["retimed", "unsynced", "synced"]
    assert sent[0].time == sent[2].time == RIGHT + timedelta(seconds=100)
    assert sent[1].time == released.time


def test_a_batch_that_the_disk_refused_goes_out_right_when_it_is_written_at_last(
    tmp_path, monkeypatch
):
    """It was made, and tried, on the wrong clock."""
    clock, counters = Field(), Counters()
    with Outbox(tmp_path / "o.db") as outbox:
        real, clear = outbox.append_many, threading.Event()

        def append_many(messages):
            if not clear.is_set():
                raise OutboxFullError("no room")
            return real(messages)

        monkeypatch.setattr(outbox, "append_many", append_many)
        retimer = Retimer(outbox, BOOT, clock, counters, 30, lambda: None)
        writer = Writer(outbox, lambda: None, counters, 0, retry_max_seconds=0.01)
        writer.start()
        writer.submit([taken(clock), taken(clock)])
        assert not writer.flush(0.05)
        clock.set()
        retimer.tick()
        clear.set()
        assert writer.flush(10)
        writer.close()
        sent = retimer.righted(outbox.page())
        assert {msgspec.json.decode(one.payload)["clock"] for one in sent} == {"retimed"}
        assert outbox.page() == sent


class Turning(Field):
    """A clock that is set right between two of the questions put to it."""

    left = 10**9

    def now(self):
        """The time that it shows."""
        self.turn()
        return super().now()

    def quality(self):
        """How good the clock is."""
        self.turn()
        return super().quality()

    def turn(self) -> None:
        """Count a question."""
        self.left -= 1
        if self.left == 0:
            self.set()


@pytest.mark.parametrize("left", range(1, 15))
def test_a_clock_that_is_set_in_the_middle_makes_no_wrong_time_pass_for_right(tmp_path, left):
    """Whatever was asked of it before: sightings as they are made, and as they are rewritten."""
    clock, rule, got = Turning(), Decision(agreeing_frames=1, last_frames=1, cooldown_seconds=0), []
    clock.booted()
    decider, model = Decider(rule), ModelRef(name="m", version="1", sha256="0")
    sightings = SightingBuilder(Identity("c", BOOT, model, None), Images(), Counters(), clock)
    for result in (APHID, MITE):
        frame = Frame(np.zeros((9, 9, 3), np.uint8), clock.now(), "a", 9, 9, lambda: b"")
        events = decider.see(result, clock.monotonic(), frame.time)
        clock.left = left if result is MITE else clock.left
        got.extend(sightings.messages(frame, events, decider.best))
        clock.seconds += 10
    with Outbox(tmp_path / "o.db") as outbox:
        outbox.append_many(got)
        retimer = Retimer(outbox, BOOT, clock, Counters(), 0, lambda: None)
        clock.left = left if clock.left > 0 else clock.left
        for _ in range(15):
            retimer.tick()
            retimer.righted(outbox.page())
        assert clock.is_ == "synced"
        found = waiting(outbox)
    for one in found:
        assert one.time == RIGHT + timedelta(seconds=there(one.boot_seconds))
    end = next(one for one in found if one.phase == "end")
    assert end.since == end.best_time == RIGHT + timedelta(seconds=100)


def test_a_life_that_spans_the_setting_of_the_clock_is_told_in_one_time(tmp_path):
    """A begin that waits, an end made later and what is kept for a kill agree on its begin."""
    clock, got = Field(), []
    rule = Decision(agreeing_frames=1, last_frames=1, cooldown_seconds=0)
    decider = Decider(rule)
    model = ModelRef(name="m", version="1", sha256="0")
    sightings = SightingBuilder(Identity("c", BOOT, model, None), Images(), Counters(), clock)

    def see(result) -> None:
        frame = Frame(np.zeros((9, 9, 3), np.uint8), clock.now(), "a", 9, 9, lambda: b"")
        events = decider.see(result, clock.monotonic(), frame.time)
        got.extend(sightings.messages(frame, events, decider.best))
        clock.seconds += 10

    with Outbox(tmp_path / "o.db") as outbox:
        see(APHID)
        outbox.append_many(got)
        clock.set()
        retime(outbox, BOOT, clock.booted())
        (begin,), (kept,) = waiting(outbox), outbox.lives()
        for _ in range(2):
            see(MITE)
    end = next(one for one in got if isinstance(one, Sighting) and one.phase == "end")
    began = RIGHT + timedelta(seconds=100)
    assert begin.since == kept.since == end.since == end.best_time == began
    assert (begin.clock, kept.clock, end.clock) == ("retimed", "retimed", "synced")
    assert began <= end.time <= RIGHT + timedelta(seconds=120)


def test_what_the_publisher_has_read_already_goes_out_with_the_right_time(tmp_path):
    """Retimed in the middle of a delivery: what was sent stays, all after it is right, in order."""
    clock, paused = Field(), threading.Event()
    with Mosquitto(tmp_path) as broker, Subscriber(broker.port) as subscriber:
        settings_ = Broker(host="127.0.0.1", port=broker.port, window=1)
        with Sender(tmp_path, settings_, hold=paused.is_set) as device:
            device.outbox.append_many([taken(clock) for _ in range(180)])
            device.bell.news()
            assert subscriber.wait(lambda _: len(subscriber.on("/sighting")) > 5)
            paused.set()
            left, before = device.outbox.depth().waiting, -1
            while left != before:  # what was under way is acknowledged and deleted
                time.sleep(0.5)
                left, before = device.outbox.depth().waiting, left
            clock.set()
            count, _ = retime(device.outbox, BOOT, clock.booted())
            assert count == left > 0
            paused.clear()
            assert subscriber.wait(lambda _: len(subscriber.on("/sighting")) == 180)
        found = [json.loads(payload) for payload in subscriber.on("/sighting")]
    assert [one["seq"] for one in found] == list(range(1, 181))
    clocks = [one["clock"] for one in found]
    assert set(clocks) == {"unsynced", "retimed"}
    assert clocks == sorted(clocks, reverse=True)
    assert clocks.count("retimed") == left
