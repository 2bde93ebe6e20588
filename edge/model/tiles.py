"""Which parts of a picture are looked at: regions, tiles, masks; and how they join again. Pure.

Boxes are (left, top, right, bottom) in pixels, right and bottom outside. They are pixels of the
picture as it was taken, however much smaller it was decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import ceil, floor
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from edge.errors import ImageError
from edge.model.image.preprocessing import decode, fewest_pixels, load

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge.config import View
    from edge.model.image.bit_depth import Told
    from edge.model.image.preprocessing import InputSpec, Pixels, Source

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels."""
Size = tuple[int, int]
"""Width, height in pixels."""

MAX_TILES = 1024
"""More tiles of one picture are a mistake."""
_SHAPE_TOLERANCE = 0.02
"""A mask's width : height may differ so much from the picture's (rounding of small masks)."""


def in_parts(view: View) -> bool:
    """Whether the model sees anything but the whole picture as it is."""
    return bool(view.regions or view.tiles or view.mask_polygons or view.mask)


def layout(view: View, size: Size) -> tuple[Box, ...]:
    """The boxes in which a picture of `size` is looked at, region by region, row by row.

    Raises:
        ImageError: there are more than :data:`MAX_TILES`.
    """
    width, height = size
    boxes: list[Box] = []
    for left, top, right, bottom in view.regions or ((0.0, 0.0, 1.0, 1.0),):
        across = _split(floor(left * width), ceil(right * width), view, 0)
        down = _split(floor(top * height), ceil(bottom * height), view, 1)
        if len(boxes) + len(across) * len(down) > MAX_TILES:
            raise ImageError(
                f"view.tiles cuts a picture of {width} x {height} pixels into more than "
                f"{MAX_TILES} tiles; make them larger, or overlap less"
            )
        boxes += [(x0, y0, x1, y1) for y0, y1 in down for x0, x1 in across]
    return tuple(boxes)


def _split(start: int, stop: int, view: View, axis: int) -> list[tuple[int, int]]:
    """Cut one axis of a region into tiles: (first pixel, last pixel + 1) of each."""
    length, tiles, step = stop - start, view.tiles, 1.0 - view.overlap
    if tiles is None:
        return [(start, stop)]
    if isinstance(tiles, int):
        if tiles >= length:
            return [(start, stop)]
        stride = max(1, round(tiles * step))
        if tiles % 8 == 0 and stride >= 8:
            stride -= stride % 8  # whole pixels also of a JPEG decoded at an eighth
        firsts = [*range(0, length - tiles, stride), length - tiles]  # the last one ends with it
        return [(start + first, start + first + tiles) for first in firsts]
    count = tiles[axis]
    exact = length / (1 + (count - 1) * step)
    side = min(length, ceil(exact - 1e-6))
    firsts = [min(start + round(i * exact * step), stop - side) for i in range(count)]
    return [(first, first + side) for first in firsts]


def needed(view: View, spec: InputSpec, size: Size) -> Size:
    """The fewest pixels (width, height) to decode a picture of `size` at.

    Every tile then has at least the pixels that the model's input takes from it.

    Raises:
        ImageError: as for :func:`layout`.
    """
    choose = min if spec.crop == "pad" else max
    factor = max(
        choose(spec.width / (right - left), spec.height / (bottom - top))
        for left, top, right, bottom in layout(view, size)
    )
    factor = min(1.0, factor)
    return ceil(size[0] * factor), ceil(size[1] * factor)


def see(
    source: Source,
    spec: InputSpec,
    view: View | None = None,
    told: Told | None = None,
    sized: Callable[[Size], object] = lambda _: None,
) -> Pixels:
    """Decode a picture for the model exactly as training and evaluation do; where it is looked at
    in parts, with pixels enough for each, and `sized` is called with the size that it was taken in.
    `told` is as for :func:`~edge.model.image.preprocessing.decode`. Raises ImageError.
    """
    parts = view if view is not None and in_parts(view) else None
    if parts is None and spec.colour == "rgb":
        return load(source, spec, told)

    def least(size: Size) -> Size:
        sized(size)
        return fewest_pixels(size, spec) if parts is None else needed(parts, spec, size)

    return decode(source, least, told)


def scaled(box: Box, size: Size, pixels: Size) -> Box:
    """`box` of a picture of `size` in a reduction of it, never smaller than its share."""
    x, y = pixels[0] / size[0], pixels[1] / size[1]
    left, top, right, bottom = box
    return (
        floor(left * x),
        floor(top * y),
        min(pixels[0], ceil(right * x)),
        min(pixels[1], ceil(bottom * y)),
    )


def mask_of(view: View, drawn: Image.Image | None, pixels: Size) -> NDArray[np.bool_] | None:
    """The pixels that are not looked at, bool (height, width), or None where all are.

    `drawn` is the picture of ``view.mask``: black (below 128) is left out.

    Raises:
        ImageError: the drawn mask has another shape than the picture.
    """
    if drawn is None and not view.mask_polygons:
        return None
    from PIL import ImageDraw  # a picture that is looked at as a whole needs none

    width, height = pixels
    raster = Image.new("L", pixels, 255)
    if drawn is not None:
        if abs(drawn.width * height / (drawn.height * width) - 1) > _SHAPE_TOLERANCE:
            raise ImageError(
                f"view.mask has {drawn.width} x {drawn.height} pixels and the picture another "
                f"shape ({width} x {height}); draw the mask over a picture of this camera"
            )
        raster = drawn.convert("L").resize(pixels, Image.Resampling.NEAREST)
    pen = ImageDraw.Draw(raster)
    for polygon in view.mask_polygons:
        pen.polygon([(x * (width - 1), y * (height - 1)) for x, y in polygon], fill=0)
    out: NDArray[np.bool_] = np.asarray(raster) < 128
    return out


def touch(one: Box, other: Box) -> bool:
    """Whether two boxes overlap or share an edge or a corner."""
    return one[0] <= other[2] and other[0] <= one[2] and one[1] <= other[3] and other[1] <= one[3]


def overlap(one: Box, other: Box) -> bool:
    """Whether two boxes have an area in common."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def join(boxes: Sequence[Box]) -> list[list[int]]:
    """Group boxes that touch, also through others, and groups that would lie over one another.

    Gives the indices of each group, in order; the boxes around the groups do not overlap.
    """
    groups = _merge([[i] for i in range(len(boxes))], boxes, touch)
    while True:
        merged = _merge(groups, boxes, overlap)
        if len(merged) == len(groups):
            return sorted(groups)
        groups = merged


def _merge(
    groups: list[list[int]], boxes: Sequence[Box], near: Callable[[Box, Box], bool]
) -> list[list[int]]:
    """Merge groups the boxes around which are near to each other as they are now."""
    edges = [around(boxes[i] for i in group) for group in groups]
    merged: list[list[int]] = []  # of positions in groups
    for i, edge in enumerate(edges):
        close = [some for some in merged if any(near(edge, edges[j]) for j in some)]
        merged = [some for some in merged if some not in close]
        merged.append(sorted([i, *(j for some in close for j in some)]))
    return [sorted(i for j in some for i in groups[j]) for some in merged]


def around(boxes: Iterable[Box]) -> Box:
    """The smallest box around all `boxes`."""
    left, top, right, bottom = zip(*boxes, strict=True)
    return min(left), min(top), max(right), max(bottom)
