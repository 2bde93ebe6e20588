"""``[trigger]``: which frames are taken and looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from msgspec import Meta

from edge.config.section import Section
from edge.config.windows import Window


class DutyCycle(Section, frozen=True, kw_only=True):
    """``[trigger.duty]``: work in bursts; between them the camera is closed."""

    every_seconds: Annotated[float, Meta(ge=1, le=604_800)] = 900.0
    """Seconds from the beginning of one burst to that of the next."""
    burst_seconds: Annotated[float, Meta(gt=0, le=86400)] = 60.0
    """Seconds after which a burst ends."""
    burst_frames: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    """Frames after which a burst ends sooner."""


class Motion(Section, frozen=True, kw_only=True):
    """``[trigger.motion]``: only frames in which something moves go to the model."""

    threshold: Annotated[float, Meta(ge=1, le=100)] = 4.0
    """How many times its usual noise a part of the picture has to change by."""
    min_area: Annotated[float, Meta(gt=0, le=1)] = 0.00025
    """Share of the picture that has to change in one piece: an insect's width times its length."""
    max_area: Annotated[float, Meta(gt=0, le=1)] = 0.5
    """Share above which a change is the light's or the camera's own."""
    hold_seconds: Annotated[float, Meta(ge=0, le=3600)] = 5.0
    """Seconds after a motion for which frames pass too: what landed is looked at while it sits."""
    max_per_minute: Annotated[int, Meta(ge=1, le=6000)] = 30
    """Frames that pass in a minute on average at most, whatever moves; after a quiet minute as many
    may pass at once."""


class Trigger(Section, frozen=True, kw_only=True):
    """``[trigger]``: which frames are taken and looked at; all conditions must hold."""

    windows: tuple[Window, ...] = ()
    """When the camera works, such as ``06:00-10:00`` or ``sunset-00:30..sunset+02:00``. None:
    always."""
    time_zone: str | None = None
    """Zone of the times in ``windows``, and of replayed photos that name none, such as
    ``Asia/Dhaka`` or ``UTC``."""
    wake_file: Path | None = None
    """File that tells a power manager, while the camera sleeps, when it has to be awake again."""
    duty: DutyCycle | None = None
    """Work in bursts; leave the table out to work all the time."""
    motion: Motion | None = None
    """Look at moving things only; leave the table out to look at every frame."""
