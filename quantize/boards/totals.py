"""What a network adds up to for one picture: the sums that decide its time."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import NamedTuple

from quantize.tflite.graph import WEIGHTED
from training.tflite import Graph, Operator


class Totals(NamedTuple):
    """Sums over operators."""

    macs: float = 0
    """Multiply-adds of convolutions over channels and of dense layers."""
    depthwise: float = 0
    """Multiply-adds of depthwise convolutions."""
    moved: float = 0
    """Activations read and written."""
    operators: float = 0
    weights: float = 0
    """Bytes of constants at one byte a weight."""

    def plus(self, other: Totals) -> Totals:
        """Both together."""
        return Totals(*(a + b for a, b in zip(self, other, strict=True)))


def of_graph(graph: Graph, numbers: Iterable[int] | None = None) -> Totals:
    """Totals of a TFLite graph.

    Args:
        graph: as `read_graph` gives it.
        numbers: only these operators, by their index; default: all.
    """
    chosen = None if numbers is None else set(numbers)
    total = Totals()
    for op in graph.operators:
        if chosen is None or op.index in chosen:
            total = total.plus(_of_operator(graph, op))
    return total


def _of_operator(graph: Graph, op: Operator) -> Totals:
    tensors = [graph.tensors[i] for i in (*op.inputs, *op.outputs)]
    moved = sum(prod(t.shape) for t in tensors if not t.constant)
    held = sum(t.data.size for t in tensors if t.constant)
    position = WEIGHTED.get(op.name)
    macs = 0
    if position is not None:
        # Kernels are (out, h, w, in), depthwise ones (1, h, w, out), dense ones (out, in);
        # a transposed convolution passes its kernel over the pixels of its input.
        side = op.inputs[2] if op.name == "TRANSPOSE_CONV" else op.outputs[0]
        places = prod(graph.tensors[side].shape[1:-1])
        macs = places * prod(graph.tensors[op.inputs[position]].shape)
    if op.name == "DEPTHWISE_CONV_2D":
        return Totals(depthwise=macs, moved=moved, operators=1, weights=held)
    return Totals(macs=macs, moved=moved, operators=1, weights=held)
