"""Which channels of a network belong together, and the same network with fewer of them.

A channel cannot be taken out of one layer alone: the batch norm and depthwise kernel behind it have
one entry for it, the next convolution reads it, and an addition ties it to the channel of the same
number in every layer that is added. All that is tied is one *group*; its layers are cut alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.errors import QuantizeError
from training.tf import keras
from training.untyped import Layer, Model

Indices = NDArray[np.int64]


class Role(NamedTuple):
    """The groups at both sides of a layer; -1 is what cannot be cut (pixels, answers)."""

    reads: int
    writes: int


class Group(NamedTuple):
    """Channels that are cut alike."""

    width: int
    writers: tuple[str, ...]
    """Convolutions and dense layers that give them."""
    carriers: tuple[str, ...]
    """Batch norms and depthwise convolutions, with entries of their own for each."""
    readers: tuple[str, ...]
    """Convolutions and dense layers that sum over them."""
    linear: bool
    """Whether nothing but batch norms and additions lies between writers and readers."""


class Channels(NamedTuple):
    """A model's groups, and each weighted layer's place among them."""

    groups: tuple[Group, ...]
    roles: dict[str, Role]
    """By layer name; of convolutions, dense layers, depthwise convolutions and batch norms."""


def find_channels(model: Model) -> Channels:
    """Follow the channels of a flat Keras model from its input to its answers.

    Raises:
        QuantizeError: a layer through which channels cannot be followed; it is named.
    """
    links = _Links()
    behind: dict[int, int] = {}
    bent: list[int] = []
    apart: list[int] = []
    roles: dict[str, Role] = {}
    layers = keras.layers
    for layer in model.layers:
        inputs = [behind[id(t)] for t in layer.inbound_nodes[0].keras_inputs]
        kind = type(layer)
        if kind is layers.InputLayer:
            found = links.new()
        elif kind in (layers.Conv2D, layers.Dense) and getattr(layer, "groups", 1) == 1:
            found = links.new()
            roles[layer.name] = Role(inputs[0], found)
        elif kind is layers.BatchNormalization or _plain_depthwise(layer):
            found = inputs[0]
            roles[layer.name] = Role(found, found)
        elif kind is layers.Add:
            found = links.join(inputs)
        elif isinstance(layer, _PASSED_BY):
            found = inputs[0]
        elif kind is layers.Concatenate:  # what stands side by side stays as it is
            found = links.new()
            apart += [found, *inputs]
        else:
            raise QuantizeError(
                f"channels cannot be followed through {layer.name} ({kind.__name__}); "
                "MobileNetV1- and V2-like models are understood"
            )
        if kind not in _LINEAR:
            bent.append(found)
        behind[id(layer.output)] = found
    fixed = {links.root(at) for at in (behind[id(model.input)], behind[id(model.output)], *apart)}
    ends = {k: (links.root(a), links.root(b)) for k, (a, b) in roles.items()}
    return _collect(model, ends, fixed, {links.root(item) for item in bent})


_PASSED_BY = (
    keras.layers.ReLU,
    keras.layers.Activation,
    keras.layers.ZeroPadding2D,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.AveragePooling2D,
    keras.layers.MaxPooling2D,
    keras.layers.Dropout,
    keras.layers.Resizing,
)

_LINEAR = (
    keras.layers.Conv2D,
    keras.layers.Dense,
    keras.layers.BatchNormalization,
    keras.layers.Add,
)


def _plain_depthwise(layer: Layer) -> bool:
    return type(layer) is keras.layers.DepthwiseConv2D and layer.depth_multiplier == 1


def _collect(
    model: Model, ends: Mapping[str, tuple[int, int]], fixed: set[int], bent: set[int]
) -> Channels:
    """Number the groups in the order of the model and sort the layers into them."""
    numbers: dict[int, int] = {}
    for name in (layer.name for layer in model.layers if layer.name in ends):
        for root in ends[name]:
            if root not in fixed:
                numbers.setdefault(root, len(numbers))
    roles = {k: Role(numbers.get(a, -1), numbers.get(b, -1)) for k, (a, b) in ends.items()}
    groups = []
    for root, number in numbers.items():
        writers = [k for k, r in roles.items() if r.writes == number and r.reads != number]
        carriers = [k for k, r in roles.items() if r.writes == number and r.reads == number]
        readers = [k for k, r in roles.items() if r.reads == number and r.writes != number]
        width = model.get_layer(writers[0]).get_weights()[0].shape[-1]
        groups.append(
            Group(width, tuple(writers), tuple(carriers), tuple(readers), root not in bent)
        )
    return Channels(tuple(groups), roles)


class _Links:
    """Union-find over numbered sets of channels."""

    def __init__(self) -> None:
        self._parent: list[int] = []

    def new(self) -> int:
        self._parent.append(len(self._parent))
        return self._parent[-1]

    def root(self, item: int) -> int:
        while self._parent[item] != item:
            item = self._parent[item]
        return item

    def join(self, items: list[int]) -> int:
        roots = sorted({self.root(item) for item in items})
        for root in roots[1:]:
            self._parent[root] = roots[0]
        return roots[0]


def cut(model: Model, channels: Channels, keep: Mapping[int, Indices]) -> Model:
    """Build the model with only the channels to keep, with the weights it had.

    Args:
        model: flat Keras model; not changed.
        channels: of it.
        keep: which channels stay, ascending, by number of the group; a group not named stays whole.
    """
    smaller = shaped(model, channels, {number: len(kept) for number, kept in keep.items()})
    for name, role in channels.roles.items():
        source = model.get_layer(name)
        smaller.get_layer(name).set_weights(
            _kept(type(source), source.get_weights(), keep.get(role.reads), keep.get(role.writes))
        )
    return smaller


def shaped(model: Model, channels: Channels, widths: Mapping[int, int]) -> Model:
    """Build the model with other widths, and fresh weights.

    Args:
        model: flat Keras model; not changed.
        channels: of it.
        widths: by number of the group; a group not named stays whole.
    """

    def clone(layer: Layer) -> Layer:
        config = layer.get_config()
        role = channels.roles.get(layer.name)
        if role and role.writes != role.reads and role.writes in widths:
            kind = "units" if type(layer) is keras.layers.Dense else "filters"
            config[kind] = widths[role.writes]
        return layer.__class__.from_config(config)

    return keras.models.clone_model(model, clone_function=clone)


def _kept(
    kind: type, weights: list[Any], read: Indices | None, written: Indices | None
) -> list[Any]:
    if kind is keras.layers.BatchNormalization:
        return weights if written is None else [w[written] for w in weights]
    kernel, *bias = weights
    if kind is keras.layers.DepthwiseConv2D:
        kernel = kernel if read is None else kernel[:, :, read, :]
    else:
        # Kernels are (..., in, out).
        kernel = kernel if read is None else kernel[..., read, :]
        kernel = kernel if written is None else kernel[..., written]
    return [kernel, *(b if written is None else b[written] for b in bias)]
