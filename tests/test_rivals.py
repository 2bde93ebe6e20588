"""Another client with our id is recognised, named and not fought."""

from __future__ import annotations

import pytest
from brokers import Mosquitto
from clocks import Hand
from patience import wait_for
from senders import Sender, settings

from edge.errors import LostError, PublishError
from edge.mqtt.client_id_conflict import Rivals
from edge.mqtt.reason_codes import TAKEN_OVER
from edge.system.counters import Backoff, Counters

HUNG_UP = LostError("lost", why="it hung up", code=None, hung_up=True)
TOOK_OVER = LostError("lost", why="taken over", code=TAKEN_OVER, hung_up=True)
NETWORK = LostError("lost", why="timed out", code=None, hung_up=False)
BUSY = LostError("lost", why="busy", code=0x89, hung_up=True)


@pytest.fixture
def clock():
    """A clock by hand."""
    return Hand()


@pytest.fixture
def counters():
    """Where problems are told."""
    return Counters()


@pytest.fixture
def rivals(counters, clock):
    """Of a device that waits ten seconds at most."""
    return Rivals("wheatear-cam-1", 10.0, counters, clock)


def test_a_connection_taken_over_is_named_at_once_with_the_cure(rivals, counters, caplog):
    """MQTT 5 says it; however often it happens, one line is logged."""
    rivals.ended(TOOK_OVER, 1000.0, False)
    rivals.ended(TOOK_OVER, 1.0, False)
    assert rivals.there
    (problem,) = counters.problems()
    assert problem.startswith("device id: another client uses wheatear-cam-1 at this broker")
    assert problem.endswith("it took this connection over; give each its own device.id")
    assert len(caplog.messages) == 1


def test_connections_that_end_soon_three_times_in_a_row_are_named(rivals, counters):
    """MQTT 3.1.1 only hangs up."""
    for _ in range(2):
        rivals.ended(HUNG_UP, 19.9, True)
    assert not rivals.there
    rivals.ended(HUNG_UP, 19.9, True)
    assert rivals.there
    assert "3 connections in a row were soon ended" in counters.problems()[0]


@pytest.mark.parametrize(
    ("error", "lasted", "blameless"),
    [
        (HUNG_UP, 20.0, True),
        (HUNG_UP, 1.0, False),
        (NETWORK, 1.0, True),
        (BUSY, 1.0, True),
        (PublishError("nobody listens"), 0.0, True),
        (None, 1.0, True),
    ],
)
def test_other_ends_are_no_rival_and_break_the_row(rivals, error, lasted, blameless):
    """A message that the broker cannot take, a network that fails, a broker that restarts."""
    for _ in range(5):
        rivals.ended(error, lasted, blameless)
    assert not rivals.there
    rivals.ended(HUNG_UP, 1.0, True)
    rivals.ended(HUNG_UP, 1.0, True)
    rivals.ended(error, lasted, blameless)
    rivals.ended(HUNG_UP, 1.0, True)
    assert not rivals.there


def test_a_rival_that_is_gone_is_forgotten(rivals, counters, clock):
    """After five of the longest waits without a loss; it takes as much as before to be named."""
    for _ in range(3):
        rivals.ended(HUNG_UP, 1.0, True)
    clock.forward(50)
    rivals.look()
    assert rivals.there
    clock.forward(1)
    rivals.look()
    assert not rivals.there
    assert counters.problems() == ()
    rivals.ended(HUNG_UP, 1.0, True)
    assert not rivals.there


def test_with_a_rival_the_longest_wait_comes_at_once():
    """Two that come back within a second would throw each other out for ever."""
    backoff = Backoff(1.0, 60.0)
    backoff.rest()
    assert backoff.next(1.0) == 60.0


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_two_devices_with_one_id_both_say_so_and_lose_nothing(tmp_path, protocol):
    """On a real broker: both name it, and everything that either has is delivered."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    with (
        Mosquitto(tmp_path) as broker,
        Sender(tmp_path / "a", settings(broker.port, protocol=protocol)) as one,
        Sender(tmp_path / "b", settings(broker.port, protocol=protocol)) as two,
    ):
        both = (one, two)
        for device in both:
            device.sight(3)
        named = set[Sender]()

        def both_named() -> bool:
            named.update(one for one in both if "device id" in one.counters.failing_now())
            return len(named) == 2

        wait_for(both_named)
        assert one.drained()
        assert two.drained()
