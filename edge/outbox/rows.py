"""What a row of the outbox is: made of a message, and checked when it is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any

import msgspec

from edge.errors import OutboxDamagedError, UnwritableError
from edge.messages.base import encode
from edge.messages.health import Health
from edge.messages.sighting import Evidence, Sighting
from edge.outbox.compression import pack, unpack

OVERHEAD_BYTES = 100
"""What a row costs beside its payload: topic, page slack, the index."""

Stored = tuple[int, int, str, bytes, int, int]
"""A row of the table of messages."""


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


Outgoing = Sighting | Evidence | Health | Row
"""What can be appended; a row is appended as it is, with the number it once got."""


def read_rows(found: Iterable[tuple[Any, ...]], path: Path) -> list[Row]:
    """Return what a query of :mod:`edge.outbox.sql` found, as it was handed in.

    SQLite's own check looks at pages, not at values. Raises OutboxDamagedError.
    """
    rows = []
    for number, kind, topic, payload, time_ms, size in found:
        if not (
            isinstance(topic, str)
            and isinstance(payload, bytes)
            and isinstance(time_ms, int)
            and kind in _KINDS
            and size == len(payload) + OVERHEAD_BYTES
        ):
            raise OutboxDamagedError(
                f"the outbox {path} is damaged (row {number} is not a message)"
            )
        if kind != Kind.IMAGE:
            try:
                payload = unpack(payload)
            except OutboxDamagedError as error:
                raise OutboxDamagedError(
                    f"the outbox {path} is damaged (row {number}: {error})"
                ) from None
        rows.append(Row(number, _KINDS[kind], topic, payload, time_ms))
    return rows


def row_of(message: Outgoing) -> tuple[int, str, bytes, int, int]:
    """Return kind, topic, payload as stored, time in milliseconds and bytes as accounted.

    Raises UnwritableError where the message cannot be encoded.
    """
    try:
        if isinstance(message, Row):
            kind, topic, payload = message.kind, message.topic, message.payload
            payload = pack(payload) if kind is Kind.SIGHTING else payload
            return int(kind), topic, payload, message.time_ms, len(payload) + OVERHEAD_BYTES
        time_ms = int(message.time.timestamp() * 1000)
        if isinstance(message, Evidence):
            kind, topic, payload = Kind.IMAGE, f"sighting/{message.id}/image", bytes(message.jpeg)
            topic.encode()
        elif isinstance(message, Sighting):
            kind, topic, payload = Kind.SIGHTING, "sighting", pack(encode(message))
        else:
            kind, topic, payload = Kind.HEALTH, "health", encode(message)
    except (msgspec.MsgspecError, ValueError, TypeError, OverflowError, AttributeError) as error:
        raise UnwritableError(message, error) from error
    return int(kind), topic, payload, time_ms, len(payload) + OVERHEAD_BYTES


def rows_of(messages: Sequence[Outgoing], numbered: Sequence[Outgoing], first: int) -> list[Stored]:
    """Make rows of messages. Raises UnwritableError with the one that was handed in."""
    rows = []
    for row, (message, with_number) in enumerate(zip(messages, numbered, strict=True), first):
        try:
            rows.append((row, *row_of(with_number)))
        except UnwritableError as error:
            error.message = message
            raise
    return rows


def ranges(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield the runs of consecutive numbers as (first, last)."""
    run: tuple[int, int] | None = None
    for number in sorted(numbers):
        if run and number == run[1] + 1:
            run = run[0], number
            continue
        if run:
            yield run
        run = number, number
    if run:
        yield run
