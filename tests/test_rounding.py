"""What is done around rounding so that an int8 model answers as its float model does."""

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from networks import NETS, network

from quantize.int8.adaptive_rounding import round_kernels
from quantize.int8.bias_correction import correct, refit
from quantize.int8.clipping import clip_last
from quantize.int8.convert import to_int8_qat
from quantize.int8.equalisation import equalise, level
from quantize.int8.qat import quantization_aware, settle
from quantize.tflite.edgetpu import verdicts
from training.tf import keras


@pytest.fixture(scope="module")
def photos():
    """Four batches of noisy pictures of all colours, and others."""
    rng = np.random.default_rng(1)
    colours = rng.uniform(-0.7, 0.7, (5, 16, 1, 1, 3))
    return (colours + rng.uniform(-0.3, 0.3, (5, 16, 64, 64, 3))).astype(np.float32)


def copy(model):
    """The same model once more."""
    twin = keras.models.clone_model(model)
    twin.set_weights(model.get_weights())
    return twin


def answers(model, images):
    """Logits."""
    return model(images, training=False).numpy()


@pytest.mark.parametrize("name", NETS)
def test_equalised_kernels_give_the_same_answers(photos, name):
    """Channels are scaled to one range, and the batch norms behind take it up."""
    model = network(name)
    before = answers(model, photos[4])
    assert equalise(model) == NETS[name].kernels
    assert answers(model, photos[4]) == pytest.approx(before, abs=1e-4)
    for name, axes in (("block_3_depthwise", (0, 1)), ("block_3_project", (0, 1, 2))):
        kernel = np.abs(model.get_layer(name).get_weights()[0])
        assert kernel.max(axis=axes).ravel() == pytest.approx(1)


@pytest.mark.parametrize("name", NETS)
def test_levelled_channels_have_one_range_and_the_same_answers(photos, name):
    """Bottlenecks with their sums: the widest channel is no wider than the narrowest."""
    model = network(name)
    before = answers(model, photos[4])
    norms = [f"block_{k}_project_BN" for k in NETS[name].tied]
    tied = (*norms, *(f"block_{k}_add" for k in NETS[name].tied[1:]))
    activations = keras.Model(model.input, [model.get_layer(name).output for name in tied])

    def ranges():
        values = np.concatenate([v.numpy() for v in activations(photos[0], training=False)])
        return np.abs(values).max(axis=(0, 1, 2))

    uneven = ranges()
    assert uneven.max() > 2 * uneven.min()
    # What lies behind a ReLU6 is left alone.
    assert level(model, photos[:1]) == NETS[name].bottlenecks
    assert answers(model, photos[4]) == pytest.approx(before, abs=1e-4)
    assert ranges().max() < 1.01 * ranges().min()


def test_a_network_with_other_layers_is_not_levelled(photos):
    """Channels cannot be followed through a concatenation; nothing is changed."""
    inputs = keras.Input((64, 64, 3))
    both = keras.layers.Concatenate()([inputs, keras.layers.Conv2D(4, 1)(inputs)])
    model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(both)))
    before = model.get_weights()
    assert level(model, photos[:1]) == 0
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


@pytest.mark.parametrize("name", NETS)
def test_kernels_are_rounded_by_what_they_give_on_photos(photos, name):
    """Levels of int8, zeros and largest weights kept; answers nearer than with the nearest ones.

    Mean shifts are taken back from both.
    """
    model = network(name, whole=True)
    layer = model.get_layer("block_3_project")
    kernel = layer.get_weights()[0]
    kernel[..., ::3, :] = 0
    layer.set_weights([kernel])
    equalise(model)
    nearest, fitted = copy(model), copy(model)
    for layer in nearest.layers:
        if type(layer).__name__ in ("Conv2D", "DepthwiseConv2D"):
            layer.set_weights([np.round(layer.get_weights()[0] * 127) / 127])
    assert round_kernels(fitted, photos[:3]) < 0.9
    for student in (nearest, fitted):
        correct(student, model, photos[0])
    wanted = answers(model, photos[4])

    def error(student):
        return np.square(answers(student, photos[4]) - wanted).mean()

    assert error(fitted) < 0.8 * error(nearest)
    for layer in (NETS[name].stem, "block_3_depthwise", "block_3_project"):
        before = model.get_layer(layer).get_weights()[0]
        after = fitted.get_layer(layer).get_weights()[0]
        levels = after * 127
        assert levels == pytest.approx(np.round(levels), abs=1e-3)
        assert np.abs(after)[np.abs(before) > 0.9999] == pytest.approx(1)
        assert not after[before == 0].any()
    assert not np.array_equal(after, nearest.get_layer(layer).get_weights()[0])


@pytest.mark.parametrize("name", NETS)
def test_what_rounding_shifts_on_average_is_taken_back(photos, name):
    """Kernels rounded to a few levels: batch norms have their float means again."""
    model = network(name)
    student = copy(model)
    for layer in student.layers:
        if type(layer).__name__ in ("Conv2D", "DepthwiseConv2D"):
            kernel = layer.get_weights()[0]
            step = np.abs(kernel).max() / 7
            layer.set_weights([np.round(kernel / step) * step])
    wanted = answers(model, photos[4])

    def error():
        return np.square(answers(student, photos[4]) - wanted).mean()

    before = error()
    assert correct(student, model, photos[0]) > 0.01
    assert error() < 0.5 * before
    assert correct(student, model, photos[0]) < 1e-3


@pytest.mark.parametrize("name", NETS)
def test_a_network_as_int8_answers_as_its_float_model_and_runs_whole_on_the_edge_tpu(photos, name):
    """Fake quantization, fitted and converted: int8 throughout, and nearly the same logits."""
    model = network(name)
    student = quantization_aware(model, photos[:1])
    settle(student, model, photos[0], photos[:4])
    file = to_int8_qat(student, "int8")
    assert {verdict.reason for verdict in verdicts(file)} == {""}
    interpreter = Interpreter(model_content=file, num_threads=1)
    interpreter.allocate_tensors()
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
    found = []
    for image in photos[4]:
        scale, zero = taken["quantization"]
        levels = np.clip(np.round(image / scale) + zero, -128, 127).astype(np.int8)
        interpreter.set_tensor(taken["index"], levels[np.newaxis])
        interpreter.invoke()
        found.append(interpreter.get_tensor(given["index"])[0])
    scale, zero = given["quantization"]
    logits = (np.array(found, np.float32) - zero) * scale
    wanted = answers(model, photos[4])
    assert np.square(logits - wanted).mean() < 0.02 * wanted.var()


@pytest.mark.parametrize("name", NETS)
def test_the_last_layer_is_fitted_to_what_is_left_of_the_features(photos, name):
    """Answers come nearer on other photos too; weights that are zero stay zero."""
    model = network(name)
    kernel, bias = model.layers[-1].get_weights()
    kernel[::3, 1] = 0
    kernel[1::2, 2] = 0
    model.layers[-1].set_weights([kernel, bias])
    student = copy(model)
    norm = student.get_layer(NETS[name].head_norm)
    norm.gamma.assign(norm.gamma.numpy() * np.random.default_rng(2).uniform(0.5, 1.5, 1280))
    wanted = answers(model, photos[4])

    def error():
        return np.square(answers(student, photos[4]) - wanted).mean()

    before = error()
    off, left = refit(student, model, photos[:4])
    assert left < off
    assert error() < 0.1 * before
    fitted = next(v for v in student.layers[-1].trainable_variables if "kernel" in v.name)
    assert np.array_equal(fitted.numpy() == 0, kernel == 0)


@pytest.mark.parametrize("name", NETS)
def test_one_weight_that_makes_the_last_kernel_coarse_is_clipped(photos, name):
    """It is of a feature that is hardly ever seen; a kernel without one stays as it is."""
    model = network(name)
    before = copy(model)
    assert clip_last(model, photos[:3]) == 1
    assert np.array_equal(model.layers[-1].get_weights()[0], before.layers[-1].get_weights()[0])
    norm = model.get_layer(NETS[name].head_norm)
    gamma, beta = norm.gamma.numpy(), norm.beta.numpy()
    gamma[7], beta[7] = 1e-3, 1e-3
    norm.gamma.assign(gamma)
    norm.beta.assign(beta)
    kernel, bias = model.layers[-1].get_weights()
    kernel[7, 1] = 44 * kernel.std()
    model.layers[-1].set_weights([kernel, bias])
    wanted = answers(model, photos[4])

    def error(student):
        kernel, bias = student.layers[-1].get_weights()
        step = np.abs(kernel).max() / 127
        student.layers[-1].set_weights([np.round(kernel / step) * step, bias])
        return np.square(answers(student, photos[4]) - wanted).mean()

    coarse, clipped = copy(model), copy(model)
    assert clip_last(clipped, photos[:3]) < 0.3
    assert np.square(answers(clipped, photos[4]) - wanted).mean() < 1e-4 * wanted.var()
    assert error(clipped) < 0.1 * error(coarse)


def test_features_that_are_the_same_on_every_photo_leave_the_kernel_as_it_is(photos):
    """A network that learned nothing gives nothing to fit; only the mean answer is taken over."""
    model = network()
    student = copy(model)
    norm = student.get_layer("Conv_1_bn")
    norm.gamma.assign(np.zeros(1280))
    before = student.layers[-1].get_weights()[0]
    refit(student, model, photos[:4])
    kernel, bias = student.layers[-1].get_weights()
    assert np.allclose(kernel, before)
    wanted = np.mean([answers(model, each) for each in photos[:4]], axis=(0, 1))
    features = keras.Model(student.input, student.layers[-1].input)
    given = features(photos[4], training=False).numpy() @ kernel + bias
    assert given[0] == pytest.approx(wanted, abs=1e-3)
