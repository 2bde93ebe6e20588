"""One weight of the last kernel must not make all the others coarse.

A dense layer has one int8 scale for its whole kernel. A feature that is hardly ever seen may have a
weight far beyond all others: in a head that was fitted to EfficientNet-Lite0's features one was 44
standard deviations large, its feature 0.001 on average, and rounding the kernel missed 9 % of the
variance of the logits. Clipped, it costs next to nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from training.untyped import Model

#: Levels on each side of zero.
LEVELS = 127
#: Ranges that are tried, as shares of the largest weight.
SHARES = np.geomspace(1, 0.02, 40)
#: A kernel is clipped if no more than this share of the error is left.
WORTH = 0.5


def clip_last(model: Model, batches: Iterable[NDArray[np.float32]]) -> float:
    """Clip the kernel of the last layer, in place, where the logits then change much less by int8.

    What that shifts on average goes into the bias. A last layer that is not dense, or has no bias,
    stays as it is.

    Args:
        model: flat.
        batches: training photos, float32 (n, h, w, c) as the model takes them.

    Returns:
        The largest weight that is left, as a share of what it was.
    """
    from quantize.keras import tfmot

    last = model.layers[-1]
    if type(last) is not tfmot.keras.layers.Dense or not last.use_bias:
        return 1.0
    probe = tfmot.keras.Model(model.input, last.input)
    seen = np.concatenate([probe(batch, training=False).numpy() for batch in batches]).astype(float)
    kernel, bias = last.get_weights()
    mean, largest = seen.mean(axis=0), np.abs(kernel).max()
    if not largest:
        return 1.0

    def error(share: float) -> float:
        step = share * largest / LEVELS
        rounded = np.clip(np.round(kernel / step), -LEVELS, LEVELS) * step
        return float(np.square((seen - mean) @ (rounded - kernel)).sum())

    errors = [error(share) for share in SHARES]
    best = int(np.argmin(errors))
    if errors[best] > WORTH * errors[0]:
        return 1.0
    clipped = np.clip(kernel, -SHARES[best] * largest, SHARES[best] * largest)
    last.set_weights([clipped, bias + mean @ (kernel - clipped)])
    return float(SHARES[best])
