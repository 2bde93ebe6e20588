"""What an attempt says first: who we are, and what is renewed."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from attempts import BASE, NETWORK, Field, Line, ending
from there import there

from edge.mqtt.introduction import Introduction
from edge.mqtt.wire import Limits


@pytest.fixture
def field(tmp_path):
    """A publisher with waits from one second to sixteen."""
    made = Field(tmp_path)
    yield made
    made.outbox.close()


def test_who_we_are_and_what_the_broker_says_when_we_break(tmp_path):
    """The id, the last will, the version once it is known, and how large a request may be."""
    inlet = SimpleNamespace(topics=None, verbs=(), most_bytes=77, answers=list)
    field = Field(tmp_path, requests=inlet)
    for _ in range(2):
        field.attempt(ending(NETWORK))
    first, second = field.dialled
    assert (first.id, first.most) == ("wheatear-cam-1", 77)
    will = there(first.will)
    assert (will.topic, will.payload) == (
        f"{BASE}/availability",
        b"offline",
    )
    assert will.retain
    assert [first.v5, second.v5] == [False, True]


def test_without_requests_nothing_is_said_of_their_size(field):
    """And a broker of 3.1.1 is not taken for one of 5."""
    field.protocol = "3.1.1"
    for _ in range(2):
        field.attempt(ending(NETWORK))
    assert [one.most for one in field.dialled] == [None, None]
    assert [one.v5 for one in field.dialled] == [False, False]


def test_every_connection_begins_with_who_we_are(field):
    """Online, and the description for the version agreed; what is renewed is said once more."""
    others = []
    for _ in range(2):
        field.attempt(ending(NETWORK, 3))
    first, second = ({one.topic: one.payload for one in line.said} for line in field.lines)
    assert first == second
    assert first[f"{BASE}/availability"] == b"online"
    assert first[f"{BASE}/info"] == b'{"protocol": "5"}'
    assert field.counters["connects"] == 2

    def renewed(line: Line, number: int) -> None:
        others.append(line.topics())
        if number == 2:
            field.bell.renew(f"{BASE}/info")
        if number == 4:
            field.bell.renew()

    field.attempt(ending(NETWORK, 6, renewed))
    topics = [one for one in field.lines[2].topics() if one != "state"]
    assert topics == ["availability", "info", "info", "availability", "info"]
    assert field.lines[2].woken == 2


def test_what_is_renewed_does_not_wait_for_a_backlog(field):
    """What the broker knows already does."""
    field.limits = Limits(receive_maximum=1)
    field.attempt(ending(NETWORK, 5))
    field.sight(20)
    field.attempt(ending(NETWORK, 5))
    assert "info" not in field.lines[1].topics()
    field.bell.renew(f"{BASE}/info")
    field.attempt(ending(NETWORK, 5))
    assert "info" in field.lines[2].topics()
    assert field.outbox.depth().waiting > 0


def test_others_introductions_are_said_too_and_told_when_taken(tmp_path):
    """Such as what a dashboard is told of the device."""
    taken: list[int] = []
    one = Introduction("dashboards/x", lambda: b"x", lambda: taken.append(1))
    field = Field(tmp_path, introductions=[one])
    field.attempt(ending(NETWORK, 2))
    assert field.lines[0].topics()[:3] == ["availability", "info", "dashboards/x"]
    assert taken == [1]


def test_what_a_broker_lacks_is_in_the_log_once(field, caplog):
    """Version 5, where any would do, and retained messages."""
    field.protocol, field.limits = "3.1.1", Limits(retain=False)
    for _ in range(3):
        field.attempt(ending(NETWORK))
        assert caplog.text.count("does not speak MQTT 5") == 1
    assert caplog.text.count("keeps no retained messages") == 1
    assert field.publisher.protocol == "3.1.1"


@pytest.mark.parametrize(("asked", "spoken"), [("3.1.1", "3.1.1"), ("auto", "5"), ("5", "5")])
def test_a_version_that_was_asked_for_is_no_surprise(tmp_path, caplog, asked, spoken):
    """Nor is a broker that has all we want."""
    field = Field(tmp_path, {"protocol": asked})
    field.protocol = spoken
    field.attempt(ending(NETWORK))
    assert "does not speak MQTT 5" not in caplog.text
    assert "keeps no retained messages" not in caplog.text
