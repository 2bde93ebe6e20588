"""What a picture file says of itself, and pictures as JPEG bytes."""

from __future__ import annotations

import io
import math
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from PIL import Image, UnidentifiedImageError

from edge.errors import ImageError
from edge.formats import unknown_format
from edge.image import decode
from edge.messages import Location
from edge.orientation import exif_of, upright_size

if TYPE_CHECKING:
    from edge.image import Pixels

# Exif 2.32, tables 8 and 15.
_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825
_TAKEN, _TAKEN_OFFSET, _TAKEN_FRACTION = 0x9003, 0x9011, 0x9291
_LAT_REF, _LAT, _LON_REF, _LON, _ALT_REF, _ALT, _ERROR = 1, 2, 3, 4, 5, 6, 31
_BELOW = (1, 3)
"""GPSAltitudeRef of a negative height; 3 by Exif 3.0 for the sea, where 1 is for the ellipsoid."""


class Facts(msgspec.Struct, frozen=True):
    """What the header of a picture tells."""

    width: int
    """Pixels, upright."""
    height: int
    time: datetime | None
    """When it was taken, UTC; a time without a zone counts as UTC."""
    location: Location | None


def facts(data: bytes) -> Facts:
    """Read size, EXIF time and place without decoding pixels. Raises ImageError."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            exif = exif_of(image, data)
            width, height = upright_size(image, exif)
            return Facts(width, height, _time(exif), _location(exif))
    except UnidentifiedImageError as error:
        raise ImageError(unknown_format(data)) from error
    except Exception as error:  # Pillow raises whatever it stumbles over, as in edge.image.decode
        raise ImageError(f"its header cannot be read: {error}") from error


def _time(exif: Image.Exif) -> datetime | None:
    ifd = exif.get_ifd(_EXIF_IFD)
    try:
        taken = datetime.strptime(str(ifd[_TAKEN]).strip("\0 "), "%Y:%m:%d %H:%M:%S")
    except (KeyError, ValueError):
        return None
    zone: timezone = UTC
    offset = str(ifd.get(_TAKEN_OFFSET, "")).strip("\0 ")
    if len(offset) == 6 and offset[0] in "+-":
        try:
            minutes = int(offset[1:3]) * 60 + int(offset[4:6])
            zone = timezone(timedelta(minutes=-minutes if offset[0] == "-" else minutes))
        except ValueError:
            zone = UTC
    fraction = str(ifd.get(_TAKEN_FRACTION, "")).strip("\0 ")
    seconds = float(f"0.{fraction}") if fraction.isdigit() else 0.0
    return (taken.replace(tzinfo=zone) + timedelta(seconds=seconds)).astimezone(UTC)


def _location(exif: Image.Exif) -> Location | None:
    gps = exif.get_ifd(_GPS_IFD)
    try:
        lat, lon = _degrees(gps[_LAT]), _degrees(gps[_LON])
        lat = -lat if str(gps.get(_LAT_REF, "N")).startswith("S") else lat
        lon = -lon if str(gps.get(_LON_REF, "E")).startswith("W") else lon
        alt, accuracy = _metres(gps, _ALT), _metres(gps, _ERROR)
        if alt is not None and _byte(gps.get(_ALT_REF)) in _BELOW:
            alt = -alt
    except (KeyError, ValueError, TypeError, ZeroDivisionError, IndexError):
        return None
    if not (abs(lat) <= 90 and abs(lon) <= 180):
        return None
    return Location(lat=lat, lon=lon, alt=alt, accuracy_metres=accuracy, source="exif")


def _metres(gps: dict[int, Any], tag: int) -> float | None:
    """Give a length; None where it is not there, or as undefined as 0/0."""
    value = float(gps[tag]) if tag in gps else math.nan
    return value if math.isfinite(value) else None


def _byte(value: object) -> int | None:
    """Give the value of a BYTE, which some writers and readers keep as bytes."""
    if isinstance(value, bytes):
        return value[0] if value else None
    return value if isinstance(value, int) else None


def _degrees(parts: tuple[float, float, float]) -> float:
    return float(parts[0]) + float(parts[1]) / 60 + float(parts[2]) / 3600


def as_jpeg(data: bytes) -> bytes:
    """Give picture bytes as JPEG: themselves where they are one. Raises ImageError."""
    if data[:3] == b"\xff\xd8\xff":
        return data
    return encode_jpeg(decode(data))


def encode_jpeg(pixels: Pixels, quality: int = 90) -> bytes:
    """Encode uint8 (H, W, 3) RGB as JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def crop_jpeg(data: bytes, box: tuple[int, int, int, int], rim: float = 0.25) -> bytes:
    """Cut a part out of a JPEG: left, top, right, bottom in pixels, upright, and a rim around it.

    `rim` is a share of the part's sides; at the picture's edges there is less. Raises ImageError.
    """
    pixels = decode(data)
    height, width = pixels.shape[:2]
    left, top, right, bottom = box
    across, down = round((right - left) * rim), round((bottom - top) * rim)
    return encode_jpeg(
        pixels[
            max(0, top - down) : min(height, bottom + down),
            max(0, left - across) : min(width, right + across),
        ]
    )


def shrink_jpeg(data: bytes, max_bytes: int, max_side: int) -> bytes | None:
    """Give a JPEG of at most so many bytes and pixels a side, or None where none is that small.

    A picture that fits already is passed on as it is, with its EXIF data. Raises ImageError.
    """
    known = facts(data)
    if len(data) <= max_bytes and max(known.width, known.height) <= max_side:
        return data
    longer = max(known.width, known.height)
    side = min(max_side, longer)
    while side >= 64:
        size = (max(1, known.width * side // longer), max(1, known.height * side // longer))
        image = Image.fromarray(decode(data, at_least=size)).resize(
            size, Image.Resampling.LANCZOS, reducing_gap=2.0
        )
        for quality in (85, 70, 55, 40):
            buffer = io.BytesIO()
            image.save(buffer, "JPEG", quality=quality)
            if buffer.tell() <= max_bytes:
                return buffer.getvalue()
        side = side * 2 // 3
    return None
