"""What goes over MQTT: every payload is a struct of this package, encoded as UTF-8 JSON.

Here stands what all of them share. Times are UTC. A field is only ever added; a change of meaning
raises :data:`SCHEMA_VERSION`.
"""

from __future__ import annotations

import os
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edge.text.printable import encoded

SCHEMA_VERSION = 1
"""The ``schema`` of every message."""
MOST_SENT = 2**53 - 1
"""The largest number that every reader of JSON takes for itself; bounds ``sent`` of a request."""
MAX_BUNDLE_BYTES = 64 << 20
"""A bundle of a model has so many bytes at most."""

Clock = Literal["synced", "retimed", "holdover", "rtc", "unsynced"]
Reason = Literal["unknown", "below-threshold", "background"]
Time = Annotated[datetime, Meta(tz=True)]
Count = Annotated[int, Meta(ge=0)]
Fraction = Annotated[float, Meta(ge=0, le=1)]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$(?!\n)")]
"""Written so that its pattern means the same in Python, where ``$`` lets a line end pass, and in
ECMA-262, by which JSON Schema goes and which has no ``\\Z``."""
Asleep = Annotated[
    str | None, Meta(description="Until when the camera rests, and what for; null: it works.")
]


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What all payloads share: the struct is immutable and its fields are given by name."""


class Params(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a verb takes, beside what every request carries; itself for one that takes nothing."""


def new_id() -> str:
    """Draw an id that no other event has: 16 hexadecimal digits from 64 random bits."""
    return os.urandom(8).hex()


def encode(message: Message) -> bytes:
    """Return the UTF-8 JSON of `message`; text that UTF-8 cannot hold is escaped."""
    return encoded(message)
