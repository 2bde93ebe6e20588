"""The reason codes of MQTT 5 with which a broker says no: what each is about, and what to do.

(OASIS MQTT 5.0, section 2.4 and the tables of CONNACK, PUBACK and DISCONNECT.)
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

FAILURE = 0x80
"""Reason codes from here on are failures."""


class About(Enum):
    """What a refusal is about, which decides what becomes of the message."""

    MESSAGE = "message"
    """This one message: others may pass."""
    TOPIC = "topic"
    """All that goes to its topic: it waits until somebody allows it."""
    QUOTA = "quota"
    """Too much was sent: it waits."""
    CONNECTION = "connection"
    """No message is to blame."""


class Reason(NamedTuple):
    """A reason code."""

    about: About
    text: str
    """What is wrong, and what to do, in words."""


TAKEN_OVER, SERVER_MOVED, USE_ANOTHER = 0x8E, 0x9D, 0x9C
RECEIVE_MAXIMUM_EXCEEDED, RATE_TOO_HIGH = 0x93, 0x96
RETAIN_NOT_SUPPORTED, QOS_NOT_SUPPORTED = 0x9A, 0x9B
UNSUPPORTED_VERSION = 0x84
KEEP_ALIVE_TIMEOUT = 0x8D
PACKET_TOO_LARGE = 0x95

_M, _T, _Q, _C = About.MESSAGE, About.TOPIC, About.QUOTA, About.CONNECTION
REASONS = {
    0x80: Reason(_M, "it does not say why; look at its log"),
    0x81: Reason(_M, "it says that a packet is malformed; look at its log"),
    0x82: Reason(_M, "it says that a packet breaks the protocol; look at its log"),
    0x83: Reason(_M, "for a reason that only it knows; look at its log"),
    UNSUPPORTED_VERSION: Reason(_C, "it does not speak this MQTT version; set broker.protocol"),
    0x85: Reason(_C, "it does not accept the client id; choose another device.id"),
    0x86: Reason(_C, "user name or password are wrong; check broker.username and its password"),
    0x87: Reason(_T, "allow this device in its access list"),
    0x88: Reason(_C, "it is not available now; it is tried again"),
    0x89: Reason(_C, "it is busy; it is tried again"),
    0x8A: Reason(_C, "this device is banned there; ask whoever runs the broker"),
    0x8B: Reason(_C, "it shuts down; it is tried again"),
    0x8C: Reason(_C, "it requires another way to log in; check broker.username"),
    KEEP_ALIVE_TIMEOUT: Reason(
        _C, "it heard nothing for too long; check the network and keepalive_seconds"
    ),
    TAKEN_OVER: Reason(_C, "another program connected with the same device.id; give each its own"),
    0x8F: Reason(
        _T, "it does not accept the topics that requests come on; check broker.base_topic"
    ),
    0x90: Reason(_T, "it does not accept the topic; check broker.base_topic and device.id"),
    0x91: Reason(_C, "it believes a packet identifier is in use; the device connects again"),
    0x92: Reason(_C, "it does not know a packet identifier; the message is sent again"),
    RECEIVE_MAXIMUM_EXCEEDED: Reason(_C, "too many messages under way; fewer are sent at once"),
    0x94: Reason(_M, "it does not accept a topic alias; look at its log"),
    PACKET_TOO_LARGE: Reason(_M, "the message is too large for it; raise its limit"),
    RATE_TOO_HIGH: Reason(_C, "messages come too fast for it; fewer are sent at once"),
    0x97: Reason(_Q, "a quota is used up; raise it there, or send less"),
    0x98: Reason(_C, "somebody who runs the broker ended the connection; it is tried again"),
    0x99: Reason(_M, "it does not accept the payload; look at its rules for this topic"),
    RETAIN_NOT_SUPPORTED: Reason(_C, "it keeps no retained messages; they are sent as others"),
    QOS_NOT_SUPPORTED: Reason(_C, "it does not accept this QoS; a lower one is used"),
    USE_ANOTHER: Reason(_C, "it asks to use another server; set broker.host"),
    SERVER_MOVED: Reason(_C, "it has moved to another server; set broker.host"),
    0x9E: Reason(_T, "it has no shared subscriptions"),
    0x9F: Reason(_C, "too many connections in short time; it is tried again"),
    0xA0: Reason(_C, "it allows only connections that are shorter; it is tried again"),
    0xA1: Reason(_T, "it has no subscription identifiers"),
    0xA2: Reason(_T, "it has no wildcard subscriptions"),
}
_UNKNOWN = Reason(_M, "its reason code is not known here; look at its log")


def reason(code: int) -> Reason:
    """What is known of a reason code; an unknown one is about the message."""
    return REASONS.get(code, _UNKNOWN)


def words(name: str, code: int) -> str:
    """In words, why the broker refused: its own name for the code, and the cure."""
    return f"{name} (0x{code:02X}): {reason(code).text}"
