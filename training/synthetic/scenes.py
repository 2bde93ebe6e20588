"""Put a plant, a pest, weather and a camera together into one photo."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageFilter

from training.synthetic.grounds import ground, paste
from training.synthetic.pests import PESTS, UNKNOWN
from training.synthetic.sprite import Sprite, clouds

Rng = np.random.Generator
Size = tuple[int, int]

MARGIN = 1.4
"""How much more of a plant is painted than one photo shows."""
COLONY = {"aphid": (4, 9), "mite": (4, 10)}
"""Pests that come in numbers: fewest and most."""
BODY = {"aphid": (0.24, 0.34), "mite": (0.2, 0.28), "moth": (0.7, 1.0)}
"""Length in units of the photo's height; others are ``SINGLE``."""
SINGLE = (0.6, 0.9)


class Plant:
    """One plant at one place: photos of it share the ground, the season and the camera."""

    def __init__(self, rng: Rng, size: Size) -> None:
        self.size = size
        canvas = (round(size[0] * MARGIN), round(size[1] * MARGIN))
        self._ground = Image.fromarray((np.clip(ground(rng, canvas), 0, 1) * 255).astype(np.uint8))
        self._warmth = rng.normal(0, 0.05)
        self._light = rng.uniform(0.9, 1.3)
        self._quality = int(rng.integers(72, 93))

    def photo(self, rng: Rng, kind: str | None) -> bytes:
        """One JPEG of the plant with a pest of ``kind`` on it, or without any."""
        picture = self._view(rng)
        if kind is None:
            if rng.random() < 0.4:
                _litter(rng, picture)
        else:
            _infest(rng, picture, kind)
        if rng.random() < 0.15:
            _cover(rng, picture)
        pixels = self._camera(rng, np.asarray(picture, np.float32) / 255)
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, "JPEG", quality=self._quality)
        return out.getvalue()

    def _view(self, rng: Rng) -> Image.Image:
        """Where the camera points this time: shifted, turned a little, nearer or farther."""
        width, height = self.size
        turned = self._ground.rotate(
            rng.uniform(-12, 12), Image.Resampling.BICUBIC, fillcolor=(40, 46, 30)
        )
        zoom = rng.uniform(0.78, 1.0)
        w, h = width * zoom, height * zoom
        free_x, free_y = turned.width - w, turned.height - h
        left = free_x * rng.uniform(0.3, 0.7)
        top = free_y * rng.uniform(0.3, 0.7)
        return turned.resize(self.size, Image.Resampling.BICUBIC, (left, top, left + w, top + h))

    def _camera(self, rng: Rng, scene: np.ndarray) -> np.ndarray:
        """Sun, shade, blur, noise and exposure: uint8 (h, w, 3)."""
        height, width = scene.shape[:2]
        if rng.random() < 0.3:
            dapple = np.clip(clouds(rng, (height, width), 3, 2) * 1.6 + rng.uniform(-0.5, 1), 0, 1)
            scene = scene * (1 - rng.uniform(0.2, 0.45) * dapple)[..., None]
        y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
        slope = 1 + rng.normal(0, 0.1) * x + rng.normal(0, 0.1) * y
        vignette = 1 - rng.uniform(0.05, 0.3) * (x**2 + y**2) / 2
        gain = self._light * rng.uniform(0.85, 1.15)
        tint = np.array([1 + self._warmth, 1.0, 1 - self._warmth])
        scene = scene * (gain * slope * vignette)[..., None] * tint
        picture = Image.fromarray((np.clip(scene, 0, 1) * 255).astype(np.uint8))
        blur = rng.gamma(1.2, 0.32) * height / 240
        if blur > 0.3:
            picture = picture.filter(ImageFilter.GaussianBlur(min(blur, 1.5 * height / 240)))
        noisy = np.asarray(picture, np.float32) + rng.normal(
            0, rng.uniform(1, 7), (height, width, 1)
        ).astype(np.float32)
        return np.clip(noisy, 0, 255).astype(np.uint8)


def _infest(rng: Rng, picture: Image.Image, kind: str) -> None:
    """Set one pest, or a colony of a small one, somewhere near the middle."""
    draw = (PESTS | UNKNOWN)[kind]
    width, height = picture.size
    low, high = BODY.get(kind, SINGLE)
    length = rng.uniform(low, high) * height
    few, many = COLONY.get(kind, (1, 1))
    count = int(rng.integers(few, many + 1))
    centre = np.array([rng.uniform(0.33, 0.67) * width, rng.uniform(0.36, 0.64) * height])
    heading = rng.uniform(0, 360)
    sprite = Sprite(max(40, round(length * 2)))
    draw(sprite, rng)  # A colony is of one kind and colour.
    for _ in range(count):
        own = length * rng.uniform(0.75, 1.2) if count > 1 else length
        # Sprites reach beyond their square's middle half; the square is what is scaled.
        side = max(6, round(own * 1.15))
        turned = sprite.image().rotate(heading + rng.normal(0, 50), Image.Resampling.BICUBIC)
        small = turned.resize((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
        offset = rng.normal(0, 1, 2) * length * (0.95 if count > 1 else 0)
        paste(picture, small, tuple(centre + offset), rng.uniform(0.3, 0.6))


def _litter(rng: Rng, picture: Image.Image) -> None:
    """Something that is no pest: drops of dew, grains, a bud."""
    width, height = picture.size
    for _ in range(int(rng.integers(1, 5))):
        bit = Sprite(48)
        if rng.random() < 0.5:
            bit.body((0, 0), (0.8, 0.7), rng.uniform(0, 3), (0.62, 0.7, 0.62), 0.9)
            bit.rgb *= 0.55
            bit.alpha *= 0.55
        else:
            tone = np.clip(np.array([0.5, 0.38, 0.22]) * rng.uniform(0.5, 1.5), 0, 1)
            bit.body((0, 0), (0.85, rng.uniform(0.3, 0.8)), rng.uniform(0, 3), tuple(tone), 0.15)
        side = int(rng.uniform(0.05, 0.14) * height)
        small = bit.image().resize((side, side), Image.Resampling.LANCZOS)
        paste(picture, small, (rng.uniform(0.1, 0.9) * width, rng.uniform(0.1, 0.9) * height), 0.35)


def _cover(rng: Rng, picture: Image.Image) -> None:
    """A blade of grass or a leaf tip, near the lens, hides a part."""
    width, height = picture.size
    blade = Sprite(192)
    colour = np.clip(np.array([0.34, 0.52, 0.2]) * rng.uniform(0.6, 1.3), 0, 1)
    bow = rng.uniform(-0.3, 0.3)
    points = [(part, bow * (1 - part**2)) for part in np.linspace(-1, 1, 12)]
    blade.line(points, rng.uniform(0.05, 0.13), tuple(colour))
    blade.line(points, 0.012, tuple(np.clip(colour * 1.4, 0, 1)))
    side = round(max(width, height) * 1.5)
    turned = blade.image().rotate(rng.uniform(0, 360), Image.Resampling.BICUBIC)
    large = turned.resize((side, side), Image.Resampling.BICUBIC)
    large = large.filter(ImageFilter.GaussianBlur(rng.uniform(0.8, 2.5)))
    off = rng.choice([-1, 1]) * rng.uniform(0.08, 0.4) * height
    turn = rng.uniform(0, 2 * np.pi)
    paste(picture, large, (width / 2 + off * np.cos(turn), height / 2 + off * np.sin(turn)), 0.25)
