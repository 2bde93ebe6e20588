"""Round kernels so that their outputs on photos change least, not each weight by itself.

Inputs of a kernel hang together, those of a depthwise kernel (nine neighbours) most of all: errors
of its weights that cancel do no harm. From rounding to nearest, one weight after the other goes to
the level that makes the squared error of the output least while all others stay, round and round
(coordinate descent as in QuantEase, Behdin et al. 2023, arXiv:2309.01885, with covariances, as mean
shifts are taken back by `quantize.int8.bias_correction`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from quantize.int8.equalisation import normed
from training.untyped import Layer, Model, Tensor

#: Levels on each side of zero.
LEVELS = 127
#: Rounds of the descent; it has come to rest before.
ROUNDS = 20

Floats = NDArray[np.float64]


def round_kernels(model: Model, batches: Sequence[NDArray[np.float32]]) -> float:
    """Set the kernels in front of batch norms to int8 levels, in place.

    A channel's largest weight and its zeros stay, so its scale and its pattern stay.

    Args:
        model: flat, kernels equalised.
        batches: training photos, float32 (n, h, w, c) as the model takes them.

    Returns:
        Squared error of the outputs, all layers together, as a share of that of rounding to
        nearest.
    """
    from quantize.keras import tfmot

    layers = [
        layer
        for layer, _ in normed(model, ("Conv2D", "DepthwiseConv2D"))
        if tuple(layer.dilation_rate) == (1, 1) and getattr(layer, "groups", 1) == 1
    ]
    if not layers:
        return 1.0
    probe = tfmot.keras.Model(model.input, [layer.input for layer in layers])
    sums: list[tuple[Floats, Floats, int]] | None = None
    for batch in batches:
        given = probe(batch, training=False)
        values = given if isinstance(given, list) else [given]
        found = [_sums(layer, value) for layer, value in zip(layers, values, strict=True)]
        sums = found if sums is None else [_added(a, b) for a, b in zip(sums, found, strict=True)]
    before = after = 0.0
    for layer, (total, products, count) in zip(layers, sums or [], strict=True):
        mean = total / count
        covariance = products / count - mean[:, :, None] * mean[:, None, :]
        kernel = layer.get_weights()[0]
        weights = _columns(layer, kernel)  # (groups, inputs, outputs)
        step = np.abs(weights).max(axis=1, keepdims=True) / LEVELS
        step = np.where(step > 0, step, 1.0)
        levels, nearest, best = _descend(weights / step, covariance)
        size = np.broadcast_to(step[:, 0] ** 2, nearest.shape)
        before, after = before + float((nearest * size).sum()), after + float((best * size).sum())
        columns = levels * step
        depthwise = type(layer).__name__ == "DepthwiseConv2D"
        layer.set_weights(
            [(columns.swapaxes(0, 1) if depthwise else columns).reshape(kernel.shape)]
        )
    return after / before if before else 1.0


def _columns(layer: Layer, kernel: NDArray[np.float32]) -> Floats:
    """The kernel as (groups, inputs, outputs): a group for each channel where it is depthwise."""
    high, wide, inputs, outputs = kernel.shape
    if type(layer).__name__ == "DepthwiseConv2D":
        return kernel.reshape(high * wide, inputs, outputs).swapaxes(0, 1).astype(float)
    return kernel.reshape(1, high * wide * inputs, outputs).astype(float)


def _sums(layer: Layer, values: Tensor) -> tuple[Floats, Floats, int]:
    """Sum (groups, inputs) and sum of products (groups, inputs, inputs) of what a kernel sees."""
    from quantize.keras.tfmot import tf

    high, wide = layer.kernel_size
    patches = tf.image.extract_patches(
        values,
        (1, high, wide, 1),
        (1, *layer.strides, 1),
        (1, 1, 1, 1),
        layer.padding.upper(),
    )
    channels = values.shape[-1]
    if type(layer).__name__ == "DepthwiseConv2D":
        seen = tf.transpose(tf.reshape(patches, (-1, high * wide, channels)), (2, 0, 1))
    else:
        seen = tf.reshape(patches, (1, -1, high * wide * channels))
    products = tf.matmul(seen, seen, transpose_a=True).numpy().astype(float)
    return tf.reduce_sum(seen, axis=1).numpy().astype(float), products, int(seen.shape[1])


def _added(
    a: tuple[Floats, Floats, int], b: tuple[Floats, Floats, int]
) -> tuple[Floats, Floats, int]:
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]


def _descend(weights: Floats, covariance: Floats) -> tuple[Floats, Floats, Floats]:
    """Whole levels for (groups, inputs, outputs); errors (groups, outputs) of nearest and these."""
    levels = np.round(weights)
    held = (np.abs(levels) >= LEVELS) | (weights == 0)
    error = levels - weights
    pull = covariance @ error
    nearest = (error * pull).sum(axis=1)
    spread = np.einsum("gii->gi", covariance)
    for _ in range(ROUNDS):
        moved = False
        for k in np.flatnonzero((spread > 0).any(axis=0)):
            own = spread[:, k, None]
            wanted = -pull[:, k] / np.where(own > 0, own, np.inf)
            target = np.clip(np.round(levels[:, k] + wanted), 1 - LEVELS, LEVELS - 1)
            step = np.where(held[:, k], 0.0, target - levels[:, k])
            if step.any():
                moved = True
                levels[:, k] += step
                pull += covariance[:, :, k, None] * step[:, None, :]
        if not moved:
            break
    error = levels - weights
    return levels, nearest, (error * (covariance @ error)).sum(axis=1)
