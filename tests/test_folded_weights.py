"""Start weights from TFLite classifiers whose batch norms are folded."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
import tiny
from ai_edge_litert import schema_py_generated as schema
from networks import CLASSES, network
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from edge.errors import ModelError, TrainingError
from edge.model.image.preprocessing import InputSpec
from quantize.int8.convert import to_float_tflite, to_int8_ptq
from quantize.tflite.metadata import add_metadata
from training.commands.cli import app
from training.models import build_model, owner
from training.recipe import Recipe
from training.starts.folded import LEAST, unfold, with_norm
from training.starts.tensors import write_tensors
from training.tf import keras, tf
from training.tflite import read_graph

NETS = {
    "mobilenet_v2": {"model": "mobilenet_v2", "alpha": 0.35},
    "efficientnet_lite": {"model": "efficientnet_lite", "variant": 0},
}


def pictures(count: int) -> NDArray[np.float32]:
    """Noise of several grains in -1..1, (count, 64, 64, 3)."""
    rng, found = np.random.default_rng(0), []
    for i in range(count):
        side = (4, 8, 16, 64)[i % 4]
        grain = Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8))
        found.append(np.asarray(grain.resize((64, 64), Image.Resampling.BICUBIC)))
    return (np.stack(found) / 127.5 - 1).astype(np.float32)


@cache
def taught(name: str) -> Any:
    """A whole network with batch norms that do something."""
    return network(name, whole=True)


def half(model: Any) -> bytes:
    """A TFLite file with float16 weights, which DEQUANTIZE makes float."""
    call = tf.function(lambda image: model(image, training=False), autograph=False)
    concrete = call.get_concrete_function(tf.TensorSpec((1, 64, 64, 3), tf.float32))
    holder = tf.Module()
    holder.call, holder.state = concrete, model.variables
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], holder)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    return bytes(converter.convert())


def eighth(model: Any) -> bytes:
    """A TFLite file with int8 weights and activations, as `quantize` makes it."""
    return to_int8_ptq(model, (one[np.newaxis] for one in pictures(8)), "int8")


FORMS = {"float": to_float_tflite, "float16": half, "int8": eighth}


@cache
def converted(name: str, form: str) -> bytes:
    """A TFLite file of a network; each is made once."""
    return FORMS[form](taught(name))


@pytest.fixture
def folded() -> bytes:
    """A float TFLite MobileNetV2 0.35."""
    return converted("mobilenet_v2", "float")


def features(model: Any, shown: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the layer before the last gives, (n, d)."""
    return np.asarray(keras.Model(model.input, model.get_layer("features").output)(shown))


def loaded(model: bytes, folder: Path, side: int = 64) -> Any:
    """A new network with what was found in a TFLite file, by way of a file of weights."""
    found, path = unfold(model), folder / "start.weights.h5"
    write_tensors(found.tensors, path)
    assert owner(path) == Recipe(**found.settings, weights=str(path))
    return build_model(Recipe(**found.settings, resolution=side, weights=str(path)), 2)


CASES = {
    ("mobilenet_v2", "float"): 0.999999,
    ("mobilenet_v2", "float16"): 0.9999,
    ("mobilenet_v2", "int8"): 0.95,
    ("efficientnet_lite", "float"): 0.999999,
}


@pytest.mark.parametrize(("case", "alike"), CASES.items(), ids=map("-".join, CASES))
def test_what_was_folded_comes_back(case, alike, tmp_path):
    """The features of a network that loads them are those of the one that was converted."""
    name, form = case
    content = converted(name, form)
    assert unfold(content).settings == NETS[name]
    assert unfold(content).side == 64
    shown = pictures(8)
    ours, theirs = features(loaded(content, tmp_path), shown), features(taught(name), shown)
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > alike
    if form == "float":
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3)


def test_batch_norms_are_there_again(folded, tmp_path):
    """Kernels of length 1, their length in gamma, mean 0, variance 1 - epsilon."""
    model = loaded(folded, tmp_path)
    (kernel,) = model.get_layer("block_3_expand").get_weights()
    np.testing.assert_allclose(np.linalg.norm(kernel, axis=(0, 2))[0], 1, rtol=1e-5)
    norm = model.get_layer("block_3_expand_BN")
    gamma, _, mean, variance = norm.get_weights()
    assert gamma.std() > 0
    assert not mean.any()
    np.testing.assert_allclose(variance, 1 - norm.epsilon)


@pytest.mark.parametrize("shape", [(3, 3, 5, 4), (3, 3, 4, 1)])
def test_a_channel_of_zeros_stays_one(shape):
    """Its gamma is above 0, and nothing becomes infinite."""
    kernel = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    channel = np.s_[:, :, 1] if shape[3] == 1 else np.s_[..., 1]
    kernel[channel] = 0
    bias = np.arange(4, dtype=np.float32)
    found, (gamma, beta, _, _) = with_norm(kernel, bias)
    assert gamma[1] == np.float32(LEAST)
    np.testing.assert_array_equal(beta, bias)
    spread = gamma[:, np.newaxis] if shape[3] == 1 else gamma
    np.testing.assert_allclose(found * spread, kernel, rtol=1e-6)


def test_the_same_file_gives_the_same_bytes(folded, tmp_path):
    """Written twice, from two readings."""
    one, other = tmp_path / "one.weights.h5", tmp_path / "other.weights.h5"
    for path in (one, other):
        write_tensors(unfold(folded).tensors, path)
    assert one.read_bytes() == other.read_bytes()


def changed(model: bytes, change: Any) -> bytes:
    """The file with its graph edited."""
    tree = schema.ModelT.InitFromPackedBuf(model, 0)
    change(tree.subgraphs[0])
    builder = flatbuffers.Builder(1 << 24)
    builder.Finish(tree.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def of_conv(graph: Any, number: int) -> Any:
    """The options of a convolution, counted from 0."""
    return graph.operators[number].builtinOptions


def relu(graph: Any) -> None:
    """The fifth layer with another activation."""
    of_conv(graph, 4).fusedActivationFunction = schema.ActivationFunctionType.RELU


def wide_steps(graph: Any) -> None:
    """The stem without a stride."""
    of_conv(graph, 0).strideW = of_conv(graph, 0).strideH = 1


def dilated(graph: Any) -> None:
    """The second layer with holes."""
    of_conv(graph, 1).dilationWFactor = of_conv(graph, 1).dilationHFactor = 2


def no_end(graph: Any) -> None:
    """Everything from the pooling on is gone."""
    graph.operators = [op for op in graph.operators if op.opcodeIndex < 2]


OTHERS = {
    relu: r"layer 5, '.*', is depthwise_conv2d 3 x 3 x 48 x 1, stride 2, ReLU, where the nearest "
    r"\(mobilenet_v2 0.35\) has depthwise_conv2d 3 x 3 x 48 x 1, stride 2, ReLU6",
    wide_steps: r"layer 1, '.*', is conv2d 3 x 3 x 3 x 16, stride 1, ReLU6, where",
    dilated: r"layer '.*' has strides \(1, 1\) and dilations \(2, 2\)",
    no_end: "no pooling",
}


@pytest.mark.parametrize(("change", "said"), OTHERS.items(), ids=[one.__name__ for one in OTHERS])
def test_a_network_that_differs_is_refused_by_its_first_layer(folded, change, said):
    """With what it is and what it would have to be."""
    with pytest.raises(TrainingError, match=said):
        unfold(changed(folded, change))


def test_another_network_and_other_files_are_refused():
    """The tiny model of the tests; a text; a file without its end."""
    with pytest.raises(TrainingError, match=r"no MobileNetV2 .* and no EfficientNet-Lite 0 to 2"):
        unfold(tiny.model())
    with pytest.raises(ModelError, match="TFL3"):
        unfold(b"labels\nant\nbee\n")
    with pytest.raises(ModelError, match="damaged TFLite model"):
        unfold(tiny.model()[:2000])


def test_a_network_between_two_batch_norms_is_refused():
    """A multiplication that is folded into no convolution is named."""
    model = taught("mobilenet_v2")
    x = model.get_layer("block_1_project_BN").output
    x = keras.layers.GlobalAveragePooling2D()(tf.math.sin(x))
    with pytest.raises(TrainingError, match=r"operator SIN \(.*\) has no place in MobileNetV2"):
        unfold(to_float_tflite(keras.Model(model.input, x)))


@pytest.fixture(scope="module")
def doubling() -> bytes:
    """MobileNetV2 0.35 that doubles pictures and takes 1 away, as float."""
    inputs = keras.Input((64, 64, 3))
    x = keras.layers.Rescaling(2.0, -1.0)(inputs)
    return to_float_tflite(keras.Model(inputs, taught("mobilenet_v2")(x)))


def taking(model: bytes, mean: float, std: float) -> bytes:
    """The file with metadata that say how it takes pictures."""
    spec = InputSpec(width=64, height=64, dtype="float32", mean=(mean,), std=(std,))
    return add_metadata(model, tuple(f"class {i}" for i in range(CLASSES)), spec, "net", "1.0", "")


def test_pictures_of_another_range_are_refused(folded, doubling):
    """What reaches the first convolution is worked out, and named."""
    with pytest.raises(TrainingError, match=r"takes pictures as 0\.\.1, ours take -1\.\.1"):
        unfold(taking(folded, 0, 255))
    with pytest.raises(TrainingError, match=r"takes pictures as -3\.\.1, ours take -1\.\.1"):
        unfold(taking(doubling, 127.5, 127.5))


def test_the_levels_of_a_quantized_input_say_its_range():
    """Whatever else is inside, 1/255 for each level makes 0..1."""
    quantized = converted("mobilenet_v2", "int8")

    def brighter(graph: Any) -> None:
        found = graph.tensors[graph.inputs[0]].quantization
        found.scale, found.zeroPoint = [1 / 255], [-128]

    assert unfold(quantized).scaling_known
    with pytest.raises(TrainingError, match=r"takes pictures as 0\.\.1, ours take -1\.\.1"):
        unfold(changed(quantized, brighter))


def test_pictures_that_the_file_itself_brings_into_range_are_accepted(doubling):
    """0..1 is doubled and moved inside of the graph."""
    assert unfold(taking(doubling, 0, 255)).scaling_known


def test_the_command_says_how_to_train_with_what_it_wrote(folded, tmp_path):
    """Network, size and settings; a float file that says nothing of its pictures is noted."""
    source, out = tmp_path / "net.tflite", tmp_path / "made" / "net.weights.h5"
    source.write_bytes(folded)
    done = CliRunner().invoke(app, ["weights", str(source), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "mobilenet_v2 0.35 at 64 pixels" in done.output
    assert f"--weights {out} --set model=mobilenet_v2 --set alpha=0.35" in done.output
    assert "-1..1 is taken for granted" in done.output
    assert owner(out).alpha == 0.35


def test_the_command_names_the_file_that_it_refuses(tmp_path):
    """And writes nothing."""
    source, out = tmp_path / "net.tflite", tmp_path / "net.weights.h5"
    source.write_bytes(tiny.model())
    done = CliRunner().invoke(app, ["weights", str(source), "--out", str(out)])
    assert isinstance(done.exception, TrainingError)
    assert str(done.exception).startswith(f"{source}: it is no MobileNetV2")
    assert not out.exists()
    for place in (tmp_path, source):
        done = CliRunner().invoke(app, ["weights", str(source), "--out", str(place)])
        assert f"--out {place}: give the file to write, NAME.weights.h5" in str(done.exception)
    assert source.read_bytes() == tiny.model()


SEEN = {
    "dragonfly": "dragonfly",
    "bird": "chickadee",
    "sunflower": "daisy",
    "grace_hopper": "military uniform",
}


@pytest.mark.parametrize("name", ["mobilenet_v2_1.0_224_quant", "tf2_mobilenet_v2_1.0_224_ptq"])
def test_published_classifiers_see_what_they_saw(data, name, tmp_path):
    """Features as the interpreter's own, and the same class with the file's own last layer."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    folder = data("coral_models")
    content, names = (folder / f"{name}.tflite").read_bytes(), folder / "imagenet_labels.txt"
    ours, graph = loaded(content, tmp_path, side=224), read_graph(content)
    interpreter = Interpreter(
        model_content=content,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=True,
    )
    interpreter.allocate_tensors()
    (pool,) = (op for op in graph.operators if op.name in ("MEAN", "AVERAGE_POOL_2D"))
    last = [op for op in graph.operators if op.name == "CONV_2D"][-1]
    kernel, bias = (graph.tensors[i].real() for i in last.inputs[1:])
    pooled = graph.tensors[pool.outputs[0]]
    for photo, seen in SEEN.items():
        picture = Image.open(folder / f"{photo}.bmp").convert("RGB").resize((224, 224))
        pixels = np.asarray(picture)[np.newaxis]
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], pixels)
        interpreter.invoke()
        levels = interpreter.get_tensor(pool.outputs[0]).astype(np.float32).ravel()
        theirs = (levels - pooled.zero_points[0]) * pooled.scales[0]
        found = features(ours, pixels.astype(np.float32) / 127.5 - 1)[0]
        assert np.corrcoef(theirs, found)[0, 1] > 0.99
        scores = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]
        top = (kernel[:, 0, 0] @ found + bias).argmax()
        assert top == scores.argmax()
        assert names.read_text().splitlines()[top].startswith(seen)
