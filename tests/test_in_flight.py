"""What is under way over one connection: how much, for how long, and what a loss teaches."""

from __future__ import annotations

import pytest
from clocks import Hand
from msgspec.structs import replace
from there import there
from wires import ScriptedWire

from edge.errors import LostError, StalledError
from edge.mqtt.in_flight import Flight, Learned
from edge.mqtt.reason_codes import FAILURE, REASONS, About, reason, words
from edge.mqtt.wire import Limits


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
    assert (there(flight.oldest).topic, there(flight.oldest).key) == ("c", "C")
    clock.seconds += 60
    flight.poll(0)
    assert len(flight.answered) == 0
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
