"""What a session learns of a connection that breaks or stands still."""

from __future__ import annotations

import pytest
from samples import image, sighting
from session_bench import BASE, Talk
from there import there

from edge.errors import LostError, StalledError
from edge.mqtt.idle_sender import Parcel
from edge.mqtt.requests import RequestAnswer


@pytest.mark.parametrize("payload", [b"online", None])
def test_after_a_break_caution_ends_with_what_is_said_or_is_not(talk, payload):
    """Each introduction that was under way is taken, or has nothing to say any more."""
    for careful in (False, True):
        talk.go(answer=False)
        talk.session.lost(LostError("x", hung_up=True))
        assert talk.standing.suspects.careful is careful
        talk.connect()
    talk.says[f"{BASE}/availability"] = payload
    talk.settle()
    assert not talk.standing.suspects.careful


@pytest.mark.parametrize(
    ("error", "blamed"),
    [
        (LostError("x"), True),
        (LostError("x", code=0x8D, hung_up=True), True),
        (LostError("x", code=0x8E, hung_up=True), False),
        (OSError("x"), False),
    ],
)
def test_a_picture_alone_may_be_too_slow_for_the_network(talk, error, blamed):
    """Where the connection ended for want of a sign of life, and not for another reason."""
    talk.settle()
    talk.put(image())
    assert talk.go(answer=False)[0].endswith("/image")
    talk.session.lost(error)
    assert talk.standing.suspects.careful is blamed


def test_a_message_that_breaks_connections_is_left_out_for_a_while(talk):
    """Of what the device says of itself: three times, then it rests and is named."""
    lost = LostError("lost", "it hung up", hung_up=True)
    for under_way in (2, 2, 1, 1, 1):
        talk.pending.discard(f"{BASE}/availability")
        talk.wire.breaks = lost
        with pytest.raises(LostError):
            talk.go(answer=False)
        assert len(talk.flight.keys) == under_way  # the state only at first
        assert talk.flight.keys[0] == f"{BASE}/info"
        talk.session.lost(lost)
        talk.session.close()
        talk.connect()
    assert "info is left out for a while: it hung up" in talk.problem("delivery")
    assert "info" not in talk.settle()
    talk.wait(10.1)
    talk.pending.add(f"{BASE}/info")
    assert "info" in talk.settle()


@pytest.mark.parametrize("code", [None, 0x8D])
def test_a_picture_that_takes_longer_than_the_network_stands_holds_nothing_up(talk, code):
    """Nobody hangs up at it, but for want of a sign of life; sightings are small enough."""
    slow = LostError("lost", "Keep alive timeout", code=code, hung_up=code is not None)
    talk.settle()
    talk.put(image(500), sighting())
    for _ in range(5):
        for _ in range(6):
            talk.go(answer=False)
            ours = (one.mid for one in talk.wire.said if "sighting" not in one.topic)
            talk.wire.acknowledge(*ours)
        talk.session.lost(slow)
        talk.session.close()
        talk.connect()
    assert "held back: Keep alive timeout" in talk.problem("delivery")
    assert "sighting" in talk.settle()
    assert len(talk.letters) == 1
    assert talk.waiting == 0


@pytest.mark.parametrize(
    ("error", "blamed"),
    [
        (LostError("x", hung_up=True), True),
        (LostError("x", code=0x82, hung_up=True), True),
        (LostError("x", code=0x95, hung_up=True), True),
        (StalledError("x"), True),
        (LostError("x", hung_up=False), False),
        (LostError("x", code=0x8E, hung_up=True), False),
        (LostError("x", code=0x97, hung_up=True), False),
        (LostError("x", code=0x93, hung_up=True), False),
        (OSError("x"), False),
    ],
)
def test_only_some_ends_of_a_connection_may_be_a_message(talk, error, blamed):
    """A network that is gone, another program or a busy broker blame nobody."""
    talk.sight(3)
    for _ in range(2):
        talk.go(answer=False)
        talk.session.lost(error)
        talk.session.close()
        talk.connect()
    assert talk.standing.suspects.careful is blamed


def test_an_answer_is_not_said_again_and_leaves_no_caution(talk):
    """Who asked is gone, and would ask again; it is counted."""
    talk.settle()
    talk.inlet.waiting = [RequestAnswer(f"{BASE}/response/status", b"{}", b"c", 0.0)]
    assert talk.go(answer=False) == ["response/status"]
    assert talk.wire.said[-1].correlation == b"c"
    talk.session.lost(LostError("x", hung_up=True))
    talk.session.close()
    assert not talk.standing.suspects.careful
    assert talk.counters["answers_lost"] == 1


def test_a_break_with_a_parcel_under_way_is_told_to_its_source(tmp_path):
    """After three of them parcels rest; sightings go on."""
    parcel = Parcel("p", (("inbox/p", b"j"),))
    talk = Talk(tmp_path)
    lost = LostError("x", "it hung up", hung_up=True)
    for _ in range(3):
        talk.settle()
        talk.source.parcels = [parcel]
        assert talk.go(answer=False) == ["inbox/p"]
        talk.session.lost(lost)
        talk.session.close()
        talk.connect()
    talk.source.parcels = [parcel]
    assert talk.source.outcomes.count(("p", "lost")) == 3
    assert "spare is left out" in there(talk.problem("delivery"))
    assert "inbox/p" not in talk.settle()


def test_a_standstill_is_in_the_state_before_the_connection_is_given_up(talk):
    """After thirty seconds; it ends with an answer to what stood still."""
    talk.settle()
    talk.sight(1)
    talk.session.news()
    talk.go(answer=False)
    talk.wait(30)
    talk.go(answer=False)
    assert talk.problem("acknowledgements") is None
    talk.wait(0.1)
    talk.go(answer=False)
    assert "sighting is not acknowledged" in talk.problem("acknowledgements")
    said = [one for one in talk.wire.said if one.topic.endswith("/sighting")]
    talk.wait(5)
    assert "state" in [*talk.go(), *talk.go()]
    talk.wire.acknowledge(said[-1].mid)
    talk.go()
    assert talk.problem("acknowledgements") is None
    talk.wait(6)
    assert talk.settle() == ["state"]


def test_an_outage_ends_with_a_yes_of_the_broker(talk):
    """A no proves nothing; and the state says at once that it is over."""
    talk.broken.failed(LostError("lost"))
    talk.go(answer=False)
    talk.wire.acknowledge(1, refusal="No", code=0x87)
    talk.go(answer=False)
    assert talk.problem("broker") == "lost"
    talk.wire.acknowledge(2)
    talk.go(answer=False)
    assert talk.problem("broker") is None
    talk.wait(6)
    assert "state" in talk.settle()


def test_a_sighting_alone_under_way_is_struck(talk):
    """Five ends of connections by the broker set it back."""
    lost = LostError("x", "it hung up", hung_up=True)
    talk.settle()
    talk.sight(1)
    talk.session.news()
    for _ in range(5):
        assert not talk.standing.suspects.back
        for _ in range(6):
            said = talk.go(answer=False)
            others = [one for one in talk.wire.said if not one.topic.endswith("/sighting")]
            talk.wire.acknowledge(*(one.mid for one in others))
            if "sighting" in said:
                break
        talk.go(answer=False)
        assert len(talk.flight.keys) == 1
        talk.session.lost(lost)
        talk.session.close()
        talk.connect()
    assert "sighting (" in talk.problem("delivery")
    assert "is held back: it hung up" in talk.problem("delivery")
