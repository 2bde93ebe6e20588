"""What is really inside a TFLite file: its operators, tensor types, quantization and zeros.

Nothing here trusts what a converter was asked for: every operator's inputs and outputs are looked
at. Field numbers are those of TensorFlow's ``schema.fbs``; operators and types are called as in the
copy of it that ai-edge-litert ships.
"""

from __future__ import annotations

from collections import Counter
from math import prod
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.errors import ModelError, QuantizeError
from edge.model.tflite.facts import operator_code
from edge.model.tflite.flatbuffer import Table, guarded

#: Operators whose second constant input is a weight that is quantized per tensor or per channel.
WEIGHTED = {"CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "FULLY_CONNECTED": 1, "TRANSPOSE_CONV": 1}

#: Operators that may touch uint8: the converter puts them at the ends of a model with uint8 in or
#: out, where they re-label int8 levels without any real arithmetic.
BOUNDARY = frozenset({"QUANTIZE"})

#: 2:4, as sparse tensor hardware reads it: of so many neighbours along the input channels ...
BLOCK = 4
#: ... at most so many are not zero.
KEPT = 2


class Tensor(msgspec.Struct, frozen=True, kw_only=True):
    """One tensor of a graph. `data` holds the values of a constant, else None."""

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str  # the schema's name: INT8, FLOAT32, ...
    scales: tuple[float, ...] = ()
    zero_points: tuple[int, ...] = ()
    data: Any = None

    @property
    def constant(self) -> bool:
        """Whether the file holds this tensor's values."""
        return self.data is not None


class Operator(msgspec.Struct, frozen=True, kw_only=True):
    """One operator with the indices of its tensors (absent optional inputs left out)."""

    index: int
    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


class Graph(msgspec.Struct, frozen=True, kw_only=True):
    """The main subgraph of a TFLite file, and how many subgraphs there are."""

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    subgraphs: int = 1

    def operator_counts(self) -> dict[str, int]:
        """Builtin operator names and how often each is used, most frequent first."""
        return dict(Counter(op.name for op in self.operators).most_common())


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


def read_graph(model: bytes) -> Graph:
    """Read the main subgraph of a TFLite file.

    Raises:
        ModelError: not a TFLite file, or a damaged one.
    """
    return guarded(model, lambda root: _graph(model, root))


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


def _names(enumeration: type) -> dict[int, str]:
    return {v: k for k, v in vars(enumeration).items() if isinstance(v, int)}


def _graph(model: bytes, root: Table) -> Graph:
    from ai_edge_litert import schema_py_generated as schema

    graphs, buffers = root.tables(2), root.tables(4)
    if not graphs:
        raise ModelError("damaged TFLite model: it holds no graph")
    graph, types, builtins = graphs[0], _names(schema.TensorType), _names(schema.BuiltinOperator)
    codes = [_operator_name(code, builtins) for code in root.tables(1)]
    return Graph(
        tensors=tuple(
            _tensor(model, index, tensor, types, buffers)
            for index, tensor in enumerate(graph.tables(0))
        ),
        operators=tuple(
            Operator(
                index=index,
                name=codes[operator.number(0, "I")],
                inputs=tuple(i for i in operator.integers(1, "i") if i >= 0),
                outputs=operator.integers(2, "i"),
            )
            for index, operator in enumerate(graph.tables(3))
        ),
        inputs=graph.integers(1, "i"),
        outputs=graph.integers(2, "i"),
        subgraphs=len(graphs),
    )


def _operator_name(code: Table, builtins: dict[int, str]) -> str:
    number = operator_code(code)
    name = builtins.get(number, f"BUILTIN_{number}")
    return f"CUSTOM {code.text(1) or '?'}" if name == "CUSTOM" else name


_DTYPES = {"INT8": np.int8, "UINT8": np.uint8, "INT32": np.int32, "FLOAT32": np.float32,
           "INT64": np.int64, "INT16": np.int16, "FLOAT16": np.float16}  # fmt: skip


def _tensor(
    model: bytes, index: int, tensor: Table, types: dict[int, str], buffers: list[Table]
) -> Tensor:
    number, quantization = tensor.number(1, "b"), tensor.table(4)
    dtype = types.get(number, f"TYPE_{number}")
    start, size = buffers[tensor.number(2, "I")].vector(0)
    data = np.frombuffer(model, np.uint8, size, start).view(_DTYPES.get(dtype, np.uint8))
    return Tensor(
        index=index,
        name=tensor.text(3),
        shape=tensor.integers(0, "i"),
        dtype=dtype,
        scales=quantization.numbers(2, "f") if quantization else (),
        zero_points=quantization.integers(3, "q") if quantization else (),
        data=data if size else None,
    )
