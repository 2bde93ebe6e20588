"""What a picture file says of itself, and pictures as JPEG bytes."""

from __future__ import annotations

import io
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from PIL import Image, UnidentifiedImageError

from edge.cameras.exif import place_of, taken_at
from edge.errors import ImageError
from edge.messages.sighting import Location
from edge.model.image.orientation import exif_of, upright_size
from edge.model.image.preprocessing import decode
from edge.model.image.unreadable_formats import unknown_format

if TYPE_CHECKING:
    from edge.model.image.preprocessing import Pixels

MOST_SIDE = 65_535
"""Pixels: a JPEG has no more."""


class Facts(msgspec.Struct, frozen=True):
    """What the header of a picture tells."""

    width: int
    """Pixels, upright."""
    height: int
    time: datetime | None
    """When it was taken, UTC, by the rules of :mod:`edge.cameras.exif`; None: not known."""
    location: Location | None
    odd_time: tuple[str, ...] = ()
    """What is wrong with the time, where anything is."""
    odd_place: tuple[str, ...] = ()
    """What is wrong with the place, where anything is."""


def facts(data: bytes, zone: tzinfo | None = None, now: datetime | None = None) -> Facts:
    """Read size, EXIF time and place without decoding pixels where that can be.

    `zone` is that of times without one (None: UTC). Raises ImageError.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            place, time = list[str](), list[str]()
            exif = exif_of(image, data, place.append)
            width, height = upright_size(image, exif)
            taken = taken_at(exif, zone, time.append, now) if exif else None
            location = place_of(exif, place.append) if exif else None
            return Facts(width, height, taken, location, tuple(time), tuple(place))
    except UnidentifiedImageError as error:
        raise ImageError(unknown_format(data)) from error
    # Pillow raises whatever it stumbles over, as in edge.model.image.preprocessing.decode
    except Exception as error:
        raise ImageError(f"its header cannot be read: {error}") from error


def as_jpeg(data: bytes) -> bytes:
    """Return picture bytes as JPEG, unchanged if they are one already. Raises ImageError."""
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


def shrink_jpeg(data: bytes, max_bytes: int, max_side: int = MOST_SIDE) -> bytes | None:
    """Return a JPEG of at most so many bytes and pixels a side; None where none is that small.

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
