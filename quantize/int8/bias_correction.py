"""Bias correction: what a change of weights shifts on average is taken back, layer by layer.

Rounding a channel's few weights moves the mean of its output, and the next layers carry that on
(Nagel et al. 2019, arXiv:1906.04721, section 4.2). On photos the shift is seen directly, at the
input of each batch norm, whose mean takes it up. Costs one pass through both models.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from training.untyped import Layer, Model, Tensor

#: Of `refit`, in mean squares of a feature. With less it follows what is particular to the photos.
RIDGE = 5.0


def correct(
    student: Model,
    model: Model,
    photos: NDArray[np.float32],
    kept: Mapping[str, NDArray[np.int64]] | None = None,
    seen: NDArray[np.float32] | None = None,
) -> float:
    """Shift every batch norm of `student`, in place, to the mean output that it has in `model`.

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
    from quantize.keras import tfmot

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


def refit(
    student: Model, model: Model, batches: Iterable[NDArray[np.float32]]
) -> tuple[float, float]:
    """Fit the last layer of `student`, in place, to the logits of `model`.

    Least squares over training photos from the rounded features, with a ridge towards the weights
    that are there: what rounding does to the features in a regular way is taken back in closed
    form. Weights that are zero stay zero.

    Args:
        student: with fake quantization, ranges set; its last layer is dense, with a bias.
        model: the float model that it comes from; not changed.
        batches: training photos, float32 (n, h, w, c) as both take them.

    Returns:
        Root mean square of what the last layer is off by, in logits, before and after.
    """
    from quantize.keras import tfmot

    last = student.layers[-1]
    # Wrappers put the rounded kernel in its layer's place.
    weights, offsets = (
        next(v for v in last.trainable_variables if name in v.name) for name in ("kernel", "bias")
    )
    rounded = tfmot.keras.Model(student.input, last.input)
    parts = [(rounded(b, training=False), model(b, training=False)) for b in batches]
    features, wanted = (np.concatenate(side).astype(float) for side in zip(*parts, strict=True))
    kernel, bias = (v.numpy().astype(float) for v in (weights, offsets))
    off = wanted - (features @ kernel + bias)
    mean, shift = features.mean(axis=0), off.mean(axis=0)
    centred = features - mean
    products, against = centred.T @ centred, centred.T @ (off - shift)
    ridge = RIDGE * np.trace(products) / len(products) * np.eye(len(products))
    step = np.zeros_like(kernel)
    for used in np.unique(kernel != 0, axis=1).T:
        rows = np.flatnonzero(used)
        columns = np.flatnonzero(((kernel != 0) == used[:, None]).all(axis=0))
        normal = (products + ridge)[np.ix_(rows, rows)]
        # Not `solve`: features that are the same on every photo leave nothing to divide by.
        found = np.linalg.lstsq(normal, against[np.ix_(rows, columns)], rcond=None)[0]
        step[np.ix_(rows, columns)] = found
    weights.assign(kernel + step)
    offsets.assign(bias + shift - mean @ step)
    left = off - shift - centred @ step
    return float(np.sqrt(np.mean(off**2))), float(np.sqrt(np.mean(left**2)))


def _walk(
    model: Model, photos: NDArray[np.float32], at_norm: Callable[[Layer, Tensor], None]
) -> None:
    """Run a flat model a layer at a time; `at_norm` sees each batch norm's input before it runs."""
    from quantize.keras import tfmot

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
