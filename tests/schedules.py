"""Windows in which a camera works."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from edge.cameras.triggers.windows import Schedule
from edge.config.windows import Window

DHAKA = (23.81, 90.41)


def schedule(
    *windows: str, zone: str = "UTC", place: tuple[float, float] | None = None
) -> Schedule:
    """Make a schedule."""
    return Schedule([Window(text) for text in windows], ZoneInfo(zone), lambda: place)
