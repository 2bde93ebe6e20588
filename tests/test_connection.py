"""One connection by itself: what the broker takes, what it answers, how its end is told."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack

import pytest
from broker_script import Script
from mqtt_packets import PUBLISH, message, packet, text
from open_files import open_files
from patience import wait_for
from senders import settings
from strict_broker import StrictBroker
from there import there

from edge.errors import LostError, PublishError
from edge.mqtt.connection import Connection, ProtocolRefusedError
from edge.mqtt.dial import connect
from edge.mqtt.packets import Incoming
from edge.mqtt.wire import Ack, Limits, Will

NEVER = 3600
"""Seconds of keep alive: nothing happens by itself."""


def made(broker: StrictBroker, protocol: str = "5", **more) -> Connection:
    """Connect."""
    return connect(
        settings(broker.port, protocol=protocol, keepalive_seconds=NEVER, **more), "x", None
    )


def sockets_to(port: int) -> list[socket.socket]:
    """Second handles on this process's sockets that are connected to a port."""
    found = []
    for number in os.listdir("/proc/self/fd"):
        try:
            sock = socket.socket(fileno=os.dup(int(number)))
        except OSError:  # no socket, or gone
            continue
        if _peer(sock) == ("127.0.0.1", port):
            found.append(sock)
        else:
            sock.close()
    return found


def _peer(sock: socket.socket) -> object:
    try:
        return sock.getpeername()
    except OSError:
        return None


def acks(connection: Connection, count: int = 1) -> list[Ack]:
    """Wait for answers."""
    found: list[Ack] = []
    while len(found) < count:
        found += connection.poll(10)
    return found


def end(connection: Connection) -> LostError:
    """Wait until it is lost."""
    with pytest.raises(LostError) as lost:  # noqa: PT012
        while True:
            connection.poll(10)
    return lost.value


@pytest.mark.parametrize("code", [0x80, 0x83, 0x86, 0x87, 0x8A])
def test_a_refusal_that_is_about_who_it_is_names_its_settings(code):
    """User, password and access list; by the broker's word too."""
    with StrictBroker(Script(connack=code)) as broker:
        with pytest.raises(LostError, match=r"check broker\.username, its password and") as lost:
            made(broker)
        assert lost.value.code == code


@pytest.mark.parametrize("code", [0x81, 0x82, 0x85, 0x88, 0x89, 0x8B, 0x97])
def test_other_refusals_are_told_by_their_reason(code):
    """With their number."""
    with StrictBroker(Script(connack=code)) as broker:
        with pytest.raises(
            LostError, match=rf"refused the connection: .*\(0x{code:02X}\): "
        ) as lost:
            made(broker)
        assert lost.value.code == code
        assert "broker.username, its" not in str(lost.value)


@pytest.mark.parametrize(
    ("properties", "told"),
    [
        (b"", ""),
        (b"\x1c" + text("other"), r" \(it names other\)"),
        (b"\x1f" + text("why"), r" \(it says: why\)"),
        (b"\x1f" + text("why") + b"\x1c" + text("other"), r" \(it names other\) \(it says: why\)"),
    ],
)
def test_what_a_broker_adds_to_its_no_is_passed_on(properties, told):
    """Which server it names, and its own words."""
    with (
        StrictBroker(Script(connack=0x9D, properties=properties)) as broker,
        pytest.raises(LostError, match=f"set broker.host{told}$"),
    ):
        made(broker)


def test_a_version_that_is_plainly_refused_is_told_from_a_connection_that_is_cut():
    """The one is an answer, the other may be chance."""
    with StrictBroker(Script(speaks=(4,))) as broker:
        with pytest.raises(ProtocolRefusedError, match=r"\(tried: 5\)") as refused:
            made(broker)
        assert refused.value.plainly
        broker.change(silent=(5,))
        told = (
            r"complete an MQTT 5 connection \(it closed the connection\); is it an MQTT broker\?$"
        )
        with pytest.raises(ProtocolRefusedError, match=told) as refused:
            made(broker)
        assert not refused.value.plainly


def test_a_server_that_says_nothing_is_no_broker():
    """After the time that is set."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        asked = settings(server.getsockname()[1], protocol="5", timeout_seconds=0.3)
        with pytest.raises(PublishError, match=r"did not answer within 0\.3 s; is it an MQTT"):
            connect(asked, "x", None)


@pytest.mark.parametrize(
    ("script", "limits"),
    [
        (Script(), Limits(65_535, None, 2, True, True)),
        (Script(properties=b"\x25\1\x28\1\x24\1"), Limits(65_535, None, 1, True, True)),
        (
            Script(
                receive_maximum=7,
                maximum_packet_size=900,
                maximum_qos=0,
                retain=False,
                wildcards=False,
            ),
            Limits(7, 900, 0, False, False),
        ),
    ],
)
def test_what_a_broker_takes_is_what_it_says(script, limits):
    """Everything, where it says nothing; under 3.1.1 it never does."""
    with StrictBroker(script) as broker:
        with made(broker) as connection:
            assert connection.connected
            assert connection.limits == limits
        with made(broker, "3.1.1") as connection:
            assert connection.limits == Limits() == Limits(65_535, None, 2, True, True)


def test_a_payload_fits_beside_its_topic_and_what_stands_around_them():
    """To the byte; and a topic may leave no room at all."""
    limits = Limits(maximum_packet_size=100)
    assert limits.most_bytes("tö") == 100 - 3 - 16
    assert limits.fits("tö", bytes(81))
    assert not limits.fits("tö", bytes(82))
    assert limits.most_bytes("t" * 90) == 0
    assert Limits().most_bytes("t") is None
    assert Limits().fits("t", bytes(1000))


def test_who_connects_says_who_it_is():
    """Name, password, last will, and how much it takes."""
    will = Will("gone", b"offline")
    with StrictBroker() as broker:
        own = settings(broker.port, protocol="5")
        with Connection(own, "me", will, "5", 5000):
            said = broker.connects[-1]
            assert (said.client_id, said.username, said.password) == ("me", None, None)
            last = there(said.will)
            assert (last.topic, last.payload) == ("gone", b"offline")
            assert (last.qos, bool(last.retain)) == (1, True)
            assert said.properties[0x27] == 5000
        with Connection(own, "me", None, "5"):
            assert broker.connects[-1].will is None
            assert 0x27 not in broker.connects[-1].properties
        with Connection(own, "me", None, "3.1.1", 5000):
            assert broker.connects[-1].level == 4


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_answers_carry_the_number_of_what_they_answer(protocol):
    """Yes and no to messages; and a message that goes without an answer gets none."""
    with StrictBroker(Script(codes={"no": 0x87})) as broker, made(broker, protocol) as connection:
        for topic in ("yes", "no"):
            mid = connection.publish(topic, b"1", 1, correlation=b"c")
            (found,) = acks(connection)
            denied = topic == "no" and protocol == "5"
            code = (0x87, "Not authorized") if denied else (0, None)
            assert (found.mid, found.code, found.refusal) == (mid, *code)
        assert [one.qos for one in broker.seen] == [1, 1]
        about = broker.seen[0].properties
        assert about.get(0x09) == (b"c" if protocol == "5" else None)
        connection.publish("plain", b"2", 0)
        assert broker.wait(lambda one: one.came("plain"))
        assert not broker.came("plain")[0].properties


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_what_was_asked_for_comes_in_once(protocol):
    """In its order, as soon as the subscription is answered."""
    says = (message("a", b"1"), message("b", b"2")) if protocol == "5" else ()
    with StrictBroker(Script(says=says)) as broker, made(broker, protocol) as connection:
        mid = connection.subscribe(["a", "b"])
        assert acks(connection) == [Ack(mid, None, 0)]
        found: list[Incoming] = []
        while len(found) < len(says):
            found += connection.incoming()
            connection.poll(0.1)
        assert [(one.topic, one.payload) for one in found] == [("a", b"1"), ("b", b"2")][
            : len(says)
        ]
        assert connection.incoming() == []
        assert broker.filters == ["a", "b"]


@pytest.mark.parametrize(("protocol", "code"), [("5", 0x80), ("5", 0x87), ("3.1.1", 0x80)])
def test_a_subscription_may_be_denied(protocol, code):
    """By its reason code, from the first that is a failure."""
    with StrictBroker(Script(granted=code)) as broker, made(broker, protocol) as connection:
        mid = connection.subscribe(["a", "b"])
        (found,) = acks(connection)
        assert (found.mid, found.code, bool(found.refusal)) == (mid, code, True)


def test_the_first_code_that_is_a_failure_is_a_no():
    """The one before it is none."""
    with StrictBroker(Script(codes={"a": 0x7F, "b": 0x80})) as broker, made(broker) as connection:
        found = []
        for topic in ("a", "b"):
            connection.publish(topic, b"", 1)
            found += acks(connection)
        assert [one.code for one in found] == [0, 0x80]


def test_of_a_large_message_its_beginning_is_kept():
    """How much was left out is said; whether it was retained stands in its flags."""
    large = packet(PUBLISH, text("a") + b"\0" + bytes(900_000), 1)
    with StrictBroker(Script(says=(large,))) as broker:
        own = settings(broker.port, protocol="5", keepalive_seconds=NEVER)
        with connect(own, "x", None, most_bytes=10) as connection:
            connection.subscribe(["a"])
            found: list[Incoming] = []
            while not found:
                connection.poll(10)
                found += connection.incoming()
            assert found[0].retained
            assert len(found[0].payload) + found[0].left_out == 900_000
            assert 10 < len(found[0].payload) < 500_000


def test_a_yes_is_waited_for():
    """Its own; a no is told, and silence, which ends with the time that is given."""
    script = Script(codes={"no": 0x87}, mute=("mute",))
    with StrictBroker(script) as broker, made(broker) as connection:
        late = float("inf")
        other, mid = connection.publish("a", b"", 1), connection.publish("b", b"", 1)
        connection.accepted(mid, "b", late)
        assert other != mid
        with pytest.raises(PublishError, match=r"denies it \(Not authorized\); allow it in its"):
            connection.accepted(connection.publish("no", b"", 1), "it", late)
        with pytest.raises(PublishError, match="does not acknowledge it; look at its log"):
            connection.accepted(connection.publish("mute", b"", 1), "it", 0.0)


def test_whoever_waits_is_woken():
    """By another thread, or before it waits."""
    with StrictBroker() as broker, made(broker) as connection:
        connection.wake()
        assert connection.poll(600) == []
    connection.wake()


@pytest.mark.parametrize(
    ("script", "why", "code", "hung_up"),
    [
        (Script(hang_up=("t",)), "it closed the connection", None, True),
        (
            Script(goodbyes={"t": 0x8B}),
            r"Server shutting down \(0x8B\): it shuts down;",
            0x8B,
            True,
        ),
        (Script(garbage_after=1), "it sent something that is not MQTT", None, False),
    ],
)
def test_why_a_connection_ended_is_told(script, why, code, hung_up):
    """Who ended it, and for how long it was quiet before."""
    with StrictBroker(script) as broker, made(broker) as connection:
        connection.publish("t", b"", 1)
        lost = end(connection)
        assert not connection.connected
        assert (lost.code, lost.hung_up) == (code, hung_up)
        assert 0 <= there(lost.quiet_seconds) < 60
    with pytest.raises(LostError, match=why):
        raise lost


def test_a_goodbye_is_said_over_a_connection_that_stands():
    """And only then."""
    with StrictBroker() as broker, made(broker) as connection:
        connection.disconnect()
        assert broker.wait(lambda one: one.goodbyes == 1)
        connection.disconnect()
        assert not connection.connected


def test_what_is_said_together_leaves_together():
    """The kernel holds small packets back meanwhile, and lets them go afterwards."""
    if not hasattr(socket, "TCP_CORK"):
        pytest.skip("NO TCP_CORK on this system")
    with StrictBroker() as broker, made(broker) as connection, ExitStack() as stack:
        (sock,) = sockets_to(broker.port)
        stack.enter_context(sock)
        held = lambda: sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CORK)  # noqa: E731
        assert not held()
        with connection.together():
            assert held()
            connection.publish("t", b"", 1)
        assert not held()
        assert len(acks(connection)) == 1


def test_bytes_count_as_passed_when_the_other_end_has_them():
    """As many as were handed over, in the end."""
    with StrictBroker() as broker, made(broker) as connection:
        before = connection.queued
        connection.publish("t", bytes(1000), 1)
        assert connection.queued - before == 2 + 1 + 3 + 2 + 1 + 1000
        acks(connection)
        assert connection.passed == connection.queued


def test_a_connection_that_is_closed_leaves_nothing_open():
    """Closing it twice is fine."""
    with StrictBroker() as broker:
        before = open_files()
        made(broker).close()
        assert broker.wait(lambda one: len(one.connects) == 1)
        wait_for(lambda: open_files() <= before)  # the broker's end closes by itself
        before = open_files()
        connection = made(broker)
        assert (open_files() - before).total() >= 3  # a socket, two to wake it; the broker's
        connection.close()
        connection.close()
        wait_for(lambda: open_files() <= before)
