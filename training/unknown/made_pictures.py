"""Pictures of nothing: what the unknown rule learns from about photos that show none of the kind.

Real photos of everything else cannot be had. Pictures with the statistics of photos and no things
in them do for outliers what they do for pre-training (Baradad et al. 2021, arXiv:2106.05963): dead
leaves (overlapping shapes of all sizes) have the edges of photos, coloured noise their spectrum.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Pixels = NDArray[np.uint8]

#: Sides of a picture as it is made; then it goes the way of every photo.
SIDE = 256
#: Shapes that a picture of dead leaves is covered with.
LEAVES = 400


def made_pictures(count: int, colours: Pixels, seed: int) -> dict[str, list[Pixels]]:
    """So many pictures of each kind, uint8 (SIDE, SIDE, 3), the same for the same arguments.

    Args:
        count: of each kind.
        colours: RGB uint8 (n, 3), of photos; half of the pictures take theirs from these.
        seed: decides everything.
    """
    made = {}
    for index, (name, make) in enumerate(KINDS.items()):
        rng = np.random.default_rng([seed, index])
        made[name] = [make(_Paint(rng, colours)) for _ in range(count)]
    return made


class _Paint:
    """Chance, and the colours of one picture."""

    def __init__(self, rng: np.random.Generator, colours: Pixels) -> None:
        self.rng = rng
        self._colours = colours if rng.random() < 0.5 else None

    def colours(self, n: int) -> NDArray[np.float64]:
        """RGB (n, 3)."""
        if self._colours is None:
            return self.rng.uniform(0, 255, (n, 3))
        return self._colours[self.rng.integers(len(self._colours), size=n)].astype(np.float64)

    def colour(self) -> tuple[int, int, int]:
        """One of them, for Pillow."""
        red, green, blue = self.colours(1)[0].astype(int).tolist()
        return red, green, blue


def _noise(paint: _Paint) -> Pixels:
    """Noise whose amplitude falls with a power of the frequency: clouds to sand."""
    rng = paint.rng
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(SIDE), np.fft.fftfreq(SIDE)))
    frequency[0, 0] = 1 / SIDE
    power = rng.uniform(0.5, 3.5)
    spectrum = np.fft.fft2(rng.standard_normal((3, SIDE, SIDE))) / frequency**power
    channels = np.fft.ifft2(spectrum).real
    channels -= channels.mean(axis=(1, 2), keepdims=True)
    channels /= channels.std(axis=(1, 2), keepdims=True)
    mix = rng.standard_normal((3, 3)) / 2 + rng.uniform(0, 1)
    return _cut(rng.uniform(40, 215, 3) + rng.uniform(10, 60) * (channels.transpose(1, 2, 0) @ mix))


def _leaves(paint: _Paint) -> Pixels:
    """Dead leaves: discs, squares or polygons over one another, small ones far more often."""
    rng = paint.rng
    image = Image.new("RGB", (SIDE, SIDE))
    draw = ImageDraw.Draw(image)
    corners, least = int(rng.choice([4, 6, 24])), rng.uniform(3, 30)
    for _ in range(LEAVES):
        radius = min(least / max(rng.random(), 1e-3) ** 0.5, SIDE / 2)
        turns = np.sort(rng.uniform(0, 1, 6)) if corners == 6 else np.arange(corners) / corners
        radii = radius * (rng.uniform(0.3, 1, 6) if corners == 6 else np.ones(corners))
        angles = 2 * np.pi * (turns + rng.random())
        x, y = rng.uniform(-20, SIDE + 20, 2)
        points = np.stack([x + radii * np.cos(angles), y + radii * np.sin(angles)], axis=1)
        draw.polygon([(px, py) for px, py in points.tolist()], fill=paint.colour())
    blur = rng.uniform(0.5, 4) if rng.random() < 0.5 else 0
    return np.asarray(image.filter(ImageFilter.GaussianBlur(blur)))


def _sky(paint: _Paint) -> Pixels:
    """A smooth run of four colours, half the time above a jagged horizon."""
    rng = paint.rng
    corners = paint.colours(4).reshape(2, 2, 3)
    u, v = np.meshgrid(np.linspace(0, 1, SIDE), np.linspace(0, 1, SIDE))
    across, down = np.stack([1 - u, u], axis=-1), np.stack([1 - v, v], axis=-1)
    picture = np.einsum("yxa,yxb,bac->yxc", across, down, corners)
    if rng.random() < 0.5:
        horizon = rng.uniform(0.2, 0.9) + np.cumsum(rng.standard_normal(SIDE)) / 160
        ground = paint.colours(1) / 2 + 0.3 * _noise(paint)
        picture = np.where((v > horizon)[..., None], ground, picture)
    return _cut(picture + rng.normal(0, rng.uniform(0, 8), (SIDE, SIDE, 1)))


def _bars(paint: _Paint) -> Pixels:
    """Lines and boxes on one colour, as things that people make have them."""
    rng = paint.rng
    image = Image.new("RGB", (SIDE, SIDE), paint.colour())
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(3, 60))):
        (x0, x1), (y0, y1) = rng.uniform(0, SIDE, (2, 2)).tolist()
        if rng.random() < 0.5:
            draw.line((x0, y0, x1, y1), fill=paint.colour(), width=int(rng.integers(1, 14)))
        else:
            box = (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
            fill = paint.colour() if rng.random() < 0.5 else None
            draw.rectangle(box, fill, paint.colour(), int(rng.integers(1, 6)))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(rng.uniform(0, 2))))


def _cut(values: NDArray[np.float64]) -> Pixels:
    return np.clip(values, 0, 255).astype(np.uint8)


KINDS: dict[str, Callable[[_Paint], Pixels]] = {
    "noise": _noise,
    "leaves": _leaves,
    "sky": _sky,
    "bars": _bars,
}
"""What is made."""
