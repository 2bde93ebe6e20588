"""``[images]`` and ``[inbox]``: pictures that are sent, and those that are kept to learn from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from msgspec import Meta

from edge.config.section import Section


class Images(Section, frozen=True, kw_only=True):
    """``[images]``: the picture behind a sighting, sent as JPEG."""

    send: bool = False
    """Send pictures at all."""
    max_bytes: Annotated[int, Meta(ge=2_000, le=10_000_000)] = 60_000
    """Bytes of one picture; larger ones are made smaller."""
    max_side: Annotated[int, Meta(ge=64, le=8192)] = 1024
    """Pixels of the longer side at most."""
    crop: bool = False
    """Where pictures are looked at in parts, send the surest region with a rim of a quarter around
    it, in place of the whole picture."""
    max_bytes_per_day: Annotated[int, Meta(ge=0, le=1_000_000_000_000)] = 20_000_000
    """Bytes of all pictures of one UTC day, over restarts; beyond that, sightings are sent without
    one."""


class Inbox(Section, frozen=True, kw_only=True):
    """``[inbox]``: pictures to learn from, kept here and, where told to, sent as thumbnails."""

    keep: bool = False
    """Keep doubtful pictures and a random share on this device."""
    send: bool = False
    """Send thumbnails of what is kept; needs ``keep``."""
    folder: Path | None = None
    """Where they are kept. Unset: ``inbox`` beside the outbox."""
    max_bytes: Annotated[int, Meta(ge=1_000_000, le=1_000_000_000_000)] = 200_000_000
    """Bytes of all kept pictures; beyond, the least useful ones go."""
    min_free_bytes: Annotated[int, Meta(ge=0, le=1_000_000_000_000)] = 500_000_000
    """Bytes that stay free on that disk for sightings; below, no picture is kept."""
    below_confidence: Annotated[float, Meta(ge=0, le=1)] = 0.6
    """Confidence below which a picture is doubtful."""
    disagree_seconds: Annotated[float, Meta(ge=0, le=3600)] = 5.0
    """Seconds within which three frames are of one scene: the middle one is doubtful where the
    other two agree on another class. 0: not looked at."""
    random_share: Annotated[float, Meta(ge=0, le=1)] = 0.001
    """Share of all frames that is kept whatever they show."""
    spacing_seconds: Annotated[float, Meta(ge=0, le=86400)] = 600.0
    """Seconds between two pictures kept for the same reason, so that one windy day does not fill
    the disk."""
    thumbnail_bytes: Annotated[int, Meta(ge=2_000, le=1_000_000)] = 20_000
    """Bytes of one thumbnail at most."""
    thumbnail_side: Annotated[int, Meta(ge=64, le=4096)] = 320
    """Pixels of a thumbnail's longer side at most."""
    max_bytes_per_day: Annotated[int, Meta(ge=0, le=1_000_000_000_000)] = 2_000_000
    """Bytes sent in one UTC day, thumbnails and their descriptions; the rest waits."""
