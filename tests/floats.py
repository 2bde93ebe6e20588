"""Float TFLite models of one pixel: scores are a matrix times its colours, plus a bias."""

from __future__ import annotations

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

_OPERATORS = {
    "softmax": (schema.BuiltinOperator.SOFTMAX, schema.BuiltinOptions.SoftmaxOptions),
    "logistic": (schema.BuiltinOperator.LOGISTIC, schema.BuiltinOptions.NONE),
}


def model(
    weights: object,
    bias: object,
    ending: str = "",
    shape: tuple[int, ...] = (1, 1, 1, 3),
    signature: tuple[int, ...] = (),
) -> bytes:
    """A model: `weights` (scores, 3), `bias` (scores,), `ending` softmax, logistic or none.

    `signature` is the input's shape with -1 for sizes that are left open.
    """
    matrix, added = np.array(weights, np.float32), np.array(bias, np.float32)
    buffers = [schema.BufferT(), schema.BufferT(), schema.BufferT()]
    for buffer, values in zip(buffers[1:], (matrix, added), strict=True):
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)
    scores = (1, len(added))
    tensors = [
        _tensor("picture", shape),
        _tensor("w", matrix.shape, 1),
        _tensor("b", added.shape, 2),
    ]
    tensors[0].shapeSignature = list(signature) or None
    tensors.append(_tensor("logits", scores))
    connected = schema.FullyConnectedOptionsT()
    operators = [_operator(0, [0, 1, 2], 3, schema.BuiltinOptions.FullyConnectedOptions, connected)]
    codes = [_code(schema.BuiltinOperator.FULLY_CONNECTED)]
    if ending:
        code, kind = _OPERATORS[ending]
        codes.append(_code(code))
        options = schema.SoftmaxOptionsT() if ending == "softmax" else None
        if options:
            options.beta = 1.0
        tensors.append(_tensor("probabilities", scores))
        operators.append(_operator(1, [3], 4, kind, options))
    graph = schema.SubGraphT()
    graph.tensors, graph.operators = tensors, operators
    graph.inputs, graph.outputs = [0], [len(tensors) - 1]
    whole = schema.ModelT()
    whole.version, whole.subgraphs, whole.buffers, whole.operatorCodes = 3, [graph], buffers, codes
    builder = flatbuffers.Builder(1024)
    builder.Finish(whole.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _tensor(name: str, shape: tuple[int, ...], buffer: int = 0) -> schema.TensorT:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.buffer = name, list(shape), buffer
    tensor.type = schema.TensorType.FLOAT32
    return tensor


def _code(number: int) -> object:
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = number
    code.version = 1
    return code


def _operator(code: int, inputs: list[int], output: int, kind: int, options: object) -> object:
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = code, inputs, [output]
    operator.builtinOptionsType, operator.builtinOptions = kind, options
    return operator
