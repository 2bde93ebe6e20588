"""What a row of the outbox is: made of a message, and checked when it is read."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from pathlib import Path
from typing import Any

import msgspec

from edge import outbox_schema as schema
from edge.errors import OutboxDamagedError
from edge.messages import Evidence, Health, Sighting, encode

Outgoing = Sighting | Evidence | Health
"""What can be appended."""


class Kind(IntEnum):
    """What a row is, in the order in which a full outbox drops them."""

    IMAGE = 0
    HEALTH = 1
    SIGHTING = 2


_KINDS = {kind.value: kind for kind in Kind}


class Row(msgspec.Struct, frozen=True):
    """One waiting message."""

    row: int
    kind: Kind
    topic: str
    payload: bytes
    time_ms: int


def read_rows(found: Iterable[tuple[Any, ...]], path: Path) -> list[Row]:
    """Give what a query of :mod:`edge.outbox_schema` found, as it was written.

    SQLite's own check looks at pages, not at values. Raises OutboxDamagedError.
    """
    rows = []
    for number, kind, topic, payload, time_ms, size in found:
        if not (
            isinstance(topic, str)
            and isinstance(payload, bytes)
            and isinstance(time_ms, int)
            and kind in _KINDS
            and size == len(payload) + schema.OVERHEAD_BYTES
        ):
            raise OutboxDamagedError(f"the outbox {path} is damaged (row {number} is no message)")
        rows.append(Row(number, _KINDS[kind], topic, payload, time_ms))
    return rows


def row_of(message: Outgoing, seq: int) -> tuple[int, str, bytes, int, int]:
    """Give kind, topic, payload, time in milliseconds and accounted bytes."""
    time_ms = int(message.time.timestamp() * 1000)
    if isinstance(message, Sighting):
        payload = encode(msgspec.structs.replace(message, seq=seq))
        kind, topic = Kind.SIGHTING, "sighting"
    elif isinstance(message, Evidence):
        kind, topic, payload = Kind.IMAGE, f"sighting/{message.id}/image", message.jpeg
    else:
        kind, topic, payload = Kind.HEALTH, "health", encode(message)
    return int(kind), topic, payload, time_ms, len(payload) + schema.OVERHEAD_BYTES
