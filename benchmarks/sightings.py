"""Sightings like those a camera makes, for filling an outbox."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from edge.messages.sighting import FrameRef, Location, ModelRef, Score, Sighting, Votes

LABELS = ("aphid", "leaf_beetle", "red_mite", "stem_weevil")
MODEL = ModelRef(name="jute", version="1.0.0", sha256="0" * 64)
START = datetime(2026, 6, 1, tzinfo=UTC)


def sightings(count: int) -> Iterator[Sighting]:
    """``count`` sightings, one a second; about 600 bytes each as JSON."""
    for number in range(count):
        label = LABELS[number % len(LABELS)]
        yield Sighting(
            device="bench",
            boot="b0",
            id=f"{number:026d}",
            time=START + timedelta(seconds=number),
            clock="synced",
            label=label,
            confidence=0.9,
            alternatives=tuple(Score(label=other, confidence=0.25) for other in LABELS[:3]),
            votes=Votes(agree=2, of=3),
            model=MODEL,
            frame=FrameRef(width=1920, height=1080, source=f"frame-{number:06d}.jpg"),
            location=Location(lat=23.7, lon=90.4, alt=8.0),
        )


def batches(count: int, size: int) -> Iterator[list[Sighting]]:
    """``count`` sightings in lists of ``size``."""
    source = sightings(count)
    while batch := list(itertools.islice(source, size)):
        yield batch
