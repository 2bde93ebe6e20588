"""Files that are photos for whoever took them, and none that can be read here."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from typing import TYPE_CHECKING, Any

from edge.errors import ImageError

if TYPE_CHECKING:
    from PIL import Image

# TIFF 6.0 and TIFF/EP: NewSubfileType (bit 0: a reduced copy), SubIFDs; DNG 1.7: DNGVersion.
_SUBFILE_TYPE, _SUB_IFDS, _DNG_VERSION = 254, 330, 50706
_BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"), "HEIC"),
    **dict.fromkeys((b"mif1", b"msf1", b"heif"), "HEIF"),
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    b"crx ": "raw",
}
"""The major brand of an ISO base media file, at its bytes 8 to 12."""
_KNOWN = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF8": "GIF",
    **dict.fromkeys((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), "TIFF"),
}
"""Formats that can be read, by how their files begin; WebP and AVIF say so further on."""


def unknown_format(source: object) -> str:
    """Describe bytes, or a file, that Pillow does not recognise, with the cure where known."""
    head = _head(source)
    name = _BRANDS.get(head[8:12]) if head[4:8] == b"ftyp" else None
    if head.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL ")):
        name = "JPEG XL"
    known = next((one for start, one in _KNOWN.items() if head.startswith(start)), None)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        known = "WebP"
    if known is not None or (name == "AVIF" and _reads_avif()):
        return (
            f"a picture in the format {known or name} whose header makes no sense: damaged or "
            "truncated, or of a rare kind; copy it again, or save it as JPEG with 8 bits"
        )
    if name is None:
        return "not a picture in a format known here"
    return f"a picture in the format {name}, which cannot be read here; save it as JPEG"


def refuse_raw(image: Image.Image) -> None:
    """Refuse the small preview that stands first in many raw photos, before it is loaded.

    Raises:
        ImageError: it is one.
    """
    tags: Any = getattr(image, "tag_v2", None)
    if tags is None:
        return
    reduced = tags.get(_SUBFILE_TYPE, 0) == 1 and _SUB_IFDS in tags
    if reduced or _DNG_VERSION in tags:
        raise ImageError(
            "a raw photo, of which only the preview could be read here; save it as JPEG"
        )


def _reads_avif() -> bool:
    from PIL import features

    return bool(features.check("avif"))


def note_several(image: Image.Image, told: Callable[[str], None]) -> None:
    """Report that the picture's file holds other pictures too, before it is loaded.

    The further ones of an MPO are views, depths and gains of the first one, and no others.
    """
    if image.format != "MPO" and getattr(image, "is_animated", False):
        told(
            "its file holds several pictures, of which the first is used; save each as its own file"
        )


def _head(source: object) -> bytes:
    if isinstance(source, bytes):
        return source[:16]
    try:
        if isinstance(source, (str, PathLike)):
            with open(source, "rb") as file:
                return file.read(16)
        stream: Any = source
        stream.seek(0)
        return bytes(stream.read(16))
    except (OSError, ValueError):
        return b""
