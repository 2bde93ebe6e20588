"""What is really inside a TFLite file: its operators, tensor types, quantization and zeros.

Nothing here trusts what a converter was asked for. The file is read with the schema that
ai-edge-litert ships (github.com/tensorflow/tensorflow/tensorflow/compiler/mlir/lite/schema/
schema.fbs), and every operator's inputs and outputs are looked at.
"""

from __future__ import annotations

from collections import Counter
from math import prod
from typing import Any

import msgspec
import numpy as np

from edge.errors import ModelError, QuantizeError

#: Operators whose second constant input is a weight that is quantized per tensor or per channel.
WEIGHTED = {"CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "FULLY_CONNECTED": 1, "TRANSPOSE_CONV": 1}

#: Operators that may touch uint8: the converter puts them at the ends of a model with uint8 in or
#: out, where they re-label int8 levels without any real arithmetic.
BOUNDARY = frozenset({"QUANTIZE"})


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
        ModelError: the bytes are no TFLite flatbuffer.
    """
    from ai_edge_litert import schema_py_generated as schema

    if len(model) < 8 or model[4:8] != b"TFL3":
        raise ModelError("not a TFLite file: it does not carry the identifier TFL3")
    root = schema.Model.GetRootAs(model, 0)
    if root.SubgraphsLength() == 0:
        raise ModelError("the TFLite file holds no graph")
    types = _names(schema.TensorType)
    builtins = _names(schema.BuiltinOperator)
    codes = [_operator_name(root.OperatorCodes(i), builtins) for i in range(_codes(root))]
    graph = root.Subgraphs(0)
    return Graph(
        tensors=tuple(_tensor(root, graph, i, types) for i in range(graph.TensorsLength())),
        operators=tuple(_operator(graph, i, codes) for i in range(graph.OperatorsLength())),
        inputs=tuple(graph.Inputs(i) for i in range(graph.InputsLength())),
        outputs=tuple(graph.Outputs(i) for i in range(graph.OutputsLength())),
        subgraphs=root.SubgraphsLength(),
    )


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
        return [f"operator {op.index} {op.name} is no TFLite builtin"]
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


def _codes(root: Any) -> int:  # noqa: ANN401 - generated reader, untyped
    return int(root.OperatorCodesLength())


def _operator_name(code: Any, builtins: dict[int, str]) -> str:  # noqa: ANN401
    # Old writers fill only the deprecated byte, new ones both: the larger is the code.
    number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    name = builtins.get(number, f"BUILTIN_{number}")
    if name == "CUSTOM":
        custom = code.CustomCode()
        return f"CUSTOM {custom.decode(errors='replace') if custom else '?'}"
    return name


def _operator(graph: Any, index: int, codes: list[str]) -> Operator:  # noqa: ANN401
    op = graph.Operators(index)
    return Operator(
        index=index,
        name=codes[op.OpcodeIndex()],
        inputs=tuple(i for k in range(op.InputsLength()) if (i := op.Inputs(k)) >= 0),
        outputs=tuple(op.Outputs(k) for k in range(op.OutputsLength())),
    )


_DTYPES = {"INT8": np.int8, "UINT8": np.uint8, "INT32": np.int32, "FLOAT32": np.float32,
           "INT64": np.int64, "INT16": np.int16, "FLOAT16": np.float16}  # fmt: skip


def _tensor(root: Any, graph: Any, index: int, types: dict[int, str]) -> Tensor:  # noqa: ANN401
    raw = graph.Tensors(index)
    dtype = types.get(raw.Type(), f"TYPE_{raw.Type()}")
    quantization = raw.Quantization()
    scales: tuple[float, ...] = ()
    zero_points: tuple[int, ...] = ()
    if quantization is not None:
        scales = tuple(float(quantization.Scale(i)) for i in range(quantization.ScaleLength()))
        zero_points = tuple(
            int(quantization.ZeroPoint(i)) for i in range(quantization.ZeroPointLength())
        )
    data = None
    buffer = root.Buffers(raw.Buffer())
    if buffer is not None and buffer.DataLength() > 0:
        data = buffer.DataAsNumpy().view(_DTYPES.get(dtype, np.uint8))
    return Tensor(
        index=index,
        name=(raw.Name() or b"").decode(errors="replace"),
        shape=tuple(raw.Shape(i) for i in range(raw.ShapeLength())),
        dtype=dtype,
        scales=scales,
        zero_points=zero_points,
        data=data,
    )
