"""Bring the channels of kernels and of activations to one range; the model stays the same."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.errors import QuantizeError
from training.untyped import Layer, Model

#: Scale of a batch norm that is as good as zero. At zero itself the converter fails.
LEAST_SCALE = 1e-6
#: No channel is blown up or made smaller by more than this: one that is almost never seen says
#: little of its range.
MOST_LEVELLING = 16.0


def equalise(model: Model, kinds: Collection[str] = ("Conv2D", "DepthwiseConv2D")) -> int:
    """Scale every channel of the kernels that feed a batch norm to a largest weight of 1, in place.

    With kernel k and factor s per channel, batch norm of s*y with mean s*m and variance
    s**2 * (v + eps) - eps gives exactly what it gave for y. One int8 step is then 1/127 in every
    such layer, so one learning rate suits them all, and a depthwise kernel loses nothing by having
    a single scale.

    Args:
        model: flat.
        kinds: of layers that are scaled; all others are left alone.

    Returns:
        How many layers were scaled.
    """
    found = list(normed(model, kinds))
    for layer, norm in found:
        kernel = layer.get_weights()[0]  # (h, w, in, out), or (h, w, in, multiplier)
        depthwise = type(layer).__name__ == "DepthwiseConv2D"
        size = np.abs(kernel).max(axis=(0, 1) if depthwise else (0, 1, 2))
        # A dead channel stays as it is: nothing is gained by blowing up what is almost zero.
        factor = np.where(size > 1e-6, 1 / np.maximum(size, 1e-12), 1.0)
        layer.set_weights([kernel * factor])
        _scale_statistics(norm, factor.reshape(-1))
    return len(found)


def level(model: Model, batches: Sequence[NDArray[np.float32]]) -> int:
    """Scale the channels of linear activations to one largest value on photos, in place.

    An activation has one int8 scale for all its channels, so the widest channel sets the rounding
    of all others. Between convolutions with no ReLU6 in between (MobileNetV2's bottlenecks and
    their sums) a channel may be scaled in the batch norms that give it and scaled back in the
    kernels that read it (cross-layer equalisation, Nagel et al. 2019, arXiv:1906.04721, section
    4.1, by what is seen on photos instead of by weights).

    Args:
        model: flat. One with layers that channels cannot be followed through stays as it is.
        batches: training photos, float32 (n, h, w, c) as the model takes them.

    Returns:
        How many groups of channels were scaled.
    """
    from quantize.keras.channels import find_channels

    try:
        found = find_channels(model).groups
    except QuantizeError:
        return 0
    groups = [
        group
        for group in found
        if group.linear
        and len(group.carriers) == len(group.writers)
        and all(model.get_layer(name).scale for name in group.carriers)
        and all(model.get_layer(name).center for name in group.carriers)
    ]
    for group, widest in zip(groups, _largest(model, groups, batches), strict=True):
        factor = np.where(widest > 0, np.median(widest) / np.maximum(widest, 1e-12), 1.0)
        factor = np.clip(factor, 1 / MOST_LEVELLING, MOST_LEVELLING)
        for norm in map(model.get_layer, group.carriers):
            norm.gamma.assign(norm.gamma.numpy() * factor)
            norm.beta.assign(norm.beta.numpy() * factor)
        for reader in map(model.get_layer, group.readers):
            kernel, *bias = reader.get_weights()  # (..., in, out)
            reader.set_weights([kernel / factor[:, None], *bias])
    return len(groups)


def _largest(
    model: Model, groups: Sequence[Any], batches: Sequence[NDArray[np.float32]]
) -> list[NDArray[np.float64]]:
    """Largest size of each channel of each group, in what is given and in what is read."""
    from quantize.keras import tfmot

    if not groups:
        return []
    tensors = [
        [model.get_layer(name).output for name in group.carriers]
        + [model.get_layer(name).input for name in group.readers]
        for group in groups
    ]
    probe = tfmot.keras.Model(model.input, tensors)
    largest = [np.zeros(group.width) for group in groups]
    for batch in batches:
        for k, values in enumerate(probe(batch, training=False)):
            for value in values:
                size = np.abs(value.numpy()).reshape(-1, groups[k].width).max(axis=0)
                largest[k] = np.maximum(largest[k], size)
    return largest


def turn_upright(model: Model) -> frozenset[str]:
    """Make the scales of batch norms behind convolutions positive, in place, by turning kernels.

    The converter multiplies a kernel by its batch norm's scale. Negative in some channels, it would
    give every value a second int8 level, of the other sign. With kernel, mean and scale negated the
    model gives what it gave.

    Returns:
        Names of these batch norms, for `hold_upright`.
    """
    names = []
    for layer, norm in normed(model, ("Conv2D",)):
        if norm.gamma is None:
            continue
        sign = np.where(norm.gamma.numpy() < 0, np.float32(-1), np.float32(1))
        layer.set_weights([layer.get_weights()[0] * sign])
        norm.moving_mean.assign(norm.moving_mean.numpy() * sign)
        norm.gamma.assign(norm.gamma.numpy() * sign)
        names.append(norm.name)
    return frozenset(names)


def hold_upright(model: Model, names: Collection[str]) -> None:
    """Lift scales that training pushed to zero or below, in place; they were next to it before.

    Args:
        model: may have wrappers around its layers.
        names: from `turn_upright`.
    """
    for layer in model.layers:
        inner = getattr(layer, "layer", layer)
        if inner.name in names:
            inner.gamma.assign(np.maximum(inner.gamma.numpy(), LEAST_SCALE))


def normed(model: Model, kinds: Collection[str]) -> Iterator[tuple[Any, Any]]:
    """Layers without a bias that feed one batch norm and nothing else, with it."""
    from quantize.keras import tfmot

    for layer in model.layers:
        if type(layer).__name__ not in kinds or layer.use_bias:
            continue
        nodes = layer.outbound_nodes
        if len(nodes) == 1:
            norm = nodes[0].outbound_layer
            if type(norm) is tfmot.keras.layers.BatchNormalization:
                yield layer, norm


def _scale_statistics(norm: Layer, factor: NDArray[np.float64]) -> None:
    norm.moving_mean.assign(norm.moving_mean.numpy() * factor)
    variance = norm.moving_variance.numpy()
    norm.moving_variance.assign((variance + norm.epsilon) * factor**2 - norm.epsilon)
