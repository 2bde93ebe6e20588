"""Paint small shaded bodies on a transparent square: the pieces pests are made of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

Colour = tuple[float, float, float]
"""Red, green, blue, 0..1."""
Point = tuple[float, float]

LIGHT = np.array([-0.45, -0.6, 0.66])
"""Where the light comes from: upper left, towards the camera."""


class Sprite:
    """A transparent square painted from back to front; coordinates run from -1 to 1."""

    def __init__(self, side: int) -> None:
        self.side = side
        self.rgb = np.zeros((side, side, 3), np.float32)
        self.alpha = np.zeros((side, side), np.float32)

    def body(
        self,
        at: Point,
        radii: Point,
        angle: float,
        colour: Colour,
        gloss: float = 0.2,
        texture: np.ndarray | None = None,
        flat: float = 1.0,
    ) -> None:
        """Paint an ellipsoid lit from the upper left.

        Args:
            at: Centre.
            radii: Half axes along and across ``angle``.
            angle: Of the long axis, radians.
            colour: Of the surface.
            gloss: Strength of the highlight, 0..1.
            texture: Tints (h, w, 3), spread over the body along and across.
            flat: Below 1 the relief is shallower.
        """
        half = self.side / 2
        reach = max(radii) + 2 / half
        low_x, high_x = self._range(at[0] - reach, at[0] + reach)
        low_y, high_y = self._range(at[1] - reach, at[1] + reach)
        if low_x >= high_x or low_y >= high_y:
            return
        y, x = np.mgrid[low_y:high_y, low_x:high_x].astype(np.float32)
        x, y = (x + 0.5) / half - 1 - at[0], (y + 0.5) / half - 1 - at[1]
        cos, sin = np.cos(angle), np.sin(angle)
        u, v = (x * cos + y * sin) / radii[0], (-x * sin + y * cos) / radii[1]
        r2 = u * u + v * v
        edge = half * min(radii)
        cover = np.clip((1 - np.sqrt(r2)) * edge + 0.5, 0, 1)
        z = np.sqrt(np.clip(1 - r2, 0, 1))
        nx, ny = flat * (u * cos - v * sin), flat * (u * sin + v * cos)
        diffuse = np.clip(nx * LIGHT[0] + ny * LIGHT[1] + z * LIGHT[2], 0, 1)
        surface = np.broadcast_to(np.asarray(colour, np.float32), (*x.shape, 3))
        if texture is not None:
            rows = np.clip((v + 1) / 2 * texture.shape[0], 0, texture.shape[0] - 1).astype(int)
            columns = np.clip((u + 1) / 2 * texture.shape[1], 0, texture.shape[1] - 1).astype(int)
            surface = texture[rows, columns]
        shine = np.clip(2 * diffuse * z - LIGHT[2], 0, 1) ** 12 * gloss
        lit = surface * (0.28 + 0.85 * diffuse)[..., None] + shine[..., None]
        self._over(lit, cover, low_y, low_x)

    def line(self, points: Sequence[Point], width: float, colour: Colour) -> None:
        """Paint a polyline, ``width`` in the square's units."""
        mask = Image.new("L", (self.side, self.side))
        pixels = [((x + 1) * self.side / 2, (y + 1) * self.side / 2) for x, y in points]
        thick = max(1, round(width * self.side / 2))
        ImageDraw.Draw(mask).line(pixels, fill=255, width=thick, joint="curve")
        self._mask(mask, colour)

    def shape(self, points: Sequence[Point], colour: Colour | np.ndarray) -> None:
        """Paint a polygon, in one colour or with a picture (side, side, 3)."""
        mask = Image.new("L", (self.side, self.side))
        pixels = [((x + 1) * self.side / 2, (y + 1) * self.side / 2) for x, y in points]
        ImageDraw.Draw(mask).polygon(pixels, fill=255)
        self._mask(mask, colour)

    def image(self) -> Image.Image:
        """The sprite as RGBA; Pillow itself weights colours by coverage in turning and resizing."""
        straight = self.rgb / np.maximum(self.alpha, 1e-3)[..., None]
        rgba = np.dstack([straight, self.alpha])
        return Image.fromarray((np.clip(rgba, 0, 1) * 255).astype(np.uint8))

    def _mask(self, mask: Image.Image, colour: Colour | np.ndarray) -> None:
        box = mask.getbbox()
        if box is None:
            return
        left, top, right, bottom = box
        cover = np.asarray(mask.crop(box), np.float32) / 255
        paint = np.asarray(colour, np.float32)
        if paint.ndim == 3:
            paint = paint[top:bottom, left:right]
        self._over(np.broadcast_to(paint, (*cover.shape, 3)), cover, top, left)

    def _over(self, paint: np.ndarray, cover: np.ndarray, top: int, left: int) -> None:
        where = np.s_[top : top + cover.shape[0], left : left + cover.shape[1]]
        self.rgb[where] *= 1 - cover[..., None]
        self.rgb[where] += np.clip(paint, 0, 1) * cover[..., None]
        self.alpha[where] += cover * (1 - self.alpha[where])

    def _range(self, low: float, high: float) -> tuple[int, int]:
        half = self.side / 2
        return max(0, int((low + 1) * half)), min(self.side, int(np.ceil((high + 1) * half)))


def clouds(
    rng: np.random.Generator, shape: tuple[int, int], cells: int, octaves: int = 4
) -> np.ndarray:
    """Smooth noise, float32 (h, w), mean about 0 and deviation about 1.

    Args:
        rng: Where the numbers come from.
        shape: Height and width.
        cells: Bumps along the longer side in the coarsest octave.
        octaves: Layers, each twice as fine and 0.55 times as strong.
    """
    height, width = shape
    total = np.zeros(shape, np.float32)
    strength = 1.0
    for _ in range(octaves):
        rows = max(2, round(cells * height / max(shape)) + 1)
        columns = max(2, round(cells * width / max(shape)) + 1)
        coarse = Image.fromarray(rng.standard_normal((rows, columns)).astype(np.float32))
        total += strength * np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
        cells, strength = cells * 2, strength * 0.55
        if cells > max(shape):
            break
    return np.asarray((total - total.mean()) / (total.std() + 1e-6))
