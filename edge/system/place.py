"""Where the configuration says that the camera stands."""

from __future__ import annotations

from edge.config import Config
from edge.messages.sighting import Location


def place(config: Config) -> Location | None:
    """The configured place; None where none is."""
    where = config.device.location
    if where is None:
        return None
    return Location(lat=where.lat, lon=where.lon, alt=where.alt, source="config")
