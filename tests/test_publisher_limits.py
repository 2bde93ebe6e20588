"""The publisher against the strict broker: its limits are kept, its faults are noticed."""

from __future__ import annotations

import json
import ssl
import time
from random import Random
from typing import NoReturn

import numpy as np
import pytest
from broker_script import Script
from msgspec.structs import replace
from samples import image, sighting
from senders import Sender, settings
from strict_broker import StrictBroker
from there import there
from threads_here import runs

from edge.cameras.photo import encode_jpeg
from edge.config import Tls
from edge.mqtt.dial import connect
from edge.mqtt.introduction import Introduction
from edge.mqtt.wire import Will

LEVELS = {"5": 5, "3.1.1": 4}


def seqs(broker: StrictBroker) -> list[int]:
    """The numbers of the sightings that were taken, in the order of their first arrival."""
    return list(dict.fromkeys(json.loads(payload)["seq"] for payload in broker.payloads()))


def until(condition, seconds: float = 10.0) -> bool:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize("most", [1, 2, 3, 20])
def test_everything_under_way_keeps_within_the_brokers_receive_maximum(tmp_path, most):
    """Availability, info, introductions, state, answers, sightings and pictures count together."""
    more = [Introduction(f"dash/{n}", lambda: b"{}") for n in range(5)]
    with StrictBroker(Script(receive_maximum=most, late_seconds=0.002)) as broker:
        with Sender(tmp_path, settings(broker.port), introductions=more) as device:
            device.outbox.append_many([image(500) for _ in range(5)])
            device.sight(60)
            assert device.drained()
        assert broker.findings == []
        assert seqs(broker) == list(range(1, 61))
        assert len(broker.connects) == 2  # the first finds out the version
        assert broker.payloads("/availability") == [b"online", b"offline"]
        assert len(broker.payloads("/state")) >= 1
        assert len([one for one in broker.published if one.topic.startswith("dash/")]) == 5


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
@pytest.mark.parametrize(
    "script",
    [Script(gather=7), Script(trickle=True), Script(late_seconds=0.05)],
    ids=["out of order", "byte by byte", "late"],
)
def test_slow_and_unordered_acknowledgements_lose_nothing(tmp_path, script, protocol):
    """Whatever the order and pace of the answers, all is delivered over one connection."""
    with StrictBroker(script) as broker:
        with Sender(tmp_path, settings(broker.port, protocol=protocol)) as device:
            device.sight(50)
            assert device.drained()
        assert broker.findings == []
        assert seqs(broker) == list(range(1, 51))
        assert [one.level for one in broker.connects] == [LEVELS[protocol]]


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
@pytest.mark.parametrize(
    "script", [Script(mute=("",)), Script(wrong_ids=("/sighting",))], ids=["none", "wrong ids"]
)
def test_acknowledgements_that_do_not_come_are_noticed(tmp_path, script, protocol, caplog):
    """The state says so while connected; then the connection is made anew, and all arrives."""
    with StrictBroker(script) as broker:
        user = settings(broker.port, protocol=protocol, acknowledge_seconds=1.0)
        with Sender(tmp_path, user) as device:
            device.sight(3)
            assert until(lambda: device.counters.is_failing("acknowledgements"))
            assert len(broker.connects) == 1
            assert broker.wait(lambda one: len(one.connects) > 1)
            broker.change(mute=(), wrong_ids=())
            assert device.drained()
            assert until(lambda: not device.counters.problems())
            assert device.counters.errors()["StalledError"] >= 2
        assert broker.findings == []
        assert seqs(broker) == [1, 2, 3]
    assert caplog.text.count("is not acknowledged; look at the broker") == 1


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
@pytest.mark.parametrize(
    ("script", "named"),
    [
        (Script(garbage_after=3), "it sent something that is not MQTT"),
        (Script(half_packet_after=3), "it closed the connection"),
        (Script(hang_up_after=3), "it closed the connection"),
    ],
    ids=["garbage", "half a packet", "hangs up"],
)
def test_a_broker_that_breaks_off_costs_nothing(tmp_path, script, named, protocol, caplog):
    """Whatever it does to a connection, the next one carries on, and nothing is lost."""
    with StrictBroker(script) as broker:
        with Sender(tmp_path, settings(broker.port, protocol=protocol)) as device:
            device.sight(5)
            assert broker.wait(lambda one: len(one.connects) > 1)
            broker.change(garbage_after=None, half_packet_after=None, hang_up_after=None)
            assert device.drained()
        assert broker.findings == []
        assert seqs(broker) == [1, 2, 3, 4, 5]
        assert len(device.publisher.letters) == 0
    assert named in caplog.text


def test_a_broker_that_retains_nothing_gets_no_retain_not_even_in_the_will(tmp_path, caplog):
    """State and info go without, and the log says what that means."""
    with StrictBroker(Script(retain=False)) as broker:
        for protocol in ("5", "auto"):
            with Sender(tmp_path, settings(broker.port, protocol=protocol)) as device:
                device.sight(1)
                assert device.drained()
        assert broker.findings == []
        assert len(broker.payloads("/availability")) == 4
        assert not any(one.retain for one in broker.seen)
    assert "this broker keeps no retained messages" in caplog.text


def test_sightings_wait_for_a_broker_that_acknowledges(tmp_path):
    """With Maximum QoS 0 they could be lost unnoticed: they stay, and the state says why."""
    with StrictBroker(Script(maximum_qos=0)) as broker:
        with Sender(tmp_path, settings(broker.port)) as device:
            device.sight(2)
            assert until(lambda: device.counters.is_failing("delivery"))
            assert broker.wait(lambda one: one.payloads("/availability"))
            assert device.outbox.depth().waiting == 2
            assert "Maximum QoS is 0" in " ".join(device.counters.problems())
        assert broker.findings == []
        assert broker.payloads() == []


def test_pictures_are_made_as_small_as_the_broker_takes(tmp_path):
    """A sighting passes as it is; its picture is the largest JPEG that fits."""
    noise = Random(1).randbytes(400 * 300 * 3)
    big = encode_jpeg(np.frombuffer(noise, np.uint8).reshape(300, 400, 3))
    with StrictBroker(Script(maximum_packet_size=4000)) as broker:
        with Sender(tmp_path, settings(broker.port)) as device:
            device.outbox.append_many([sighting(), replace(image(), jpeg=big)])
            device.bell.news()
            assert device.drained()
        assert broker.findings == []
        (picture,) = broker.payloads("/image")
        assert len(picture) < 4000 < len(big)
        assert picture[:2] == b"\xff\xd8"
        assert device.counters["images_shrunk"] == 1


def test_the_keep_alive_of_the_broker_is_kept(tmp_path):
    """Server Keep Alive goes before ours; a client that is too quiet would be a finding."""
    with StrictBroker(Script(keep_alive=1)) as broker:
        with Sender(tmp_path, settings(broker.port)):
            assert broker.wait(lambda one: one.pings >= 2)
        assert broker.findings == []


@pytest.mark.parametrize("stop_reading", [False, True])
def test_a_half_open_connection_is_noticed(tmp_path, stop_reading):
    """Nothing comes back, not even to PINGREQ, and perhaps nothing can be written either."""
    script = Script(keep_alive=1, swallow_after=3, stop_reading=stop_reading)
    with StrictBroker(script) as broker:
        with Sender(tmp_path, settings(broker.port)) as device:
            device.outbox.append_many([image(60_000) for _ in range(100)])
            device.sight(1)
            assert broker.wait(lambda one: len(one.connects) > 2)
            broker.change(swallow_after=None)
            assert device.drained()
        assert len(device.publisher.letters) == 0


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_large_picture_on_a_slow_network_is_waited_for(tmp_path, protocol):
    """Longer than an acknowledgement or a ping may take, while bytes of it pass."""
    with StrictBroker(Script(bytes_per_second=80_000)) as broker:
        limits = {"protocol": protocol, "acknowledge_seconds": 0.4}
        with Sender(tmp_path, settings(broker.port, **limits)) as device:
            device.outbox.append_many([image(100_000)])
            device.sight(1)
            assert device.drained()
            assert device.counters["dead_letters"] == 0
        assert len(broker.connects) == 1


def test_a_ping_behind_a_large_picture_is_waited_for(tmp_path):
    """Its answer is due when it has left; the picture takes longer than two pings may."""
    with StrictBroker(Script(bytes_per_second=40_000, keep_alive=0)) as broker:
        asked = settings(broker.port, protocol="5", keepalive_seconds=1)
        with Sender(tmp_path, asked) as device:
            device.outbox.append_many([image(120_000)])
            device.sight(1)
            assert device.drained()
        assert broker.pings
        assert len(broker.connects) == 1


def test_a_will_that_the_broker_does_not_take_is_lessened():
    """QoS and retain of the last will follow what the broker refuses."""
    with StrictBroker(Script(maximum_qos=0, retain=False)) as broker:
        will = Will("wheatear/cam-1/availability", b"offline")
        connection = connect(settings(broker.port, protocol="5"), "x", will)
        connection.close()
        lessened = there(broker.connects[-1].will)
        assert lessened.qos == 0
        assert not lessened.retain


@pytest.mark.parametrize(
    ("code", "named"),
    [
        (0x8E, "give each its own"),
        (0x9C, "use another server"),
        (0x89, "busy"),
        (0x93, "fewer are sent at once"),
    ],
)
def test_a_goodbye_that_is_about_the_connection_blames_no_message(tmp_path, code, named, caplog):
    """It is said in words; nothing becomes a dead letter, and all arrives when that is over."""
    with StrictBroker(Script(goodbyes={"/sighting": code})) as broker:
        with Sender(tmp_path, settings(broker.port)) as device:
            device.sight(10)
            assert broker.wait(lambda one: len(one.connects) > 4)
            broker.change(goodbyes={})
            assert device.drained()
            assert len(device.publisher.letters) == 0
            assert not device.publisher.standing.suspects.careful
        assert broker.findings == []
        assert seqs(broker) == list(range(1, 11))
    assert named in caplog.text


def test_verbs_are_subscribed_to_one_by_one_where_wildcards_are_not_taken(tmp_path):
    """Wildcard Subscription Available = 0."""
    from edge.config import Requests as Settings
    from edge.messages.requests import MODELS, STATUS
    from edge.mqtt.requests import RequestServer
    from edge.system.clock import SystemClock
    from edge.system.counters import Counters

    asked = RequestServer(Settings(), "wheatear/cam-1", Counters(), SystemClock(), lambda: None)

    def unasked(_: object) -> NoReturn:
        raise AssertionError("nobody asks")

    asked.on(STATUS, unasked)
    asked.on(MODELS, unasked)
    with StrictBroker(Script(wildcards=False)) as broker:
        with Sender(tmp_path, settings(broker.port), requests=asked):
            assert broker.wait(lambda one: len(one.filters) == 2)
        assert broker.findings == []
        assert broker.filters == [
            "wheatear/cam-1/request/status",
            "wheatear/cam-1/request/models",
        ]


def test_a_tls_connection_that_takes_nothing_more_does_not_hold_the_end_up(authority):
    """Writing would block for ever; closing is done in its time all the same."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / "server.pem", authority / "server.key")
    wrap = lambda sock: context.wrap_socket(sock, server_side=True)  # noqa: E731
    script = Script(swallow_after=3, stop_reading=True)
    with StrictBroker(script, wrap) as broker:
        own = settings(broker.port, protocol="5", tls=Tls(ca=authority / "ca.pem"))
        device = Sender(authority, own)
        with device:
            device.outbox.append_many([image(60_000) for _ in range(100)])
            device.bell.news()
            assert broker.wait(lambda one: len(one.seen) > 3)
        assert not runs("publisher")
