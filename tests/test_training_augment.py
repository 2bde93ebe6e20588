"""Augmentation moves what it should, stays in range and repeats itself by seed."""

import numpy as np
import pytest

from training.recipe import Augmentation

OFF = Augmentation(
    flip_horizontal=False, rotation=0, area=(1.0, 1.0), aspect=1, brightness=0, contrast=0,
    saturation=0, hue=0,
)  # fmt: skip


def changed(**kinds):
    """Only the given kinds of variation."""
    import msgspec

    return msgspec.structs.replace(OFF, **kinds)


def run(images, augmentation, seed=0, side=None, targets=None):
    """The augmented batch and targets as arrays."""
    from training.input.augment import augment_batch
    from training.tf import tf

    targets = np.eye(len(images), dtype=np.float32) if targets is None else targets
    x, y = augment_batch(
        tf.constant(images), tf.constant(targets), side or images.shape[1], augmentation,
        tf.constant([seed, 7], tf.int32),
    )  # fmt: skip
    return x.numpy(), y.numpy()


@pytest.fixture(scope="module")
def images():
    """Eight pictures of 24 x 24 with every level somewhere, and a bright corner."""
    levels = np.random.default_rng(0).integers(0, 256, (8, 24, 24, 3), dtype=np.uint8)
    levels[:, :8, :8] = 255
    return levels


def test_everything_off_is_the_devices_own_scaling(images):
    """No variation: the same numbers the device computes."""
    from edge.model.image.preprocessing import InputSpec, quantise

    spec = InputSpec(width=24, height=24, dtype="float32")
    x, y = run(images, OFF)
    np.testing.assert_allclose(x[3], quantise(images[3], spec)[0], atol=1e-5)
    np.testing.assert_array_equal(y, np.eye(8))


def test_dark_pixels_survive_contrast_and_brightness(images):
    """Levels below the middle are not cut away: half of the values stay negative."""
    x, _ = run(images, changed(contrast=0.3, brightness=0.1))
    assert 0.3 < np.mean(x < 0) < 0.7


@pytest.mark.parametrize(
    "kinds",
    [
        {"flip_horizontal": True}, {"flip_vertical": True}, {"quarter_turns": True},
        {"rotation": 180.0}, {"rotation": 0.01, "area": (0.3, 0.5)},
        {"area": (0.3, 0.5)}, {"shift": 0.3}, {"aspect": 1.5}, {"brightness": 0.4},
        {"contrast": 0.5}, {"saturation": 0.8}, {"hue": 90.0}, {"grey": 1.0}, {"blur": 1.0},
        {"noise": 20.0}, {"cutout": 0.6}, {"mixup": 1.0}, {"cutmix": 1.0},
    ],
    ids=lambda kinds: next(iter(kinds)),
)  # fmt: skip
def test_each_kind_changes_pictures_within_range(images, kinds):
    """Finite, -1..1, different from the plain picture, targets still sum to 1."""
    plain, _ = run(images, OFF)
    x, y = run(images, changed(**kinds))
    assert np.isfinite(x).all()
    assert x.min() >= -1
    assert x.max() <= 1
    assert np.abs(x - plain).max() > 0.05
    np.testing.assert_allclose(y.sum(axis=1), 1, atol=1e-6)


def test_the_same_seed_repeats_and_another_does_not(images):
    """What a resumed run relies on."""
    kinds = changed(rotation=180.0, noise=5.0, mixup=0.4, hue=20.0)
    first, again, other = (run(images, kinds, seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("shift", [0.0, 1e-9])
def test_a_flip_mirrors_exactly(images, shift):
    """Each picture is either itself or its mirror image, on the cheap path and the general."""
    plain, _ = run(images, OFF)
    x, _ = run(images, changed(flip_horizontal=True, shift=shift))
    mirrored = [np.allclose(a, b[:, ::-1], atol=1e-5) for a, b in zip(x, plain, strict=True)]
    same = [np.allclose(a, b, atol=1e-5) for a, b in zip(x, plain, strict=True)]
    assert all(m or s for m, s in zip(mirrored, same, strict=True))
    assert any(mirrored)
    assert any(same)


@pytest.mark.parametrize("shift", [0.0, 1e-9])
def test_cutting_out_a_quarter_doubles_what_is_seen(shift):
    """area 0.25 at aspect 1 shows half the side at twice the size, wherever it lies."""
    ramp = np.linspace(0, 250, 48).astype(np.uint8)[None, None, :, None]
    images = np.tile(ramp, (4, 48, 1, 3))
    x, _ = run(images, changed(area=(0.25, 0.25), shift=shift), targets=np.eye(4, dtype=np.float32))
    seen = (x[:, :, -1, 0] - x[:, :, 0, 0]).mean(axis=1)
    np.testing.assert_allclose(seen, 0.5 * 250 / 127.5, atol=0.06)


def test_both_paths_of_resampling_agree():
    """Without a turn, the general map and the cheap one show the same part."""
    down, across = np.mgrid[0:240:10, 0:240:10].astype(np.uint8)
    images = np.tile(np.stack([down, across, down], axis=-1), (8, 1, 1, 1))
    kinds = {"area": (0.3, 0.8), "flip_horizontal": True, "flip_vertical": True}
    cheap, _ = run(images, changed(**kinds), side=16)
    general, _ = run(images, changed(**kinds, rotation=1e-6), side=16)
    half_a_pixel = 5 / 127.5
    np.testing.assert_allclose(cheap, general, atol=half_a_pixel)
    assert np.mean(np.abs(cheap - general)) < 0.1 * half_a_pixel


def test_only_the_asked_share_is_turned(images):
    """A quarter of eight: two photos are rotated, six stay as they are."""
    plain, _ = run(images, OFF)
    x, _ = run(images, changed(rotation=180.0, turned=0.25))
    same = [np.allclose(a, b, atol=1e-5) for a, b in zip(x, plain, strict=True)]
    assert same == [False] * 2 + [True] * 6


def test_quarter_turns_swap_rows_and_columns(images):
    """Some batches are transposed, others left alone."""
    plain, _ = run(images, OFF)
    results = [run(images, changed(quarter_turns=True), seed)[0] for seed in range(6)]
    turned = [np.allclose(x, plain.transpose(0, 2, 1, 3), atol=1e-5) for x in results]
    same = [np.allclose(x, plain, atol=1e-5) for x in results]
    assert any(turned)
    assert any(same)
    assert all(t or s for t, s in zip(turned, same, strict=True))


def test_grey_pictures_stay_grey_under_hue_and_saturation():
    """Colour changes turn around the grey axis."""
    grey = np.full((4, 16, 16, 3), 90, np.uint8)
    x, _ = run(grey, changed(hue=120.0, saturation=0.9))
    np.testing.assert_allclose(x, (90 - 127.5) / 127.5, atol=1e-4)


def test_mixup_mixes_pictures_and_targets_alike():
    """Black and white mixed: the level tells the share in the target."""
    images = np.stack([np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8)])
    x, y = run(images, changed(mixup=1.0), targets=np.eye(2, dtype=np.float32))
    np.testing.assert_allclose((x.mean(axis=(1, 2, 3)) + 1) / 2, y[:, 1], atol=1e-5)
    assert 0 < y[0, 1] <= 0.5


def test_cutmix_share_in_target_is_the_area_pasted():
    """The same for a rectangle of the other picture."""
    images = np.stack([np.zeros((32, 32, 3), np.uint8), np.full((32, 32, 3), 255, np.uint8)])
    x, y = run(images, changed(cutmix=1.0), targets=np.eye(2, dtype=np.float32))
    np.testing.assert_allclose((x.mean(axis=(1, 2, 3)) + 1) / 2, y[:, 1], atol=1e-5)


def test_a_larger_source_is_cut_down_to_the_models_side(images):
    """24 pixels in, 16 out."""
    assert run(images, OFF, side=16)[0].shape == (8, 16, 16, 3)
