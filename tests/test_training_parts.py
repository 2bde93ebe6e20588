"""Recipes, sampling, start weights, schedule: the parts that a training run is made of."""

from typing import Any

import h5py
import numpy as np
import pytest
from there import there

from edge.errors import TrainingError
from training.input.sampling import class_weights, epoch_order, group_shares
from training.recipe import Recipe, change_recipe
from training.recipes import load_recipe, recipe_names


def test_every_shipped_recipe_is_valid_and_says_its_command():
    """Each file under recipes/ has a Recipe and a docstring with the command that runs it."""
    from importlib import import_module

    assert "fast" in recipe_names()
    for name in recipe_names():
        assert isinstance(load_recipe(name), Recipe)
        assert f"--recipe {name}" in there(import_module(f"training.recipes.{name}").__doc__)


def test_settings_are_changed_by_key():
    """Numbers, lists, words and keys below augment."""
    recipe = change_recipe(
        Recipe(), ["learning_rate=0.5", "augment.area=[0.2,0.9]", "crop=pad", "weights=none"]
    )
    assert (recipe.learning_rate, recipe.augment.area) == (0.5, (0.2, 0.9))
    assert (recipe.crop, recipe.weights) == ("pad", None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("learningrate=1", "unknown field learningrate; perhaps learning_rate"),
        ("learning_rat=1", "perhaps learning_rate"),
        ("augment.huge=1", "unknown field augment.huge; perhaps augment.hue"),
        ("augment.hue=500", r"augment\.hue is 500: .*; from 0 to 180"),
        ("dropout=1.5", r"dropout is 1\.5: .*; from 0 to below 1"),
        ("learning_rate=10", r"learning_rate is 10: .*; above 0 to 1"),
        ("learning_rate=NaN", r"learning_rate is 'NaN': it must be a number"),
        ("learning_rate=1e999", r"learning_rate is '1e999': it must be a number"),
        ("learning_rate=", r"learning_rate is '': it must be a number"),
        ("epochs=-1", r"epochs is -1: .*; from 0 to 10,000"),
        ("epochs=1.5", r"epochs is 1\.5: it must be a whole number"),
        ("epochs=0", "nothing would be trained"),
        ("augment.area=[-1,2]", r"augment\.area\[0\] is -1: .*; above 0 to 4"),
        ("augment=5", "augment is 5: it must be an object"),
        ("patience=0", "patience is 0: .*; from 1 to 10,000"),
        (
            "crop=middle",
            "crop is 'middle': it is not one of the choices; choose from centre, pad, stretch",
        ),
        ("weights=", "weights is empty"),
        ("augment.area=[0.9,0.1]", "the smaller share comes first"),
        ("epochs", "write key=value"),
        ("model.x=1", "only augment"),
        ("variant=1", "variant is 1: mobilenet_v2 has no such setting; it has alpha"),
        ("alpha=0", r"alpha is 0: .*; from 0\.1 to 4"),
    ],
)
def test_wrong_settings_are_refused_with_their_path(change, message):
    """Nothing is clamped or ignored."""
    with pytest.raises(TrainingError, match=message):
        change_recipe(Recipe(), [change])


def test_an_unknown_recipe_lists_the_known_ones():
    """The cure is in the message."""
    with pytest.raises(TrainingError, match=r"choose one of .*fast.*small"):
        load_recipe("fastest")


def test_balanced_draws_give_groups_of_a_class_equal_weight():
    """Twenty photos of one plant count as one photo of another; classes keep their share."""
    labels = np.array([0] * 21 + [1] * 4)
    groups = ["big"] * 20 + ["lone"] + ["a", "b", "c", "d"]
    shares = group_shares(labels, groups, 1.0)
    assert shares[:20].sum() == pytest.approx(shares[20])
    assert shares[:21].sum() == pytest.approx(21)
    np.testing.assert_allclose(group_shares(labels, groups, 0.0), 1)


def test_an_epoch_draws_each_photo_as_often_as_its_share_says():
    """Share 1: exactly once; share 3.5: three or four times; the seed decides the order."""
    even = epoch_order(np.ones(50), seed=0, epoch=3)
    assert sorted(even) == list(range(50))
    assert not np.array_equal(even, epoch_order(np.ones(50), seed=0, epoch=4))
    uneven = np.bincount(epoch_order(np.array([3.5, 0.25, 0.25]), 0, 0), minlength=3)
    assert uneven[0] in (2, 3)
    assert uneven.sum() == 3


def test_class_weights_favour_rare_classes_and_average_to_one():
    """ "inverse" fully, "effective" in between, "none" not at all."""
    labels = np.array([0] * 90 + [1] * 10)
    for rule, ratio in (("none", 1), ("inverse", 9)):
        weights = class_weights(labels, 2, rule)
        assert weights[1] / weights[0] == pytest.approx(ratio)
        assert weights[labels].mean() == pytest.approx(1, rel=1e-5)
    effective = class_weights(labels, 2, "effective")
    assert 5 < effective[1] / effective[0] < 9


def test_the_rate_rises_then_falls_to_nothing():
    """Warm-up to the peak, cosine to 0."""
    from training.fitting.step import scheduled_rate

    recipe = Recipe(learning_rate=1.0, warmup=2)
    rates = [scheduled_rate(recipe, step, 100, 10) for step in range(100)]
    assert np.argmax(rates) == 20
    assert rates[0] < 0.1
    assert rates[-1] < 0.001


@pytest.mark.parametrize(("steps", "peak"), [(400, 30), (60, 6)])
def test_a_short_epoch_makes_no_short_warm_up(steps, peak):
    """With two steps an epoch it takes 30, or a tenth of all where those are fewer."""
    from training.fitting.step import scheduled_rate

    recipe = Recipe(learning_rate=1.0, warmup=1)
    assert np.argmax([scheduled_rate(recipe, step, steps, 2) for step in range(steps)]) == peak


@pytest.mark.parametrize(("name", "alpha"), [("fast", 0.35), ("small", 1.0)])
def test_another_model_leaves_behind_what_only_the_former_has(name, alpha):
    """Its own settings have their usual values; one that is given all the same is refused."""
    assert (load_recipe(name).alpha, load_recipe(name).variant) == (alpha, None)
    recipe = load_recipe(name, ["model=efficientnet_lite"])
    assert (recipe.alpha, recipe.variant) == (None, 0)
    assert load_recipe(name, ["model=efficientnet_lite", "variant=2"]).variant == 2
    with pytest.raises(
        TrainingError, match=r"alpha is 0\.5: efficientnet_lite has no such setting"
    ):
        load_recipe(name, ["alpha=0.5", "model=efficientnet_lite"])
    with pytest.raises(TrainingError, match=r"variant is 3: .*; from 0 to 2"):
        load_recipe(name, ["model=efficientnet_lite", "variant=3"])


@pytest.fixture(scope="module")
def mobilenet():
    """MobileNetV2 0.35 without its top, random weights."""
    from training.tf import keras

    return keras.applications.MobileNetV2(
        (224, 224, 3), alpha=0.35, include_top=False, weights=None
    )


def write_weights(model, path):
    """Random weights for a network's layers as Keras 3 lays them out, every tensor recognisable."""
    from training.models.weights import layer_keys

    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        for key, layer in layer_keys(model):
            if layer.name == "logits":
                continue
            for i, variable in enumerate(layer.weights):
                file[f"layers/{key}/vars/{i}"] = rng.random(variable.shape, np.float32)
    return path


@pytest.fixture(scope="module")
def weights_file(mobilenet, tmp_path_factory):
    """Weights of that network."""
    return write_weights(mobilenet, tmp_path_factory.mktemp("weights") / "net.weights.h5")


def test_a_keras_3_weights_file_lands_in_the_right_layers(mobilenet, weights_file):
    """The fourth depthwise convolution and the last norm hold what the file says."""
    from training.models.weights import load_backbone_weights

    load_backbone_weights(mobilenet, weights_file)
    with h5py.File(weights_file) as file:
        np.testing.assert_array_equal(
            mobilenet.get_layer("block_3_depthwise").get_weights()[0],
            file["layers/depthwise_conv2d_3/vars/0"],
        )
        np.testing.assert_array_equal(
            mobilenet.get_layer("Conv_1_bn").get_weights()[3],
            file["layers/batch_normalization_51/vars/3"],
        )


PUBLISHED: dict[str, dict[str, Any]] = {
    "mobilenet_v2_0.35_224_no_top": {"alpha": 0.35},
    "mobilenet_v2_1.0_224_inat_insects_no_top": {"alpha": 1.0},
    "efficientnet_lite0_no_top": {"model": "efficientnet_lite", "variant": 0},
    "efficientnet_lite1_no_top": {"model": "efficientnet_lite", "variant": 1},
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_weights_tell_objects_apart(data, name):
    """The same photo mirrored is nearer than any other; the file is known for what it is."""
    from edge.model.image.preprocessing import InputSpec, load
    from training.models import build_model, owner
    from training.tf import keras

    path = data("backbone_weights") / f"{name}.weights.h5"
    recipe = Recipe(**PUBLISHED[name], resolution=96, weights=str(path))
    found = owner(path)
    assert (found.model, found.alpha, found.variant) == (recipe.model, recipe.alpha, recipe.variant)
    model = build_model(recipe, 2)
    spec = InputSpec(width=96, height=96)
    names = ("bird", "dragonfly", "grace_hopper", "sunflower")
    pixels = np.stack([load(data("coral_models") / f"{name}.bmp", spec) for name in names])
    images = np.concatenate([pixels, pixels[:, :, ::-1]]).astype(np.float32) / 127.5 - 1
    features = keras.Model(model.input, model.get_layer("features").output)
    given = features(images, training=False).numpy()
    assert 0.05 < given.mean() < 2
    assert given.max() <= 6
    alike = np.corrcoef(given)
    np.fill_diagonal(alike, 0)
    assert alike.argmax(axis=1).tolist() == [4, 5, 6, 7, 0, 1, 2, 3]
    assert alike[:4, 4:].diagonal().min() > 0.5


LITE = {"model": "efficientnet_lite"}
MISTAKEN = {
    "variant": (LITE | {"variant": 0}, LITE | {"variant": 1}, "block_3_depthwise"),
    "architecture": (LITE | {"variant": 0}, {"alpha": 0.35}, "Conv1"),
    "the other": ({"alpha": 1.0}, LITE | {"variant": 0}, "block_3_depthwise"),
}


@pytest.mark.parametrize(("given", "wanted", "layer"), MISTAKEN.values(), ids=MISTAKEN.keys())
def test_weights_of_another_network_are_refused_with_whose_they_are(tmp_path, given, wanted, layer):
    """The first layer that differs with both shapes, what is wanted, and the settings to give."""
    from training.models import build_model

    own = Recipe(**given, resolution=32)
    path = write_weights(build_model(own, 2), tmp_path / "net.weights.h5")
    recipe = Recipe(**wanted, resolution=32, weights=str(path))
    with pytest.raises(TrainingError) as caught:
        build_model(recipe, 2)
    said = str(caught.value)
    size = {"mobilenet_v2": "alpha", "efficientnet_lite": "variant"}
    name, owned = size[recipe.model], size[own.model]
    assert f"net.weights.h5: layer {layer} (" in said
    assert f"those of {recipe.model} {name} {getattr(recipe, name)} are wanted" in said
    assert said.endswith(f"--set model={own.model} --set {owned}={getattr(own, owned)}")


def test_weights_of_another_width_are_refused(weights_file):
    """Named layer, wanted and found shapes; nothing is loaded halfway."""
    from training.models.weights import load_backbone_weights
    from training.tf import keras

    wider = keras.applications.MobileNetV2((96, 96, 3), alpha=0.5, include_top=False, weights=None)
    before = wider.get_weights()
    with pytest.raises(TrainingError, match=r"needs shapes .*, the file has"):
        load_backbone_weights(wider, weights_file)
    for a, b in zip(before, wider.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_file_that_is_no_hdf5_is_refused(mobilenet, tmp_path):
    """So is a missing one, in words of its own."""
    from training.models.weights import load_backbone_weights

    path = tmp_path / "x.weights.h5"
    with pytest.raises(TrainingError, match=r"x\.weights\.h5: there is no such file"):
        load_backbone_weights(mobilenet, path)
    path.write_bytes(b"nothing")
    with pytest.raises(TrainingError, match="cannot be read as HDF5"):
        load_backbone_weights(mobilenet, path)


@pytest.mark.parametrize(("model", "last"), [("mobilenet_v2", 16), ("efficientnet_lite", 15)])
def test_frozen_blocks_and_layer_rates_follow_depth(model, last):
    """The stem ends after the frozen blocks; deeper layers learn slower."""
    from training.fitting.step import learning_rates, take_apart
    from training.models import build_model

    net = build_model(Recipe(model=model, resolution=32), 3)
    parts = take_apart(net, 4)
    assert there(parts.stem).layers[-1].name == "block_2_add"
    trained = parts.body.trainable_variables + parts.head.trainable_variables
    rates = dict(zip((v.name for v in trained), learning_rates(net, trained, 0.9), strict=True))
    assert rates["logits/kernel:0"] == 1
    assert rates[f"block_{last}_project/kernel:0"] == pytest.approx(0.9)
    assert rates["block_3_expand/kernel:0"] == pytest.approx(0.9 ** (last - 2))


def test_the_head_is_fitted_while_the_backbone_stays():
    """Frozen random features tell three colours apart after phase one; no other weight moves."""
    from training.fitting.head import fit_head
    from training.fitting.step import take_apart
    from training.fitting.train import predict_logits
    from training.input.dataset import one_hot
    from training.models import build_model

    recipe = change_recipe(
        load_recipe("small"), ["resolution=32", "head_views=2", "batch=8", "augment.hue=0"]
    )
    model = build_model(recipe, 3)
    for layer in model.layers:
        if layer.name.endswith("_bn"):  # untrained statistics would let the signal fade
            layer.gamma.assign(layer.gamma * 4)
    labels = np.arange(48) % 3
    images = np.full((48, 32, 32, 3), 40, np.uint8)
    images[np.arange(48), :, :, labels] = 200
    before = model.get_weights()
    fit_head(
        take_apart(model, 0), images, one_hot(labels, 3), np.ones(48), np.ones(3, np.float32),
        recipe, seed=0,
    )  # fmt: skip
    for old, new in zip(before[:-2], model.get_weights()[:-2], strict=True):
        np.testing.assert_array_equal(old, new)
    assert np.mean(predict_logits(model, images).argmax(axis=1) == labels) > 0.9
