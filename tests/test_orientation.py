"""Every container's picture is turned upright once, by replay, training and the model alike."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from edge.cameras.photo import facts
from edge.model.image.preprocessing import decode

TAG = 0x0112
CORNER = dict(zip(range(1, 9), ("TL", "TR", "BR", "BL") * 2, strict=True))
"""Where the stored top left corner is, upright (Exif 2.32, 4.6.4 A)."""


def stored() -> Image.Image:
    """A blue picture of 120 x 80, red in its top left quarter."""
    pixels = np.zeros((80, 120, 3), np.uint8)
    pixels[:] = (0, 0, 255)
    pixels[:40, :60] = (255, 0, 0)
    return Image.fromarray(pixels)


def encode(form: str, **options: object) -> bytes:
    """The file of that picture."""
    file = io.BytesIO()
    stored().save(file, form, **options)
    return file.getvalue()


def exif(orientation: int) -> Image.Exif:
    """EXIF data that hold nothing else."""
    notes = Image.Exif()
    notes[TAG] = orientation
    return notes


def xmp(orientation: int) -> bytes:
    """An XMP packet that holds nothing else."""
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description '
        f'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="{orientation}"/>'
        "</rdf:RDF></x:xmpmeta>"
    ).encode()


def late_png(orientation: int) -> bytes:
    """A PNG whose EXIF data lie behind its pixels."""
    png = encode("PNG")
    chunk = b"eXIf" + exif(orientation).tobytes().removeprefix(b"Exif\0\0")
    whole = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return png[:-12] + whole + png[-12:]


def png_with_xmp(orientation: int) -> bytes:
    """A PNG with XMP and no EXIF data."""
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", xmp(orientation).decode())
    return encode("PNG", pnginfo=text)


def tiff(**options: object):
    """A function that makes a TIFF."""
    return lambda o: encode("TIFF", tiffinfo={TAG: o}, **options)


CONTAINERS = {
    "JPEG": lambda o: encode("JPEG", exif=exif(o)),
    "MPO": lambda o: encode("MPO", exif=exif(o), save_all=True, append_images=[stored()]),
    "PNG": lambda o: encode("PNG", exif=exif(o)),
    "PNG, EXIF behind": late_png,
    "WebP": lambda o: encode("WEBP", exif=exif(o), lossless=True),
    "AVIF": lambda o: encode("AVIF", exif=exif(o)),
    "TIFF": tiff(),
    "BigTIFF": tiff(big_tiff=True),
    "TIFF, LZW": tiff(compression="tiff_lzw"),
    "TIFF, JPEG": tiff(compression="jpeg"),
    "TIFF of two pages": tiff(save_all=True, append_images=[stored()]),
    "JPEG, XMP": lambda o: encode("JPEG", xmp=xmp(o)),
    "PNG, XMP": png_with_xmp,
    "WebP, XMP": lambda o: encode("WEBP", xmp=xmp(o), lossless=True),
    "TIFF, XMP": lambda o: encode("TIFF", tiffinfo={700: xmp(o)}),
    "JPEG, EXIF before XMP": lambda o: encode("JPEG", exif=exif(o), xmp=xmp(o % 8 + 1)),
}


def corner(pixels: np.ndarray) -> str:
    """Where the red quarter is."""
    height, width = pixels.shape[:2]
    spots = {
        "TL": (height // 4, width // 4),
        "TR": (height // 4, 3 * width // 4),
        "BL": (3 * height // 4, width // 4),
        "BR": (3 * height // 4, 3 * width // 4),
    }
    (red,) = (name for name, spot in spots.items() if pixels[spot][0] > 128)
    return red


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_picture_is_turned_once(container, orientation):
    """The red corner is where the tag says, at full and at reduced scale, in the size told."""
    data = CONTAINERS[container](orientation)
    upright = (80, 120) if orientation >= 5 else (120, 80)
    pixels = decode(data)
    assert (pixels.shape[1], pixels.shape[0]) == upright
    assert corner(pixels) == CORNER[orientation]
    assert corner(decode(data, at_least=(8, 8))) == CORNER[orientation]
    known = facts(data)
    assert (known.width, known.height) == upright


@pytest.mark.parametrize("value", [0, 9, 65535])
@pytest.mark.parametrize("container", ["JPEG", "PNG", "WebP", "TIFF"])
def test_an_orientation_that_there_is_none_of_leaves_the_picture(container, value):
    """Values beyond 1..8 mean nothing."""
    data = CONTAINERS[container](value)
    assert corner(decode(data)) == "TL"
    assert (facts(data).width, facts(data).height) == (120, 80)


@pytest.mark.parametrize(
    ("form", "count", "value"), [(1, 1, b"\6"), (3, 2, b"\6\0\6"), (4, 1, b"\6")]
)
@pytest.mark.filterwarnings("ignore:Metadata Warning")
def test_an_orientation_is_read_in_whatever_form_it_is_stored(form, count, value):
    """Some writers store a byte, a long or two numbers in place of one short."""
    entry = struct.pack("<HHI4s", 0x112, form, count, value)
    notes = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry + bytes(4)
    data = encode("JPEG", quality=95, exif=notes)
    assert corner(decode(data)) == CORNER[6]
    assert (facts(data).width, facts(data).height) == (80, 120)
