"""The picture sheet: every shown photo with what the camera said and what it was."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

COLUMNS, ROWS = 6, 4
TILE = (240, 180)
CAPTION, GAP, MARGIN = 40, 10, 20
RIGHT, WRONG, PAPER, INK = (30, 120, 60), (180, 40, 30), (250, 249, 245), (40, 40, 40)


def draw_sheet(truth: dict[Path, str], sightings: Iterable[dict[str, Any]], out: Path) -> Path:
    """Draw an evenly spaced choice of the photos with prediction, truth and confidence.

    Args:
        truth: photo -> true class.
        sightings: as they came over MQTT; ``frame.source`` names the photo.
        out: JPEG file to write.
    """
    by_name = {Path(sighting["frame"]["source"]).name: sighting for sighting in sightings}
    photos = sorted(path for path in truth if path.name in by_name)
    count = min(COLUMNS * ROWS, len(photos))
    chosen = [photos[index * len(photos) // count] for index in range(count)]
    rows = -(-count // COLUMNS)
    step = TILE[0] + GAP, TILE[1] + CAPTION + GAP
    sheet = Image.new(
        "RGB", (2 * MARGIN + COLUMNS * step[0] - GAP, 2 * MARGIN + rows * step[1]), PAPER
    )
    draw = ImageDraw.Draw(sheet)
    for index, path in enumerate(chosen):
        x, y = MARGIN + index % COLUMNS * step[0], MARGIN + index // COLUMNS * step[1]
        with Image.open(path) as photo:
            sheet.paste(photo.convert("RGB").resize(TILE), (x, y))
        _caption(draw, (x, y + TILE[1] + 4), by_name[path.name], truth[path])
    sheet.save(out, quality=88)
    return out


def _caption(
    draw: ImageDraw.ImageDraw, at: tuple[int, int], sighting: dict[str, Any], truth: str
) -> None:
    said = sighting["label"] or "unknown"
    colour = RIGHT if said == truth else WRONG
    draw.rectangle((at[0], at[1], at[0] + 4, at[1] + CAPTION - 8), fill=colour)
    first = f"{said}  {sighting['confidence']:.2f}"
    second = "right" if said == truth else f"is {truth}"
    draw.text((at[0] + 10, at[1] - 1), first, INK, ImageFont.load_default(16))
    draw.text((at[0] + 10, at[1] + 17), second, colour, ImageFont.load_default(13))
