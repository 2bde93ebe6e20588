"""``[decision]``: when frames become a sighting."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from edge.config.section import Section


class Decision(Section, frozen=True, kw_only=True):
    """``[decision]``: when frames become a sighting."""

    mode: Literal["visits", "votes", "always"] = "visits"
    """``visits``: a message when a class begins to be there, and when it ends. ``votes``: one each
    time that frames agree. ``always``: every frame is an event (replayed photos)."""
    agreeing_frames: Annotated[int, Meta(ge=1, le=100)] = 2
    """Frames that must say the same, of the ``last_frames``."""
    last_frames: Annotated[int, Meta(ge=1, le=100)] = 3
    """Frames that are looked at together."""
    cooldown_seconds: Annotated[float, Meta(ge=0, le=86400)] = 60.0
    """Seconds without a class after which its visit ends; with ``votes``, seconds from its event
    during which it is not reported again."""
    stay_share: Annotated[float, Meta(ge=0, le=1)] = 0.8
    """A visit goes on at this share of the threshold that its class needs to begin one."""
    update_seconds: Annotated[float, Meta(ge=0, le=86400)] = 300.0
    """Seconds between messages of a visit that goes on at least; 0: none but begin and end."""
    blind_seconds: Annotated[float, Meta(ge=1, le=604800)] = 7200.0
    """Seconds without any frame after which visits end, and earlier frames no longer count."""
    report_unknown: bool = True
    """Report what belongs to none of the classes, as ``label: null``."""
    background: tuple[str, ...] = ()
    """Classes that are never a sighting, such as an empty leaf."""
    thresholds: dict[str, Annotated[float, Meta(ge=0, le=1)]] = field(default_factory=dict)
    """Least confidence per class, in place of the bundle's."""
