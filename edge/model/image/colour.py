"""Pictures of any mode and colour space as sRGB, 8 bits: what every model is shown.

Embedded profiles are converted (:mod:`edge.model.image.icc_profiles`), Adobe RGB also where only
EXIF names it; transparency lies over white; more than 8 bits are scaled by their range
(:mod:`edge.model.image.bit_depth`). A picture without a profile counts as sRGB.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image

from edge.model.image.bit_depth import Told, to_eight_bits

if TYPE_CHECKING:
    from edge.model.image.icc_profiles import Conversion

# Exif 2.32: the Exif and Interoperability IFDs, ColorSpace, InteroperabilityIndex (of DCF).
_EXIF_IFD, _INTEROP_IFD, _COLOUR_SPACE, _INTEROP_INDEX = 0x8769, 0xA005, 0xA001, 1
#: How EXIF may name Adobe RGB: an index R03, or 2 as its colour space, in either byte order.
_ADOBE_MARKS = (
    b"R03\0",
    b"\xa0\x01\0\x03\0\0\0\x01\0\x02",
    b"\x01\xa0\x03\0\x01\0\0\0\x02\0",
)
_WHITE = (255, 255, 255)
_GAMMA = 0.45455
"""What PNGs give for sRGB (PNG specification, 12.1)."""


def to_srgb(image: Image.Image, told: Told) -> Image.Image:
    """Convert a loaded picture to sRGB, mode RGB; itself where it is that already.

    `told` hears of a profile that cannot be used; its picture counts as sRGB.

    Raises:
        ImageError: the pixels have no defined range of brightness.
    """
    convert = None
    if _may_differ(image):
        convert = _conversion(image, told)
    elif image.format == "PNG":
        _note_gamma(image, told)
    if image.mode == "RGB" and "transparency" not in image.info:
        return image if convert is None else convert(image)
    if image.mode.startswith(("I", "F")):
        return _plain(to_eight_bits(image, told), convert)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGB", image.size, _WHITE)
        white.paste(_plain(rgba.convert("RGB"), convert), mask=rgba.getchannel("A"))
        return white
    return _plain(image, convert)


def _note_gamma(image: Image.Image, told: Told) -> None:
    """Report a PNG whose chunk gAMA alone says that it is brighter or darker than sRGB."""
    gamma = image.info.get("gamma")
    if isinstance(gamma, float) and "srgb" not in image.info and abs(gamma / _GAMMA - 1) > 0.1:
        told(
            f"it says that its levels have a gamma of {gamma:g} (sRGB: {_GAMMA}); they are taken "
            "as sRGB"
        )


def _plain(image: Image.Image, convert: Conversion | None) -> Image.Image:
    """Convert a picture without transparency."""
    if convert is None:
        return image.convert("RGB")
    return convert(image if image.mode == convert.mode else image.convert(convert.mode))


def _may_differ(image: Image.Image) -> bool:
    """Whether anything says that the colours are not those of sRGB; quick to find out."""
    if image.info.get("icc_profile"):
        return True
    exif = image.info.get("exif")
    return isinstance(exif, bytes) and any(mark in exif for mark in _ADOBE_MARKS)


def _conversion(image: Image.Image, told: Told) -> Conversion | None:
    from edge.model.image.icc_profiles import adobe_rgb, conversion

    profile = image.info.get("icc_profile")
    if not profile:
        profile = adobe_rgb() if _is_adobe_rgb(image) else None
    if not isinstance(profile, bytes) or image.mode == "LAB":  # which says all by itself
        return None
    found = conversion(profile)
    if isinstance(found, str):
        told(f"its colour profile cannot be used ({found}); its colours are taken as sRGB")
        return None
    if not found.needed:
        return None
    colour = "CMYK" if image.mode == "CMYK" else "L" if _is_grey(image) else "RGB"
    if found.mode != colour and (found.mode, colour) != ("RGB", "L"):
        told(
            f"its colour profile is for pictures of mode {found.mode}, and it is one of {colour}; "
            "its colours are taken as sRGB"
        )
        return None
    return found


def _is_grey(image: Image.Image) -> bool:
    return image.mode in ("1", "L", "LA", "La", "F") or image.mode.startswith("I")


def _is_adobe_rgb(image: Image.Image) -> bool:
    try:
        exif = image.getexif()
        space = exif.get_ifd(_EXIF_IFD).get(_COLOUR_SPACE)
        index = str(exif.get_ifd(_INTEROP_IFD).get(_INTEROP_INDEX, "")).strip("\0 ")
    except Exception:  # as in edge.model.image.orientation: a picture is not refused for its notes
        return False
    return space == 2 or (index == "R03" and space != 1)
