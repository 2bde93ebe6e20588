"""Start weights from a TFLite classifier whose batch norms are folded into its convolutions.

A folded convolution has a kernel and a bias. What is pruned, equalised and corrected later needs
its batch norm: each output channel's kernel is brought to length 1, its length becomes the norm's
gamma and the bias its beta, while mean 0 and variance 1 - epsilon leave everything else as it was.
So the network computes what the file says, whatever the batch norms once were.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.errors import TrainingError
from edge.model.tflite import facts as tflite_file
from edge.model.tflite.facts import TFLiteFacts
from training.inverted import MOBILENET_V2_WIDTHS, RELU6, NetLayer, published
from training.starts.tensors import Tensors, numbered
from training.tflite import Graph, Operator, read_graph

#: Of the batch norms of both architectures.
EPSILON = 1e-3
#: Gamma of channels that are always zero: a batch norm divides by none.
LEAST = 1e-6
_POOLS = ("MEAN", "AVERAGE_POOL_2D")
#: Operators that change no value, or only where the values lie.
_SEE_THROUGH = ("QUANTIZE", "DEQUANTIZE", "PAD")
_ACTIVATIONS = {0: "", 1: "ReLU", 3: RELU6}
#: How far pictures may lie off -1..1: 1/128 for 2/255 makes 0.008.
_NEAR = 0.02


class Folded(NamedTuple):
    """What was found in a file."""

    settings: dict[str, Any]
    """Of a recipe that takes the tensors: model, and alpha or variant."""
    side: int
    """Pixels of the pictures that the file takes."""
    tensors: Tensors
    scaling_known: bool
    """Whether the file says that it takes pictures as -1..1; if not, it says nothing of it."""


class _Convolution(NamedTuple):
    """One layer as the file has it; an addition has no values."""

    name: str
    layer: NetLayer
    kernel: NDArray[np.float32]
    bias: NDArray[np.float32]


def unfold(model: bytes) -> Folded:
    """Start weights of a TFLite MobileNetV2 or EfficientNet-Lite: float, uint8 or int8.

    Raises:
        ModelError: it is no TFLite file, or a damaged one.
        TrainingError: it is of another network, or takes pictures otherwise; the first layer or
            operator that differs is named.
    """
    graph, facts = read_graph(model), tflite_file.read(model)
    found = list(_convolutions(graph))
    settings = _network(found)
    pictures = _pictures(graph, facts)
    if pictures is not None and max(abs(pictures[0] + 1), abs(pictures[1] - 1)) > _NEAR:
        low, high = pictures
        raise TrainingError(
            f"its first convolution takes pictures as {low:.3g}..{high:.3g}, ours take -1..1: with "
            "these weights they would see something else"
        )
    return Folded(settings, facts.inputs[0].shape[1], _tensors(found), pictures is not None)


def _pictures(graph: Graph, facts: TFLiteFacts) -> tuple[float, float] | None:
    """What black and white are before the first convolution; None: the file does not say."""
    tensor = facts.inputs[0]
    if tensor.dtype in ("uint8", "int8"):
        first = 0 if tensor.dtype == "uint8" else -128
        ends = [(level - tensor.zero_point) * tensor.scale for level in (first, first + 255)]
    elif facts.mean and facts.std and len({*facts.mean}) == len({*facts.std}) == 1:
        ends = [(level - facts.mean[0]) / facts.std[0] for level in (0, 255)]
    else:
        return None
    for op in graph.operators:
        if op.name in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            break
        ends = [_after(op, graph, value) for value in ends]
    return ends[0], ends[1]


def _after(op: Operator, graph: Graph, value: float) -> float:
    """What an operator before the first convolution makes of a value."""
    if op.name in _SEE_THROUGH:
        return value
    constants = [graph.tensors[i] for i in op.inputs if graph.tensors[i].constant]
    if op.name not in ("MUL", "ADD", "SUB") or [t.data.size for t in constants] != [1]:
        raise TrainingError(_misplaced(op, graph))
    by = float(constants[0].real().reshape(()))
    return {"MUL": value * by, "ADD": value + by, "SUB": value - by}[op.name]


def _convolutions(graph: Graph) -> Iterator[_Convolution]:
    """The layers between the picture and the pooling."""
    makers = {out: op for op in graph.operators for out in op.outputs}
    begun, nothing = False, np.zeros(0, np.float32)
    for op in graph.operators:
        if op.name in _POOLS:
            return
        if op.name in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            begun = True
            yield _convolution(op, graph, makers)
        elif op.name == "ADD" and begun:
            yield _Convolution(_name(op, graph), NetLayer("add"), nothing, nothing)
        elif begun and op.name not in _SEE_THROUGH:
            unfolded = "; are its batch norms folded?" if op.name in ("MUL", "SUB") else ""
            raise TrainingError(f"{_misplaced(op, graph)}{unfolded}")
    raise TrainingError("it has no pooling (MEAN or AVERAGE_POOL_2D) behind its convolutions")


def _convolution(op: Operator, graph: Graph, makers: dict[int, Operator]) -> _Convolution:
    name = _name(op, graph)
    kernel, *bias = (_constant(i, graph, makers) for i in op.inputs[1:])
    deep = op.name == "DEPTHWISE_CONV_2D"
    kernel = kernel[0, ..., np.newaxis] if deep else kernel.transpose(1, 2, 3, 0)
    strides, dilations, activation = (1, 1), (1, 1), 0
    if op.options is not None:
        # Conv2DOptions, and DepthwiseConv2DOptions with its multiplier before the activation.
        last = 4 if deep else 3
        strides = (op.options.number(1, "i"), op.options.number(2, "i"))
        activation = op.options.number(last, "b")
        dilations = (op.options.number(last + 1, "i", 1), op.options.number(last + 2, "i", 1))
    if strides[0] != strides[1] or dilations != (1, 1):
        raise TrainingError(f"layer {name!r} has strides {strides} and dilations {dilations}")
    layer = NetLayer(
        "depthwise_conv2d" if deep else "conv2d",
        kernel.shape,
        strides[0],
        _ACTIVATIONS.get(activation, f"activation {activation}"),
    )
    size = kernel.shape[2] if deep else kernel.shape[3]
    return _Convolution(name, layer, kernel, bias[0] if bias else np.zeros(size, np.float32))


def _constant(index: int, graph: Graph, makers: dict[int, Operator]) -> NDArray[np.float32]:
    """A constant's real values; where float16 ones are made float first, those."""
    tensor, maker = graph.tensors[index], makers.get(index)
    if not tensor.constant and maker is not None and maker.name == "DEQUANTIZE":
        tensor = graph.tensors[maker.inputs[0]]
    return tensor.real()


def _network(found: Sequence[_Convolution]) -> dict[str, Any]:
    """Settings of the network that these are the layers of.

    Raises:
        TrainingError: none has them; the first layer that differs from the nearest is named.
    """
    layers = [one.layer for one in found]

    def alike(network: tuple[dict[str, Any], list[NetLayer]]) -> int:
        pairs = enumerate(zip_longest(layers, network[1]))
        return next((i for i, (ours, theirs) in pairs if ours != theirs), len(layers))

    settings, wanted = max(published(), key=alike)
    if layers == wanted:
        return settings
    at = alike((settings, wanted))
    here = f"layer {at + 1}, {found[at].name!r}, is {layers[at]}" if at < len(layers) else "it ends"
    there = f"has {wanted[at]}" if at < len(wanted) else "ends"
    widths = ", ".join(map(str, MOBILENET_V2_WIDTHS))
    raise TrainingError(
        f"it is no MobileNetV2 (alpha {widths}) and no EfficientNet-Lite 0 to 2: {here}, where the "
        f"nearest ({' '.join(map(str, settings.values()))}) {there}"
    )


def _tensors(found: Sequence[_Convolution]) -> Tensors:
    kinds, values = [], []
    for one in found:
        if one.layer.kernel:
            kernel, norm = with_norm(one.kernel, one.bias)
            kinds += [one.layer.kind, "batch_normalization"]
            values += [[kernel], norm]
    return dict(zip(numbered(kinds), values, strict=True))


def with_norm(
    kernel: NDArray[np.float32], bias: NDArray[np.float32]
) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
    """A kernel of length 1 in each output channel, and the batch norm that takes it back.

    Args:
        kernel: (h, w, in, out), or (h, w, channels, 1) of a depthwise convolution.
        bias: (out,) or (channels,).

    Returns:
        The kernel, and gamma, beta, mean and variance, each like `bias`.
    """
    out = 2 if kernel.shape[3] == 1 else 3
    axes = tuple(axis for axis in range(4) if axis != out)
    length = np.sqrt(np.sum(kernel.astype(np.float64) ** 2, axis=axes)).astype(np.float32)
    gamma = np.maximum(length, np.float32(LEAST))
    spread = [-1 if axis == out else 1 for axis in range(4)]
    mean, variance = np.zeros_like(bias), np.full_like(bias, 1 - EPSILON)
    return kernel / gamma.reshape(spread), [gamma, bias, mean, variance]


def _misplaced(op: Operator, graph: Graph) -> str:
    return (
        f"operator {op.name} ({_name(op, graph)!r}) has no place in MobileNetV2 or "
        "EfficientNet-Lite"
    )


def _name(op: Operator, graph: Graph) -> str:
    """Of what an operator gives; a converter joins the names of all that it has folded."""
    return graph.tensors[op.outputs[0]].name.partition(";")[0]
