"""What to prune: how much each weight matters, and how much each layer has to give.

A weight matters as much as it moves the layer's output: its size times the root mean square of its
input on training photos (Wanda; Sun et al. 2023, arXiv:2306.11695).

The same share of zeros everywhere ruins the few weights of the early layers and saves almost no
bytes. Here each layer is pruned alone to one half; how far the answers then diverge is its harm.
The energy of the least share s of weights grows about as s**3, and small harms add up, so the harm
of all shares together is about sum(h * (2 s)**3); the least for a given number of zeros has s
proportional to sqrt(n / h), n being the layer's weights (Lagrange).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.untyped import Model, Tensor

Floats = NDArray[np.float32]

#: No layer is pruned further than this, or below the target if that is higher.
MOST = 0.85


def input_sizes(model: Model, layers: Sequence[Any], photos: Floats) -> dict[str, Floats]:
    """Root mean square of each layer's input by channel, shaped to multiply its kernel; by name.

    Args:
        model: float32 (n, h, w, c) to logits.
        layers: Conv2D and Dense layers of it.
        photos: to measure on, float32 (n, h, w, c) as the model takes them.
    """
    from training.tf import keras, tf, traced

    inputs = keras.Model(model.input, [layer.input for layer in layers])

    def squares(images: Tensor) -> list[Any]:
        found = tf.nest.flatten(inputs(images, training=False))
        return [tf.reduce_mean(tf.square(x), axis=list(range(len(x.shape) - 1))) for x in found]

    means = traced(squares)(photos)
    # Kernels are (..., in, out).
    return {
        layer.name: np.sqrt(mean.numpy())[:, None] + np.float32(1e-9)
        for layer, mean in zip(layers, means, strict=True)
    }


def allocate(
    model: Model,
    layers: Sequence[Any],
    sizes: Mapping[str, Floats],
    sparsity: float,
    photos: Floats,
) -> dict[str, float]:
    """Share of zeros for each layer by name; together `sparsity` of all their weights.

    Args:
        model: float32 (n, h, w, c) to logits; its weights are as before when this returns.
        layers: of the model, to be pruned.
        sizes: of their inputs, from `input_sizes`.
        sparsity: target over all of them, 0..1.
        photos: to measure on, float32 (n, h, w, c) as the model takes them.
    """
    from training.tf import tf, traced

    run = traced(lambda images: tf.nn.softmax(model(images, training=False)))
    before = run(photos).numpy()
    harms, counts = {}, {}
    for layer in layers:
        kernel, *others = layer.get_weights()
        layer.set_weights([without_least(kernel, kernel * sizes[layer.name], 0.5), *others])
        after = run(photos).numpy()
        layer.set_weights([kernel, *others])
        harms[layer.name] = divergence(before, after)
        counts[layer.name] = kernel.size
    return shares(harms, counts, sparsity)


def shares(
    harms: Mapping[str, float], sizes: Mapping[str, int], sparsity: float
) -> dict[str, float]:
    """Solve for the shares: as sqrt(size / harm), clipped, together the target."""
    names = list(harms)
    n = np.array([sizes[name] for name in names], float)
    # A layer without any measured harm still has some.
    h = np.array([harms[name] for name in names])
    slope = np.sqrt(n / np.maximum(h, 1e-6 * max(h.max(), 1e-12)))
    most = max(MOST, sparsity)
    low, high = 0.0, most / slope.min()
    for _ in range(80):
        middle = (low + high) / 2
        total = (n * np.minimum(most, middle * slope)).sum()
        low, high = (middle, high) if total < sparsity * n.sum() else (low, middle)
    found = np.minimum(most, high * slope)
    return {name: float(share) for name, share in zip(names, found, strict=True)}


def without_least(kernel: Floats, scores: Floats, share: float) -> Floats:
    """The kernel with zeros in the share of places where the scores' size is least."""
    count = round(share * kernel.size)
    result = kernel.copy().reshape(-1)
    if count:
        result[np.argpartition(np.abs(scores).reshape(-1), count - 1)[:count]] = 0
    return result.reshape(kernel.shape)


def divergence(wanted: NDArray[np.float32], given: NDArray[np.float32]) -> float:
    """Mean Kullback-Leibler divergence of probabilities (n, classes), in nats."""
    ratio = np.log(np.maximum(wanted, 1e-9)) - np.log(np.maximum(given, 1e-9))
    return float(np.mean(np.sum(wanted * ratio, axis=1)))
