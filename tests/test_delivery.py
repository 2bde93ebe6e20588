"""Carrying messages from the outbox over one connection, step by step, on a clock set by hand."""

from __future__ import annotations

import json
from types import SimpleNamespace

from delivery_bench import Bench
from msgspec.structs import replace
from samples import health, image, sighting
from there import there

from edge.errors import OutboxError
from edge.mqtt.delivery import Delivery, Waiting
from edge.mqtt.wire import Limits
from edge.outbox.rows import Row


def test_the_window_is_filled_and_refilled_in_order(bench):
    """Four at once, one more for each that is answered; QoS 1, not retained, corked together."""
    bench.sight(6)
    assert bench.turn() == [1, 2, 3, 4]
    assert bench.turn() == []
    assert bench.answer(2) == []
    assert bench.turn() == [5]
    assert bench.seqs() == [1, 2, 3, 4, 5]
    assert {(one.qos, one.retain) for one in bench.wire.said} == {(1, False)}
    assert bench.wire.said[0].topic == "wheatear/cam-1/sighting"
    assert not bench.wire.together_now


def test_room_is_left_for_others_and_shared_with_them(bench):
    """What others have under way counts, and so does what they ask to be left."""
    bench.limits = Limits(receive_maximum=3)
    bench.connect()
    bench.sight(6)
    bench.flight.publish("other", b"")
    assert bench.turn(leave=1) == [2]
    assert bench.turn() == [3]
    assert bench.flight.room == 0
    others = bench.answer(1, 2)
    assert [one.mid for one in others] == [1]


def test_delivered_rows_are_deleted_together(bench):
    """At the end of a burst, or after a tenth of a second; until then nothing is idle."""
    bench.wait(100)
    bench.sight(6)
    bench.turn()
    assert not bench.delivery.idle
    bench.answer(1)
    assert bench.waiting == 6
    bench.wait(0.09)
    bench.answer(2)
    assert bench.waiting == 6
    bench.wait(0.02)
    bench.answer(3)
    assert bench.waiting == 3
    bench.answer(*bench.turn(), 4)
    assert bench.waiting == 0
    assert bench.delivery.idle
    assert bench.counters["delivered"] == 6


def test_two_hundred_are_deleted_at_once(tmp_path):
    """Without waiting for the tenth of a second, and pages follow each other without a gap."""
    bench = Bench(tmp_path, window=1000)
    bench.sight(450)
    mids = bench.turn()
    assert len(mids) == 450
    assert bench.delivery.looked
    bench.answer(*mids[:199])
    assert bench.waiting == 450
    bench.answer(mids[199])
    assert bench.waiting == 250
    assert bench.seqs() == list(range(1, 451))


def test_the_outbox_is_looked_into_again_after_news_only(bench):
    """A page that was not full says that nothing waits, until there is news."""
    bench.sight(1)
    bench.turn()
    assert bench.delivery.looked
    bench.outbox.append(replace(sighting(), time=bench.clock.now()))
    assert bench.turn() == []
    bench.delivery.looked = False
    assert bench.turn() == [2]


def test_flush_deletes_what_was_acknowledged_and_nothing_else(bench):
    """As at the end of a connection."""
    bench.sight(3)
    bench.turn()
    bench.answer(1)
    bench.delivery.flush()
    bench.delivery.flush()
    assert bench.waiting == 2


def test_a_disk_that_refuses_is_tried_again_after_a_second(bench, monkeypatch):
    """Meanwhile delivery goes on; it is named, and the end of it too."""
    real, tries = bench.outbox.delete, []

    def refuse(rows):
        tries.append(rows)
        raise OutboxError("read-only")

    bench.sight(3)
    bench.turn()
    monkeypatch.setattr(bench.outbox, "delete", refuse)
    bench.answer(1, 2, 3)
    assert bench.problem("deleting what was delivered") == "read-only"
    bench.wait(0.9)
    bench.answer()
    assert len(tries) == 1
    bench.wait(0.2)
    bench.answer()
    assert len(tries) == 2
    monkeypatch.setattr(bench.outbox, "delete", real)
    bench.wait(1.1)
    bench.answer()
    assert bench.waiting == 0
    assert bench.problem("deleting what was delivered") is None
    bench.counters.failing("deleting what was delivered", "of an earlier connection")
    bench.connect()
    assert bench.problem("deleting what was delivered") is None


def test_nothing_is_held_unless_somebody_says_so(bench):
    """The window grows back after a denial; more than a batch acknowledged at once is deleted."""
    plain = Delivery(bench.link, Waiting(bench.outbox, bench.shrink), 300, 60_000)
    bench.sight(250)
    plain.fill(0)
    bench.wire.acknowledge(*bench.wire.mids[:210])
    plain.settle(bench.flight.poll(0))
    assert bench.waiting == 40


def test_old_sightings_say_so_and_nothing_else_does(bench):
    """From a minute on; a picture stays as it is."""
    bench.put(sighting(), replace(image(), jpeg=b'"historical":false}'))
    bench.wait(0.001)
    bench.sight(1)
    bench.wait(59.999)
    bench.turn()
    late = [b'"historical":true' in one.payload for one in bench.wire.said]
    assert late == [True, False, False]


def test_times_that_were_put_right_are_read_again(bench):
    """What was not sent yet goes with its new time; what is under way does not go twice."""
    bench.sight(6)
    bench.turn()
    old = bench.outbox.page(bench.outbox.page()[4].row - 1, 1)[0]
    new = replace(sighting("moved", bench.clock.now()), seq=5)
    assert bench.outbox.rewrite([(old, new)]) == 1
    bench.answer(1, 2, 3, 4)
    bench.turn()
    assert bench.seqs() == [1, 2, 3, 4, 5, 6]
    assert json.loads(bench.wire.said[4].payload)["label"] == "moved"


def test_what_was_read_before_the_clock_was_right_is_read_again_before_it_goes(bench):
    """Not only when the clock's watch comes by; and once it is right no more than once."""
    bench.sight(8)
    assert bench.turn() == [1, 2, 3, 4]
    asked = []

    def righted(rows):
        asked.append([one.row for one in rows])
        return list(rows)

    bench.righted = righted
    bench.answer(1)
    assert bench.turn() == [5]
    assert asked == []
    bench.clock.is_ = "synced"
    for mid in (2, 3):
        bench.answer(mid)
        bench.turn()
    assert asked == [[6, 7, 8]]
    assert bench.seqs() == [1, 2, 3, 4, 5, 6, 7]


def test_nothing_is_sent_while_it_is_held(bench):
    """Such as until the clock is set."""
    bench.held = True
    bench.sight(1)
    assert bench.turn() == []
    bench.held = False
    assert bench.turn() == [1]


def test_health_goes_with_qos_0_and_is_timed_by_nobody(bench):
    """It is deleted when it was written to the socket; times are those of acknowledgements."""
    bench.put(health())
    bench.turn()
    assert bench.wire.said[0].qos == 0
    assert bench.flight.keys == ()
    bench.answer()
    assert bench.waiting == 0
    assert bench.counters.total("puback") == (0, 0.0)
    bench.wait(3)
    bench.sight(1)
    (mid,) = bench.turn()
    bench.wait(0.5)
    bench.answer(mid)
    assert bench.counters.total("puback") == (1, 500.0)


def test_pictures_are_shrunk_to_what_the_broker_takes(tmp_path):
    """The payload that fits beside the topic; one that cannot be made so small is set aside."""
    bench = Bench(tmp_path, maximum_packet_size=500)
    small, hard, none = (replace(image(), jpeg=k * 600) for k in (b"j", b"h", b"e"))
    bench.put(small, hard, none, replace(health(), device="d" * 600))
    bench.turn()
    topic = f"wheatear/cam-1/sighting/{small.id}/image"
    assert bench.shrunk == [500 - len(topic) - 16] * 3
    (said,) = bench.wire.said
    assert len(said.payload) == bench.shrunk[0]
    assert bench.counters["images_shrunk"] == 1
    assert [one.bytes for one in bench.letters.held()] == [600, 600]
    assert "600 bytes are larger than the broker's limit of 500" in bench.letters.held()[0].why
    assert "is given up: " in there(bench.problem("broker access"))
    bench.answer(1)
    assert bench.waiting == 0


def test_sightings_that_are_all_too_large_wait(tmp_path):
    """Without a byte on the network, until the broker takes larger ones."""
    bench = Bench(tmp_path, maximum_packet_size=200)
    bench.sight(3)
    assert bench.turn() == []
    assert "all sightings wait" in there(bench.problem("delivery"))
    assert bench.waiting == 3
    bench.limits = Limits()
    bench.wait(10.1)
    bench.connect()
    assert bench.turn() == [1]
    bench.answer(1)
    bench.turn()
    assert bench.seqs() == [1, 2, 3]


def test_sightings_wait_for_a_broker_with_acknowledgements(tmp_path):
    """Maximum QoS 0: they could be lost unnoticed."""
    bench = Bench(tmp_path, maximum_qos=0)
    bench.sight(1)
    assert bench.turn() == []
    assert "Maximum QoS is 0" in there(bench.problem("delivery"))


def test_health_that_is_too_large_is_named_until_it_passes(tmp_path):
    """It is given up, and what comes later may fit."""
    bench = Bench(tmp_path, maximum_packet_size=200)
    bench.put(health())
    assert bench.turn() == []
    bench.answer()
    assert bench.waiting == 0
    assert "is given up: " in there(bench.problem("broker access"))
    bench.limits = Limits()
    bench.wait(10.1)
    bench.connect()
    bench.put(health())
    bench.turn()
    bench.answer()
    assert bench.waiting == 0
    assert bench.problem("broker access") is None


def test_times_put_right_are_read_again_once(bench, monkeypatch):
    """Not with every message."""
    real, pages = bench.outbox.page, []
    bench.window = 1
    bench.connect()
    bench.sight(4)
    bench.turn()
    old = bench.outbox.page()[3]
    bench.outbox.rewrite([(old, replace(sighting("moved", bench.clock.now()), seq=4))])

    def page(*asked):
        pages.append(asked)
        return real(*asked)

    monkeypatch.setattr(bench.outbox, "page", page)
    for mid in (1, 2, 3):
        bench.answer(mid)
        bench.turn()
    assert len(pages) == 1
    assert bench.seqs() == [1, 2, 3, 4]


def test_a_standstill_is_remembered_beyond_its_connection(bench):
    """It ends with an answer to the same message; messages from the outbox stand for each other."""
    stall = bench.standing.stall
    assert not stall.answered("info")
    stall.stands(SimpleNamespace(topic="wheatear/cam-1/info", key="info"))
    assert "wheatear/cam-1/info is not acknowledged" in bench.problem("acknowledgements")
    assert stall.is_on("info")
    assert not stall.is_on(3)
    assert not stall.answered("state")
    assert stall.answered("info")
    assert not stall.is_on("info")
    assert bench.problem("acknowledgements") is None
    stall.stands(SimpleNamespace(topic="t", key=7))
    assert not stall.answered("info")
    assert stall.is_on(8)
    assert stall.answered(8)


def test_what_is_under_way_is_found_by_its_row(bench):
    """None for another row."""
    bench.sight(2)
    bench.turn()
    first = bench.outbox.page()[0]
    assert isinstance(bench.delivery.under_way(first.row), Row)
    assert bench.delivery.under_way(first.row + 5) is None
