"""When and where a photo was taken, as far as what its EXIF data say makes sense (Exif 2.32, 3.0).

Time: DateTimeOriginal (else DateTimeDigitized) with its offset where it has one. Without, GPS date
and time, which are UTC, tell the offset; else the camera's clock is in the zone that the caller
gives. A camera without a clock starts at the beginning of some year: such times count as none, as
do times to come.

Place: none without a fix (GPSStatus V, all zero, 0/0), without the letters of both hemispheres, or
beyond the poles.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import MAXYEAR, MINYEAR, UTC, datetime, timedelta, timezone, tzinfo
from typing import TYPE_CHECKING, Any

from edge.messages.sighting import Location

if TYPE_CHECKING:
    from PIL import Image

EXIF_IFD, GPS_IFD = 0x8769, 0x8825
_ORIGINAL = (0x9003, 0x9011, 0x9291)
_DIGITIZED = (0x9004, 0x9012, 0x9292)
"""Tags of date and time, offset, fraction of a second."""
_LAT_REF, _LAT, _LON_REF, _LON, _ALT_REF, _ALT, _STATUS, _ERROR = 1, 2, 3, 4, 5, 6, 9, 31
_GPS_TIME, _GPS_DATE = 7, 29
_HEIGHT_SIGNS = {0: 1, 1: -1, 2: 1, 3: -1}
"""By GPSAltitudeRef; 2 and 3 by Exif 3.0 for the sea, where 0 and 1 are for the ellipsoid."""
_HEIGHTS = (-500.0, 20_000.0)
"""Metres: the Dead Sea is at -430, nothing with a camera for plants above 20 km."""
_WORST_ERROR = 100_000.0
"""Metres."""
_OFFSET = re.compile(r"([+-])(\d\d):?(\d\d)", re.ASCII)
_WIDEST = timedelta(hours=14)
"""The offset from UTC of the zone that is farthest from it."""
_NEAR = timedelta(minutes=5)
"""A camera's clock and the last fix differ by no more, but for whole quarters of an hour."""
_QUARTER = timedelta(minutes=15)
_FIRST_YEAR = 2001
"""Cameras that never had their clock set begin in 1970, 1980 or 2000."""

Told = Callable[[str], None]


def taken_at(
    exif: Image.Exif, zone: tzinfo | None, told: Told, now: datetime | None = None
) -> datetime | None:
    """Return when a photo was taken, UTC; None where nothing makes sense, which `told` hears.

    `zone` is that of the camera's clock; None: it is not known, and counts as UTC. `now` is when
    the present is, UTC.
    """
    ifd, gps = _block(exif, EXIF_IFD), _block(exif, GPS_IFD)
    latest = (now or datetime.now(UTC)) + timedelta(days=1)
    by_gps = _gps_time(gps)
    if by_gps is not None and not _likely(by_gps, latest):
        by_gps = None
    for tags in (_ORIGINAL, _DIGITIZED):
        text, wall = _text(ifd.get(tags[0])), _wall(ifd, tags)
        if not re.sub(r"[0: ]", "", text):  # absent, blank or zeroed: not set
            continue
        zone_text = _text(ifd.get(tags[1]))
        offset = _offset(zone_text)
        if offset is None and re.sub(r"[: ]", "", zone_text):
            told(f"the zone of the time in its EXIF data, {zone_text}, makes no sense; not used")
        if wall is not None:
            moment = _moment(wall, offset, by_gps, zone, told)
            if _likely(moment, latest) and not _is_default(wall):
                return moment
        if by_gps is None:
            told(f"the time in its EXIF data, {text}, makes no sense")
        break
    return by_gps


def place_of(exif: Image.Exif, told: Told) -> Location | None:
    """Return where a photo was taken; None where there was no fix, or no valid place is noted."""
    gps = _block(exif, GPS_IFD)
    if _LAT not in gps or _LON not in gps or _text(gps.get(_STATUS)).upper() == "V":
        return None
    lat, lon = _degrees(gps[_LAT], 90), _degrees(gps[_LON], 180)
    north, east = _letter(gps, _LAT_REF, "NS"), _letter(gps, _LON_REF, "EW")
    if lat == lon == 0 or any(_undefined(gps[tag]) for tag in (_LAT, _LON)):
        return None
    if lat is None or lon is None or not north or not east:
        told("the place in its EXIF data makes no sense, or lacks its hemispheres; not used")
        return None
    return Location(
        lat=-lat if north == "S" else lat,
        lon=-lon if east == "W" else lon,
        alt=_height(gps),
        accuracy_metres=_error(gps),
        source="exif",
    )


def _block(exif: Image.Exif, tag: int) -> Mapping[int, Any]:
    """A block of EXIF data; empty where it is damaged."""
    try:
        return exif.get_ifd(tag)
    except Exception:  # Pillow raises whatever it stumbles over
        return {}


def _text(value: object) -> str:
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace")
    return str(value).strip("\0 ") if isinstance(value, str) else ""


def _wall(ifd: Mapping[int, Any], tags: tuple[int, int, int]) -> datetime | None:
    """The time on the camera's clock, without a zone."""
    try:
        wall = datetime.strptime(_text(ifd.get(tags[0])), "%Y:%m:%d %H:%M:%S")
    except ValueError:
        return None
    if not MINYEAR < wall.year < MAXYEAR:  # in another zone it may be in a year that there is not
        return None
    fraction = _text(ifd.get(tags[2]))
    seconds = float(f"0.{fraction}") if fraction.isascii() and fraction.isdigit() else 0.0
    return wall + timedelta(seconds=seconds)


def _offset(text: str) -> timezone | None:
    found = _OFFSET.fullmatch(text)
    if text == "Z" or found is None:
        return UTC if text == "Z" else None
    offset = timedelta(hours=int(found[2]), minutes=int(found[3]))
    if int(found[3]) > 59 or offset > _WIDEST:
        return None
    return timezone(-offset if found[1] == "-" else offset)


def _moment(
    wall: datetime,
    offset: tzinfo | None,
    by_gps: datetime | None,
    zone: tzinfo | None,
    told: Told,
) -> datetime:
    """The moment, UTC, that a camera's clock showed."""
    if offset is None and by_gps is not None:
        ahead = wall.replace(tzinfo=UTC) - by_gps
        whole = _QUARTER * round(ahead / _QUARTER)
        if abs(whole) <= _WIDEST:
            # Beyond that the clock is wrong, or the fix was an earlier one: the fix at least was.
            return by_gps if abs(ahead - whole) > _NEAR else wall.replace(tzinfo=UTC) - whole
    if offset is None and zone is None:
        told("the time in its EXIF data has no zone, taken as UTC; set trigger.time_zone")
    local = wall.replace(tzinfo=offset or zone or UTC)
    if local.utcoffset() != local.replace(fold=1).utcoffset():
        told(
            "clocks were changed at the time in its EXIF data, so that it occurred twice or never; "
            "taken as before the change"
        )
    return local.astimezone(UTC)


def _likely(moment: datetime, latest: datetime) -> bool:
    return moment.year >= _FIRST_YEAR and moment <= latest


def _is_default(wall: datetime) -> bool:
    """Whether a clock shows the first second of a year, as one that was never set."""
    return (wall.month, wall.day, wall.hour, wall.minute, wall.second) == (1, 1, 0, 0, 0)


def _gps_time(gps: Mapping[int, Any]) -> datetime | None:
    """The time of the fix, UTC; None without a fix."""
    if _text(gps.get(_STATUS)).upper() == "V":
        return None
    try:
        day = datetime.strptime(_text(gps.get(_GPS_DATE)), "%Y:%m:%d").replace(tzinfo=UTC)
        hours, minutes, seconds = (float(part) for part in gps[_GPS_TIME])
        if not (0 <= hours < 24 and 0 <= minutes < 60 and 0 <= seconds < 61):
            return None
        return day + timedelta(hours=hours, minutes=minutes, seconds=seconds)
    except (KeyError, ValueError, TypeError, ZeroDivisionError, OverflowError):
        return None


def _degrees(parts: Any, most: float) -> float | None:  # noqa: ANN401 - whatever the file holds
    """Degrees, minutes and seconds in degrees; None where they are none."""
    try:
        values = [float(part) for part in parts]
        degrees, minutes, seconds = (*values, 0.0, 0.0)[:3]
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    if not values or len(values) > 3 or not (0 <= minutes <= 60 and 0 <= seconds <= 60):
        return None
    total = degrees + minutes / 60 + seconds / 3600
    return total if degrees >= 0 and total <= most else None


def _undefined(parts: Any) -> bool:  # noqa: ANN401
    """Whether a receiver wrote 0/0, which stands for "not known"."""

    def undefined(part: Any) -> bool:  # noqa: ANN401
        return getattr(part, "denominator", 1) == 0 or (isinstance(part, float) and part != part)

    return isinstance(parts, tuple) and any(map(undefined, parts))


def _letter(gps: Mapping[int, Any], tag: int, known: str) -> str:
    letter = _text(gps.get(tag)).upper()[:1]
    return letter if letter and letter in known else ""


def _height(gps: Mapping[int, Any]) -> float | None:
    reference = gps.get(_ALT_REF, 0)
    if isinstance(reference, bytes):  # some writers and readers keep a BYTE so
        reference = reference[0] if reference else 0
    sign = _HEIGHT_SIGNS.get(reference) if isinstance(reference, int) else None
    value = _number(gps.get(_ALT))
    if sign is None or value is None or not _HEIGHTS[0] <= sign * value <= _HEIGHTS[1]:
        return None
    return sign * value


def _error(gps: Mapping[int, Any]) -> float | None:
    value = _number(gps.get(_ERROR))
    return value if value is not None and 0 < value <= _WORST_ERROR else None


def _number(value: Any) -> float | None:  # noqa: ANN401
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return number if math.isfinite(number) else None
