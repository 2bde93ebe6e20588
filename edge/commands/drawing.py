"""Pictures for people: what is looked at, what is painted over, what was found where."""

from __future__ import annotations

import colorsys
import os
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from edge.errors import ConfigError, os_errors_as
from edge.model.tiles import Size, scaled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge.messages.sighting import Finding
    from edge.model.classifier import Tile
    from edge.model.image.preprocessing import Pixels

_SIDE = 1600
"""Pixels of the longer side at most."""
_TILE = (255, 255, 255)
_MARK, _HEAD = b"drawn by wheatear classify", 4096
"""By which drawings are known: a comment within the first bytes of the JPEG."""


def colour_of(label: str | None) -> tuple[int, int, int]:
    """The colour in which a class is drawn, always the same; grey for *unknown*."""
    if label is None:
        return (150, 150, 150)
    hue = zlib.crc32(label.encode()) % 360 / 360
    red, green, blue = colorsys.hsv_to_rgb(hue, 1.0, 0.85)
    return round(red * 255), round(green * 255), round(blue * 255)


def draw(
    pixels: Pixels,
    size: Size,
    masked: NDArray[np.bool_] | None,
    tiles: Iterable[Tile],
    findings: Sequence[Finding],
) -> Image.Image:
    """Draw tiles thin, regions thick with class and confidence, masked areas dark.

    `pixels` is uint8 (H, W, 3) of a picture that had `size` when taken, `masked` bool (H, W).
    """
    if masked is not None:
        pixels = np.where(masked[:, :, None], pixels // 4, pixels)
    picture = Image.fromarray(pixels)
    picture.thumbnail((_SIDE, _SIDE))
    pen = ImageDraw.Draw(picture)
    width = max(1, round(max(picture.size) / 400))
    font = ImageFont.load_default(8 * width)
    for tile in tiles:
        pen.rectangle(_inside(scaled(tile.box, size, picture.size)), outline=_TILE)
    for finding in reversed(findings):
        colour = colour_of(finding.label)
        for region in finding.regions:
            box = _inside(scaled(region.box, size, picture.size))
            pen.rectangle(box, outline=colour, width=2 * width)
            text = f"{finding.label or finding.reason} {region.confidence:.2f}"
            room = picture.width - width - pen.textlength(text, font)
            at = (max(0, min(box[0] + 3 * width, int(room))), box[1] + 2 * width)
            pen.rectangle(pen.textbbox(at, text, font), fill=colour)
            pen.text(at, text, fill=(255, 255, 255), font=font)
    return picture


def targets(folder: Path, files: Iterable[str]) -> dict[str, Path]:
    """The path of each picture's drawing: its name, with as much of its path as tells it apart.

    Raises:
        ConfigError: there is a file of that name which no drawing is.
    """
    paths = {file: os.path.abspath(file) for file in files}
    names = _apart(sorted(set(paths.values())))
    for name in names.values():
        _refuse_other(folder / f"{name}.jpg")
    return {file: folder / f"{names[path]}.jpg" for file, path in paths.items()}


def _apart(paths: Sequence[str]) -> dict[str, str]:
    """Name files by their stems, else with suffixes, else by their paths below a common folder."""
    above = os.path.commonpath([os.path.dirname(path) for path in paths])
    names: dict[str, str] = {}
    for name_of in (_stem, os.path.basename, lambda path: os.path.relpath(path, above)):
        proposed = {path: name_of(path) for path in paths if path not in names}
        # Also on disks that take capital and small letters for the same.
        often = Counter(name.casefold() for name in (*names.values(), *proposed.values()))
        names |= {path: name for path, name in proposed.items() if often[name.casefold()] == 1}
    rest = [path for path in paths if path not in names]
    return names | {
        path: f"{os.path.relpath(path, above)}.{number}" for number, path in enumerate(rest, 1)
    }


def _stem(path: str) -> str:
    return Path(path).stem


def _refuse_other(path: Path) -> None:
    """Refuse to write over what is no drawing.

    Raises:
        ConfigError: it is none.
    """
    try:
        with path.open("rb") as file:
            drawn = _MARK in file.read(_HEAD)
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigError(f"--draw: cannot write {path}: {error.strerror}") from error
    if not drawn:
        raise ConfigError(
            f"--draw: {path} exists and is not a drawing made by wheatear; name another folder"
        )


def write(picture: Image.Image, path: Path) -> None:
    """Write a picture, whole or not at all.

    Raises:
        ConfigError: it cannot be written there, or another file is.
    """
    _refuse_other(path)
    temporary = path.with_name(path.name + ".new")
    with os_errors_as(ConfigError, f"--draw: cannot write {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(temporary, "JPEG", quality=85, comment=_MARK)
        os.replace(temporary, path)


def _inside(box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """The corners that a pen draws: the last pixels inside."""
    return box[0], box[1], box[2] - 1, box[3] - 1
