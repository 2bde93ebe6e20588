"""``[device]`` and ``[gps]``: who this is, and where."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from edge.config.section import Section

_ID = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z"


class Place(Section, frozen=True, kw_only=True):
    """``[device.location]``: where the camera stands."""

    lat: Annotated[float, Meta(ge=-90, le=90)]
    """Latitude in degrees, WGS 84, north positive."""
    lon: Annotated[float, Meta(ge=-180, le=180)]
    """Longitude in degrees, east positive."""
    alt: Annotated[float, Meta(ge=-1000, le=20000)] | None = None
    """Altitude in metres."""


class Device(Section, frozen=True, kw_only=True):
    """``[device]``: who this is."""

    id: Annotated[str, Meta(pattern=_ID)] | None = None
    """Name in topics: letters, digits, ``_``, ``.``, ``-``, at most 64. Unset: ``cam-`` and six
    hexadecimal digits made of the board's serial number, else of the machine id."""
    name: str = ""
    """Name for people. Empty: the id."""
    location: Place | None = None
    """Where it stands; leave out when unknown."""


class Gps(Section, frozen=True, kw_only=True):
    """``[gps]``: where the camera is, by a receiver that gpsd serves."""

    enabled: bool = False
    """Ask gpsd. A picture's own place goes before it, and ``device.location`` after it."""
    host: Annotated[str, Meta(min_length=1)] = "localhost"
    """Name or address of gpsd."""
    port: Annotated[int, Meta(ge=1, le=65535)] = 2947
    """TCP port of gpsd."""
    device: str = ""
    """Receiver to listen to, as gpsd names it, such as ``/dev/ttyACM0``. Empty: any."""
    max_age_seconds: Annotated[float, Meta(ge=1, le=86400)] = 10.0
    """Seconds for which a fix counts; older ones are not used."""
