"""How a stored picture is turned upright: one rule for every container.

Pillow finds the tag in EXIF blocks (JPEG, PNG, WebP, AVIF, MPO), in the tags of a TIFF, and in XMP
where neither has it. A TIFF it turns by itself while it loads, and takes the tag away: so the tag
of the *loaded* picture says what is left to do, whatever the format.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PIL import Image

#: EXIF tag 0x0112 (Exif 2.32, 4.6.4 A; the same in TIFF 6.0).
_ORIENTATION = 0x0112
_TIFF_WIDTH, _TIFF_HEIGHT = 256, 257
_PNG_NOTES = (b"eXIf", b"Raw profile type exif", b"XML:com.adobe.xmp")
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def turn_of(image: Image.Image) -> Image.Transpose | None:
    """The turn that makes the pixels upright; None where they are, or nothing says so."""
    return _UPRIGHT.get(_orientation(image))


def is_sideways(image: Image.Image, exif: Image.Exif | None = None) -> bool:
    """Whether the upright width is the stored height; for pictures not loaded yet."""
    return _orientation(image, exif) in (5, 6, 7, 8)


def upright_size(image: Image.Image, exif: Image.Exif | None = None) -> tuple[int, int]:
    """(width, height) in pixels of the upright picture; for pictures not loaded yet.

    `exif` is what :func:`exif_of` gave, where it is known.
    """
    width, height = image.size
    tags: Any = getattr(image, "tag_v2", None)
    if tags is not None:  # the size of an opened TIFF may be the upright one already
        width, height = int(tags[_TIFF_WIDTH]), int(tags[_TIFF_HEIGHT])
    return (height, width) if is_sideways(image, exif) else (width, height)


def exif_of(
    image: Image.Image, data: bytes, told: Callable[[str], None] | None = None
) -> Image.Exif:
    """Return the EXIF data of an opened picture, without decoding its pixels where possible.

    A PNG may hold them behind its pixels, and Pillow decodes to find out; `data`, the bytes of the
    file, spares that where they hold no such chunk. Data that cannot be read count as none, which
    `told` hears.
    """
    behind = image.format == "PNG" and "exif" not in image.info
    try:
        if behind and not any(mark in data for mark in _PNG_NOTES):
            return Image.Image.getexif(image)
        return image.getexif()
    except Exception as error:  # Pillow raises anything; a picture is not refused for its notes
        if told is not None:
            told(f"its EXIF data cannot be read ({error})")
        return Image.Exif()


def _orientation(image: Image.Image, exif: Image.Exif | None = None) -> int:
    """The orientation 1..8; 1 where there is none or the notes cannot be read."""
    try:
        value: Any = (image.getexif() if exif is None else exif).get(_ORIENTATION, 1)
        # It is one SHORT; writers are about that store a BYTE, or the number more than once.
        return int(value[0] if isinstance(value, (bytes, tuple)) else value)
    except Exception:  # as above
        return 1
