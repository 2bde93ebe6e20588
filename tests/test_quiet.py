"""Something on the way that ends quiet connections is found out, and pings come more often."""

from __future__ import annotations

import time

import pytest
from senders import Sender, settings
from strict_broker import StrictBroker
from there import there

from edge.errors import LostError, StalledError
from edge.mqtt.dial import connect
from edge.mqtt.keep_alive import Quiet


def lost(quiet: float | None, code: int | None = None, hung_up: bool = True) -> LostError:
    """How a connection ended after it was quiet for so long."""
    return LostError("lost", "it hung up", code, hung_up, quiet)


def test_two_connections_in_a_row_that_were_quiet_as_long_make_pings_more_frequent(caplog):
    """Half of that time, and the setting that says so for good."""
    quiet = Quiet(30)
    quiet.ended(lost(20.0))
    assert quiet.keepalive_seconds == 30
    quiet.ended(lost(20.4))
    assert quiet.keepalive_seconds == 10
    assert "set broker.keepalive_seconds = 10" in caplog.text


def test_what_ends_connections_at_the_first_ping_is_found_out_too():
    """It had forgotten the connection, and said so only when asked."""
    quiet = Quiet(30)
    for _ in range(2):
        quiet.ended(lost(30.1))
    assert quiet.keepalive_seconds == 15


@pytest.mark.parametrize(
    ("first", "second", "often"),
    [(20.0, 18.0, 9), (18.0, 20.0, 9), (1.0, 1.0, 1), (1.5, 1.5, 1), (4.1, 4.0, 2)],
)
def test_alike_is_within_a_tenth_of_the_longer_one(first, second, often):
    """From one second on; a ping goes out in half of the shorter one, or every second."""
    quiet = Quiet(30)
    quiet.ended(lost(first))
    quiet.ended(lost(second))
    assert quiet.keepalive_seconds == often


@pytest.mark.parametrize(
    "ends",
    [
        (lost(20.0), lost(13.0)),
        (lost(20.0), lost(5.0), lost(20.0)),
        (lost(0.9), lost(0.9)),
        (lost(0.95), lost(1.02)),
        (lost(20.0), lost(17.9)),
        (lost(60.0), lost(60.0)),
        (lost(20.0), StalledError("stalled"), lost(20.0)),
        (lost(20.0, hung_up=False), lost(20.0, hung_up=False)),
        (lost(20.0, code=0x8B), lost(20.0, code=0x8B)),
        (lost(None), lost(None)),
        (lost(70.0), lost(70.0)),
    ],
)
def test_other_ends_change_nothing(ends, caplog):
    """A broker that restarts, a network that is gone, breaks at any time."""
    quiet = Quiet(30)
    for end in ends:
        quiet.ended(end)
    assert quiet.keepalive_seconds == 30
    assert not caplog.records


def test_a_connection_was_quiet_while_the_computer_slept(monkeypatch):
    """Two nights with as many minutes awake are no load balancer."""
    real, asleep = time.clock_gettime, [0.0]

    def read(which: int) -> float:
        return real(which) + (asleep[0] if which == time.CLOCK_BOOTTIME else 0.0)

    monkeypatch.setattr(time, "clock_gettime", read)
    with StrictBroker() as broker, connect(settings(broker.port), "x", None) as connection:
        asleep[0] = 8 * 3600.0
        broker.change(idle_seconds=0.01)
        with pytest.raises(LostError) as lost:  # noqa: PT012
            while True:
                connection.poll(0.1)
    assert there(lost.value.quiet_seconds) > 8 * 3600


def test_a_device_keeps_its_connection_through_it(tmp_path, caplog):
    """After two that were cut the third stays, and nobody else is suspected."""
    with StrictBroker() as broker:
        broker.change(idle_seconds=1.5)
        with Sender(tmp_path, settings(broker.port, keepalive_seconds=30)) as device:
            assert broker.wait(lambda one: one.pings >= 2)
            assert device.counters["connects"] == 3
        assert broker.findings == []
    assert "broker.keepalive_seconds = 1" in caplog.text
    assert "device id" not in caplog.text
