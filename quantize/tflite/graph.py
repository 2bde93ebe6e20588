"""Layers, operators, activations and weights of a TFLite graph: what is really inside.

Nothing here trusts what a converter was asked for: every operator's inputs and outputs are looked
at.
"""

from __future__ import annotations

from math import prod
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.errors import QuantizeError
from training.tflite import Graph, Operator, Tensor

#: Operators whose second constant input is a weight that is quantized per tensor or per channel.
WEIGHTED = {"CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "FULLY_CONNECTED": 1, "TRANSPOSE_CONV": 1}

#: Operators that may touch uint8: the converter puts them at the ends of a model with uint8 in or
#: out, where they re-label int8 levels without any real arithmetic.
BOUNDARY = frozenset({"QUANTIZE"})

#: 2:4, as sparse tensor hardware reads it: of so many neighbours along the input channels ...
BLOCK = 4
#: ... at most so many are not zero.
KEPT = 2


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """The weights of one convolution or dense operator."""

    operator: int
    kind: str
    name: str
    shape: tuple[int, ...]
    size: int
    zeros: int
    weights: Any
    """int8 less the zero point, in the file's shape: (out, h, w, in), depthwise (1, h, w, out),
    dense (out, in)."""

    @property
    def levels(self) -> int:
        """How many different int8 values there are."""
        return int(np.unique(self.weights).size)

    @property
    def sparsity(self) -> float:
        """Share of the weights that are exactly zero, 0 to 1."""
        return self.zeros / self.size


def check_all_int8(graph: Graph) -> None:
    """Refuse a graph in which any operator reads or writes anything but int8 values.

    Allowed besides int8: int32 constants (biases, shapes, axes, paddings), and uint8 on one side
    of a QUANTIZE at the model's ends. Every int8 tensor must carry a scale.

    Raises:
        QuantizeError: naming each offending operator, tensor and type.
    """
    wrong = [line for op in graph.operators for line in _complaints(graph, op)]
    if graph.subgraphs != 1:
        wrong.append(f"{graph.subgraphs} subgraphs; an int8 classifier has one")
    if wrong:
        shown = "\n  ".join(wrong[:12])
        more = f"\n  and {len(wrong) - 12} more" if len(wrong) > 12 else ""
        raise QuantizeError(
            f"the converted model is not int8 throughout:\n  {shown}{more}\n"
            "Replace the layers named (ReLU6 instead of swish, no Lambda or Rescaling inside the "
            "model, softmax left to the device) and quantize again."
        )


def layers(graph: Graph) -> tuple[Layer, ...]:
    """Sizes and exact zeros of every int8 weight tensor, in execution order."""
    found = []
    for op in graph.operators:
        position = WEIGHTED.get(op.name)
        if position is None or position >= len(op.inputs):
            continue
        tensor = graph.tensors[op.inputs[position]]
        if not tensor.constant or tensor.dtype != "INT8":
            continue
        weights = tensor.data.astype(np.int16) - (tensor.zero_points or (0,))[0]
        found.append(
            Layer(
                operator=op.index,
                kind=op.name,
                name=tensor.name,
                shape=tensor.shape,
                size=weights.size,
                zeros=int(np.count_nonzero(weights == 0)),
                weights=weights.reshape(tensor.shape),
            )
        )
    return tuple(found)


def most_in_block(weights: NDArray[Any]) -> int:
    """Most weights that are not zero in any block of four neighbours along the last axis.

    A last block may be shorter. Any shape; the last axis is the input channels.
    """
    rows = weights.reshape(-1, weights.shape[-1]) != 0
    padded = np.pad(rows, ((0, 0), (0, -rows.shape[1] % BLOCK)))
    return int(padded.reshape(len(rows), -1, BLOCK).sum(axis=2).max(initial=0))


def macs(graph: Graph) -> int:
    """Multiply-adds of the convolutions and dense layers for one picture."""
    total = 0
    for op in graph.operators:
        position = WEIGHTED.get(op.name)
        if position is None or op.name == "TRANSPOSE_CONV":
            continue
        weights = graph.tensors[op.inputs[position]].shape
        places = prod(graph.tensors[op.outputs[0]].shape[1:-1])
        # Kernels are (out, h, w, in), depthwise ones (1, h, w, out), dense ones (out, in).
        total += places * prod(weights)
    return total


def _complaints(graph: Graph, op: Operator) -> list[str]:
    if op.name.startswith("CUSTOM"):
        return [f"operator {op.index} {op.name} is not a TFLite builtin"]
    lines = []
    for side, indices in (("reads", op.inputs), ("writes", op.outputs)):
        for index in indices:
            tensor = graph.tensors[index]
            why = _wrong(tensor, op)
            if why:
                lines.append(f"operator {op.index} {op.name} {side} {why}: {tensor.name!r}")
    return lines


def _wrong(tensor: Tensor, op: Operator) -> str:
    if tensor.dtype == "INT8":
        return "" if tensor.scales else "int8 without a scale"
    if tensor.dtype == "INT32" and tensor.constant:
        return ""
    if tensor.dtype == "UINT8" and op.name in BOUNDARY:
        return ""
    return tensor.dtype.lower()
