"""Requests and answers over one connection: what is denied, too large or lost is counted."""

from __future__ import annotations

import pytest
from session_bench import BASE, Talk
from there import there

from edge.errors import LostError
from edge.mqtt.requests import RequestAnswer
from edge.mqtt.session import Closing

HUNG_UP = LostError("x", "it hung up", hung_up=True)


def answer(payload: bytes = b"{}") -> RequestAnswer:
    """An answer to somebody."""
    return RequestAnswer(f"{BASE}/response/status", payload, None, 0.0)


@pytest.fixture
def talk(tmp_path):
    """A session in which all is said."""
    made = Talk(tmp_path)
    made.settle()
    yield made
    made.outbox.close()


def test_an_answer_that_is_denied_is_lost_and_named(talk):
    """Until another is taken."""
    talk.inlet.waiting = [answer()]
    talk.go(answer=False)
    talk.wire.acknowledge(talk.wire.mids[-1], refusal="No", code=0x87)
    talk.go(answer=False)
    assert talk.problem("broker access") == (
        f"the broker denies {BASE}/response/status (No); an answer is lost"
    )
    assert talk.counters["denied"] == 1
    talk.inlet.waiting = [answer()]
    talk.settle()
    assert talk.problem("broker access") is None
    assert talk.counters["denied"] == 1


def test_an_answer_that_is_too_large_is_not_sent(tmp_path):
    """Those behind it are."""
    talk = Talk(tmp_path, maximum_packet_size=1000)
    talk.settle()
    talk.inlet.waiting = [answer(bytes(2000)), answer()]
    assert talk.go() == ["response/status"]
    assert talk.wire.said[-1].payload == b"{}"
    assert "(larger than its limit of 1000 bytes); an answer is lost" in there(
        talk.problem("broker access")
    )
    assert talk.counters["denied"] == 1


def test_answers_that_are_lost_with_a_connection_are_counted(tmp_path):
    """Those under way and those that waited for room."""
    talk = Talk(tmp_path, receive_maximum=1)
    talk.settle()
    talk.inlet.waiting = [answer(), answer(), answer()]
    talk.go(answer=False)
    talk.session.close()
    assert talk.counters["answers_lost"] == 3


def test_an_answer_that_is_taken_leaves_no_caution(talk):
    """Though a connection broke while one of its kind was under way."""
    for _ in range(2):
        talk.standing.suspects.broke([f"{BASE}/response/status", "x"], None, "it hung up")
    talk.standing.suspects.forget("x")
    assert talk.standing.suspects.careful
    talk.inlet.waiting = [answer()]
    talk.settle()
    assert not talk.standing.suspects.careful


def test_a_subscription_is_asked_for_once(talk):
    """Until it is answered, and never again after a yes."""
    talk.connect()
    for _ in range(3):
        talk.go()
    assert len(talk.wire.subscribed) == 1
    talk.wire.acknowledge(talk.wire.asked[0])
    talk.settle()
    assert len(talk.wire.subscribed) == 1
    assert talk.counters["subscribed"] == 1


def test_a_number_that_is_given_out_again_is_no_answer_to_the_subscription(talk):
    """There are 65,535 of them."""
    talk.connect()
    talk.go()
    talk.wire.acknowledge(talk.wire.asked[0])
    talk.settle()
    talk.wire.mid = talk.wire.asked[0] - 1
    talk.sight(1)
    talk.session.news()
    talk.settle()
    assert talk.waiting == 0


def test_a_denied_subscription_is_counted(talk):
    """Each time."""
    talk.connect()
    for count in (1, 2):
        talk.go()
        talk.wire.acknowledge(talk.wire.asked[-1], refusal="No", code=0x87)
        talk.go()
        assert talk.counters["denied"] == count
        talk.wait(60)


def test_a_session_parts_only_when_answers_are_taken(talk):
    """In the time it has for that."""
    talk.inlet.waiting = [answer()]
    closing = Closing(True, flush_until=100.0)
    assert talk.go(closing, answer=False) == ["response/status"]
    for _ in range(3):
        assert talk.go(closing, answer=False) == []
    talk.wire.acknowledge(talk.wire.mids[-1])
    talk.go(closing, answer=False)
    talk.go(closing, answer=False)
    assert talk.go(closing, answer=False) == ["availability"]
