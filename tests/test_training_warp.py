"""The compiled resampling and recolouring give what TensorFlow's own operations give."""

from __future__ import annotations

import numpy as np

from training.input.warp import affine, recolour
from training.tf import tf

RNG = np.random.default_rng(0)
PHOTOS = RNG.integers(0, 256, (3, 20, 30, 3)).astype(np.uint8)


def test_resampling_agrees_with_tensorflows_projective_transform():
    """Turned, mirrored, shrunk and far outside: the same values, the mirror image outside."""
    maps = RNG.normal(size=(3, 6)).astype(np.float32) * [0.8, 0.8, 20, 0.8, 0.8, 20]
    maps = maps.astype(np.float32)
    expected = tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(PHOTOS, tf.float32),
        transforms=np.pad(maps, ((0, 0), (0, 2))),
        output_shape=[24, 24],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="REFLECT",
    )
    found = affine(tf.constant(PHOTOS), tf.constant(maps), 24)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=0.05)


def test_each_photo_gets_its_own_colours_clipped():
    """A matrix and an offset per photo, then -1..1."""
    pixels = PHOTOS.astype(np.float32) / 127.5 - 1
    matrices = RNG.normal(size=(3, 3, 3)).astype(np.float32)
    offsets = RNG.normal(size=3).astype(np.float32)
    expected = np.einsum("nhwc,nkc->nhwk", pixels, matrices) + offsets[:, None, None, None]
    found = recolour(tf.constant(pixels), tf.constant(matrices), tf.constant(offsets))
    np.testing.assert_allclose(found.numpy(), expected.clip(-1, 1), atol=1e-5)
