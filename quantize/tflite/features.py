"""The pooled features of a classifier as a second output; nothing more is computed for it."""

from __future__ import annotations

from edge.errors import QuantizeError
from edge.model.runtimes import FEATURES
from quantize.tflite.metadata import packed


def with_features(model: bytes) -> bytes:
    """The model with what its last dense layer reads, int8 (1, d), as a further output.

    Weights, operators and the first output are as they were.

    Raises:
        QuantizeError: it does not end in a dense layer, or has several outputs already.
    """
    from ai_edge_litert import schema_py_generated as schema

    tree = schema.ModelT.InitFromPackedBuf(model, 0)
    graph = tree.subgraphs[0]
    dense = [o for o in graph.operators if _code(tree, o) == schema.BuiltinOperator.FULLY_CONNECTED]
    if not dense or len(graph.outputs) != 1:
        raise QuantizeError(
            "the unknown rule needs a model with one output that ends in a dense layer; this one "
            f"has {len(graph.outputs)} outputs and {len(dense)} dense layers"
        )
    index = int(dense[-1].inputs[0])
    graph.tensors[index].name = FEATURES
    graph.outputs = [int(graph.outputs[0]), index]
    for signature in tree.signatureDefs or ():
        _describe(signature, schema, index)
    return packed(tree)


def _code(tree: object, operator: object) -> int:
    code = tree.operatorCodes[operator.opcodeIndex]  # type: ignore[attr-defined]
    return int(max(code.builtinCode, code.deprecatedBuiltinCode))


def _describe(signature: object, schema: object, index: int) -> None:
    entry = schema.TensorMapT()  # type: ignore[attr-defined]
    entry.name, entry.tensorIndex = FEATURES, index
    signature.outputs = [*signature.outputs, entry]  # type: ignore[attr-defined]
