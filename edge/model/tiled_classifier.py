"""A model and a view together: a picture in, one classification out, with one a tile inside."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from PIL import Image

from edge.errors import ConfigError, ImageError
from edge.model.classifier import Classification, Classifier, FrameTimings, Tile
from edge.model.image.preprocessing import PAD_COLOUR, decode
from edge.model.tiles import Box, Size, in_parts, layout, mask_of, scaled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge.config import View
    from edge.model.image.preprocessing import Pixels


class Cut(msgspec.Struct, frozen=True):
    """One tile of pictures of one size."""

    box: Box
    """In the picture as it was taken."""
    inside: Box
    """In its pixels, which may be fewer."""
    masked: NDArray[np.bool_] | None
    """What of it is painted over, bool (height, width); None: nothing."""

    def of(self, pixels: Pixels) -> Pixels:
        """Return this part of uint8 (H, W, 3) pixels, the mask painted grey."""
        left, top, right, bottom = self.inside
        part = pixels[top:bottom, left:right]
        if self.masked is not None:
            part = part.copy()
            part[self.masked] = PAD_COLOUR
        return part


class Plan:
    """How pictures are cut by ``[view]``: worked out once for each size of picture.

    Raises:
        ConfigError: ``view.mask`` cannot be read.
    """

    def __init__(self, view: View) -> None:
        self._view = view
        self._drawn = read_mask(view)
        self.cuts = lru_cache(maxsize=4)(self._cuts)
        """Called with the sizes of a picture as it was taken and of its pixels."""

    def _cuts(self, size: Size, pixels: Size) -> tuple[Cut, ...]:
        """Cut a picture. Raises ImageError where nothing of it is left to look at."""
        mask = self.masked(pixels)
        cuts = []
        for box in layout(self._view, size):
            inside = left, top, right, bottom = scaled(box, size, pixels)
            masked = None if mask is None else mask[top:bottom, left:right]
            share = 0.0 if masked is None else float(masked.mean())
            if share <= self._view.max_masked:
                cuts.append(Cut(box, inside, masked if share else None))
        if not cuts:
            raise ImageError(
                f"nothing of a picture of {size[0]} x {size[1]} pixels is left to look at: every "
                f"tile is masked by more than view.max_masked = {self._view.max_masked:g}"
            )
        return tuple(cuts)

    def masked(self, pixels: Size) -> NDArray[np.bool_] | None:
        """The pixels that are painted over, bool (height, width); None: none. Raises ImageError."""
        return mask_of(self._view, self._drawn, pixels)


class TiledClassifier:
    """Looks at pictures in the parts that ``[view]`` names; without a view at each as a whole.

    Raises:
        ConfigError: as for :class:`Plan`.
    """

    def __init__(self, classifier: Classifier, view: View | None = None) -> None:
        self._classifier = classifier
        self._plan = Plan(view) if view is not None and in_parts(view) else None

    def look(self, pixels: Pixels, size: Size) -> Classification:
        """Classify uint8 (H, W, 3) pixels of a picture that had `size` when it was taken.

        Raises:
            ImageError: they are something else, or nothing of the picture is left to look at.
            ModelError: the runtime failed.
        """
        if self._plan is None:
            return self._classifier.classify(pixels)
        cuts = self._plan.cuts(size, (pixels.shape[1], pixels.shape[0]))
        return together(
            tuple(Tile(cut.box, self._classifier.classify(cut.of(pixels))) for cut in cuts)
        )

    def masked(self, pixels: Pixels) -> NDArray[np.bool_] | None:
        """Which (H, W, 3) pixels are painted over, bool (H, W); None: none. Raises ImageError."""
        if self._plan is None:
            return None
        return self._plan.masked((pixels.shape[1], pixels.shape[0]))


def together(tiles: tuple[Tile, ...]) -> Classification:
    """Combine tiles into a frame's classification: that of the surest tile, with all tiles inside.

    A tile with a label goes before one without. Times are those of all tiles.
    """
    best = max(tiles, key=lambda tile: (tile.found.label is not None, tile.found.confidence)).found
    times = [tile.found.timings for tile in tiles]
    total = FrameTimings(sum(t.preprocess_ms for t in times), sum(t.invoke_ms for t in times))
    return msgspec.structs.replace(best, tiles=tiles, timings=total)


def read_mask(view: View) -> Image.Image | None:
    """Read the picture ``view.mask`` as grey; None without any. Raises ConfigError."""
    if view.mask is None:
        return None
    try:
        return Image.fromarray(decode(view.mask)).convert("L")
    except ImageError as error:
        raise ConfigError(
            f"view.mask: {error}; give a picture of the frame, black where the model must not look"
        ) from error
