"""How much each channel matters: the harm of switching it off, seen from the gradient.

A gate of 1 at every channel; the squared gradient of the loss with respect to it, averaged over
batches, estimates what closing it costs (Molchanov et al. 2019, arXiv:1906.10771, equation 8). A
batch norm's output is scale * x + offset, so the gate's gradient is scale * its gradient plus
offset * its gradient, and no gate has to be built in. Channels that are added up share one gate.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantize.keras.channels import Channels, Group
from training.fitting.step import smoothed_loss
from training.tf import keras, tf, traced
from training.untyped import Model, Tensor

Scores = list[NDArray[np.float64]]


def importance(model: Model, channels: Channels, batches: Iterable[tuple[Any, Any]]) -> Scores:
    """Score of each channel, by group; higher matters more, and one without a norm most.

    Args:
        model: float.
        channels: of the model.
        batches: images float32 (n, h, w, 3) and labels as shares (n, classes).
    """
    norms = [[model.get_layer(name) for name in _gates(model, group)] for group in channels.groups]
    variables = [v for group in norms for norm in group for v in (norm.gamma, norm.beta)]
    classes = tf.ones(model.output_shape[-1])

    @traced
    def gradients(images: Tensor, labels: Tensor) -> Tensor:
        with tf.GradientTape() as tape:
            loss = smoothed_loss(model(images, training=False), labels, classes, 0.0)
        return tape.gradient(loss, variables)

    totals = [np.zeros(group.width) for group in channels.groups]
    count = 0
    for images, labels in batches:
        slopes = iter(gradients(images, labels))
        for total, group in zip(totals, norms, strict=True):
            gate = np.zeros(len(total))
            for norm in group:
                gate += norm.gamma.numpy() * next(slopes).numpy()
                gate += norm.beta.numpy() * next(slopes).numpy()
            total += gate**2
        count += 1
    return [
        total / max(1, count) if group else np.full(len(total), np.inf)
        for total, group in zip(totals, norms, strict=True)
    ]


def _gates(model: Model, group: Group) -> list[str]:
    """The batch norms at which a channel can be closed whole: the last before it is read.

    Behind an expansion that is the depthwise one's; where outputs are added, each has its own.
    """
    kind = keras.layers.BatchNormalization
    norms = [name for name in group.carriers if isinstance(model.get_layer(name), kind)]
    return norms if len(group.writers) > 1 else norms[-1:]
