"""Requests that are refused: what they cost, and what is told of them."""

from __future__ import annotations

import json
import logging

import pytest
from clocks import Hand
from desks import BASE, Desk, refused

from edge.mqtt.request_refusals import ANSWERS, FLOOD
from edge.mqtt.requests import BURST

TOKEN = "s3cret"
JUNK = [
    ("status", b"\x00junk", {}),
    ("status", {"transaction": "t"}, {}),
    ("status", {"transaction": "t", "token": "wrong"}, {}),
    ("status", {"transaction": "t", "token": 5}, {}),
    ("nonsense", {"transaction": "t", "token": TOKEN}, {}),
    ("config/set", {"transaction": "t", "token": TOKEN}, {}),
    ("status", b" " * 300_000, {}),
    ("status", {"transaction": "t", "token": TOKEN}, {"retained": True}),
    ("status", {"transaction": "t", "token": TOKEN}, {"response_topic": "elsewhere"}),
    ("restart", {"transaction": "t", "token": TOKEN}, {}),
]


@pytest.fixture
def clock():
    """A clock that is put forward by hand."""
    return Hand()


@pytest.fixture
def desk(tmp_path, clock):
    """A device that wants a token, and takes one request in ten seconds."""
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    return Desk(
        clock=clock,
        per_second=0.1,
        token_file=tmp_path / "token",
        unnumbered=False,
        allow=("status", "restart", "log"),
    )


@pytest.mark.parametrize(("verb", "payload", "more"), JUNK)
def test_a_thousand_refusals_leave_the_operators_requests_alone(desk, verb, payload, more):
    """They are counted, few are answered, and the whole burst is still there for others."""
    told = desk.offered(verb, payload, 1000, **more)
    assert len(told) == ANSWERS
    assert desk.counters["requests_refused"] == desk.counters["requests"] == 1000
    for i in range(BURST):
        assert desk.offered("status", {"transaction": f"ours-{i}", "token": TOKEN}) == []
    assert desk.waiting() == [f"ours-{i}" for i in range(BURST)]
    assert desk.counters["requests_dropped"] == 0


def test_strangers_do_not_use_up_the_answers_of_who_has_the_token(desk):
    """A flood without the token, then one mistake by whoever has it: that is answered."""
    desk.offered("status", {"transaction": "t"}, 1000)
    (answer,) = desk.offered("nonsense", {"transaction": "ours", "token": TOKEN})
    assert (refused(answer), answer["transaction"]) == ("UnknownRequestError", "ours")


def test_refusals_are_answered_again_after_a_second(desk, clock):
    """The bound is on the rate, not for ever."""
    desk.offered("status", {"transaction": "t"}, 1000)
    clock.forward(1)
    assert len(desk.offered("status", {"transaction": "t"}, 5)) == 1


@pytest.mark.parametrize("verb", ["status", "nonsense", "config/set", "restart"])
def test_without_the_token_all_answers_say_the_same(desk, verb):
    """Neither verbs nor what is allowed can be found out."""
    for more in ({}, {"retained": True}, {"response_topic": "elsewhere"}):
        (answer,) = desk.offered(verb, {"transaction": "t", "token": "x"}, **more)
        assert answer["error"]["message"].startswith("`token` is missing or wrong")


def test_refusals_are_logged_once_an_hour_without_secrets(desk, clock, caplog):
    """The first at once; then one line that counts the others."""
    caplog.set_level(logging.WARNING)
    desk.offered("status", {"transaction": "t", "token": "almost-s3cret"}, 500)
    assert len(caplog.messages) == 1
    assert "'status' is not carried out: `token` is missing or wrong" in caplog.messages[0]
    clock.forward(3599)
    desk.offered("nonsense", {"transaction": "t", "token": TOKEN}, 10)
    assert len(caplog.messages) == 1
    clock.forward(1)
    desk.offered("nonsense", {"transaction": "t", "token": TOKEN}, 10)
    assert len(caplog.messages) == 2
    assert "no verb 'nonsense'" in caplog.messages[1]
    assert caplog.messages[1].endswith("; 509 more since the last such line")
    assert "s3cret" not in caplog.text


def test_a_flood_of_refusals_is_a_problem_until_it_is_over(desk, clock):
    """It is named with what cures it, and gone when a whole minute had few."""
    desk.offered("status", {"transaction": "t"}, FLOOD - 1)
    assert desk.counters.problems() == ()
    desk.offered("status", {"transaction": "t"}, 1)
    (problem,) = desk.counters.problems()
    assert problem.startswith(f"requests: {FLOOD} or more within a minute were refused")
    assert f"{BASE}/request/" in problem
    clock.forward(59)
    desk.waiting()
    assert desk.counters.problems()
    clock.forward(1)
    desk.offered("status", {"transaction": "t"}, FLOOD)
    clock.forward(60)
    desk.waiting()
    assert desk.counters.problems()
    clock.forward(60)
    desk.waiting()
    assert desk.counters.problems() == ()


def test_a_transaction_is_echoed_where_it_could_be_read(desk):
    """So that whoever asked finds the refusal."""
    (answer,) = desk.offered("status", {"transaction": "t"})
    assert answer["transaction"] == "t"
    (answer,) = desk.offered("status", b"{")
    assert answer["transaction"] is None
    assert json.dumps(answer).count("s3cret") == 0
