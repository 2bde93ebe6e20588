"""What a broker says that is strange: read as well as it goes, and no reason to hang up."""

from __future__ import annotations

import resource
import time

import paho.mqtt.client as paho
import pytest
from broker_script import Script
from desks import BASE, Served
from mqtt_packets import message, packet, text, vary
from senders import Sender, settings
from strict_broker import StrictBroker

from edge.errors import PacketError
from edge.mqtt.dial import connect
from edge.mqtt.packets import (
    REASON_STRING,
    RECEIVE_MAXIMUM,
    RESPONSE_TOPIC,
    SERVER_REFERENCE,
    answer,
    said,
    subscribed,
)
from edge.mqtt.packets import message as read_message

ASK = b'{"transaction": "42"}'
STATUS = f"{BASE}/request/status"
USER_PROPERTY = b"\x26" + text("a")


@pytest.mark.parametrize(
    "properties",
    [
        USER_PROPERTY + text("\ufeffx"),
        USER_PROPERTY + text(b"\xff\xfe"),
        b"\x03" + text("\0"),
        b"\x7e\x01",
        b"\x01\x00\x01\x01",
        (USER_PROPERTY + text("")) * 100_000,
        b"\x09" + text(bytes(65_535)),
        b"\x02\0\0\0\0",
    ],
    ids=["bom", "no text", "nul", "unknown", "twice", "many", "large", "expired"],
)
def test_no_property_of_a_message_ends_a_connection(tmp_path, properties):
    """Whoever may publish chooses them: the request is answered, and sightings go on."""
    with (
        StrictBroker(Script(says=(message(STATUS, ASK, properties, qos=1),))) as broker,
        Served(tmp_path, settings(broker.port, protocol="5")) as served,
    ):
        assert broker.wait(lambda one: one.payloads("/response/status"))
        served.device.sight(3)
        assert served.device.drained()
        assert len(broker.connects) == 1
        assert broker.findings == []


def test_a_message_of_many_megabytes_is_not_kept_in_memory(tmp_path):
    """It is refused with its size; what comes behind it is carried out."""
    size = 200_000_000
    head = text(STATUS) + b"\0"
    huge = (b"\x30" + vary(len(head) + size) + head, *[bytes(1_000_000)] * (size // 1_000_000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with (
        StrictBroker(Script(says=(*huge, message(STATUS, ASK)))) as broker,
        Served(tmp_path, settings(broker.port, protocol="5")),
    ):
        assert broker.wait(lambda one: len(one.payloads("/response/status")) == 2)
        refused, carried_out = broker.payloads("/response/status")
        assert f"{size} bytes is larger than requests.max_bytes".encode() in refused
        assert b'"ok"' in carried_out
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB


@pytest.mark.parametrize(
    "topic", [f"{BASE}/response/status", f"{BASE}/state", "$SYS/broker", "wheatear", b"\xff\xfe"]
)
def test_what_was_not_asked_for_is_passed_over(tmp_path, topic):
    """A broker may subscribe a device by itself; an answer to an answer would go on for ever."""
    stray = message(topic, ASK)
    with (
        StrictBroker(Script(says=(stray, message(STATUS, ASK)))) as broker,
        Served(tmp_path, settings(broker.port, protocol="5")) as served,
    ):
        assert broker.wait(lambda one: one.payloads("/response/status"))
        assert len([one for one in broker.seen if "/response/" in one.topic]) == 1
        assert served.desk.counters["requests_refused"] == 0


def test_what_an_old_session_still_had_is_taken_as_it_comes(tmp_path):
    """Of QoS 2, released without having been sent, acknowledged without having been asked for."""
    stale = (message(STATUS, ASK, qos=2), packet(6, b"\0\x63", 2), packet(4, b"\xea\x60"))
    with (
        StrictBroker(Script(says=stale, pubrecs=("/none",))) as broker,
        Served(tmp_path, settings(broker.port, protocol="5")) as served,
    ):
        assert broker.wait(lambda one: one.payloads("/response/status"))
        served.device.sight(3)
        assert served.device.drained()
        assert len(broker.connects) == 1


@pytest.mark.parametrize("code", [0, 0x10, 0x42])
@pytest.mark.parametrize("pubrecs", [(), ("",)], ids=["PUBACK", "PUBREC"])
def test_whatever_is_no_failure_acknowledges(tmp_path, code, pubrecs):
    """Reason codes that nobody knows yet too, and with the answer of another QoS."""
    with (
        StrictBroker(Script(codes={"/sighting": code}, pubrecs=pubrecs)) as broker,
        Sender(tmp_path, settings(broker.port, protocol="5")) as device,
    ):
        device.sight(5)
        assert device.drained()
        assert len(broker.connects) == 1


@pytest.mark.parametrize(("code", "named"), [(0x87, "Not authorized"), (0xE0, "Unknown reason")])
@pytest.mark.parametrize("pubrecs", [(), ("/sighting",)], ids=["PUBACK", "PUBREC"])
def test_a_failure_is_a_no_over_the_connection_that_stands(tmp_path, code, named, pubrecs, caplog):
    """By its name and number; sightings wait, and go when the broker takes them."""
    with (
        StrictBroker(Script(codes={"/sighting": code}, pubrecs=pubrecs)) as broker,
        Sender(tmp_path, settings(broker.port, protocol="5")) as device,
    ):
        device.sight(5)
        assert broker.wait(lambda one: len(one.came("/sighting")) > 5)
        assert len(broker.connects) == 1
        broker.change(codes={}, pubrecs=())
        assert device.drained()
        assert len(broker.connects) == 1
    assert f"{named} (0x{code:02X})" in caplog.text


def test_a_goodbye_of_a_broker_is_read_whatever_it_is(tmp_path, caplog):
    """A reason code that is not known is told as it is."""
    with (
        StrictBroker(Script(goodbyes={"/sighting": 0xE0})) as broker,
        Sender(tmp_path, settings(broker.port, protocol="5")) as device,
    ):
        device.sight(1)
        assert broker.wait(lambda one: len(one.connects) > 1)
        broker.change(goodbyes={})
        assert device.drained()
    assert "was lost: Unknown reason (0xE0)" in caplog.text


@pytest.mark.parametrize(
    "properties",
    [
        b"\x7e\x01",
        USER_PROPERTY + text("\ufeff"),
        b"\x11\0\0\0\0" + b"\x12" + text("another-id"),
        b"\x21\0\0",
        b"\x27\0\0\0\0",
    ],
    ids=["unknown", "bom", "session and id", "receive maximum 0", "packet size 0"],
)
def test_a_broker_may_say_what_it_likes_when_it_accepts(tmp_path, properties):
    """What makes no sense counts as not said."""
    with (
        StrictBroker(Script(properties=properties)) as broker,
        Sender(tmp_path, settings(broker.port, protocol="5")) as device,
    ):
        device.sight(3)
        assert device.drained()
        assert len(broker.connects) == 1


@pytest.mark.parametrize("seconds", [0, 65_535])
def test_pings_go_on_where_the_broker_wants_none(seconds, monkeypatch):
    """Else nobody would notice that the other end is gone, and requests would not arrive."""
    with StrictBroker(Script(keep_alive=seconds)) as broker:
        asked = settings(broker.port, protocol="5", keepalive_seconds=5)
        with connect(asked, "x", None) as connection:
            monkeypatch.setattr(paho, "time_func", lambda: time.monotonic() + 5)
            waits = connection.poll(0)
            assert broker.wait(lambda one: one.pings)
            assert waits == []


def test_packets_are_read_as_far_as_they_go():
    """Numbers and texts in any order; what is behind an unknown property is not."""
    about = b"\x1f" + text("why") + b"\x21\0\x05\x1c" + text("there") + b"\x7e\x21\0\x06"
    code, properties = said(b"\x87" + vary(len(about)) + about)
    assert code == 0x87
    assert properties.text(REASON_STRING) == "why"
    assert properties.text(SERVER_REFERENCE) == "there"
    assert properties.number(RECEIVE_MAXIMUM) == 5
    assert properties.number(RESPONSE_TOPIC) is None
    assert said(b"").code == 0
    assert answer(b"\x01\x02") == (0x102, 0)
    assert answer(b"\x01\x02\x97\0") == (0x102, 0x97)
    assert subscribed(b"\0\x07\0\x01\x87\0", 5) == (7, 0x87)
    assert subscribed(b"\0\x07\x80", 4) == (7, 0x80)
    assert subscribed(b"\0\x07", 4).code == 0x80
    head = text("t") + b"\0\x09"
    incoming, mid = read_message(0b11, head + b"\x04\x08" + text("r") + b"!", 5)
    assert (incoming.topic, incoming.payload, incoming.retained, mid) == ("t", b"!", True, 9)
    assert incoming.response_topic == "r"
    assert read_message(0b11, head + b"\x09\x08" + text("r"), 5, 9)[0].response_topic == "r"
    assert read_message(0, text("t") + b"!", 4)[0].payload == b"!"
    for cut in (b"", b"\0", b"\0\x05top"):
        with pytest.raises(PacketError):
            read_message(0, cut, 5)
