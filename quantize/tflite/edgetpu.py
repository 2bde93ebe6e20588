"""Will a model run on the Edge TPU? First by the documented limits, then by the real compiler.

Limits as of "TensorFlow models on the Edge TPU" (coral.ai/docs/edgetpu/models-intro, supported
operations) and "Edge TPU Compiler" (coral.ai/docs/edgetpu/compiler). The compiler maps operators
from the input on; at the first that it cannot map everything behind falls to the CPU.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

from edge.errors import QuantizeError
from training.tflite import Graph, Operator, read_graph

#: On-chip memory that weights and code share; more is streamed over USB for every picture.
CACHE_BYTES = 8 << 20
COMPILER = "edgetpu_compiler"
HOW_TO_GET = (
    "edgetpu_compiler is not on PATH. It runs on 64-bit x86 Linux only: on Debian or Ubuntu add "
    "Coral's apt source (coral.ai/docs/edgetpu/compiler) and install the package edgetpu-compiler, "
    "then repeat the command"
)

#: Operators without limits beyond those of all.
_PLAIN = {
    "ADD", "EXPAND_DIMS", "L2_NORMALIZATION", "LOGISTIC", "MAXIMUM", "MINIMUM", "MUL", "QUANTIZE",
    "RELU", "RELU6", "RELU_N1_TO_1", "RESHAPE", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR",
    "RSQRT", "SLICE", "SPACE_TO_DEPTH", "SQUARED_DIFFERENCE", "SUB", "TANH", "TRANSPOSE_CONV",
}  # fmt: skip


class Verdict(NamedTuple):
    """What becomes of one operator."""

    number: int
    operator: str
    on_tpu: bool
    reason: str
    """Why not; empty where it is."""


class Compiled(NamedTuple):
    """What the compiler gave."""

    model: bytes
    version: str
    on_tpu: int
    on_cpu: int
    """Operators that run there."""
    statuses: tuple[tuple[str, int, str], ...]
    """Operator, how many, what the compiler says of them."""


def verdicts(model: bytes) -> list[Verdict]:
    """Each operator held against the documented limits, in order.

    Raises:
        ModelError: no TFLite file.
    """
    graph = read_graph(model)
    options = _options(model)
    found: list[Verdict] = []
    broken = ""
    for op in graph.operators:
        reason = _reason(graph, op, options[op.index])
        if not reason and broken:
            reason = f"behind {broken}, which ends the part on the TPU"
        elif reason and not broken:
            broken = f"operator {op.index} {op.name}"
        found.append(Verdict(op.index, op.name, not reason, reason))
    return found


def weight_bytes(model: bytes) -> int:
    """Bytes of all constants of the model."""
    graph = read_graph(model)
    return sum(t.data.nbytes for t in graph.tensors if t.constant)


def compile_model(model: bytes) -> Compiled:
    """Run the real compiler.

    Raises:
        QuantizeError: it is not there, refuses the model, or gives none.
    """
    program = shutil.which(COMPILER)
    if program is None:
        raise QuantizeError(HOW_TO_GET)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "model.tflite"
        source.write_bytes(model)
        done = subprocess.run(
            [program, "--show_operations", "--out_dir", folder, str(source)],
            capture_output=True,
            text=True,
            check=False,
        )
        target = source.with_name("model_edgetpu.tflite")
        log = source.with_name("model_edgetpu.log")
        said = done.stdout + done.stderr + (log.read_text() if log.exists() else "")
        if done.returncode or not target.exists():
            last = [line for line in said.splitlines() if line.strip()][-3:]
            raise QuantizeError(f"edgetpu_compiler refused the model: {' '.join(last)}")
        return parse_log(said, target.read_bytes())


def parse_log(text: str, model: bytes) -> Compiled:
    """Read the compiler's report.

    Raises:
        QuantizeError: it is not in the form that versions 14 to 16 write.
    """
    version = re.search(r"Edge TPU Compiler version (\S+)", text)
    on_tpu = re.search(r"operations that will run on Edge TPU: (\d+)", text)
    on_cpu = re.search(r"operations that will run on CPU: (\d+)", text)
    if not (on_tpu and on_cpu):
        raise QuantizeError(
            "edgetpu_compiler's report has no counts of operations: another version than 14 to 16?"
        )
    rows = re.findall(r"(?m)^([A-Z][A-Z0-9_]+|custom-\S+)\s+(\d+)\s+(\S.*?)\s*$", text)
    statuses = dict.fromkeys((name, int(count), status) for name, count, status in rows)
    return Compiled(
        model, version[1] if version else "?", int(on_tpu[1]), int(on_cpu[1]), tuple(statuses)
    )


def _reason(graph: Graph, op: Operator, options: Any) -> str:  # noqa: ANN401
    """Why an operator cannot be mapped by itself; empty where it can."""
    inputs = [graph.tensors[i] for i in op.inputs]
    for tensor in (*inputs, *(graph.tensors[i] for i in op.outputs)):
        if tensor.dtype not in ("INT8", "UINT8") and not (
            tensor.constant and tensor.dtype == "INT32"
        ):
            return f"{tensor.dtype.lower()} values: only 8-bit ones are supported"
        if any(size < 1 for size in tensor.shape):
            return "a size that is not known beforehand"
        if any(size > 1 for size in tensor.shape[:-3]) and not tensor.constant:
            return f"shape {tensor.shape}: only the last three sizes may be above 1"
    return _limits(op, inputs, options) if op.name not in _PLAIN else ""


def _limits(op: Operator, inputs: list[Any], options: Any) -> str:  # noqa: ANN401
    name = op.name
    if name in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        if options.DilationHFactor() != options.DilationWFactor():
            return "different dilation in x and y"
        return ""
    if name in ("AVERAGE_POOL_2D", "MAX_POOL_2D", "CONCATENATION"):
        return "a fused activation" if options.FusedActivationFunction() else ""
    if name == "FULLY_CONNECTED":
        return "another weights format" if options.WeightsFormat() else ""
    if name in ("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN"):
        return _reduction(inputs)
    if name == "PAD":
        pads = inputs[1].data
        return "padding of the batch" if pads is None or pads[:2].any() else ""
    if name == "SOFTMAX":
        size = prod(inputs[0].shape)
        return f"{size:,} elements, at most 16,000 are supported" if size > 16_000 else ""
    return "not among the supported operators"


def _reduction(inputs: list[Any]) -> str:
    source, axes = inputs[0], inputs[1].data
    if axes is None:
        return "axes that are not known beforehand"
    rank = len(source.shape)
    reduced = {int(axis) % rank for axis in axes}
    if 0 in reduced:
        return "reduces over the batch"
    if rank - 1 in reduced and source.shape[-1] % 4:
        return f"reduces over {source.shape[-1]} channels, which is no multiple of 4"
    return ""


def _options(model: bytes) -> list[Any]:
    """The options table of each operator, or None for those that are not looked at."""
    from ai_edge_litert import schema_py_generated as schema

    graph = schema.Model.GetRootAs(model, 0).Subgraphs(0)
    kinds = {
        schema.BuiltinOptions.Conv2DOptions: schema.Conv2DOptions,
        schema.BuiltinOptions.DepthwiseConv2DOptions: schema.DepthwiseConv2DOptions,
        schema.BuiltinOptions.Pool2DOptions: schema.Pool2DOptions,
        schema.BuiltinOptions.ConcatenationOptions: schema.ConcatenationOptions,
        schema.BuiltinOptions.FullyConnectedOptions: schema.FullyConnectedOptions,
    }
    found = []
    for index in range(graph.OperatorsLength()):
        operator = graph.Operators(index)
        kind = kinds.get(operator.BuiltinOptionsType())
        table = None
        if kind is not None:
            raw = operator.BuiltinOptions()
            table = kind()
            table.Init(raw.Bytes, raw.Pos)
        found.append(table)
    return found
