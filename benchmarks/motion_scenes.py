"""Seeded image sequences for the motion trigger: wind, light, sensor noise, and insects that cross.

A still picture (painted, or a photo) is moved by wind where foliage is, and as a whole by a
shaking pole; grass waves in front of it; clouds and the day change the light; the sensor adds
noise.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from training.synthetic.grounds import ground, paste
from training.synthetic.pests import PESTS
from training.synthetic.sprite import Sprite, clouds

Rng = np.random.Generator
SIZE = (384, 216)
"""Width and height of a frame: what the small stream of a Pi camera has for a model of 216."""


@dataclass(frozen=True)
class Weather:
    """How much moves that is no insect."""

    name: str
    sway: float
    """Pixels by which foliage moves."""
    shake: float
    """Pixels by which the camera moves."""
    cloud: float
    """Share of the light that a passing cloud takes."""
    drift: float
    """Share by which the light changes within a hundred frames."""
    noise: float
    """Standard deviation of the sensor's noise at mid grey, levels of 256."""
    blades: int
    """Blades of grass that wave in front."""


WEATHERS = (
    Weather("calm", 0.0, 0.0, 0.1, 0.1, 2.0, 0),
    Weather("breeze", 2.0, 0.3, 0.3, 0.2, 3.0, 3),
    Weather("wind", 5.0, 0.8, 0.4, 0.3, 3.0, 8),
    Weather("dusk", 1.0, 0.2, 0.1, 0.5, 8.0, 2),
)


class Shot(NamedTuple):
    """One frame of a sequence."""

    pixels: np.ndarray
    """uint8 (H, W, 3) RGB."""
    visit: int | None
    """Number of the insect that is in it, from 0; None: none."""
    box: tuple[int, int, int, int] | None
    """Where the insect is: left, top, right, bottom in pixels."""


def sequence(
    seed: int,
    weather: Weather,
    picture: np.ndarray | None = None,
    frames: int = 240,
    visits: int = 6,
    insect: np.ndarray | None = None,
) -> Iterator[Shot]:
    """Make a sequence; the same for the same arguments.

    `picture` float (216, 384, 3), 0..1, is what is looked at; None: painted. `insect` is an RGBA
    uint8 (h, w, 4) cut-out; None: painted ones. The first fifth has no insect.
    """
    rng = np.random.default_rng(seed)
    still = ground(rng, SIZE) if picture is None else picture
    wind, light = _Wind(rng, weather), _Light(rng, weather)
    paths = _paths(rng, frames, visits, insect)
    for number in range(frames):
        frame = wind.move(still, number)
        shown = Image.fromarray(np.clip(frame * 255, 0, 255).astype(np.uint8))
        visit, box = None, None
        for index, path in enumerate(paths):
            if path.first <= number < path.last:
                visit, box = index, path.draw(shown, number)
        wind.grass(shown, number)
        lit = np.asarray(shown, np.float32) * light.at(number)[..., None]
        sigma = weather.noise * np.sqrt(0.25 + 0.75 * np.maximum(lit, 0) / 128)
        noisy = lit + rng.standard_normal(lit.shape, np.float32) * sigma
        yield Shot(np.clip(np.rint(noisy), 0, 255).astype(np.uint8), visit, box)


class _Wind:
    """Moves foliage, the camera, and grass in front of it."""

    def __init__(self, rng: Rng, weather: Weather) -> None:
        width, height = SIZE
        self._weather = weather
        self._y, self._x = np.mgrid[:height, :width].astype(np.float32)
        leafy = np.clip(clouds(rng, (height, width), 3, 2) * 1.5, 0, 1)
        self._field = [leafy * clouds(rng, (height, width), 5, 2) for _ in range(4)]
        self._rates = rng.uniform(
            0.6, 2.4, 4
        )  # radians a frame: a frame a second sees no slow sway
        self._phases = rng.uniform(0, 6.28, 6)
        self._shakes = rng.normal(size=(4096, 2))
        self._blades = [
            (
                rng.uniform(0, width),
                rng.uniform(0.3, 0.9) * height,
                rng.uniform(0, 6.28),
                rng.uniform(0.7, 2.2),
                tuple(int(c) for c in rng.uniform((40, 70, 20), (120, 160, 70))),
            )
            for _ in range(weather.blades)
        ]

    def gust(self, number: int) -> float:
        """How strongly the wind blows, 0..1."""
        slow = np.sin(number / 17 + self._phases[4]) + np.sin(number / 41 + self._phases[5])
        return float(np.clip(0.5 + 0.3 * slow, 0.1, 1))

    def move(self, still: np.ndarray, number: int) -> np.ndarray:
        """The picture as the wind bends it."""
        weather, gust = self._weather, self.gust(number)
        if not weather.sway and not weather.shake:
            return still
        waves = [
            np.sin(rate * number + phase)
            for rate, phase in zip(self._rates, self._phases, strict=False)
        ]
        shake = self._shakes[number] * weather.shake * gust
        dx = weather.sway * gust * (self._field[0] * waves[0] + self._field[1] * waves[1]) / 2
        dy = weather.sway * gust * (self._field[2] * waves[2] + self._field[3] * waves[3]) / 4
        where = (self._y + dy + shake[1], self._x + dx + shake[0])
        return _shifted(still, *where)

    def grass(self, picture: Image.Image, number: int) -> None:
        """Wave blades in front."""
        draw, height = ImageDraw.Draw(picture), SIZE[1]
        for root, tall, phase, rate, colour in self._blades:
            bend = 30 * self.gust(number) * np.sin(rate * number + phase)
            points = [
                (root + bend * part**2, height - tall * part) for part in np.linspace(0, 1, 8)
            ]
            draw.line(points, fill=colour, width=4, joint="curve")


class _Light:
    """The day and its clouds, as a factor for each pixel."""

    def __init__(self, rng: Rng, weather: Weather) -> None:
        width, height = SIZE
        self._weather = weather
        self._start, self._sign = rng.uniform(0.8, 1.0), rng.choice([-1, 1])
        self._sky = np.clip(clouds(rng, (height, width * 4), 6, 1), -1, 1)
        self._flicker = rng.normal(size=4096)

    def at(self, number: int) -> np.ndarray:
        """The factors, float32 (H, W)."""
        weather, width = self._weather, SIZE[0]
        day = self._start + self._sign * weather.drift * (abs((number % 200) - 100) / 100 - 0.5)
        exposure = 1 + 0.01 * self._flicker[number]
        left = (number * 5) % (3 * width)
        cloud = 1 - weather.cloud * (0.5 + 0.5 * self._sky[:, left : left + width])
        return np.asarray(day * exposure * cloud, np.float32)


class _Path:
    """One insect on its way through the picture, with a stop."""

    def __init__(self, rng: Rng, first: int, last: int, insect: np.ndarray | None) -> None:
        self.first, self.last = first, last
        width, height = SIZE
        length = rng.uniform(0.03, 0.06) * width
        if insect is None:
            kind = list(PESTS)[int(rng.integers(len(PESTS)))]
            sprite = Sprite(64)
            PESTS[kind](sprite, rng)
            drawn = sprite.image()
        else:
            drawn = Image.fromarray(insect, "RGBA")
        heading = rng.uniform(0, 2 * np.pi)
        scale = length / max(drawn.size)
        small = drawn.resize(
            (max(3, round(drawn.width * scale)), max(3, round(drawn.height * scale))),
            Image.Resampling.LANCZOS,
        )
        self._sprite = small.rotate(-np.degrees(heading), Image.Resampling.BICUBIC, expand=True)
        step = length * rng.uniform(0.5, 1.5)
        count = last - first
        stop = int(rng.integers(count // 3, count))
        moved = np.minimum(np.arange(count), stop)[:, None] * step
        direction = np.array([np.cos(heading), np.sin(heading)])
        middle = np.array([rng.uniform(0.25, 0.75) * width, rng.uniform(0.25, 0.75) * height])
        places = middle + (moved - moved.mean()) * direction
        margin = np.array([length, length])
        self._places = np.clip(places, margin, np.array(SIZE) - margin)

    def draw(self, picture: Image.Image, number: int) -> tuple[int, int, int, int]:
        """Paste it; give its box."""
        x, y = self._places[number - self.first]
        paste(picture, self._sprite, (x, y), 0.35)
        half = (self._sprite.width / 2, self._sprite.height / 2)
        return (round(x - half[0]), round(y - half[1]), round(x + half[0]), round(y + half[1]))


def _paths(rng: Rng, frames: int, visits: int, insect: np.ndarray | None) -> list[_Path]:
    quiet = frames // 5
    room = (frames - quiet) // max(1, visits)
    found = []
    for visit in range(visits):
        first = quiet + visit * room + int(rng.integers(0, max(1, room // 3)))
        found.append(_Path(rng, first, first + int(rng.integers(8, 13)), insect))
    return found


def _shifted(still: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Take each pixel of float (H, W, 3) from between four others (bilinear)."""
    y, x = np.clip(y, 0, still.shape[0] - 1.001), np.clip(x, 0, still.shape[1] - 1.001)
    top, left = y.astype(np.int32), x.astype(np.int32)
    down, right = (y - top)[..., None].astype(np.float32), (x - left)[..., None].astype(np.float32)
    upper = still[top, left] * (1 - right) + still[top, left + 1] * right
    lower = still[top + 1, left] * (1 - right) + still[top + 1, left + 1] * right
    return np.asarray(upper * (1 - down) + lower * down)
