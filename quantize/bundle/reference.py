"""What validation photos look like to the device, for it to compare its frames with."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from edge.model import picture_statistics as d
from edge.model.bundle.manifest import Reference
from edge.model.scores import softmax


def reference(
    logits: NDArray[np.float32], pixels: NDArray[np.uint8], temperature: float
) -> Reference:
    """Count validation photos into histograms: of those it was trained on the model is surer.

    Args:
        logits: (n, classes), of the int8 model through the device's own path.
        pixels: uint8 (n, h, w, c), as the model takes them.
        temperature: of the bundle's decision.
    """
    shares = softmax(logits, temperature)
    looks = [d.look(photo) for photo in pixels]
    return Reference(
        split="val",
        n=len(pixels),
        labels=tuple(np.bincount(shares.argmax(axis=1), minlength=shares.shape[1]).tolist()),
        confidence=_count(shares.max(axis=1).tolist(), d.confidence_bin, d.CONFIDENCE_BINS),
        brightness=_count((x.brightness for x in looks), d.brightness_bin, d.BRIGHTNESS_BINS),
        sharpness=_count((x.sharpness for x in looks), d.sharpness_bin, d.SHARPNESS_BINS),
    )


def _count(values: Iterable[float], bin_of: Callable[[float], int], bins: int) -> tuple[int, ...]:
    counts = np.bincount([bin_of(value) for value in values], minlength=bins)
    return tuple(counts.tolist())
