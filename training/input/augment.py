"""Random variation of whole batches: one geometric resampling and one colour matrix per photo.

Pixels come in as levels 0..255 and leave as -1..1. Everything happens on levels and the scaling is
folded into the colour matrix, so no step ever clips away the dark half. All randomness comes from
one stateless seed: the same seed gives the same batch, also after a resume.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from training.input.warp import affine, recolour
from training.recipe import Augmentation
from training.tf import tf
from training.untyped import Tensor

Pair = tuple[Tensor, Tensor]

#: Rotation axis of hue: grey stays grey (Haeberli 1993, "Matrix operations for image processing").
_LUMA = (0.299, 0.587, 0.114)


def augment_batch(
    images: Tensor, targets: Tensor, side: int, a: Augmentation, seed: Tensor
) -> Pair:
    """Vary a batch.

    Args:
        images: uint8 or float32 (n, h, w, 3), levels 0..255.
        targets: float32 (n, classes), rows sum to 1.
        side: height and width of the result, pixels.
        a: how much.
        seed: int32 (2,), all the randomness there is.

    Returns:
        float32 (n, side, side, 3) in -1..1 and float32 (n, classes).
    """
    draw = _Draw(seed)
    x = _resample(images, side, a, draw)
    if a.blur:
        x = _blur(x, a, draw)
    x = _recolour(x, a, draw)
    if a.noise:
        x = tf.clip_by_value(x + _noise(x, a, draw), -1.0, 1.0)
    if a.cutout:
        x = _cut_out(x, a, draw)
    if a.cutmix:
        x, targets = _cutmix(x, targets, a, draw)
    if a.mixup:
        x, targets = _mixup(x, targets, a, draw)
    return x, targets


def scale(images: Tensor) -> Tensor:
    """Levels 0..255 of any type to float32 -1..1, as `edge.model.image.preprocessing` does with
    mean = std = 127.5.
    """
    return (tf.cast(images, tf.float32) - 127.5) / 127.5


class _Draw:
    """Independent random tensors from one seed, numbered in the order they are asked for."""

    def __init__(self, seed: Tensor) -> None:
        self._seed = seed
        self._count = 0

    def seed(self) -> Tensor:
        self._count += 1
        return tf.random.experimental.stateless_fold_in(self._seed, self._count)

    def uniform(self, shape: Any, low: float = 0.0, high: float = 1.0) -> Tensor:  # noqa: ANN401
        return tf.random.stateless_uniform(shape, self.seed(), low, high)

    def chance(self, n: Tensor, share: float) -> Tensor:
        """float32 (n,), 1 in a share of places, else 0."""
        return tf.cast(self.uniform([n]) < share, tf.float32)


class _Cut(NamedTuple):
    """Which part of each photo is shown; all float32 (n,), in shares of the photo's side."""

    part_x: Tensor
    part_y: Tensor
    centre_x: Tensor
    centre_y: Tensor
    mirror_x: Tensor
    """1 or -1."""
    mirror_y: Tensor


def _cut(n: Tensor, a: Augmentation, draw: _Draw) -> _Cut:
    root = tf.sqrt(draw.uniform([n], *a.area))
    stretch = tf.exp(draw.uniform([n], -0.5, 0.5) * math.log(a.aspect))
    part_x, part_y = root * stretch, root / stretch
    slack_x = tf.maximum(1 - part_x, 0) / 2 + a.shift
    slack_y = tf.maximum(1 - part_y, 0) / 2 + a.shift
    return _Cut(
        part_x,
        part_y,
        centre_x=0.5 + draw.uniform([n], -1, 1) * slack_x,
        centre_y=0.5 + draw.uniform([n], -1, 1) * slack_y,
        mirror_x=1 - 2 * draw.chance(n, 0.5 if a.flip_horizontal else 0.0),
        mirror_y=1 - 2 * draw.chance(n, 0.5 if a.flip_vertical else 0.0),
    )


def _resample(x: Tensor, side: int, a: Augmentation, draw: _Draw) -> Tensor:
    """Flip, turn, cut out and shift in a single bilinear resampling."""
    n = tf.shape(x)[0]
    cut = _cut(n, a, draw)
    if a.shift or a.area[1] > 1 or (a.rotation and a.turned == 1):
        x = _resample_turned(x, side, cut, a, draw)
    elif a.rotation and a.turned:
        # Batches are in random order, so the first ones are as good as any.
        k = tf.cast(tf.round(tf.cast(n, tf.float32) * a.turned), tf.int32)
        first, rest = _Cut(*(part[:k] for part in cut)), _Cut(*(part[k:] for part in cut))
        turned = _resample_turned(x[:k], side, first, a, draw)
        x = tf.concat([turned, _resample_upright(x[k:], side, rest)], axis=0)
    else:
        x = _resample_upright(x, side, cut)
    if a.quarter_turns:
        # With both flips that makes all eight orientations; one choice a batch costs least.
        x = tf.cond(draw.uniform([]) < 0.5, lambda: tf.transpose(x, [0, 2, 1, 3]), lambda: x)
    return tf.ensure_shape(x, [None, side, side, 3])


def _resample_upright(x: Tensor, side: int, cut: _Cut) -> Tensor:
    """Cut out a box: four times cheaper than turning. A box with its ends swapped is mirrored."""
    boxes = []
    for part, centre, mirror, pixels in (
        (cut.part_y, cut.centre_y, cut.mirror_y, x.shape[1]),
        (cut.part_x, cut.centre_x, cut.mirror_x, x.shape[2]),
    ):
        # Here 0 and 1 are the centres of the outermost pixels, and samples sit in the middle of
        # target pixels. Outside would be filled, so the box moves in by at most half a pixel.
        scale_up = pixels / (pixels - 1)
        reach = tf.minimum(tf.minimum(part, 1) / 2 * (side - 1) / side * scale_up, 0.5)
        middle = tf.clip_by_value((centre - 0.5) * scale_up + 0.5, reach, 1 - reach)
        boxes.append((middle - mirror * reach, middle + mirror * reach))
    (top, bottom), (left, right) = boxes
    corners = tf.clip_by_value(tf.stack([top, left, bottom, right], axis=1), 0.0, 1.0)
    return tf.image.crop_and_resize(x, corners, tf.range(tf.shape(x)[0]), (side, side))


def _resample_turned(x: Tensor, side: int, cut: _Cut, a: Augmentation, draw: _Draw) -> Tensor:
    """Any affine map; what lies outside the photo is its mirror image."""
    n, height, width = tf.shape(x)[0], x.shape[1], x.shape[2]
    turn = draw.uniform([n], -a.rotation, a.rotation) * (math.pi / 180)
    cos, sin = tf.cos(turn), tf.sin(turn)
    # Output pixel (u, v) around the centre -> source pixel: mirror, scale, turn, move.
    step_x = cut.part_x * cut.mirror_x * (width / side)
    step_y = cut.part_y * cut.mirror_y * (height / side)
    xx, xy, yx, yy = cos * step_x, -sin * step_y, sin * step_x, cos * step_y
    middle = (side - 1) / 2
    left = cut.centre_x * width - 0.5 - middle * (xx + xy)
    top = cut.centre_y * height - 0.5 - middle * (yx + yy)
    return affine(x, tf.stack([xx, xy, left, yx, yy, top], axis=1), side)


def _recolour(x: Tensor, a: Augmentation, draw: _Draw) -> Tensor:
    """Brightness, contrast, saturation and hue as one matrix, with the scaling to -1..1."""
    n = tf.shape(x)[0]
    luma = tf.ones([3, 1]) * tf.constant([_LUMA])
    keep = 1 + draw.uniform([n], -a.saturation, a.saturation)
    keep *= 1 - draw.chance(n, a.grey)
    keep = keep[:, None, None]
    saturate = keep * tf.eye(3) + (1 - keep) * luma
    turn = draw.uniform([n], -a.hue, a.hue) * (math.pi / 180)
    contrast = 1 + draw.uniform([n], -a.contrast, a.contrast)
    matrix = contrast[:, None, None] * tf.matmul(_hue_rotation(turn), saturate)
    # matrix (x - 127.5) / 127.5 + brightness; rows sum to the contrast factor.
    offset = 2 * draw.uniform([n], -a.brightness, a.brightness) - contrast
    return recolour(x, matrix / 127.5, offset)


def _hue_rotation(turn: Tensor) -> Tensor:
    """Rotations (n, 3, 3) about the grey axis (Rodrigues' formula)."""
    third, root = 1 / 3, 1 / math.sqrt(3)
    cross = tf.constant([[0, -root, root], [root, 0, -root], [-root, root, 0]], tf.float32)
    cos, sin = tf.cos(turn)[:, None, None], tf.sin(turn)[:, None, None]
    return cos * tf.eye(3) + (1 - cos) * third * tf.ones([3, 3]) + sin * cross


def _blur(x: Tensor, a: Augmentation, draw: _Draw) -> Tensor:
    n = tf.shape(x)[0]
    part = (draw.chance(n, a.blur) * draw.uniform([n]))[:, None, None, None]
    return x + part * (tf.nn.avg_pool2d(x, 3, 1, "SAME") - x)


def _noise(x: Tensor, a: Augmentation, draw: _Draw) -> Tensor:
    """Gaussian, one pattern a batch in a strength and sign of each photo's own: cheap to draw."""
    strength = draw.uniform([tf.shape(x)[0]], -a.noise, a.noise) / 127.5
    pattern = tf.random.stateless_normal(x.shape[1:], draw.seed())
    return strength[:, None, None, None] * pattern


def _box(n: Tensor, side: int, part: Tensor, draw: _Draw) -> Tensor:
    """float32 (n, side, side, 1): 1 inside a square whose side is `part` (n,) of the picture."""
    half = part * side / 2
    inside = []
    for _ in range(2):
        centre = draw.uniform([n], 0, side)[:, None]
        inside.append(tf.abs(tf.range(side, dtype=tf.float32)[None] - centre) < half[:, None])
    return tf.cast(inside[0][:, :, None, None] & inside[1][:, None, :, None], tf.float32)


def _cut_out(x: Tensor, a: Augmentation, draw: _Draw) -> Tensor:
    n = tf.shape(x)[0]
    return x * (1 - _box(n, x.shape[1], draw.uniform([n], 0, a.cutout), draw))


def _cutmix(x: Tensor, targets: Tensor, a: Augmentation, draw: _Draw) -> Pair:
    n = tf.shape(x)[0]
    part = tf.sqrt(draw.uniform([n])) * draw.chance(n, a.cutmix)
    box = _box(n, x.shape[1], part, draw)
    other = tf.reduce_mean(box, axis=[1, 2])
    x += box * (tf.roll(x, 1, 0) - x)
    return x, targets + other * (tf.roll(targets, 1, 0) - targets)


def _mixup(x: Tensor, targets: Tensor, a: Augmentation, draw: _Draw) -> Pair:
    n = tf.shape(x)[0]
    first = tf.random.stateless_gamma([n], draw.seed(), a.mixup)
    second = tf.random.stateless_gamma([n], draw.seed(), a.mixup)
    other = tf.minimum(first, second) / tf.maximum(first + second, 1e-9)
    x += other[:, None, None, None] * (tf.reverse(x, [0]) - x)
    return x, targets + other[:, None] * (tf.reverse(targets, [0]) - targets)
