"""Facts in a TFLite file, read without an interpreter: tensors, operators, embedded metadata.

Field numbers are those of TensorFlow's ``schema.fbs`` and ``metadata_schema.fbs``. Associated
files (label lists) are a zip archive appended to the model.
"""

from __future__ import annotations

import io
from typing import Literal

import msgspec

from edge.errors import ModelError
from edge.model.runtimes import TensorSpec
from edge.model.tflite.flatbuffer import Table, guarded
from edge.text.encodings import text_of

_TYPES = {0: "float32", 1: "float16", 2: "int32", 3: "uint8", 4: "int64", 9: "int8", 7: "int16"}
_SOFTMAX, _LOGISTIC, _CUSTOM = 25, 14, 32
#: Operators that change the form of values, never their meaning: dequantise, reshape, squeeze,
#: quantise.
_SEE_THROUGH = {6, 22, 43, 114}
_NORMALISATION = 1  # ProcessUnitOptions.NormalizationOptions
_AXIS_LABELS, _VALUE_LABELS = 2, 3  # AssociatedFileType
_MAX_LABELS_BYTES = 4 << 20


class TFLiteFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a TFLite file says about itself."""

    inputs: tuple[TensorSpec, ...]
    open_sizes: tuple[int, ...] = ()
    """Axes of the first input whose size the file leaves open, from 0."""
    outputs: tuple[TensorSpec, ...]
    custom_operators: tuple[str, ...]
    ending: Literal["softmax", "logistic", "other"]
    """What the graph ends in; either of the first two gives probabilities."""
    name: str = ""
    mean: tuple[float, ...] = ()
    """From the metadata; empty where it says nothing."""
    std: tuple[float, ...] = ()
    labels: tuple[str, ...] | None = None
    """From the embedded label file; None without one."""


def read(model: bytes) -> TFLiteFacts:
    """Read what the file says about itself.

    Raises:
        ModelError: not a TFLite file, or a damaged one.
    """
    return guarded(model, lambda root: _facts(model, root))


def _facts(model: bytes, root: Table) -> TFLiteFacts:
    codes = root.tables(1)
    graphs = root.tables(2)
    if not graphs:
        raise ModelError("damaged TFLite model: it holds no graph")
    graph = graphs[0]
    tensors = graph.tables(0)
    inputs = [tensors[i] for i in graph.integers(1, "i")]
    outputs = graph.integers(2, "i")
    mean, std, label_files, name = _metadata(model, root)
    return TFLiteFacts(
        inputs=tuple(map(_tensor, inputs)),
        open_sizes=_open_sizes(inputs[0]) if inputs else (),
        outputs=tuple(_tensor(tensors[i]) for i in outputs),
        custom_operators=tuple(code.text(1) for code in codes if operator_code(code) == _CUSTOM),
        ending=_ending(graph, codes, outputs[0]) if outputs else "other",
        name=name,
        mean=mean,
        std=std,
        labels=_labels(model, label_files),
    )


def operator_code(code: Table) -> int:
    """The builtin operator number, which outgrew its first field (int8) at 127."""
    return max(code.number(0, "b"), code.number(3, "i"))


def _tensor(tensor: Table) -> TensorSpec:
    number = tensor.number(1, "b")
    quantisation = tensor.table(4)
    scales = quantisation.numbers(2, "f") if quantisation else ()
    zero_points = quantisation.integers(3, "q") if quantisation else ()
    return TensorSpec(
        name=tensor.text(3),
        shape=tensor.integers(0, "i"),
        dtype=_TYPES.get(number, f"type {number}"),
        scale=scales[0] if scales else 0.0,
        zero_point=zero_points[0] if zero_points else 0,
    )


def _open_sizes(tensor: Table) -> tuple[int, ...]:
    """The axes that are -1 in the shape's signature; the shape itself then holds 1."""
    return tuple(axis for axis, size in enumerate(tensor.integers(7, "i")) if size < 0)


def _ending(
    graph: Table, codes: list[Table], output: int
) -> Literal["softmax", "logistic", "other"]:
    """Follow the output back through operators that keep its meaning."""
    makers = {out: op for op in graph.tables(3) for out in op.integers(2, "i")}
    for _ in range(8):
        maker = makers.get(output)
        if maker is None:
            break
        code = operator_code(codes[maker.number(0, "I")])
        if code in (_SOFTMAX, _LOGISTIC):
            return "softmax" if code == _SOFTMAX else "logistic"
        sources = maker.integers(1, "i")
        if code not in _SEE_THROUGH or not sources:
            break
        output = sources[0]
    return "other"


def _metadata(
    model: bytes, root: Table
) -> tuple[tuple[float, ...], tuple[float, ...], list[str], str]:
    """Return (mean, std, names of label files, model name) from the embedded metadata."""
    buffers = root.tables(4)
    for entry in root.tables(6):
        if entry.text(0) != "TFLITE_METADATA":
            continue
        start, count = buffers[entry.number(1, "I")].vector(0)
        meta = Table.root(model[start : start + count])
        graphs = meta.tables(3)
        if not graphs:
            return (), (), [], meta.text(0)
        mean, std = _normalisation(graphs[0].tables(2))
        files = [
            file.text(0)
            for tensor in graphs[0].tables(3)
            for file in tensor.tables(6)
            if file.number(2, "b") in (_AXIS_LABELS, _VALUE_LABELS)
        ]
        return mean, std, files, meta.text(0)
    return (), (), [], ""


def _normalisation(inputs: list[Table]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    for unit in inputs[0].tables(4) if inputs else []:
        options = unit.table(1)
        if unit.number(0, "B") == _NORMALISATION and options is not None:
            return options.numbers(0, "f"), options.numbers(1, "f")
    return (), ()


def _labels(model: bytes, names: list[str]) -> tuple[str, ...] | None:
    """Read the first label file of the appended zip archive."""
    if not names:
        return None
    import zipfile

    try:
        with zipfile.ZipFile(io.BytesIO(model)) as archive:
            if archive.getinfo(names[0]).file_size > _MAX_LABELS_BYTES:
                raise ModelError(f"embedded label file {names[0]} is too large")
            text = text_of(archive.read(names[0]))
    except (zipfile.BadZipFile, KeyError, ValueError, RuntimeError, OSError) as error:
        raise ModelError(f"embedded label file {names[0]} cannot be read: {error}") from error
    lines = [line.strip() for line in text.rstrip().splitlines()]
    if "" in lines:  # without it, all that follow would move
        raise ModelError(f"embedded label file {names[0]} has a blank line {lines.index('') + 1}")
    return tuple(lines) or None
