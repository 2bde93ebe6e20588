"""Messages as a device makes them."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import msgspec

from edge.messages.base import new_id
from edge.messages.examples import EXAMPLES
from edge.messages.health import Health
from edge.messages.sighting import Evidence, Sighting
from edge.outbox.compression import pack
from edge.outbox.outbox import Outbox
from edge.outbox.rows import OVERHEAD_BYTES, Kind, Row
from edge.system.clock import Clock

BOOT = "0123456789ab"


def sighting(label: str | None = "aphid", time: datetime | None = None) -> Sighting:
    """Make a sighting as the agent does, without a number."""
    example = EXAMPLES["Sighting"]
    assert isinstance(example, Sighting)
    return msgspec.structs.replace(
        example, seq=0, id=new_id(), label=label, time=time or datetime.now(UTC)
    )


def image(size: int = 1000) -> Evidence:
    """Make a picture of so many bytes."""
    return Evidence(id=new_id(), time=datetime.now(UTC), jpeg=bytes(size))


def health() -> Health:
    """Make a health message."""
    example = EXAMPLES["Health"]
    assert isinstance(example, Health)
    return example


def drain(outbox: Outbox) -> list[int]:
    """Take everything out, oldest first; give the sequence numbers."""
    seqs, after = [], 0
    while page := outbox.page(after, 100):
        seqs += [json.loads(row.payload)["seq"] for row in page if row.kind is Kind.SIGHTING]
        after = page[-1].row
        outbox.delete(row.row for row in page)
    return seqs


def waiting(outbox: Outbox) -> list[Sighting]:
    """The sightings in the outbox, oldest first."""
    rows = [row for row in outbox.page(limit=10_000) if row.kind is Kind.SIGHTING]
    return [msgspec.json.decode(row.payload, type=Sighting) for row in rows]


def stored(rows: list[Row]) -> int:
    """How many bytes rows count for in the outbox."""
    sizes = [len(pack(r.payload) if r.kind is Kind.SIGHTING else r.payload) for r in rows]
    return sum(sizes) + OVERHEAD_BYTES * len(rows)


def taken(clock: Clock, boot: str = BOOT, label: str = "aphid") -> Sighting:
    """A sighting as it is made at this moment by this clock."""
    return msgspec.structs.replace(
        sighting(label, clock.now()),
        boot=boot,
        phase="single",
        clock=clock.quality(),
        boot_seconds=clock.seconds_since_boot(clock.now()),
    )
