"""The strict broker itself: who breaks the standard is caught, and nobody else."""

from __future__ import annotations

import socket
import struct

import mqtt_packets as mqtt
import paho.mqtt.client as paho
import pytest
from broker_script import Script
from paho.mqtt.enums import CallbackAPIVersion
from strict_broker import StrictBroker


def text(value: str) -> bytes:
    """Encode a UTF-8 string."""
    return struct.pack(">H", len(value.encode())) + value.encode()


def hello(level: int = 5, flags: int = 2, keepalive: int = 60, name: str = "MQTT") -> bytes:
    """A CONNECT."""
    none = b"\0" if level == 5 else b""
    head = text(name) + bytes([level, flags]) + struct.pack(">H", keepalive)
    return mqtt.packet(mqtt.CONNECT, head + none + text("c"))


def message(topic="t", mid=1, flags=2, properties=b"\0", level=5) -> bytes:
    """A PUBLISH of QoS 1."""
    number = struct.pack(">H", mid) if flags & 6 else b""
    about = properties if level == 5 else b""
    return mqtt.packet(mqtt.PUBLISH, text(topic) + number + about + b"x", flags)


def wish(topics: str = "a/#", mid: int = 1, flags: int = 2, options: int = 1) -> bytes:
    """A SUBSCRIBE under MQTT 5."""
    body = struct.pack(">H", mid) + b"\0" + text(topics) + bytes([options])
    return mqtt.packet(mqtt.SUBSCRIBE, body, flags)


GOODBYE = mqtt.packet(mqtt.DISCONNECT)
MUTE = Script(mute=("",))
BREACHES = {
    "first packet": (Script(), [message()], "MQTT-3.1.0-1"),
    "second CONNECT": (Script(), [hello(), hello()], "MQTT-3.1.0-2"),
    "protocol name": (Script(), [hello(name="MQIsdp")], "MQTT-3.1.2-1"),
    "reserved connect flag": (Script(), [hello(flags=3)], "MQTT-3.1.2-3"),
    "will flags": (Script(), [hello(flags=2 | 32)], "MQTT-3.1.2-11"),
    "will QoS": (Script(), [hello(flags=2 | 4 | 24)], "MQTT-3.1.2-12"),
    "receive maximum": (
        Script(receive_maximum=2, mute=("",)),
        [hello(), *(message(mid=n) for n in (1, 2, 3))],
        "MQTT-3.3.4-7",
    ),
    "identifier in use": (MUTE, [hello(), message(), message()], "MQTT-2.2.1-3"),
    "identifier of a subscription": (MUTE, [hello(), message(), wish()], "MQTT-2.2.1-3"),
    "identifier 0": (Script(), [hello(), message(mid=0)], "MQTT-2.2.1-3"),
    "retain": (Script(retain=False), [hello(), message(flags=3)], "MQTT-3.2.2-14"),
    "QoS": (Script(maximum_qos=0), [hello(), message()], "MQTT-3.2.2-11"),
    "packet size": (Script(maximum_packet_size=40), [hello(), message("t" * 50)], "MQTT-3.2.2-15"),
    "QoS 3": (Script(), [hello(), message(flags=6)], "MQTT-3.3.1-4"),
    "DUP with QoS 0": (Script(), [hello(), message(flags=8)], "MQTT-3.3.1-2"),
    "DUP on the first": (Script(), [hello(), message(flags=10)], "MQTT-3.3.1-1"),
    "wildcard": (Script(), [hello(), message("a/+")], "MQTT-3.3.2-2"),
    "empty topic": (Script(), [hello(), message("")], "MQTT-4.7.3-1"),
    "U+0000": (Script(), [hello(), message("a\0")], "MQTT-1.5.4-2"),
    "no UTF-8": (
        Script(),
        [hello(), mqtt.packet(mqtt.PUBLISH, b"\0\1\xff\0\1\0", 2)],
        "MQTT-1.5.4-1",
    ),
    "topic alias": (
        Script(),
        [hello(), message(properties=b"\3\x23\0\1")],
        "MQTT-3.3.2-9",
    ),
    "property twice": (
        Script(),
        [hello(), message(properties=b"\4\1\0\1\0")],
        "2.2.2.2",
    ),
    "strange property": (Script(), [hello(), message(properties=b"\2\x24\0")], "2.2.2.2"),
    "flags": (Script(), [hello(), mqtt.packet(mqtt.PINGREQ, flags=1)], "MQTT-2.1.3-1"),
    "flags of SUBSCRIBE": (Script(), [hello(), wish(flags=0)], "MQTT-2.1.3-1"),
    "options of SUBSCRIBE": (Script(), [hello(), wish(options=0xC1)], "MQTT-3.8.3-5"),
    "wildcards": (Script(wildcards=False), [hello(), wish()], "3.2.2.3.11"),
    "shared": (Script(shared=False), [hello(), wish("$share/a/b")], "3.2.2.3.13"),
    "after DISCONNECT": (Script(), [hello(), GOODBYE, message()], "MQTT-3.14.4-1"),
    "long length": (Script(), [hello(), b"\x30\xff\xff\xff\xff\x01"], "MQTT-1.5.5-1"),
    "clumsy length": (Script(), [hello(), b"\xc0\x80\x00"], "MQTT-1.5.5-1"),
    "short packet": (Script(), [hello(), mqtt.packet(mqtt.PUBLISH, b"\0\5t", 2)], "MQTT-4.13.1-1"),
    "server's packet": (Script(), [hello(), mqtt.packet(mqtt.PINGRESP)], "2.1.2"),
}


@pytest.mark.parametrize("name", BREACHES)
def test_a_breach_is_found(name):
    """The clause is named, and the connection ended."""
    script, packets, clause = BREACHES[name]
    with (
        StrictBroker(script) as broker,
        socket.create_connection(("127.0.0.1", broker.port)) as sock,
    ):
        sock.sendall(b"".join(packets))
        sock.settimeout(5)
        while sock.recv(4096):
            pass
        (finding,) = broker.findings
        assert finding.startswith(f"[{clause}")


def test_too_long_a_silence_is_found():
    """One and a half keep alive times without a packet end a connection."""
    with StrictBroker(Script(keep_alive=1)) as broker:
        with socket.create_connection(("127.0.0.1", broker.port)) as sock:
            sock.sendall(hello())
            sock.settimeout(5)
            while sock.recv(4096):
                pass
        assert broker.findings[0].startswith("[MQTT-3.1.2-20]")


@pytest.mark.parametrize("protocol", [paho.MQTTv5, paho.MQTTv311])
def test_a_client_that_keeps_to_the_standard_is_not_blamed(protocol):
    """An ordinary client publishes, subscribes, pings and leaves."""
    with StrictBroker() as broker:
        client = paho.Client(CallbackAPIVersion.VERSION2, "ordinary", protocol=protocol)
        client.will_set("gone", b"x", qos=1, retain=True)
        client.connect("127.0.0.1", broker.port, keepalive=1)
        client.loop_start()
        client.subscribe([("a/#", 1), ("b", 0)])
        for qos in (0, 1):
            client.publish("t", b"x", qos=qos, retain=True).wait_for_publish(5)
        assert broker.wait(lambda one: len(one.published) == 2 and one.pings)
        client.disconnect()
        client.loop_stop()
        assert broker.findings == []
        assert broker.filters == ["a/#", "b"]
