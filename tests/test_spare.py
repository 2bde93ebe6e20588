"""Parcels: sent when nothing else waits, one at a time; each is settled exactly once."""

from __future__ import annotations

import pytest
from session_bench import BASE, Talk
from there import there

from edge.errors import LostError
from edge.mqtt.idle_sender import Parcel

ONE = Parcel("one", (("inbox/one", b"j"),))
PAIR = Parcel("pair", (("inbox/pair/meta", b"m"), ("inbox/pair", b"j")))
HUNG_UP = LostError("x", "it hung up", hung_up=True)


def begun(folder, *parcels: Parcel, **limits) -> Talk:
    """A session whose first parcel is under way, and nothing else."""
    talk = Talk(folder, **limits)
    talk.settle()
    talk.source.parcels = list(parcels)
    talk.go(answer=False)
    return talk


def test_a_parcel_says_how_much_goes_over_the_network():
    """Topics, payloads, and a header for each message."""
    assert Parcel("p", (("ab", b"cde"), ("f", b""))).bytes == 2 + 3 + 16 + 1 + 16


def test_a_parcel_is_taken_when_all_of_it_is(tmp_path):
    """Then the next begins."""
    talk = begun(tmp_path, PAIR, ONE)
    first, second = talk.wire.mids[-2:]
    talk.wire.acknowledge(first)
    assert talk.go(answer=False) == []
    assert talk.source.outcomes == []
    talk.wire.acknowledge(second)
    talk.go(answer=False)
    assert talk.source.outcomes == [("pair", "taken")]
    assert talk.go() == ["inbox/one"]


def test_a_parcel_that_is_denied_ends_at_once_and_counts_once(tmp_path):
    """Its other messages are not sent, or not minded; later another is tried."""
    talk = begun(tmp_path, PAIR, ONE)
    talk.wire.acknowledge(*talk.wire.mids[-2:], refusal="No", code=0x87)
    talk.go(answer=False)
    assert talk.source.outcomes == [("pair", "refused")]
    assert talk.counters["denied"] == 1
    assert talk.problem("broker access") == (
        "the broker denies wheatear/cam-1/inbox (No); it is tried again later"
    )
    talk.wait(9.9)
    assert "inbox/one" not in talk.settle()
    talk.wait(0.2)
    assert "inbox/one" in talk.settle()
    assert talk.source.outcomes[1:] == [("one", "taken")]
    assert talk.problem("broker access") is None


def test_what_is_left_of_a_denied_parcel_is_not_sent(tmp_path):
    """It was to follow as soon as there was room."""
    talk = begun(tmp_path, PAIR, receive_maximum=1)
    assert talk.wire.topics()[-1] == "inbox/pair/meta"
    talk.wire.acknowledge(talk.wire.mids[-1], refusal="No", code=0x87)
    talk.settle()
    assert "inbox/pair" not in talk.wire.topics()


def test_a_parcel_larger_than_the_broker_takes_is_refused_unsent(tmp_path):
    """Named with its topic and the limit."""
    large = Parcel("large", (("inbox/large", bytes(900)),))
    talk = begun(tmp_path, large, maximum_packet_size=800)
    assert talk.source.outcomes == [("large", "refused")]
    assert there(talk.problem("broker access")).startswith(
        f"{BASE}/inbox/large is larger than the broker's limit of 800 bytes"
    )
    assert talk.counters["denied"] == 1
    assert "inbox/large" not in talk.settle()


@pytest.mark.parametrize(("most", "taken"), [(0, False), (1, True), (2, True)])
def test_parcels_need_acknowledgements(tmp_path, most, taken):
    """Without them nobody knows whether they arrived."""
    talk = Talk(tmp_path, [ONE], maximum_qos=most)
    talk.settle()
    assert (talk.source.outcomes == [("one", "taken")]) is taken
    assert (talk.source.parcels == []) is taken


def test_a_no_to_something_else_is_no_answer_to_a_parcel(tmp_path):
    """Nor is a yes."""
    talk = begun(tmp_path, ONE)
    talk.sight(2)
    talk.session.news()
    talk.go(answer=False)
    talk.wire.acknowledge(talk.wire.mids[-2], refusal="No", code=0x80)
    talk.wire.acknowledge(talk.wire.mids[-1])
    talk.go(answer=False)
    assert talk.source.outcomes == []


def test_after_a_break_caution_ends_with_the_parcel_or_without_one(tmp_path):
    """It was taken, or there is none any more."""
    for again in ([ONE], []):
        talk = begun(tmp_path, ONE)
        talk.session.lost(HUNG_UP)
        talk.session.close()
        assert talk.source.outcomes == [("one", "lost")]
        assert talk.standing.suspects.careful
        talk.connect()
        talk.source.parcels = list(again)
        talk.settle()
        assert not talk.standing.suspects.careful
        talk.outbox.close()


def test_a_parcel_that_is_taken_begins_the_breaks_anew(tmp_path):
    """Three in a row make parcels rest; two and two do not."""
    talk = begun(tmp_path, ONE)
    for breaks in (2, 2):
        for _ in range(breaks):
            talk.session.lost(HUNG_UP)
            talk.session.close()
            talk.connect()
            talk.settle()
            talk.source.parcels = [ONE]
            assert talk.go(answer=False) == ["inbox/one"]
        talk.wire.acknowledge(talk.wire.mids[-1])
        talk.source.parcels = [ONE]
        talk.go(answer=False)
        assert talk.go(answer=False) == ["inbox/one"]
    assert talk.problem("delivery") is None


def test_a_parcel_lost_is_lost_once(tmp_path):
    """Closing again has nothing more to say."""
    talk = begun(tmp_path, PAIR)
    talk.session.close()
    talk.session.close()
    assert talk.source.outcomes == [("pair", "lost")]
