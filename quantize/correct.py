"""Bias correction: what a change of weights shifts on average is taken back, layer by layer.

Rounding a channel's few weights moves the mean of its output, and the next layers carry that on
(Nagel et al. 2019, arXiv:1906.04721, section 4.2). On photos the shift is seen directly, at the
input of each batch norm, whose mean takes it up. Costs one pass through both models.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Tensor = Any
Layer = Any
Model = Any


def correct(
    student: Model,
    model: Model,
    photos: NDArray[np.float32],
    kept: Mapping[str, NDArray[np.int64]] | None = None,
    seen: NDArray[np.float32] | None = None,
) -> float:
    """Give every batch norm of `student`, in place, the mean output that it has in `model`.

    Each layer is corrected with all before it corrected already: corrected together, their
    shares in one shift would be taken back many times over.

    Args:
        student: `model` with fake quantization or fewer channels; flat, no layer used twice.
        model: the float model that it comes from; not changed.
        photos: training photos, float32 (n, h, w, c) as the models take them.
        kept: where `student` is narrower: which channels of a batch norm of `model` it still has.
        seen: the photos as `student` takes them, where its input is smaller.

    Returns:
        Mean size of the shifts, in standard deviations of the channels.
    """
    from quantize import tfmot

    wanted: dict[str, NDArray[np.float32]] = {}
    shifts: list[float] = []

    def centred(norm: Layer, values: Tensor) -> NDArray[np.float32]:
        axes = list(range(len(values.shape) - 1))
        mean = tfmot.tf.reduce_mean(values, axis=axes).numpy()
        found: NDArray[np.float32] = mean - norm.moving_mean.numpy()
        return found

    def note(norm: Layer, values: Tensor) -> None:
        found = centred(norm, values)
        wanted[norm.name] = found[kept[norm.name]] if kept and norm.name in kept else found

    def shift(norm: Layer, values: Tensor) -> None:
        moved = centred(norm, values) - wanted[norm.name]
        norm.moving_mean.assign(norm.moving_mean.numpy() + moved)
        spread = np.sqrt(np.maximum(norm.moving_variance.numpy() + norm.epsilon, 1e-12))
        shifts.append(float(np.mean(np.abs(moved) / spread)))

    _walk(model, photos, note)
    _walk(student, photos if seen is None else seen, shift)
    return float(np.mean(shifts)) if shifts else 0.0


def _walk(
    model: Model, photos: NDArray[np.float32], at_norm: Callable[[Layer, Tensor], None]
) -> None:
    """Run a flat model a layer at a time; `at_norm` sees each batch norm's input before it runs."""
    from quantize import tfmot

    norm = tfmot.keras.layers.BatchNormalization
    inputs = {layer.name: layer.inbound_nodes[0].keras_inputs for layer in model.layers}
    uses = Counter(id(tensor) for tensors in inputs.values() for tensor in tensors)
    live = {id(model.input): tfmot.tf.constant(photos)}
    for layer in model.layers:
        if not inputs[layer.name]:
            continue
        values = [live[id(tensor)] for tensor in inputs[layer.name]]
        inner = getattr(layer, "layer", layer)
        if isinstance(inner, norm):
            at_norm(inner, values[0])
        live[id(layer.output)] = layer(values if len(values) > 1 else values[0], training=False)
        for tensor in inputs[layer.name]:
            uses[id(tensor)] -= 1
            if not uses[id(tensor)]:
                del live[id(tensor)]
