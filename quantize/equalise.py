"""Bring the channels of kernels in front of batch norms to one range; the model stays the same."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def equalise(model: Any) -> int:  # noqa: ANN401
    """Scale every channel of the kernels that feed a batch norm to a largest weight of 1, in place.

    With kernel k and factor s per channel, batch norm of s*y with mean s*m and variance
    s**2 * (v + eps) - eps gives exactly what it gave for y. One int8 step is then 1/127 in every
    such layer, so one learning rate suits them all, and a depthwise kernel loses nothing by having
    a single scale.

    Returns:
        How many layers were scaled.
    """
    from quantize import tfmot

    layers, done = tfmot.keras.layers, 0
    for layer in model.layers:
        if type(layer) not in (layers.Conv2D, layers.DepthwiseConv2D) or layer.use_bias:
            continue
        nodes = layer.outbound_nodes
        if len(nodes) != 1 or type(nodes[0].outbound_layer) is not layers.BatchNormalization:
            continue
        kernel = layer.get_weights()[0]  # (h, w, in, out), or (h, w, in, multiplier)
        size = np.abs(kernel).max(
            axis=(0, 1) if type(layer) is layers.DepthwiseConv2D else (0, 1, 2)
        )
        # A dead channel stays as it is: nothing is gained by blowing up what is almost zero.
        factor = np.where(size > 1e-6, 1 / np.maximum(size, 1e-12), 1.0)
        layer.set_weights([kernel * factor])
        _scale_statistics(nodes[0].outbound_layer, factor.reshape(-1))
        done += 1
    return done


def _scale_statistics(norm: Any, factor: NDArray[np.float64]) -> None:  # noqa: ANN401
    norm.moving_mean.assign(norm.moving_mean.numpy() * factor)
    variance = norm.moving_variance.numpy()
    norm.moving_variance.assign((variance + norm.epsilon) * factor**2 - norm.epsilon)
