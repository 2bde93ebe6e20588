"""Pictures for people: what is looked at, what is painted over, what was found where."""

from __future__ import annotations

import colorsys
import os
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from edge.errors import ConfigError
from edge.tiles import scaled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge.image import Pixels
    from edge.tiled import Parts

_SIDE = 1600
"""Pixels of the longer side at most."""
_TILE = (255, 255, 255)


def colour_of(label: str | None) -> tuple[int, int, int]:
    """Give the colour in which a class is drawn, always the same; grey for *unknown*."""
    if label is None:
        return (150, 150, 150)
    hue = zlib.crc32(label.encode()) % 360 / 360
    red, green, blue = colorsys.hsv_to_rgb(hue, 1.0, 0.85)
    return round(red * 255), round(green * 255), round(blue * 255)


def draw(pixels: Pixels, parts: Parts, masked: NDArray[np.bool_] | None) -> Image.Image:
    """Draw tiles thin, regions thick with class and confidence, masked areas dark.

    `pixels` is uint8 (H, W, 3), `masked` bool (H, W).
    """
    if masked is not None:
        pixels = np.where(masked[:, :, None], pixels // 4, pixels)
    picture = Image.fromarray(pixels)
    picture.thumbnail((_SIDE, _SIDE))
    pen = ImageDraw.Draw(picture)
    width = max(1, round(max(picture.size) / 400))
    font = ImageFont.load_default(8 * width)
    for tile in parts.tiles:
        pen.rectangle(_inside(scaled(tile.box, parts.size, picture.size)), outline=_TILE)
    for finding in reversed(parts.findings):
        colour = colour_of(finding.label)
        for region in finding.regions:
            box = _inside(scaled(region.box, parts.size, picture.size))
            pen.rectangle(box, outline=colour, width=2 * width)
            text = f"{finding.label or finding.reason} {region.confidence:.2f}"
            room = picture.width - width - pen.textlength(text, font)
            at = (max(0, min(box[0] + 3 * width, int(room))), box[1] + 2 * width)
            pen.rectangle(pen.textbbox(at, text, font), fill=colour)
            pen.text(at, text, fill=(255, 255, 255), font=font)
    return picture


def write(picture: Image.Image, folder: Path, name: str) -> Path:
    """Write a picture into a folder, whole or not at all; give its path.

    Raises:
        ConfigError: it cannot be written there.
    """
    path = folder / f"{Path(name).stem}.jpg"
    temporary = path.with_name(path.name + ".new")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        picture.save(temporary, "JPEG", quality=85)
        os.replace(temporary, path)
    except OSError as error:
        raise ConfigError(f"--draw: cannot write {path}: {error.strerror or error}") from error
    return path


def _inside(box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """Give the corners that a pen draws: the last pixels inside."""
    return box[0], box[1], box[2] - 1, box[3] - 1
