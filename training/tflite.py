"""The graph of a TFLite file, read without an interpreter: operators, tensors, their values.

Field numbers are those of TensorFlow's ``schema.fbs``; operators and types are called as in the
copy of it that ai-edge-litert ships.
"""

from __future__ import annotations

from collections import Counter
from math import prod
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.errors import ModelError
from edge.model.tflite.facts import operator_code
from edge.model.tflite.flatbuffer import Table, guarded


class Tensor(msgspec.Struct, frozen=True, kw_only=True):
    """One tensor of a graph. `data` holds the values of a constant, else None."""

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str  # the schema's name: INT8, FLOAT32, ...
    scales: tuple[float, ...] = ()
    zero_points: tuple[int, ...] = ()
    axis: int = 0
    """Along which there is a scale for each channel, where there are several."""
    data: Any = None

    @property
    def constant(self) -> bool:
        """Whether the file holds this tensor's values."""
        return self.data is not None

    def real(self) -> NDArray[np.float32]:
        """A constant's values as they are meant, in its shape: (level - zero point) * scale.

        Raises:
            ModelError: they are not in the file, or fewer or more than the shape says.
        """
        if self.data is None or self.data.size != prod(self.shape):
            raise ModelError(f"tensor {self.name!r}: its {self.shape} values are not in the file")
        values: NDArray[np.float32] = self.data.reshape(self.shape).astype(np.float32)
        if not self.scales:
            return values
        spread = [1] * len(self.shape)
        if len(self.scales) > 1:
            spread[self.axis] = -1
        zeros = np.asarray(self.zero_points or (0,) * len(self.scales), np.float32)
        scales = np.asarray(self.scales, np.float32)
        real: NDArray[np.float32] = (values - zeros.reshape(spread)) * scales.reshape(spread)
        return real


class Operator(msgspec.Struct, frozen=True, kw_only=True):
    """One operator with the indices of its tensors (absent optional inputs left out)."""

    index: int
    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Table | None = None
    """The table of its own, as ``Conv2DOptions``."""


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


def read_graph(model: bytes) -> Graph:
    """Read the main subgraph of a TFLite file.

    Raises:
        ModelError: not a TFLite file, or a damaged one.
    """
    return guarded(model, lambda root: _graph(model, root))


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
                options=operator.table(4),
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
        axis=quantization.number(6, "i") if quantization else 0,
        data=data if size else None,
    )
