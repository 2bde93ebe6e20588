"""What becomes of messages that the broker refuses, or at which it hangs up."""

from __future__ import annotations

import pytest
from clocks import Hand
from delivery_bench import Bench
from msgspec.structs import replace
from samples import image, sighting
from there import there

from edge.mqtt.poison_messages import STRIKES
from edge.outbox.dead_letters import DeadLetters
from edge.outbox.rows import Kind

NOT_AUTHORIZED, UNSPECIFIED, QUOTA = 0x87, 0x80, 0x97


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
    bench.one_at_a_time()
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
    bench.one_at_a_time()
    bench.turn()
    bench.answer(1, code=code)
    assert "sighting (" in bench.problem("delivery")
    assert "is held back: No" in bench.problem("delivery")
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
    bench.one_at_a_time()
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
    bench.one_at_a_time()
    bench.turn()
    bench.answer(1, code=code)
    bench.answer(*bench.turn())
    assert [one.kind for one in bench.letters.held()] == ["image"]
    assert bench.waiting == 0


def test_a_picture_passing_proves_nothing_of_a_sighting(bench):
    """Their topics differ: the sighting's may be the trouble."""
    bench.put(sighting(), image())
    bench.one_at_a_time()
    bench.turn()
    bench.answer(1, code=UNSPECIFIED)
    bench.answer(*bench.turn())
    assert len(bench.letters) == 0
    assert bench.waiting == 1
    assert bench.turn() == []


def test_a_disk_without_room_for_a_dead_letter_keeps_the_message(bench):
    """It stays set back in the outbox, and the trouble is named."""
    bench.put(image(), sighting(), sighting())
    bench.one_at_a_time()
    bench.turn()
    bench.answer(1, code=UNSPECIFIED)
    with bench.no_room_for_letters():
        bench.answer(*bench.turn())
    assert bench.problem("delivery") == "no space"
    assert bench.standing.suspects.careful
    bench.answer(*bench.turn())
    assert len(bench.letters) == 1
    assert bench.waiting == 0


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


def test_a_picture_too_large_that_no_letter_can_be_made_of_waits(tmp_path):
    """It stays in the outbox, and nothing else does; later it is put away after all."""
    bench = Bench(tmp_path, maximum_packet_size=2000)
    bench.put(replace(image(), jpeg=b"h" * 3000), sighting())
    with bench.no_room_for_letters():
        bench.answer(*bench.turn())
    assert bench.problem("delivery") == "no space"
    assert bench.waiting == 1
    assert bench.seqs() == [1]
    bench.sight(1)
    bench.answer(*bench.turn())
    bench.answer()
    assert (bench.waiting, len(bench.letters)) == (0, 1)
    assert bench.problem("delivery") is None


def test_letters_of_an_earlier_start_are_named(tmp_path):
    """From the beginning, not only when another is added."""
    DeadLetters(tmp_path / "letters").keep("x", "why", Hand().now())
    assert there(Bench(tmp_path).problem("dead letters")).startswith("1 set aside")


@pytest.mark.parametrize(("kind", "message"), [(Kind.SIGHTING, sighting), (Kind.IMAGE, image)])
def test_so_many_breaks_set_a_message_back(bench, kind, message):
    """Five with a sighting alone under way, three with a picture; then the next is tried."""
    bench.put(message(), sighting())
    bench.one_at_a_time()
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
    bench.one_at_a_time()
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
