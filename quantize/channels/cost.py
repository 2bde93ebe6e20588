"""What a network costs, as a function of the widths of its channel groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from quantize.channels.graph import Channels
from training.tf import keras


class Term(NamedTuple):
    """A layer's cost: `each` times the widths it reads and writes, where these are groups."""

    each_macs: float
    """Multiply-adds for one input channel and one output channel."""
    each_weights: float
    reads: int
    writes: int


def terms(model: Any, channels: Channels) -> tuple[Term, ...]:  # noqa: ANN401 - a Keras model
    """One term for each convolution and dense layer; widths that are no group are folded in."""
    found = []
    for name, role in channels.roles.items():
        layer = model.get_layer(name)
        if type(layer) is keras.layers.BatchNormalization:
            continue
        kernel = layer.get_weights()[0]
        places = 1
        for size in layer.output_shape[1:-1]:
            places *= size
        if type(layer) is keras.layers.DepthwiseConv2D:
            taps = kernel.shape[0] * kernel.shape[1]
            found.append(Term(places * taps, taps, role.reads, -1))
            continue
        taps = kernel.size // (kernel.shape[-1] * kernel.shape[-2])
        fixed = (kernel.shape[-2] if role.reads < 0 else 1) * (
            kernel.shape[-1] if role.writes < 0 else 1
        )
        found.append(Term(places * taps * fixed, taps * fixed, role.reads, role.writes))
    return tuple(found)


def macs(costs: Sequence[Term], widths: Sequence[int]) -> float:
    """Multiply-adds of one picture."""
    return sum(t.each_macs * _width(t.reads, widths) * _width(t.writes, widths) for t in costs)


def weights(costs: Sequence[Term], widths: Sequence[int]) -> float:
    """Weights in all kernels; biases and batch norms are not counted."""
    return sum(t.each_weights * _width(t.reads, widths) * _width(t.writes, widths) for t in costs)


def _width(group: int, widths: Sequence[int]) -> int:
    return 1 if group < 0 else widths[group]
