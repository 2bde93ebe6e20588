"""What is said over one connection, turn by turn, on a scripted wire and a clock set by hand."""

from __future__ import annotations

from datetime import timedelta

import pytest
from session_bench import BASE, Talk
from there import there
from wires import ScriptedWire

from edge.mqtt.idle_sender import Parcel
from edge.mqtt.packets import Incoming
from edge.mqtt.requests import RequestAnswer
from edge.mqtt.session import Closing
from edge.mqtt.wire import Limits


def test_a_session_begins_with_who_is_there_then_what_waits(talk):
    """Introductions retained, the sightings, and the state when those are there."""
    talk.wait(1000)
    talk.connect()
    talk.sight(2)
    assert talk.go() == ["availability", "info", "sighting", "sighting"]
    assert [one.retain for one in talk.wire.said] == [True, True, False, False]
    assert talk.wire.subscribed == [[f"{BASE}/request/#"]]
    assert talk.go() == []  # the answers come in this turn
    assert talk.go() == ["state"]
    assert talk.wire.said[-1].payload == b"0"
    assert talk.settle() == []
    assert talk.taken == list(talk.says)
    assert talk.counters["introduced"] == 2
    assert talk.wire.waits[-1] == 0.5


def test_the_state_is_said_at_its_pace(talk):
    """After news, at most every five seconds, and not while something is on its way."""
    talk.settle()
    talk.sight(1)
    talk.session.news()
    assert talk.go() == ["sighting"]
    assert talk.wire.waits[-1] == 0.05
    assert talk.go() == []
    talk.wait(4.9)
    assert talk.go() == []
    talk.wait(0.2)
    assert talk.go() == ["state"]


def test_the_state_waits_five_seconds_for_what_is_on_its_way(talk):
    """From when nothing was, however long that is ago."""
    talk.settle()
    talk.wait(100)
    talk.go()
    talk.sight(1)
    talk.session.news()
    assert talk.go(answer=False) == ["sighting"]
    talk.wait(4.9)
    assert talk.go(answer=False) == []
    talk.wait(0.2)
    assert talk.go(answer=False) == ["state"]


def test_a_quiet_session_waits_for_half_a_second_or_until_the_state_is_due(talk):
    """A twentieth where it parts; nobody is asked a thousand times a second."""
    talk.settle()
    talk.wait(4.5)
    talk.session.news()
    talk.go()
    assert talk.wire.waits[-1] == 0.5
    talk.wait(0.4)
    talk.go()
    assert talk.wire.waits[-1] == pytest.approx(0.1)
    talk.wait(0.1)
    assert talk.settle() == ["state"]
    talk.go()
    assert talk.wire.waits[-1] == 0.5
    talk.go(Closing(True, flush_until=1e9))
    assert talk.going


def test_a_state_that_rests_or_has_no_room_is_waited_for_patiently(talk):
    """Though it is due."""
    talk.settle()
    talk.wait(6)
    talk.standing.denials.deny(f"{BASE}/state")
    talk.session.news()
    for _ in range(2):
        assert talk.go() == []
        assert talk.wire.waits[-1] == 0.5
    talk.limits = Limits(receive_maximum=1)
    talk.connect()
    talk.go(answer=False)
    talk.wait(20)
    for _ in range(2):
        assert talk.go(answer=False) == []
        assert talk.wire.waits[-1] == 0.5


def test_what_is_denied_of_the_state_touches_no_introduction(talk):
    """They are not said again for it; and what is denied was not taken."""
    talk.go(answer=False)
    talk.wire.acknowledge(1, refusal="No", code=0x87)
    talk.wire.acknowledge(2)
    talk.go(answer=False)
    assert talk.taken == [f"{BASE}/info"]
    assert talk.counters["introduced"] == 1
    talk.wait(10.1)
    talk.settle()
    assert talk.counters["introduced"] == 2
    talk.session.news()
    talk.wait(6)
    assert talk.go(answer=False) == ["state"]
    talk.wire.acknowledge(talk.wire.mids[-1], refusal="No", code=0x87)
    talk.go(answer=False)
    assert not talk.pending


def test_what_the_broker_knows_waits_for_a_backlog_however_old_the_clock_is(talk):
    """For ten seconds of this connection."""
    talk.settle()
    talk.limits = Limits(receive_maximum=1)
    talk.wait(1000)
    talk.connect()
    talk.sight(40)
    said = [topic for _ in range(9) for topic in talk.go()]
    assert "info" not in said
    talk.wait(10.1)
    said = [topic for _ in range(9) for topic in talk.go()]
    assert "info" in said


def test_an_answer_to_nothing_that_was_said_is_nobodys(talk):
    """Neither a denial of something nor the end of one."""
    talk.settle()
    talk.wire.acknowledge(99, refusal="No", code=0x87)
    talk.settle()
    assert talk.problem("broker access") is None
    assert talk.counters["denied"] == 0


def test_what_is_acknowledged_while_the_session_parts_leaves_the_disk(talk):
    """It would be sent again with the next start."""
    talk.settle()
    talk.sight(1)
    talk.session.news()
    talk.go(answer=False)
    talk.wait(1)
    closing = Closing(True, flush_until=0.5)
    talk.go(closing, answer=False)
    talk.wire.acknowledge(*talk.wire.mids)
    talk.go(closing, answer=False)
    assert talk.waiting == 0


def test_the_state_is_said_after_all_while_much_is_on_its_way(talk):
    """With a slot of the window left for it."""
    talk.limits = Limits(receive_maximum=2)
    talk.connect()
    talk.settle()
    talk.sight(9)
    talk.session.news()
    assert talk.go(answer=False) == ["sighting", "sighting"]
    talk.wait(5.1)
    first, second = talk.wire.mids[-2:]
    talk.wire.acknowledge(first)
    assert talk.go(answer=False) == []  # the answer comes
    assert talk.go(answer=False) == ["state"]
    talk.wire.acknowledge(second)
    talk.go(answer=False)
    assert talk.go(answer=False) == ["sighting"]


def test_an_hour_that_ends_and_what_fails_renew_the_state(talk):
    """Without any news."""
    talk.settle()
    talk.wait(6)
    assert talk.go() == []
    talk.clock.time += timedelta(hours=1)
    assert talk.go() == ["state"]
    talk.settle()
    talk.wait(6)
    talk.counters.failing("camera", "away")
    assert talk.go() == ["state"]


@pytest.mark.parametrize("most", [1, 2, 3])
def test_all_together_keep_within_the_window(tmp_path, most):
    """Nobody starves: who goes first takes what there is, and the others follow."""
    parcel = Parcel("p", (("inbox/p/meta", b"m"), ("inbox/p", b"j")))
    talk = Talk(tmp_path, [parcel], receive_maximum=most)
    talk.sight(6)
    talk.inlet.waiting = [RequestAnswer(f"{BASE}/response/status", b"{}", None, 0.0)] * 2
    said: list[str] = []
    for _ in range(60):
        said += talk.go()
        assert len(talk.flight.keys) <= most
        talk.wait(0.2)
    assert sorted(set(said)) == sorted(
        ["availability", "info", "state", "sighting", "response/status", "inbox/p/meta", "inbox/p"]
    )
    assert talk.waiting == 0
    assert talk.source.outcomes == [("p", "taken")]


def test_what_the_broker_took_before_is_said_again_when_nothing_else_waits(talk):
    """A link that soon breaks would carry nothing else; that we are there is said at once."""
    assert talk.settle()[:2] == ["availability", "info"]
    for _ in range(2):
        talk.connect()
        talk.sight(1)
        assert talk.go() == ["availability", "sighting"]
        assert "info" in talk.settle()


def test_what_the_broker_took_before_is_said_again_after_a_while(talk):
    """However much waits: it may have forgotten; and what is renewed is said at once."""
    talk.settle()
    talk.connect()
    talk.sight(9)
    assert "info" not in talk.go(answer=False)
    talk.wait(10.1)
    talk.wire.acknowledge(talk.wire.said[0].mid)
    assert "info" in talk.go(answer=False) + talk.go(answer=False)
    talk.settle()
    talk.connect()
    talk.sight(9)
    talk.known.discard(f"{BASE}/info")
    assert "info" in talk.go(answer=False)


def test_requests_come_in_and_verbs_are_subscribed_to_one_by_one(tmp_path):
    """Where the broker takes no wildcards."""
    talk = Talk(tmp_path, wildcards=False)
    talk.wire.arriving = [Incoming(f"{BASE}/request/status", b"{}")]
    talk.settle()
    assert talk.wire.subscribed == [[f"{BASE}/request/status", f"{BASE}/request/capture"]]
    assert len(talk.inlet.offered) == 1


def test_a_denied_subscription_is_tried_again(talk):
    """Named, with the cure; it ends with the broker's yes."""
    talk.go(answer=False)
    talk.wire.acknowledge(3, refusal="No", code=0x87)
    talk.go(answer=False)
    assert "takes no requests" in talk.problem("broker access")
    talk.wait(10.1)
    talk.go(answer=False)
    assert len(talk.wire.subscribed) == 2
    talk.wire.acknowledge(talk.wire.asked[-1])
    talk.go(answer=False)
    assert talk.problem("broker access") is None
    assert talk.counters["subscribed"] == 1


def test_a_subscription_that_is_never_answered_is_named_and_tried_again(talk):
    """Sightings go on; an answer that comes after all ends it."""
    talk.settle()
    talk.wait(60)
    talk.settle()
    assert talk.problem("broker access") is None
    talk.wait(0.1)
    talk.settle()
    assert "does not answer the subscription" in talk.problem("broker access")
    assert len(talk.wire.asked) == 1
    talk.sight(1)
    assert "sighting" in talk.settle()
    talk.wait(10.1)
    talk.settle()
    assert len(talk.wire.asked) == 2
    talk.wire.acknowledge(talk.wire.asked[-1])
    talk.settle()
    assert talk.problem("broker access") is None


def test_a_denied_or_too_large_introduction_is_said_again_later(tmp_path):
    """Sightings go through meanwhile."""
    talk = Talk(tmp_path, maximum_packet_size=2000)
    talk.says[f"{BASE}/info"] = b"x" * 3000
    assert talk.go() == ["availability", "state"]
    talk.settle()
    assert "(larger than its limit of 2000 bytes)" in there(talk.problem("broker access"))
    talk.says[f"{BASE}/info"] = b"short"
    talk.wait(10.1)
    said = talk.go(answer=False)
    assert said[0] == "info"
    talk.wire.acknowledge(talk.wire.mids[-len(said)], refusal="No", code=0x87)
    talk.settle()
    talk.wait(20.1)
    assert "info" in talk.settle()
    assert talk.problem("broker access") is None
    assert talk.counters["denied"] == 2


def test_a_session_parts_in_good_order(talk):
    """What waits goes first; then `offline`, its acknowledgement, and goodbye."""
    talk.settle()
    talk.sight(1)
    talk.session.news()
    closing = Closing(True, flush_until=100.0)
    assert talk.go(closing) == ["sighting"]
    said: list[str] = []
    for _ in range(10):
        said += talk.go(closing) if talk.going else []
    assert said == ["state", "availability"]
    assert talk.wire.said[-1].payload == b"offline"
    assert talk.wire.goodbyes == 1


def test_a_session_that_cannot_say_offline_leaves_it_to_the_last_will(tmp_path):
    """No room in the window: it says nothing, and in particular no goodbye."""
    talk = Talk(tmp_path, receive_maximum=1)
    talk.go(answer=False)
    closing = Closing(True, flush_until=0.0)
    talk.wait(1)
    for _ in range(20):
        if talk.go(closing, answer=False) is None or not talk.going:
            break
        talk.wait(0.5)
    assert talk.wire.goodbyes == 0
    assert talk.wire.topics() == ["availability"]


def test_time_to_flush_is_kept(talk):
    """A broker that answers nothing does not hold the end up."""
    talk.settle()
    talk.sight(1)
    talk.session.news()
    talk.clock.seconds = 50.0
    closing = Closing(True, flush_until=52.0)
    turns = 0
    while turns < 100:
        talk.go(closing, answer=False)
        if not talk.going:
            break
        talk.wait(0.5)
        turns += 1
    assert 8 <= turns <= 12
    assert talk.wire.topics()[-1] == "availability"
    assert isinstance(talk.wire, ScriptedWire)


def test_parcels_wait_while_anything_else_is_on_its_way(tmp_path):
    """And none begins while the session parts."""
    parcel = Parcel("p", (("inbox/p", b"j"),))
    talk = Talk(tmp_path, [parcel])
    talk.sight(1)
    assert "inbox/p" not in talk.go(answer=False)
    talk.go(answer=False)
    assert "inbox/p" not in talk.go(answer=False)
    talk.wire.acknowledge(*talk.wire.mids)
    talk.go(answer=False)
    assert "inbox/p" in [*talk.go(), *talk.go()]


def test_an_introduction_that_rests_does_not_hold_the_next_up(talk):
    """Each is said or left out for itself."""
    talk.standing.denials.deny(f"{BASE}/availability")
    assert talk.go()[0] == "info"
