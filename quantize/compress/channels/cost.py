"""What a network costs, as a function of the widths of its channel groups."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from quantize.keras.channels import Channels
from training.tf import keras
from training.untyped import Model

#: A convolution over pixels and channels, over channels alone (or a dense layer), over pixels.
Kind = Literal["spatial", "point", "depthwise"]
Price = Callable[[Sequence[int]], float]
"""Cost of a network with such widths, by group."""


class Term(NamedTuple):
    """What decides a layer's cost."""

    kind: Kind
    taps: int
    """Pixels under the kernel."""
    places_in: int
    places_out: int
    """Pixels of the input and the output; 1 for a dense layer."""
    fixed_in: int
    fixed_out: int
    """Channels where these are no group, else 1."""
    reads: int
    writes: int

    def channels(self, widths: Sequence[int]) -> tuple[int, int]:
        """Channels it reads and writes."""
        read = self.fixed_in if self.reads < 0 else widths[self.reads]
        return read, self.fixed_out if self.writes < 0 else widths[self.writes]


def terms(model: Model, channels: Channels) -> tuple[Term, ...]:
    """One for each convolution and dense layer, in the order of the model."""
    found = []
    for name, role in channels.roles.items():
        layer = model.get_layer(name)
        if type(layer) is keras.layers.BatchNormalization:
            continue
        *spatial, read, written = layer.get_weights()[0].shape
        depthwise = type(layer) is keras.layers.DepthwiseConv2D
        taps = _product(spatial)
        found.append(
            Term(
                "depthwise" if depthwise else "point" if taps == 1 else "spatial",
                taps,
                _product(layer.input_shape[1:-1]),
                _product(layer.output_shape[1:-1]),
                1 if role.reads >= 0 else read,
                1 if role.writes >= 0 else written,
                role.reads,
                role.writes,
            )
        )
    return tuple(found)


def macs(costs: Sequence[Term], widths: Sequence[int]) -> float:
    """Multiply-adds of one picture."""
    return float(sum(layer_macs(term, widths) for term in costs))


def weights(costs: Sequence[Term], widths: Sequence[int]) -> float:
    """Weights in all kernels; biases and batch norms are not counted."""
    return float(sum(layer_macs(term, widths) / term.places_out for term in costs))


def layer_macs(term: Term, widths: Sequence[int]) -> int:
    """Multiply-adds of one layer for one picture."""
    read, written = term.channels(widths)
    return term.places_out * term.taps * (read if term.kind == "depthwise" else read * written)


def layer_moved(term: Term, widths: Sequence[int]) -> int:
    """Activations that one layer reads and writes for one picture."""
    read, written = term.channels(widths)
    return term.places_in * read + term.places_out * written


def _product(sizes: Sequence[int]) -> int:
    result = 1
    for size in sizes:
        result *= size
    return result
