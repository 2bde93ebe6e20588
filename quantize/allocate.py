"""How much of each layer to prune, so that the whole has its sparsity at the least harm.

The same share everywhere ruins the few weights of the early layers to save almost no bytes. Here
each layer is pruned alone to one half, and the divergence of the model's answers on training photos
is its harm. The energy of the smallest share s of weights grows about as s**3, and small harms add
up, so the harm of all shares together is about sum(h * (2 s)**3); the least for a given number of
zeros has s proportional to sqrt(n / h), n being the layer's weights (Lagrange).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: No layer is pruned further than this, or below the target if that is higher.
MOST = 0.85


def allocate(
    model: Any,  # noqa: ANN401 - a Keras model
    layers: Sequence[Any],
    sparsity: float,
    photos: NDArray[np.float32],
) -> dict[str, float]:
    """Share of zeros for each layer by name; together `sparsity` of all their weights.

    Args:
        model: float32 (n, h, w, c) to logits; its weights are as before when this returns.
        layers: of the model, to be pruned.
        sparsity: target over all of them, 0..1.
        photos: to measure on, float32 (n, h, w, c) as the model takes them.
    """
    from training.tf import tf

    run = tf.function(lambda images: tf.nn.softmax(model(images, training=False)))
    before = run(photos).numpy()
    harms, sizes = {}, {}
    for layer in layers:
        weights = layer.get_weights()
        layer.set_weights([without_smallest(weights[0], 0.5), *weights[1:]])
        after = run(photos).numpy()
        layer.set_weights(weights)
        harms[layer.name] = divergence(before, after)
        sizes[layer.name] = weights[0].size
    return shares(harms, sizes, sparsity)


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


def without_smallest(kernel: NDArray[np.float32], share: float) -> NDArray[np.float32]:
    """The kernel with its smallest weights set to zero."""
    count = round(share * kernel.size)
    result = kernel.copy().reshape(-1)
    if count:
        result[np.argpartition(np.abs(result), count - 1)[:count]] = 0
    return result.reshape(kernel.shape)


def divergence(wanted: NDArray[np.float32], given: NDArray[np.float32]) -> float:
    """Mean Kullback-Leibler divergence of probabilities (n, classes), in nats."""
    ratio = np.log(np.maximum(wanted, 1e-9)) - np.log(np.maximum(given, 1e-9))
    return float(np.mean(np.sum(wanted * ratio, axis=1)))
