"""Motion: admits frames in which something small moves that does not move all the time.

The picture is made small and grey, and each cell is divided by the light around it, so that
clouds, dusk and exposure fall out. Each cell has a slowly following background and two limits to
hold a change against: the usual noise, and how far it has lately gone (a leaf in the wind goes
there again and again). What is beyond both and hangs together is motion if it is large enough.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from math import sqrt
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edge.cameras.triggers.regions import largest_region
from edge.model.tiled_classifier import read_mask
from edge.model.tiles import layout, mask_of
from edge.system.token_bucket import Bucket

if TYPE_CHECKING:
    from edge.cameras import Frame
    from edge.config import Config
    from edge.config import Motion as MotionConfig
    from edge.model.image.preprocessing import Pixels
    from edge.system.counters import Counters

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
Size = tuple[int, int]
"""Width and height, cells."""

CELLS = 14_400
"""Cells of a picture: 160 x 90, 139 x 104, 120 x 120. An insect of 2 % of the width fills some."""
_AROUND = 20
"""Cells over which light is taken as even."""
_DARK = 12.0
"""Levels added to the light that cells are divided by: the dark is not amplified."""
_FOLLOW = np.float32(0.03)
"""Share by which background and noise follow each frame."""
_FIRST_NOISE = np.float32(0.05)
_LEAST_CHANGE = np.float32(0.02)
"""No change is less than this share of the light around."""
_RISE, _DECAY, _BEYOND = np.float32(0.3), np.float32(0.995), np.float32(2.5)
"""A swing takes up this share of each larger one, forgets this much a frame (half in 140), and has
to be exceeded this many times: what passed once is seen again, what comes back and back is not."""


class UsualPicture:
    """What a camera usually sees, cell by cell."""

    def __init__(self) -> None:
        empty = np.empty((0, 0), np.float32)
        self._mean = self._noise = self._swing = self._off = self._far = empty
        self._seen = 0

    def changed(self, grey: Floats, noises: float) -> Mask | None:
        """The cells (H, W) of a frame that changed by more than `noises` and their swing.

        None where there is nothing to compare with: the first frame, or one of another size.
        Follow with :meth:`learn` or :meth:`begin_again`.
        """
        light = relative(grey)
        if light.shape != self._mean.shape:
            self._mean, self._seen = light, 1
            self._noise = np.full_like(light, _FIRST_NOISE)
            self._swing = np.zeros_like(light)
            return None
        limit = np.maximum(self._noise * np.float32(noises), _LEAST_CHANGE)
        limit = np.maximum(limit, _largest_near(self._swing) * _BEYOND)
        self._off = light - self._mean
        self._far = np.abs(self._off)
        changed: Mask = self._far > limit
        return changed

    def learn(self) -> None:
        """Let background, noise and swing follow the last frame."""
        self._seen += 1
        follow = max(_FOLLOW, np.float32(1 / self._seen))
        # 1.25: mean distance to standard deviation of a normal distribution. What is far out,
        # such as an insect, moves the noise by little.
        usual = np.minimum(self._far, 4 * self._noise) * np.float32(1.25)
        self._noise += follow * (usual - self._noise)
        self._mean += follow * self._off
        rise = self._far - self._swing
        self._swing = np.where(rise > 0, self._swing + _RISE * rise, self._swing * _DECAY)

    def begin_again(self) -> None:
        """Take the last frame as the background; noise and swing stay."""
        self._mean += self._off


class MotionTrigger:
    """The trigger: motion, the time after it, and a limit for storms.

    `ignore` gives the cells of a grid that do not count, bool (H, W), or None.
    """

    def __init__(
        self,
        config: MotionConfig,
        counters: Counters,
        ignore: Callable[[Size], Mask | None] = lambda _: None,
    ) -> None:
        self._config, self._counters = config, counters
        self._ignore = lru_cache(maxsize=2)(ignore)
        self._background = UsualPicture()
        self._moved: datetime | None = None
        self._allowance = Bucket(config.max_per_minute / 60, config.max_per_minute)

    def admits(self, frame: Frame) -> bool:
        """Look at the next frame; the first is admitted, for want of a background."""
        if self.moving(shrink(frame.pixels)):
            self._moved = frame.time
        if self._moved is None:
            return False
        since = (frame.time - self._moved).total_seconds()
        if not 0 <= since <= self._config.hold_seconds:  # below 0: the clock was set back
            self._moved = None
            return False
        if not self._allowance.take(frame.time.timestamp()):
            self._counters.add("frames_limited")
            return False
        return True

    def moving(self, grey: Floats) -> bool:
        """Show a grey frame, float32 (H, W), 0..255; True where something moves in it."""
        changed = self._background.changed(grey, self._config.threshold)
        if changed is None:
            return True
        if (ignored := self._ignore((grey.shape[1], grey.shape[0]))) is not None:
            changed &= ~ignored
        count = np.count_nonzero(changed)
        if count > self._config.max_area * changed.size:  # a lamp, a turned camera
            self._background.begin_again()
            return False
        self._background.learn()
        least = self._config.min_area * changed.size
        region = largest_region(changed) if count >= least else None
        return region is not None and region.area >= least


def open_motion(config: Config, counters: Counters) -> MotionTrigger:
    """Make the trigger of ``[trigger.motion]``; what ``[view]`` does not look at does not count.

    Raises:
        ConfigError: ``view.mask`` cannot be read.
    """
    assert config.trigger.motion is not None
    view, drawn = config.view, read_mask(config.view)

    def unseen(size: Size) -> Mask | None:
        if not (view.regions or view.mask_polygons or drawn):
            return None
        masked = mask_of(view, drawn, size)
        outside = np.ones((size[1], size[0]), np.bool_)
        for left, top, right, bottom in layout(msgspec.structs.replace(view, tiles=None), size):
            outside[top:bottom, left:right] = False
        return outside if masked is None else outside | masked

    return MotionTrigger(config.trigger.motion, counters, unseen)


def shrink(pixels: Pixels) -> Floats:
    """Reduce uint8 (H, W, 3) RGB to its green in about 14,400 cells, float32 (h, w), 0..255.

    Green carries most of the light and least of the noise of a colour sensor, and costs a third of
    a conversion to grey.
    """
    height, width = pixels.shape[:2]
    scale = sqrt(CELLS / (height * width))
    step = max(1, int(1 / scale / 3))  # large pictures: nine pixels a cell will do
    image = Image.fromarray(np.ascontiguousarray(pixels[::step, ::step, 1]))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(image.resize(size, Image.Resampling.BOX), np.float32)


def relative(grey: Floats) -> Floats:
    """Divide each cell of float32 (H, W) by the mean light around it, about 1."""
    height, width = grey.shape
    coarse = (max(1, width // _AROUND), max(1, height // _AROUND))
    around = Image.fromarray(grey).resize(coarse, Image.Resampling.BOX)
    light = np.asarray(around.resize((width, height), Image.Resampling.BICUBIC), np.float32)
    even: Floats = grey / np.maximum(light + np.float32(_DARK), np.float32(1))
    return even


def _largest_near(cells: Floats) -> Floats:
    """The largest of each cell and its eight neighbours, float32 (H, W)."""
    wide = np.pad(cells, 1, mode="edge")
    rows = np.maximum(np.maximum(wide[:-2], wide[1:-1]), wide[2:])
    found: Floats = np.maximum(np.maximum(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:])
    return found
