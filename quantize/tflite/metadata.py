"""TFLite metadata: labels and input normalisation inside the model file, for other tools.

The layout is TensorFlow's metadata schema 1.1.0 (github.com/tensorflow/tflite-support,
tensorflow_lite_support/metadata/metadata_schema.fbs): a flatbuffer with identifier M001 in the
model's own `metadata` list under the name TFLITE_METADATA, and the label file as an uncompressed
zip member appended to the model. It is written with the plain flatbuffers builder, because the
package that owns the schema pins a NumPy that TensorFlow no longer takes.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import flatbuffers

from edge.errors import ModelError
from edge.model.image.preprocessing import InputSpec
from edge.model.runtimes import FEATURES

ENTRY = "TFLITE_METADATA"
LABELS_FILE = "labels.txt"
_IDENTIFIER = b"M001"
_MINIMUM_PARSER = "1.0.0"
_TENSOR_AXIS_LABELS = 2
_COLOUR = {"rgb": 1, "grey": 2}
_IMAGE_PROPERTIES = 2
_NORMALIZATION = 1


def add_metadata(
    model: bytes,
    labels: Sequence[str],
    input_spec: InputSpec,
    name: str,
    version: str,
    description: str = "",
) -> bytes:
    """Return `model` with metadata and `labels.txt` inside; the same inputs give the same bytes.

    The graph itself is rewritten byte for byte except for the added buffer: weights keep the
    16-byte alignment that the schema asks for.

    Raises:
        ModelError: the model already carries metadata.
    """
    from ai_edge_litert import schema_py_generated as schema

    tree = schema.ModelT.InitFromPackedBuf(model, 0)
    entries = list(tree.metadata or [])
    if any(entry.name in (ENTRY, ENTRY.encode()) for entry in entries):
        raise ModelError("the model already carries TFLite metadata")
    buffer = schema.BufferT()
    further = len(tree.subgraphs[0].outputs) - 1
    buffer.data = _model_metadata(labels, input_spec, name, version, description, further)
    entry = schema.MetadataT()
    entry.name = ENTRY
    entry.buffer = len(tree.buffers)
    tree.metadata = [*entries, entry]
    tree.buffers = [*tree.buffers, buffer]
    return _append_zip(packed(tree), {LABELS_FILE: "\n".join(labels) + "\n"})


def packed(tree: Any) -> bytes:  # noqa: ANN401 - generated code, untyped
    """The bytes of a model in the schema's object form; weights at 16 bytes."""
    from ai_edge_litert import schema_py_generated as schema

    tree.buffers = [_Aligned(b.data, schema) for b in tree.buffers]
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(tree.Pack(builder), b"TFL3")
    return bytes(builder.Output())


class _Aligned:
    """A buffer that packs itself at 16 bytes; the generated writer would align to 1."""

    def __init__(self, data: Any, schema: Any) -> None:  # noqa: ANN401 - generated code, untyped
        self._data = b"" if data is None else bytes(bytearray(data))
        self._schema = schema

    def Pack(self, builder: flatbuffers.Builder) -> int:
        """Write the buffer; return its offset."""
        position = None
        if self._data:
            builder.StartVector(1, len(self._data), 16)
            builder.head = builder.head - len(self._data)
            builder.Bytes[builder.head : builder.head + len(self._data)] = self._data
            position = builder.EndVector()
        self._schema.BufferStart(builder)
        if position is not None:
            self._schema.BufferAddData(builder, position)
        return int(self._schema.BufferEnd(builder))


def _append_zip(model: bytes, files: dict[str, str]) -> bytes:
    stream = io.BytesIO(model)
    stream.seek(0, io.SEEK_END)
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_STORED) as archive:
        for name, text in sorted(files.items()):
            # Fixed time and permissions: the same labels give the same bytes.
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.external_attr = 0o644 << 16
            info.create_system = 3
            archive.writestr(info, text.encode("utf-8"))
    return stream.getvalue()


def _model_metadata(
    labels: Sequence[str],
    spec: InputSpec,
    name: str,
    version: str,
    description: str,
    further: int,
) -> bytes:
    b = flatbuffers.Builder(1024)
    image = _image_tensor(b, spec)
    scores = _score_tensor(b, len(labels))
    outputs = [scores, *(_features_tensor(b) for _ in range(further))]
    graph = _table(b, 7, {2: _offset(_vector(b, [image])), 3: _offset(_vector(b, outputs))})
    fields = {
        0: _offset(b.CreateString(name)),
        1: _offset(b.CreateString(description)),
        2: _offset(b.CreateString(version)),
        3: _offset(_vector(b, [graph])),
        7: _offset(b.CreateString(_MINIMUM_PARSER)),
    }
    b.Finish(_table(b, 8, fields), _IDENTIFIER)
    return bytes(b.Output())


def _image_tensor(b: flatbuffers.Builder, spec: InputSpec) -> int:
    size = _table(b, 2, {0: _uint32(spec.width), 1: _uint32(spec.height)})
    image = _table(b, 2, {0: _int8(_COLOUR[spec.colour]), 1: _offset(size)})
    content = _table(b, 3, {0: _uint8(_IMAGE_PROPERTIES), 1: _offset(image)})
    mean, std = _floats(b, spec.mean), _floats(b, spec.std)
    options = _table(b, 2, {0: _offset(mean), 1: _offset(std)})
    unit = _table(b, 2, {0: _uint8(_NORMALIZATION), 1: _offset(options)})
    name = b.CreateString("image")
    about = b.CreateString(
        f"{spec.width} x {spec.height} {spec.colour} picture; value = (pixel - mean) / std"
    )
    units = _vector(b, [unit])
    return _table(
        b, 7, {0: _offset(name), 1: _offset(about), 3: _offset(content), 4: _offset(units)}
    )


def _score_tensor(b: flatbuffers.Builder, count: int) -> int:
    file_name = b.CreateString(LABELS_FILE)
    about = b.CreateString("One label a line, in the order of the scores.")
    labels = _table(b, 4, {0: _offset(file_name), 1: _offset(about), 2: _int8(_TENSOR_AXIS_LABELS)})
    content = _table(b, 3, {0: _uint8(1), 1: _offset(_table(b, 0, {}))})  # FeatureProperties
    name = b.CreateString("scores")
    text = b.CreateString(f"{count} logits, one for each label; softmax gives probabilities")
    files = _vector(b, [labels])
    return _table(
        b, 7, {0: _offset(name), 1: _offset(text), 3: _offset(content), 6: _offset(files)}
    )


def _features_tensor(b: flatbuffers.Builder) -> int:
    content = _table(b, 3, {0: _uint8(1), 1: _offset(_table(b, 0, {}))})  # FeatureProperties
    name = b.CreateString(FEATURES)
    text = b.CreateString("what the last layer reads; for telling unknown pictures")
    return _table(b, 7, {0: _offset(name), 1: _offset(text), 3: _offset(content)})


Field = Callable[[flatbuffers.Builder, int], None]


def _table(b: flatbuffers.Builder, slots: int, fields: dict[int, Field]) -> int:
    """Write a table with the given slots (the fields' order in the schema); return its offset."""
    b.StartObject(slots)
    for slot, add in fields.items():
        add(b, slot)
    return int(b.EndObject())


def _offset(value: int) -> Field:
    return lambda b, slot: b.PrependUOffsetTRelativeSlot(slot, value, 0)


def _uint8(value: int) -> Field:
    return lambda b, slot: b.PrependUint8Slot(slot, value, 0)


def _int8(value: int) -> Field:
    return lambda b, slot: b.PrependInt8Slot(slot, value, 0)


def _uint32(value: int) -> Field:
    return lambda b, slot: b.PrependUint32Slot(slot, value, 0)


def _vector(b: flatbuffers.Builder, offsets: list[int]) -> int:
    b.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        b.PrependUOffsetTRelative(offset)
    return int(b.EndVector())


def _floats(b: flatbuffers.Builder, values: Sequence[float]) -> int:
    b.StartVector(4, len(values), 4)
    for value in reversed(values):
        b.PrependFloat32(value)
    return int(b.EndVector())
