"""Batches for training: gathered, augmented and scaled inside TensorFlow, off the Python thread."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.input.augment import augment_batch, scale
from training.recipe import Augmentation
from training.tf import tf
from training.untyped import Tensor

Pixels = NDArray[np.uint8]


def train_dataset(
    images: Pixels,
    targets: NDArray[np.float32],
    order: NDArray[np.int32],
    *,
    batch: int,
    side: int,
    augment: Augmentation,
    seed: int,
    first_step: int = 0,
) -> Any:  # noqa: ANN401  (a tf.data.Dataset)
    """Augmented batches in a given order; the whole of it follows from the arguments.

    Args:
        images: uint8 (n, h, w, 3); a memory map is used page by page, never copied whole.
        targets: float32 (n, classes), what the model shall answer.
        order: indices of the photos; a last part smaller than a batch is left out.
        batch: photos per step.
        side: height and width of what comes out, pixels.
        augment: how much the photos are varied.
        seed: of the variation; with `first_step`, a resumed run goes on as if never stopped.
        first_step: number of the first batch.

    Yields:
        float32 (batch, side, side, 3) in -1..1 and float32 (batch, classes).
    """
    pixels, answers = tf.convert_to_tensor(images), tf.convert_to_tensor(targets)
    steps = len(order) // batch
    rows = np.ascontiguousarray(order[: steps * batch].reshape(steps, batch))
    numbers = np.arange(first_step, first_step + steps, dtype=np.int32)

    def make(number: Tensor, row: Tensor) -> Any:  # noqa: ANN401
        return augment_batch(
            tf.gather(pixels, row),
            tf.gather(answers, row),
            side,
            augment,
            tf.stack([tf.constant(seed, tf.int32), number]),
        )

    dataset = tf.data.Dataset.from_tensor_slices((numbers, rows)).map(
        # As in `training.tf.traced`: nothing here branches on a tensor.
        tf.autograph.experimental.do_not_convert(make),
        num_parallel_calls=1,
        deterministic=True,
    )
    return dataset.prefetch(2)


def plain_batches(images: Pixels, batch: int = 64) -> Iterator[Any]:
    """The photos in order, unvaried: tensors float32 (<= batch, h, w, 3) in -1..1."""
    for first in range(0, len(images), batch):
        yield scale(tf.convert_to_tensor(images[first : first + batch]))


def one_hot(labels: NDArray[np.integer], classes: int) -> NDArray[np.float32]:
    """Class indices (n,) to float32 (n, classes)."""
    table: NDArray[np.float32] = np.eye(classes, dtype=np.float32)[labels]
    return table
