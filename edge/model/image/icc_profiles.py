"""Embedded colour profiles (ICC.1:2022) and what they come to in sRGB, by Little CMS.

What the model is shown is sRGB, as cameras write it without a profile. A profile that comes to
sRGB within :data:`_AS_SRGB` levels costs a look into a table.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image

_AS_SRGB = 2
"""Levels of 255 by which a profile may differ from sRGB and still count as the same."""
_D50 = (0.9642, 1.0, 0.8249)
_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}

Matrix = tuple[tuple[float, float, float], ...]
#: Columns of red, green and blue in XYZ of D50, and the gamma (Adobe RGB (1998), section 4.3).
_ADOBE_RGB: Matrix = (
    (0.60974, 0.20528, 0.14919),
    (0.31111, 0.62567, 0.06322),
    (0.01947, 0.06087, 0.74457),
)
_ADOBE_GAMMA = 563 / 256


class Conversion:
    """From the colours of a profile to sRGB."""

    def __init__(self, profile: bytes) -> None:
        """Read the profile; raises whatever Little CMS and Pillow raise on a broken one."""
        import io

        from PIL import ImageCms

        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = opened.profile.xcolor_space.strip()
        if space not in _MODES:
            raise ValueError(f"it describes {space} colours, which no picture here has")
        self.mode = _MODES[space]
        """Pillow's mode of the pictures that the profile is for: RGB, L or CMYK."""
        self._transform = ImageCms.buildTransform(
            opened,
            ImageCms.createProfile("sRGB"),
            self.mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
        self.needed = self.mode == "CMYK" or not self._is_srgb()
        """False: the colours are those of sRGB already."""

    def __call__(self, image: Image.Image) -> Image.Image:
        """Return a picture of the mode ``self.mode`` converted to sRGB, mode RGB."""
        converted: Any = self._transform.apply(image)
        return converted  # type: ignore[no-any-return]

    def _is_srgb(self) -> bool:
        steps = np.linspace(0, 255, 256 if self.mode == "L" else 9).round().astype(np.uint8)
        if self.mode == "L":
            colours = steps[None]
        else:
            colours = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(1, -1, 3)
        image = Image.fromarray(np.ascontiguousarray(colours))
        plain = np.asarray(image.convert("RGB")).astype(int)
        return bool(np.abs(np.asarray(self(image)) - plain).max() <= _AS_SRGB)


@lru_cache(maxsize=32)
def conversion(profile: bytes) -> Conversion | str:
    """The conversion of a profile to sRGB, or in words why there is none."""
    try:
        return Conversion(profile)
    except ImportError as error:
        return f"Pillow was built without Little CMS ({error})"
    except Exception as error:  # Pillow's PyCMSError, OSError, struct.error, ...
        return str(error) or type(error).__name__


def adobe_rgb() -> bytes:
    """A profile of Adobe RGB (1998), which cameras name by three letters instead."""
    return matrix_profile("Adobe RGB (1998)", _ADOBE_RGB, _ADOBE_GAMMA)


@lru_cache(maxsize=8)
def matrix_profile(name: str, columns: Matrix, gamma: float) -> bytes:
    """Make an RGB profile (ICC version 2): linear RGB times a matrix is XYZ of D50, and a gamma."""

    def xyz(values: tuple[float, ...]) -> bytes:
        return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(v * 65536) for v in values))

    text = name.encode("ascii") + b"\0"
    described = b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(78)
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))
    red, green, blue = zip(*columns, strict=True)
    tags = {
        b"desc": described,
        b"cprt": b"text\0\0\0\0No copyright, use freely\0",
        b"wtpt": xyz(_D50),
        **{b"rXYZ": xyz(red), b"gXYZ": xyz(green), b"bXYZ": xyz(blue)},
        **{b"rTRC": curve, b"gTRC": curve, b"bTRC": curve},
    }
    table, body, start = b"", b"", 128 + 4 + 12 * len(tags)
    for tag, value in tags.items():
        table += tag + struct.pack(">II", start + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    header = struct.pack(
        ">I4xI4s4s4s12x4s28x3i48x",
        start + len(body),
        0x02400000,
        *(b"mntr", b"RGB ", b"XYZ ", b"acsp"),
        *(round(v * 65536) for v in _D50),
    )
    return header + struct.pack(">I", len(tags)) + table + body
