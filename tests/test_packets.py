"""What a broker sends is read to the byte: packets, their properties, and where they end."""

from __future__ import annotations

import mqtt_packets
import pytest
from mqtt_packets import text, vary
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties as PahoProperties

from edge.errors import PacketError
from edge.mqtt import packets
from edge.mqtt.packets import Incoming, PacketAnswer, Properties, answer, message, said, subscribed

BYTES = {1: "01 17 19 24 25 28 29 2a", 2: "13 21 22 23", 4: "02 11 18 27"}
NUMBERS = {number: size for size, them in BYTES.items() for number in bytes.fromhex(them)}
"""By the standard, section 2.2.2.2."""
DATA = bytes.fromhex("03 08 09 12 15 16 1a 1c 1f")
VARIABLE, PAIR = 0x0B, 0x26
BEHIND = b"\x21\0\x05"
"""Receive Maximum 5."""


def about(properties: bytes) -> Properties:
    """Read properties, as those of a CONNACK."""
    return said(b"\0" + vary(len(properties)) + properties).properties


@pytest.mark.parametrize(("identifier", "size"), NUMBERS.items())
def test_a_number_takes_as_many_bytes_as_it_has(identifier, size):
    """What is behind it is read too."""
    value = bytes(range(1, size + 1))
    number = int.from_bytes(value, "big")
    assert about(bytes([identifier]) + value).number(identifier) == number
    assert about(bytes([identifier]) + value).data(identifier) is None
    behind = 0x13 if identifier == 0x21 else 0x21
    found = about(bytes([identifier]) + value + bytes([behind]) + b"\0\x05")
    assert (found.number(identifier), found.number(behind)) == (number, 5)


@pytest.mark.parametrize("identifier", DATA)
def test_a_text_is_as_long_as_it_says(identifier):
    """What is none is read as well as it goes."""
    found = about(bytes([identifier]) + text(b"a\xffb") + BEHIND)
    assert found.data(identifier) == b"a\xffb"
    assert found.text(identifier) == "a\ufffdb"
    assert found.number(identifier) is None
    assert found.number(packets.RECEIVE_MAXIMUM) == 5


@pytest.mark.parametrize(
    "property_",
    [
        bytes([VARIABLE]) + b"\xff\xff\xff\x7f",
        bytes([VARIABLE]) + b"\x7f",
        bytes([PAIR]) + text("name") + text("a value"),
    ],
)
def test_what_is_of_no_use_is_stepped_over(property_):
    """Whatever its length; it is not given."""
    found = about(property_ + BEHIND)
    assert found.number(packets.RECEIVE_MAXIMUM) == 5
    assert found.number(property_[0]) is None
    assert found.data(property_[0]) is None


@pytest.mark.parametrize(
    "identifier", sorted(set(range(1, 128)) - set(NUMBERS) - set(DATA) - {VARIABLE, PAIR})
)
def test_nothing_is_read_behind_what_is_not_known(identifier):
    """Its length is not known either; what stands before it is read."""
    found = about(b"\x13\0\x07" + bytes([identifier]) + BEHIND)
    assert found.number(packets.SERVER_KEEP_ALIVE) == 7
    assert found.number(packets.RECEIVE_MAXIMUM) is None


def test_names_are_those_of_the_standard():
    """Of the properties that are asked for, and of the packets."""
    known = PahoProperties(PacketTypes.PUBLISH).names
    for name in (
        *("Response Topic", "Correlation Data", "Server Keep Alive", "Server Reference"),
        *("Reason String", "Receive Maximum", "Maximum QoS", "Retain Available"),
        "Maximum Packet Size",
    ):
        assert getattr(packets, name.upper().replace(" ", "_")) == known[name]
    assert known["Wildcard Subscription Available"] == packets.WILDCARDS_AVAILABLE
    for name in ("PUBLISH", "PUBACK", "PUBREC", "PUBCOMP", "CONNACK", "SUBACK", "DISCONNECT"):
        assert getattr(packets, name) == getattr(mqtt_packets, name)


@pytest.mark.parametrize("size", [0, 1, 127, 128, 129, 200, 16_383, 16_384, 40_001, 2_100_000])
def test_a_message_begins_behind_its_properties(size):
    """However many bytes of length they take."""
    user = b""
    while len(user) < size:
        user += bytes([PAIR]) + text("") + text(bytes(min(60_000, size)))
    head = text("t") + vary(len(user)) + user
    assert message(0, head + b"!", 5) == (Incoming("t", b"!"), 0)


def test_a_length_has_four_bytes_at_most():
    """Properties that are longer than the packet end with it."""
    with pytest.raises(PacketError, match="more than four bytes"):
        said(b"\0\x80\x80\x80\x80\0")
    assert said(b"\x87\x7f" + BEHIND).properties.number(packets.RECEIVE_MAXIMUM) == 5
    assert [said(one).code for one in (b"\x87", b"")] == [0x87, 0]


@pytest.mark.parametrize(
    ("flags", "mid", "retained"),
    [(0b0000, 0, False), (0b1001, 0, True), (0b0010, 77, False), (0b0101, 77, True)],
)
@pytest.mark.parametrize("level", [4, 5])
def test_only_an_acknowledged_message_has_a_number(flags, mid, retained, level):
    """Which QoS it has, and whether it was retained, stand in its flags."""
    number = b"\0\x4d" if mid else b""
    told = b"\x08" + text("r") + b"\x09" + text("c")
    properties = vary(len(told)) + told if level == 5 else b""
    topic, own = ("r", b"c") if level == 5 else (None, None)
    found = message(flags, text("t") + number + properties + b"payload", level, 3)
    assert found == (Incoming("t", b"payload", retained, topic, own, 3), mid)


def test_a_message_is_new_and_whole_unless_it_says_otherwise():
    """Not retained, nothing left out."""
    one = Incoming("t", b"")
    assert (one.retained, one.response_topic, one.correlation, one.left_out) == (
        *(False, None, None),
        0,
    )


def test_an_answer_without_a_code_is_a_yes():
    """With one it is that; of several the worst; of none it is no yes."""
    assert answer(b"\x01\x02") == PacketAnswer(0x102, 0)
    assert answer(b"\x01\x02\x97") == answer(b"\x01\x02\x97\0") == PacketAnswer(0x102, 0x97)
    told = b"\x21\0\xff"
    assert subscribed(b"\x01\x02" + vary(3) + told + b"\0\x87\x01", 5) == PacketAnswer(0x102, 0x87)
    assert subscribed(b"\x01\x02\x01", 4) == PacketAnswer(0x102, 1)
    assert subscribed(b"\x01\x02", 4) == PacketAnswer(0x102, 0x80)


@pytest.mark.parametrize("body", [b"", b"\0", b"\0\x05top"])
def test_a_packet_that_ends_too_soon_is_none(body):
    """It is not read on."""
    with pytest.raises(PacketError, match="ends before"):
        message(0, body, 5)
