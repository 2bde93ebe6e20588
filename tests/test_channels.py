"""Structured pruning: which channels belong together, what they cost and matter, taken out."""

from functools import partial

import msgspec
import numpy as np
import pytest
from networks import CLASSES, NETS, network

from edge.errors import QuantizeError
from edge.model.image.preprocessing import InputSpec
from quantize.compress.channels import cost
from quantize.compress.channels.importance import importance
from quantize.compress.channels.search import find_share, tries
from quantize.compress.channels.select import narrowest, select
from quantize.compress.channels.shrink import narrow
from quantize.compress.channels.speed import fit
from quantize.compress.resolution import at_resolution, resolutions
from quantize.keras.channels import cut, find_channels
from quantize.options import parse_budget
from training.models import build_model
from training.recipe import Recipe
from training.runs import Run, RunInfo
from training.tf import keras, tf


@pytest.fixture(scope="module")
def images():
    """Sixteen random pictures."""
    return np.random.default_rng(1).uniform(-1, 1, (16, 64, 64, 3)).astype(np.float32)


@pytest.mark.parametrize("name", NETS)
def test_added_outputs_are_one_group_and_expansions_their_own(name):
    """The three projections of a stage share channels; pixels and answers are none."""
    model, (first, second, third) = network(name), NETS[name].tied
    channels = find_channels(model)
    roles = channels.roles
    shared = {roles[f"block_{k}_project"].writes for k in (first, second, third)}
    assert len(shared) == 1
    group = channels.groups[shared.pop()]
    assert group.width == model.get_layer(f"block_{first}_project").filters
    assert group.writers == tuple(f"block_{k}_project" for k in (first, second, third))
    assert group.readers == tuple(f"block_{k}_expand" for k in (second, third, third + 1))
    assert group.linear
    wide = f"block_{second}"
    own = channels.groups[roles[f"{wide}_expand"].writes]
    assert own.carriers == (f"{wide}_expand_BN", f"{wide}_depthwise", f"{wide}_depthwise_BN")
    assert own.readers == (f"{wide}_project",)
    assert roles[NETS[name].stem].reads == roles["logits"].writes == -1


PUBLISHED = (
    ({"alpha": 1.0}, 300, 0.02),
    ({"alpha": 0.35}, 59, 0.02),
    ({"model": "efficientnet_lite", "variant": 0}, 385, 0.001),
)


@pytest.mark.parametrize(("settings", "millions", "off"), PUBLISHED)
def test_costs_are_the_published_ones(settings, millions, off):
    """Multiply-adds at 224 pixels: of MobileNetV2 by Keras' table, of Lite0 as boards count it."""
    model = build_model(Recipe(**settings, resolution=224), 1000)
    channels = find_channels(model)
    found = cost.macs(cost.terms(model, channels), [g.width for g in channels.groups])
    assert found / 1e6 == pytest.approx(millions, rel=off)


@pytest.mark.parametrize("name", NETS)
def test_weights_are_counted(name):
    """The count is that of all kernels."""
    model = network(name)
    channels = find_channels(model)
    found = cost.weights(cost.terms(model, channels), [g.width for g in channels.groups])
    assert found == sum(v.numpy().size for v in model.trainable_variables if len(v.shape) > 1)


@pytest.mark.parametrize("name", NETS)
def test_channels_that_give_nothing_can_go_without_a_trace(images, name):
    """In every group: scale and offset of some channels 0, then these cut; the answers stay."""
    model = network(name)
    channels = find_channels(model)
    rng, keep = np.random.default_rng(2), {}
    for number, group in enumerate(channels.groups):
        if group.width <= 8:
            continue
        keep[number] = np.sort(rng.permutation(group.width)[: group.width - 5])
        gone = np.setdiff1d(np.arange(group.width), keep[number])
        for name in group.carriers:
            layer = model.get_layer(name)
            if isinstance(layer, keras.layers.BatchNormalization):
                gamma, beta, *rest = layer.get_weights()
                gamma[gone] = beta[gone] = 0
                layer.set_weights([gamma, beta, *rest])
    smaller = cut(model, channels, keep)
    assert np.allclose(smaller(images), model(images), atol=1e-4)
    assert smaller.count_params() < 0.97 * model.count_params()
    assert find_channels(smaller).groups[5].width == channels.groups[5].width - 5


@pytest.mark.parametrize("name", NETS)
def test_a_network_built_for_fewer_pixels_keeps_its_weights_and_whole_maps(tmp_path, name):
    """At 152 pixels the last map is 5 x 5, padded on both sides; the weights are the same."""
    recipe = Recipe(**NETS[name].settings, resolution=224, weights="never read")
    info = RunInfo(
        labels=tuple("abcde"),
        input=InputSpec(width=224, height=224),
        recipe_name="",
        recipe=recipe,
        seed=0,
        data="",
        data_fingerprint="",
        split_rule="",
        packages={},
    )
    model = build_model(msgspec.structs.replace(recipe, weights=None), 5)
    found = at_resolution(Run(tmp_path, info), model, 152)
    assert found.get_layer("features").input_shape == (None, 5, 5, 1280)
    assert all(map(np.array_equal, found.get_weights(), model.get_weights()))
    assert resolutions(224)[:3] == [224, 216, 208]
    with pytest.raises(QuantizeError, match="--resolution 150: give 224, or a multiple of 8"):
        at_resolution(Run(tmp_path, info), model, 150)


def test_layers_that_tie_channels_otherwise_are_named():
    """A product is not understood; it is said which."""
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(8, 3)(inputs)
    x = keras.layers.Multiply(name="both")([x, x])
    with pytest.raises(QuantizeError, match=r"followed through both \(Multiply\)"):
        find_channels(keras.Model(inputs, x))


def test_the_least_harm_for_what_it_saves_goes_first():
    """Two layers of equal price: the weaker one's weakest eight; then what is left to take."""
    strong, weak = np.arange(16.0) + 100, np.arange(24.0)[::-1].copy()
    price = lambda widths: 10.0 * sum(widths)  # noqa: E731
    keep = select([strong, weak], price, 320)
    assert list(keep) == [1]
    assert keep[1].tolist() == list(range(16))
    keep = select([strong, weak], price, 240)
    assert keep[1].tolist() == list(range(8))
    keep = select([strong, weak], price, 160)
    assert keep[0].tolist() == list(range(8, 16))
    with pytest.raises(QuantizeError, match=r"still costs 160, but 150 is asked for"):
        select([strong, weak], price, 150)


def test_no_group_becomes_narrower_than_it_may():
    """The weak group stops at its least width, then the strong one has to give."""
    strong, weak = np.arange(16.0) + 100, np.arange(24.0)
    keep = select([strong, weak], lambda widths: 10.0 * sum(widths), 240, [8, 16])
    assert [len(keep[0]), len(keep[1])] == [8, 16]
    with pytest.raises(QuantizeError, match="cannot be met"):
        select([strong, weak], lambda widths: 10.0 * sum(widths), 230, [8, 16])
    assert narrowest([1280, 48, 8, 5], 0.25) == [320, 16, 8, 5]


def test_odd_widths_come_down_to_multiples_of_eight():
    """21 channels become 16, not 13."""
    keep = select([np.arange(21.0)], lambda widths: float(widths[0]), 20)
    assert keep[0].tolist() == list(range(5, 21))


def test_the_gradient_finds_what_switching_off_does(images):
    """Measured score and true harm of closing a channel rank alike; the scale alone does worse."""
    model = network()
    channels = find_channels(model)
    truth = tf.one_hot(np.arange(16) % CLASSES, CLASSES)
    batches = [(images[i : i + 1], truth[i : i + 1]) for i in range(16)]
    number = channels.roles["block_5_expand"].writes
    norm = model.get_layer("block_5_depthwise_BN")
    run = tf.function(lambda x: model(x, training=False))

    def loss():
        each = tf.nn.softmax_cross_entropy_with_logits(truth, run(images))
        return each.numpy()

    before, harms = loss(), []
    gamma, beta, *rest = norm.get_weights()
    for channel in range(len(gamma)):
        off = np.arange(len(gamma)) != channel
        norm.set_weights([gamma * off, beta * off, *rest])
        harms.append(np.square(loss() - before).mean())
    norm.set_weights([gamma, beta, *rest])

    def agreement(scores):
        ranks = [np.argsort(np.argsort(values)) for values in (scores[number], harms)]
        return np.asarray(np.corrcoef(ranks))[0, 1]

    taylor = agreement(importance(model, channels, batches))
    assert taylor > 0.8
    sizes = {number: np.abs(gamma)}  # Liu et al. 2017, arXiv:1708.06519
    assert taylor > agreement(sizes)


@pytest.mark.parametrize("name", NETS)
def test_a_network_comes_down_to_its_budget_and_says_which_features_it_kept(
    images, monkeypatch, name
):
    """Half of the multiply-adds in two rounds; every width a multiple of eight."""
    monkeypatch.setattr("quantize.compress.channels.shrink.MEASURED", 4)
    model = network(name)
    truth = tf.one_hot(np.arange(16) % CLASSES, CLASSES)
    stream = iter(lambda: (images, truth), None)
    healed = []
    narrowed = narrow(
        model,
        cut(model, find_channels(model), {}),
        0.5,
        lambda model, channels: partial(cost.macs, cost.terms(model, channels)),
        stream,
        (images, images),
        lambda _, number: healed.append(number),
        rounds=2,
    )
    channels = find_channels(narrowed.model)
    widths = [group.width for group in channels.groups]
    whole = find_channels(model)
    before = cost.macs(cost.terms(model, whole), [group.width for group in whole.groups])
    after = partial(cost.macs, cost.terms(narrowed.model, channels))(widths)
    assert 0.4 * before < after <= 0.5 * before
    assert all(width % 8 == 0 for width in widths)
    assert len(narrowed.features) == narrowed.model.get_layer("features").output_shape[-1]
    assert healed == [0, 1]
    assert narrowed.model.output_shape == (None, CLASSES)


@pytest.mark.parametrize(
    ("words", "most"),
    [("macs=0.5", 0.5), ("latency=0.25", 0.25), ("ms=8", 8), ("ms=8 ms", 8), ("bytes=300kB", 3e5)],
)
def test_budgets_are_read_in_the_users_words(words, most):
    """A share, milliseconds, or bytes with a unit."""
    assert parse_budget(words).most == most


@pytest.mark.parametrize(
    "words", ["macs", "speed=2", "ms=fast", "bytes=3 miles", "bytes=0.5", "latency=0"]
)
def test_other_words_are_refused_with_what_is_possible(words):
    """The message repeats what was given."""
    with pytest.raises(QuantizeError, match=f"--budget {words}: "):
        parse_budget(words)


def test_the_largest_share_within_a_measured_budget_is_found():
    """A model whose time has a part that does not shrink."""
    said: list[str] = []
    share = find_share(parse_budget("latency=0.5"), lambda s: 0.2 + 0.8 * s, 0.05, said.append)
    assert tries(0.05) - 2 <= len(said) <= tries(0.05) == 9
    assert 0.2 + 0.8 * share <= 0.5
    assert 0.2 + 0.8 * share * 1.03 > 0.5
    assert said[0] == "tried 50.0% of the predicted cost: latency 0.6, 0.5 allowed"
    said.clear()
    with pytest.raises(QuantizeError, match=r"latency=0\.1 cannot be met"):
        find_share(parse_budget("latency=0.1"), lambda s: 0.2 + 0.8 * s, 0.05, said.append)
    assert len(said) <= tries(0.05)
    assert tries(0.99) == tries(1.0) == 1


def test_a_machines_time_is_learnt_from_narrower_networks():
    """A machine where depthwise multiply-adds cost six others: networks not seen are predicted."""
    model = network()
    channels = find_channels(model)
    costs, widths = cost.terms(model, channels), [g.width for g in channels.groups]
    price = {"spatial": 2.0, "point": 1.0, "depthwise": 6.0}

    def seconds(those):
        return 1e5 + sum(
            price[t.kind] * cost.layer_macs(t, those) + 0.5 * cost.layer_moved(t, those)
            for t in costs
        )

    fitted = fit({64: costs}, widths, lambda _, those: seconds(those) / seconds(widths), seed=0)
    assert fitted.error < 0.01
    narrow_ones = [max(8, width // 16 * 8) for width in widths]
    wanted = seconds(narrow_ones) / seconds(widths)
    assert fitted.share(costs, narrow_ones) == pytest.approx(wanted, rel=0.02)
    assert fitted.share(costs, widths) == pytest.approx(1, rel=0.01)
