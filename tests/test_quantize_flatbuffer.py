"""What is read from TFLite files, and metadata that other tools can read."""

import io
import zipfile

import flatbuffers
import numpy as np
import pytest
import tiny
from ai_edge_litert import schema_py_generated as schema

from edge.errors import ModelError, QuantizeError
from edge.model.image.preprocessing import InputSpec
from edge.model.runtimes import open_runtime
from edge.model.tflite import facts as tflite_file
from quantize.tflite.graph import check_all_int8, layers
from quantize.tflite.metadata import add_metadata
from training.tflite import read_graph

SPEC = InputSpec(
    width=32, height=32, dtype="int8", mean=(127.0,), std=(127.5,), scale=2 / 255, zero_point=-1
)


def bare_model():
    """The tiny int8 model without any metadata."""
    tree = schema.ModelT.InitFromPackedBuf(tiny.model(), 0)
    tree.metadata = []
    return packed(tree)


def packed(tree):
    """A TFLite file of an edited tree."""
    builder = flatbuffers.Builder(1 << 14)
    builder.Finish(tree.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def with_tensor_type(model, index, kind):
    """The model with the type of one tensor changed."""
    tree = schema.ModelT.InitFromPackedBuf(model, 0)
    tree.subgraphs[0].tensors[index].type = kind
    return packed(tree)


def described():
    """The tiny model with metadata."""
    return add_metadata(bare_model(), ("red", "green", "blue"), SPEC, "tiny", "1.2.3", "a test")


def test_an_int8_model_passes_with_its_operators_counted():
    """The tiny model is int8 throughout, and its operators are listed by name."""
    graph = read_graph(tiny.model())
    check_all_int8(graph)
    assert "CONV_2D" in graph.operator_counts()
    assert sum(graph.operator_counts().values()) == len(graph.operators)


def test_a_planted_float_operator_is_named():
    """One activation in float32: the message names the operators on both sides of it."""
    graph = read_graph(tiny.model())
    between = graph.operators[0].outputs[0]
    name = graph.tensors[between].name
    planted = read_graph(with_tensor_type(tiny.model(), between, schema.TensorType.FLOAT32))
    with pytest.raises(QuantizeError) as refused:
        check_all_int8(planted)
    first, second = graph.operators[0].name, graph.operators[1].name
    assert f"operator 0 {first} writes float32: {name!r}" in str(refused.value)
    assert f"operator 1 {second} reads float32: {name!r}" in str(refused.value)


def test_uint8_is_allowed_only_at_the_ends():
    """A uint8 tensor in the middle is not what an int8 kernel works on."""
    between = read_graph(tiny.model()).operators[0].outputs[0]
    planted = with_tensor_type(tiny.model(), between, schema.TensorType.UINT8)
    with pytest.raises(QuantizeError, match="writes uint8"):
        check_all_int8(read_graph(planted))


def test_an_operator_of_another_maker_is_named():
    """The Edge TPU's operator is not a TFLite builtin."""
    with pytest.raises(QuantizeError, match="CUSTOM edgetpu-custom-op is not a TFLite builtin"):
        check_all_int8(read_graph(tiny.model("tiny_edgetpu")))


def test_bytes_that_are_no_model_are_refused():
    """A text file gives a clear error, not a crash of the reader."""
    with pytest.raises(ModelError, match="TFL3"):
        read_graph(b"labels\nant\nbee\n")


def test_a_file_that_was_cut_off_is_refused():
    """Wherever it ends, the error says what is wrong; the reader does not crash."""
    model = bare_model()
    for size in range(8, len(model) - 64, 61):
        with pytest.raises(ModelError, match="damaged TFLite model"):
            read_graph(model[:size])


def test_zeros_are_counted_in_the_file():
    """Sizes and zeros come from the stored int8 weights."""
    found = layers(read_graph(tiny.model()))
    assert found
    assert all(0 <= layer.zeros <= layer.size == np.prod(layer.shape) for layer in found)


def test_labels_are_read_back_by_any_zip_reader():
    """The label file is an uncompressed zip member behind the model, as Android reads it."""
    with zipfile.ZipFile(io.BytesIO(described())) as archive:
        info = archive.getinfo("labels.txt")
        assert info.compress_type == zipfile.ZIP_STORED
        assert archive.read(info).decode().splitlines() == ["red", "green", "blue"]


def test_metadata_is_read_back_by_the_device_program():
    """Name, normalisation and labels, through a reader that shares no code with the writer."""
    facts = tflite_file.read(described())
    assert facts.name == "tiny"
    assert facts.mean == (127.0,)
    assert facts.std == (127.5,)
    assert facts.labels == ("red", "green", "blue")


def test_metadata_leaves_the_model_as_it_was():
    """The same scores to the last bit, and weights still at 16-byte boundaries."""
    image = np.random.default_rng(0).integers(-128, 128, (1, 32, 32, 3), dtype=np.int8)
    shape = tflite_file.read(tiny.model()).inputs[0].shape
    image = np.resize(image, shape)
    before, after = (open_runtime("litert", model) for model in (tiny.model(), described()))
    assert np.array_equal(before.invoke(image), after.invoke(image))
    root = schema.Model.GetRootAs(described(), 0)
    for i in range(root.BuffersLength()):
        table = root.Buffers(i)._tab
        if offset := table.Offset(4):
            assert table.Vector(offset) % 16 == 0


def test_the_same_labels_give_the_same_bytes():
    """No clock and no order of a hash table gets into the file."""
    assert described() == described()


def test_metadata_is_not_written_twice():
    """A second call would leave two entries, of which readers take either."""
    with pytest.raises(ModelError, match="already carries"):
        add_metadata(described(), ("a", "b", "c"), SPEC, "tiny", "1")


def test_a_model_without_labels_says_so():
    """Of a bare model nothing is told, which is not an empty list."""
    assert tflite_file.read(bare_model()).labels is None
