"""Carrying messages from the outbox over one connection, step by step, on a clock set by hand."""

from __future__ import annotations

import json
import logging
from datetime import timedelta
from types import SimpleNamespace

import pytest
from clocks import Hand
from msgspec.structs import replace
from samples import health, image, sighting
from wires import ScriptedWire

from edge.errors import ImageError, LostError, OutboxError, StalledError
from edge.mqtt.delivery import Delivery
from edge.mqtt.delivery_state import standing
from edge.mqtt.in_flight import Flight, Learned
from edge.mqtt.poison_messages import STRIKES
from edge.mqtt.reason_codes import FAILURE, REASONS, About, reason, words
from edge.mqtt.wire import Limits
from edge.outbox.dead_letters import DeadLetters
from edge.outbox.outbox import Outbox
from edge.outbox.rows import Kind, Row
from edge.system.counters import Counters

log = logging.getLogger("test")
NOT_AUTHORIZED, UNSPECIFIED, QUOTA = 0x87, 0x80, 0x97


class Bench:
    """An outbox, a scripted wire and what stands between them; a new wire is a new connection."""

    def __init__(self, folder, window: int = 4, letters_bytes: int = 10**6, **limits) -> None:
        self.outbox, self.clock, self.counters = Outbox(folder / "o.db"), Hand(), Counters()
        self.letters = DeadLetters(folder / "letters", letters_bytes)
        self.standing = standing(self.counters, self.letters, log, 10.0, self.clock.monotonic)
        self.window, self.limits, self.held, self.shrunk = window, Limits(**limits), False, []
        self.righted = list
        self.connect()

    def connect(self) -> None:
        """Begin a connection."""
        self.wire = ScriptedWire(self.limits)
        careful = lambda: self.standing.suspects.careful  # noqa: E731
        self.flight = Flight(self.wire, 60.0, self.clock.monotonic, careful)
        self.delivery = Delivery(
            self.outbox,
            self.flight,
            "wheatear/cam-1",
            self.window,
            60_000,
            self.standing,
            self.clock,
            lambda: self.held,
            self.shrink,
            lambda rows: self.righted(rows),
        )

    def shrink(self, jpeg: bytes, most: int) -> bytes | None:
        """Give what a test put there."""
        self.shrunk.append(most)
        found = jpeg[:most] if jpeg[:1] == b"j" else None
        if jpeg[:1] == b"e":
            raise ImageError("no JPEG")
        return found

    def put(self, *messages) -> None:
        """Write messages, at the time of the clock."""
        self.outbox.append_many([replace(one, time=self.clock.now()) for one in messages])
        self.delivery.looked = False

    def sight(self, count: int) -> None:
        """Write sightings."""
        self.put(*(sighting() for _ in range(count)))

    def answer(self, *mids: int, code: int = 0) -> list:
        """Let the broker answer, and take it; give what is not delivery's."""
        refusal = "No" if code else None
        self.wire.acknowledge(*mids, refusal=refusal, code=code)
        return self.delivery.settle(self.flight.poll(0))

    def turn(self, leave: int = 0) -> list[int]:
        """Send what there is room for; give the numbers of the messages."""
        before = len(self.wire.said)
        self.delivery.fill(leave)
        return self.wire.mids[before:]

    def seqs(self) -> list[int]:
        """The sightings that were sent over this connection, in order."""
        return [
            json.loads(one.payload)["seq"]
            for one in self.wire.said
            if one.topic.endswith("sighting")
        ]

    @property
    def waiting(self) -> int:
        """What is in the outbox."""
        return self.outbox.depth().waiting

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.seconds += seconds
        self.clock.time += timedelta(seconds=seconds)

    def problem(self, what: str) -> str | None:
        """What is failing now, in words."""
        found = [one for one in self.counters.problems() if one.startswith(f"{what}: ")]
        return found[0].removeprefix(f"{what}: ") if found else None


@pytest.fixture
def bench(tmp_path):
    """A bench with a window of 4."""
    made = Bench(tmp_path)
    yield made
    made.outbox.close()


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
    plain = Delivery(bench.outbox, bench.flight, "b", 300, 60_000, bench.standing, bench.clock)
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
    bench.righted = lambda rows: asked.append([one.row for one in rows]) or list(rows)
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


@pytest.mark.parametrize("code", [NOT_AUTHORIZED, 0x90, QUOTA])
def test_a_denied_sighting_goes_again_alone_and_first(bench, code):
    """Nothing overtakes it: what was under way comes back, then it is tried after a rest."""
    bench.sight(8)
    bench.turn()
    bench.answer(1)
    bench.answer(2, code=code)
    assert "wheatear/cam-1/sighting" in bench.problem("broker access")
    assert f"(No (0x{code:02X}): " in bench.problem("broker access")
    bench.answer(3, code=code)
    assert bench.turn() == []
    bench.answer(4)
    bench.wait(9.9)
    assert bench.turn() == []
    bench.wait(0.2)
    assert bench.turn() == [5]
    assert bench.seqs()[4:] == [2]
    assert bench.waiting == 6  # 1 and 4 are gone: they must not be read again
    bench.answer(5, code=code)
    bench.wait(19.9)
    assert bench.turn() == []  # it rests for longer
    bench.wait(0.2)
    assert bench.turn() == [6]
    bench.answer(6)
    assert bench.problem("broker access") is None
    assert bench.turn() == [7, 8, 9, 10]
    assert bench.seqs()[5:] == [2, 3, 5, 6, 7]
    assert bench.counters["denied"] == 3


def test_a_denial_waits_until_all_under_way_came_back(bench):
    """The row is not sent again while a later one is still on its way."""
    bench.sight(4)
    bench.turn()
    bench.answer(2, code=NOT_AUTHORIZED)
    bench.wait(10.1)
    assert bench.turn() == []
    bench.answer(1, 3, 4)
    assert bench.turn() == [5]
    assert bench.seqs()[-1] == 2


def test_a_picture_that_an_access_list_forbids_is_given_up_and_counted(bench):
    """Sightings go on; for a while no other picture is tried."""
    bench.put(image(), sighting(), image())
    bench.window = 1
    bench.connect()
    bench.turn()
    bench.answer(1, code=NOT_AUTHORIZED)
    assert bench.turn() == [2]
    bench.answer(2)
    assert bench.turn() == []
    assert bench.wire.topics()[1:] == ["sighting"]
    bench.answer()
    assert bench.waiting == 0
    assert bench.counters["denied"] == 2
    assert "is given up: denied a moment ago" in bench.problem("broker access")
    bench.wait(10.1)
    bench.put(image())
    bench.answer(*bench.turn())
    assert bench.problem("broker access") is None


@pytest.mark.parametrize("code", [UNSPECIFIED, 0x83, 0x99, 0xF0])
def test_a_sighting_refused_for_what_it_is_is_proved_by_its_neighbour(bench, code):
    """It is left out, the next is tried; then it once more, and only then is it set aside."""
    bench.sight(3)
    bench.window = 1
    bench.connect()
    bench.turn()
    bench.answer(1, code=code)
    assert "sighting (" in bench.problem("delivery")
    assert "is set back: No" in bench.problem("delivery")
    assert bench.turn() == [2]
    bench.answer(2)
    assert len(bench.letters) == 0
    assert bench.turn() == [3]
    assert bench.seqs() == [1, 2, 1]
    bench.answer(3, code=code)
    (letter,) = bench.letters.held()
    assert letter.seq == 1
    assert letter.why.startswith(f"No (0x{code:02X}): ")
    assert bench.problem("dead letters").startswith("1 set aside")
    bench.answer(*bench.turn())
    assert bench.problem("delivery") is None
    assert bench.seqs() == [1, 2, 1, 3]
    assert bench.waiting == 0
    assert (bench.counters["denied"], bench.counters["dead_letters"]) == (2, 1)
    assert not bench.standing.suspects.careful


def test_a_sighting_wrongly_suspected_is_delivered_after_all(bench):
    """The broker changed its mind in between: late, but not lost."""
    bench.sight(2)
    bench.window = 1
    bench.connect()
    bench.turn()
    bench.answer(1, code=UNSPECIFIED)
    bench.answer(*bench.turn())
    bench.answer(*bench.turn())
    assert bench.seqs() == [1, 2, 1]
    assert bench.waiting == len(bench.letters) == 0
    assert bench.problem("delivery") is None


def test_a_lone_suspect_is_tried_again_after_growing_rests(bench):
    """With nothing behind it that could prove anything, it stays on disk."""
    bench.sight(1)
    for rest in (10, 20, 40):
        bench.answer(*bench.turn(), code=UNSPECIFIED)
        bench.wait(rest - 0.1)
        assert bench.turn() == []
        bench.wait(0.2)
    assert bench.waiting == 1
    bench.answer(*bench.turn())
    assert bench.waiting == 0
    assert bench.problem("delivery") is None


def test_no_message_is_to_blame_where_none_passes(bench):
    """Two sightings in a row: all wait, in their order, and the first goes first."""
    bench.sight(3)
    bench.turn()
    bench.answer(1, 2, 3, code=UNSPECIFIED)
    assert bench.problem("delivery").startswith("all sightings wait: the broker takes none")
    assert bench.turn() == []
    bench.wait(10.1)
    assert bench.turn() == [4]
    assert bench.seqs()[3:] == [1]
    bench.answer(4)
    bench.answer(*bench.turn())
    assert bench.seqs()[3:] == [1, 2, 3]
    assert len(bench.letters) == 0
    assert bench.problem("delivery") is None


@pytest.mark.parametrize("code", [UNSPECIFIED, QUOTA])
def test_a_picture_refused_for_what_it_is_is_set_aside_when_anything_passes(bench, code):
    """Sightings are not held up by it."""
    bench.put(image(), sighting())
    bench.window = 1
    bench.connect()
    bench.turn()
    bench.answer(1, code=code)
    bench.answer(*bench.turn())
    assert [one.kind for one in bench.letters.held()] == ["image"]
    assert bench.waiting == 0


def test_a_picture_passing_proves_nothing_of_a_sighting(bench):
    """Their topics differ: the sighting's may be the trouble."""
    bench.put(sighting(), image())
    bench.window = 1
    bench.connect()
    bench.turn()
    bench.answer(1, code=UNSPECIFIED)
    bench.answer(*bench.turn())
    assert len(bench.letters) == 0
    assert bench.waiting == 1
    assert bench.turn() == []


def test_a_disk_without_room_for_a_dead_letter_keeps_the_message(bench, monkeypatch):
    """It stays set back in the outbox, and the trouble is named."""
    real = bench.letters.add

    def refuse(*_):
        raise OSError("no space")

    monkeypatch.setattr(bench.letters, "add", refuse)
    bench.put(image(), sighting(), sighting())
    bench.window = 1
    bench.connect()
    bench.turn()
    bench.answer(1, code=UNSPECIFIED)
    bench.answer(*bench.turn())
    assert bench.problem("delivery") == "no space"
    assert bench.standing.suspects.careful
    monkeypatch.setattr(bench.letters, "add", real)
    bench.answer(*bench.turn())
    assert len(bench.letters) == 1
    assert bench.waiting == 0


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
    assert "is given up: " in bench.problem("broker access")
    bench.answer(1)
    assert bench.waiting == 0


def test_sightings_that_are_all_too_large_wait(tmp_path):
    """Without a byte on the network, until the broker takes larger ones."""
    bench = Bench(tmp_path, maximum_packet_size=200)
    bench.sight(3)
    assert bench.turn() == []
    assert "all sightings wait" in bench.problem("delivery")
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
    assert "Maximum QoS is 0" in bench.problem("delivery")


def strike(bench, times: int) -> None:
    """Break so many connections with one message under way each."""
    for _ in range(times):
        bench.turn()
        (key,) = bench.flight.keys
        row = bench.delivery.under_way(key)
        bench.standing.suspects.broke([key], row, "it hung up")
        if bench.standing.suspects.is_back(row.row):
            bench.delivery.tell_set_back(row, "it hung up")
        bench.delivery.flush()
        bench.connect()


def test_an_earlier_sighting_that_is_denied_last_goes_first(bench):
    """Answers come in any order; sightings go in theirs."""
    bench.sight(3)
    bench.turn()
    bench.answer(3)
    bench.answer(2, code=NOT_AUTHORIZED)
    bench.answer(1, code=NOT_AUTHORIZED)
    bench.wait(10.1)
    bench.answer(*bench.turn())
    bench.answer(*bench.turn())
    assert bench.seqs() == [1, 2, 3, 1, 2]
    assert bench.waiting == 0


def test_trouble_with_access_lasts_while_anything_is_denied(bench):
    """Sightings that are taken again say nothing of pictures."""
    bench.put(image(), sighting())
    bench.turn()
    bench.answer(1, 2, code=NOT_AUTHORIZED)
    bench.wait(10.1)
    bench.answer(*bench.turn())
    assert bench.waiting == 0
    assert bench.problem("broker access") is not None
    bench.put(image())
    bench.answer(*bench.turn())
    assert bench.problem("broker access") is None


def test_health_that_is_too_large_is_named_until_it_passes(tmp_path):
    """It is given up, and what comes later may fit."""
    bench = Bench(tmp_path, maximum_packet_size=200)
    bench.put(health())
    assert bench.turn() == []
    bench.answer()
    assert bench.waiting == 0
    assert "is given up: " in bench.problem("broker access")
    bench.limits = Limits()
    bench.wait(10.1)
    bench.connect()
    bench.put(health())
    bench.turn()
    bench.answer()
    assert bench.waiting == 0
    assert bench.problem("broker access") is None


def test_a_picture_too_large_that_no_letter_can_be_made_of_waits(tmp_path, monkeypatch):
    """It stays in the outbox, and nothing else does; later it is put away after all."""
    bench = Bench(tmp_path, maximum_packet_size=2000)
    real = bench.letters.add

    def refuse(*_):
        raise OSError("no space")

    monkeypatch.setattr(bench.letters, "add", refuse)
    bench.put(replace(image(), jpeg=b"h" * 3000), sighting())
    bench.answer(*bench.turn())
    assert bench.problem("delivery") == "no space"
    assert bench.waiting == 1
    assert bench.seqs() == [1]
    monkeypatch.setattr(bench.letters, "add", real)
    bench.sight(1)
    bench.answer(*bench.turn())
    bench.answer()
    assert (bench.waiting, len(bench.letters)) == (0, 1)
    assert bench.problem("delivery") is None


def test_times_put_right_are_read_again_once(bench, monkeypatch):
    """Not with every message."""
    real, pages = bench.outbox.page, []
    bench.window = 1
    bench.connect()
    bench.sight(4)
    bench.turn()
    old = bench.outbox.page()[3]
    bench.outbox.rewrite([(old, replace(sighting("moved", bench.clock.now()), seq=4))])
    monkeypatch.setattr(bench.outbox, "page", lambda *asked: pages.append(asked) or real(*asked))
    for mid in (1, 2, 3):
        bench.answer(mid)
        bench.turn()
    assert len(pages) == 1
    assert bench.seqs() == [1, 2, 3, 4]


def test_letters_of_an_earlier_start_are_named(tmp_path):
    """From the beginning, not only when another is added."""
    DeadLetters(tmp_path / "letters").keep("x", "why", Hand().now())
    assert Bench(tmp_path).problem("dead letters").startswith("1 set aside")


@pytest.mark.parametrize(("kind", "message"), [(Kind.SIGHTING, sighting), (Kind.IMAGE, image)])
def test_so_many_breaks_set_a_message_back(bench, kind, message):
    """Five with a sighting alone under way, three with a picture; then the next is tried."""
    bench.put(message(), sighting())
    bench.window = 1
    bench.connect()
    strike(bench, STRIKES[kind] - 1)
    assert not bench.standing.suspects.back
    strike(bench, 1)
    (suspect,) = bench.standing.suspects.back
    assert suspect.row.kind is kind
    assert suspect.why == f"it hung up ({STRIKES[kind]} times with nothing else under way)"
    bench.turn()
    assert bench.wire.topics() == ["sighting"]


def test_after_a_break_each_is_sent_alone_until_all_are_cleared(bench):
    """The messages that were under way, whoever sent them; those behind them go together again."""
    bench.sight(6)
    for _ in range(2):
        bench.turn()
        bench.standing.suspects.broke(bench.flight.keys, None, "it hung up")
        bench.delivery.flush()
        bench.connect()
    for mid in (1, 2, 3, 4):
        assert bench.turn() == [mid]
        bench.answer(mid)
    assert bench.turn() == [5, 6]


def test_a_link_that_breaks_again_and_again_and_carries_messages_blames_none(bench):
    """Every connection delivers one: the window stays as wide as it is."""
    bench.sight(6)
    for first in (1, 2, 3):
        under_way = bench.turn()
        assert len(under_way) == 4
        bench.answer(under_way[0])
        bench.standing.suspects.broke(bench.flight.keys, None, "it hung up")
        bench.delivery.flush()
        bench.connect()
        assert bench.outbox.page(limit=1)[0].row == first + 1
    assert not bench.standing.suspects.careful


def test_a_large_picture_is_found_out_at_once_after_a_smaller_one(bench):
    """Once a size was proved to break connections, larger ones need one break."""
    bench.put(image(500), sighting(), image(400), sighting(), image(600), sighting())
    bench.window = 1
    bench.connect()
    strike(bench, 3)
    bench.answer(*bench.turn())
    assert len(bench.letters) == 1
    strike(bench, 2)
    assert not bench.standing.suspects.back
    bench.answer(*bench.turn())  # 400 bytes pass
    bench.answer(*bench.turn())
    strike(bench, 1)
    assert bench.standing.suspects.back[0].why == "it hung up (once with nothing else under way)"


def test_a_topic_that_breaks_connections_is_left_out(bench):
    """What is not from the outbox is named to whoever sent it, three breaks later."""
    suspects = bench.standing.suspects
    assert [suspects.broke(["info"], None, "x") for _ in range(3)] == [None, None, "info"]
    assert not suspects.careful
    assert suspects.broke(["info"], None, "x") is None
    suspects.cleared("info")
    assert [suspects.broke(["info"], None, "x") for _ in range(2)] == [None, None]


def test_rows_that_are_gone_leave_no_caution_behind(bench):
    """A full outbox may have dropped what was under way."""
    bench.sight(2)
    bench.turn()
    for _ in range(2):
        bench.standing.suspects.broke([*bench.flight.keys, "info"], None, "it hung up")
    bench.outbox.delete(row.row for row in bench.outbox.page())
    bench.connect()
    bench.turn()
    assert bench.standing.suspects.careful
    bench.standing.suspects.cleared("info")
    assert not bench.standing.suspects.careful


def test_what_stands_still_is_noticed():
    """The oldest under way must be answered in time, counted from when it became the oldest."""
    clock, wire = Hand(), ScriptedWire()
    flight = Flight(wire, 60.0, clock.monotonic)
    assert flight.stands_seconds == 0
    clock.seconds = 100
    assert flight.poll(0) == []
    for topic in "abc":
        flight.publish(topic, b"", key=topic.upper())
        clock.seconds += 10
    clock.seconds += 20
    wire.acknowledge(2)
    flight.poll(0)
    assert flight.answered == ("B",)
    assert flight.stands_seconds == 50
    wire.acknowledge(1)
    flight.poll(0)
    assert (flight.oldest.topic, flight.oldest.key) == ("c", "C")
    clock.seconds += 60
    flight.poll(0)
    assert flight.answered == ()
    clock.seconds += 0.1
    with pytest.raises(StalledError, match=r"c was not acknowledged within 60 s"):
        flight.poll(0)
    wire.acknowledge(3)
    flight.poll(0)
    clock.seconds += 100
    assert flight.poll(0) == []


def test_a_large_message_on_a_slow_network_stands_only_when_no_byte_of_it_passes():
    """From its last byte on the broker has its time to acknowledge; what is behind it is none."""
    clock, wire = Hand(), ScriptedWire(slow=True)
    flight = Flight(wire, 60.0, clock.monotonic)
    flight.publish("large", bytes(1000), key=1)
    flight.publish("next", bytes(1000), key=2)
    for wire.passed in (1, 500, 999, 1000):
        clock.seconds += 59
        flight.poll(0)
        assert flight.stands_seconds == 0
    for wire.passed in (1001, 2000):
        clock.seconds += 30
        flight.poll(0)
    assert flight.stands_seconds == 60
    wire.acknowledge(1)
    flight.poll(0)
    assert flight.stands_seconds == 0
    clock.seconds += 60.1
    with pytest.raises(StalledError, match="next was not acknowledged"):
        flight.poll(0)


def test_less_is_sent_where_the_broker_takes_less():
    """Retain and QoS by what it said, and by what its reason codes taught."""
    wire, learned = ScriptedWire(Limits(retain=False, receive_maximum=10)), Learned()
    flight = Flight(wire, 60.0, Hand().monotonic, learned=learned)
    flight.publish("t", b"", retain=True)
    assert (wire.said[0].qos, wire.said[0].retain) == (1, False)
    assert not learned.learn(None, 10)
    assert not learned.learn(0x93, 1)
    assert learned.learn(0x93, 10)
    assert learned.within(Limits()).receive_maximum == 5
    assert learned.learn(0x96, 4)
    assert learned.within(Limits()).receive_maximum == 2
    assert Learned().learn(0x96, 2)
    assert learned.within(Limits(receive_maximum=1)).receive_maximum == 1
    assert learned.within(Limits()).receive_maximum == 2
    assert learned.within(Limits()).retain
    assert learned.learn(0x9A, 1)
    assert not learned.learn(0x9A, 1)
    assert not learned.within(Limits()).retain
    assert learned.within(Limits()).maximum_qos == 2
    assert learned.learn(0x9B, 1)
    assert not learned.learn(0x9B, 1)
    flight = Flight(ScriptedWire(), 60.0, Hand().monotonic, learned=learned)
    flight.publish("t", b"")
    assert flight.limits.maximum_qos == 0
    assert flight.room == 2
    flight.disconnect()


@pytest.mark.parametrize(("code", "less"), [(0x9A, {"retain": False}), (0x9B, {"maximum_qos": 0})])
def test_what_a_broker_did_not_take_is_tried_again_later(code, less):
    """It may be another one by then; each time it refuses again the wait is longer."""
    clock = Hand()
    learned = Learned(clock.monotonic)
    flight = Flight(ScriptedWire(), 60.0, clock.monotonic, learned=learned)
    for seconds in (30, 60, 120):
        assert learned.learn(code, 1)
        assert flight.limits == replace(Limits(), **less)
        clock.seconds += seconds - 1
        assert flight.limits == replace(Limits(), **less)
        clock.seconds += 1
        assert flight.limits == Limits()


def test_every_reason_code_has_its_rule_and_a_cure():
    """Those of all packets; one that is not known is about the message."""
    known = {*range(0x80, 0xA3)}
    assert set(REASONS) == known
    assert min(known) == FAILURE
    assert reason(0xFF).about is About.MESSAGE
    assert words("Quota exceeded", 0x97).startswith("Quota exceeded (0x97): a quota is used up")
    assert {code for code in known if reason(code).about is About.TOPIC} >= {0x87, 0x90}
    assert {code for code in known if reason(code).about is About.MESSAGE} == {
        0x80, 0x81, 0x82, 0x83, 0x94, 0x95, 0x99,
    }  # fmt: skip


def test_a_loss_says_why_and_by_whom():
    """The text alone stands for the reason where none is given."""
    assert LostError("text").why == "text"
    found = LostError("text", "why", 0x8E, hung_up=True)
    assert (str(found), found.why, found.code, found.hung_up) == ("text", "why", 0x8E, True)


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
