"""Phase one: the last layer alone, fitted to features of the frozen backbone.

A head that starts at random sends noise through good start weights; fitted first, fine-tuning
starts from the linear probe instead (LP-FT, Kumar et al. 2022, arXiv:2202.10054).
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
from numpy.typing import NDArray

from training.fitting.optimizer import AdamW
from training.fitting.step import Parts, smoothed_loss
from training.input.dataset import train_dataset
from training.input.sampling import epoch_order
from training.recipe import Recipe
from training.tf import tf, traced
from training.untyped import Model, Tensor

Floats = NDArray[np.float32]


def fit_head(
    parts: Parts,
    images: NDArray[np.uint8],
    targets: Floats,
    shares: NDArray[np.float64],
    weights: Floats,
    recipe: Recipe,
    seed: int,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Set the weights of the head from `recipe.head_views` augmented copies of each photo.

    Args:
        parts: the model; stem and body stay as they are.
        images: uint8 (n, h, w, 3).
        targets: float32 (n, classes).
        shares: how often each photo is drawn.
        weights: loss weight of each class.
        recipe: augmentation, smoothing, views.
        seed: decides draws and augmentation.
        progress: called with 1 after each view.
    """
    features, answers = [], []
    # Mixed pictures are for weights that can adapt to them; frozen features only get worse.
    plain = msgspec.structs.replace(recipe.augment, mixup=0.0, cutmix=0.0, cutout=0.0)
    batch = min(recipe.batch, len(images))
    steps = len(images) // batch

    def forward(x: Tensor) -> Tensor:
        x = x if parts.stem is None else parts.stem(x, training=False)
        return parts.body(x, training=False)

    extract = traced(forward)
    for view in range(recipe.head_views):
        data = train_dataset(
            images,
            targets,
            epoch_order(shares, seed + 1_000_003, view),
            batch=batch,
            side=recipe.resolution,
            augment=plain,
            seed=seed + 1_000_003,
            first_step=view * steps,
        )
        for x, y in data:
            features.append(extract(x).numpy())
            answers.append(y.numpy())
        if progress:
            progress(1)
    _fit(parts.head, np.concatenate(features), np.concatenate(answers), weights, seed)


def _fit(
    head: Model, features: Floats, answers: Floats, weights: Floats, seed: int, steps: int = 800
) -> None:
    """Adam with a falling rate on features held in memory; seconds.

    Strong decay and no label smoothing: smoothing costs a linear head on frozen features 0.1 nats
    on other groups, weak decay 0.05 (docs/training.md).
    """
    optimizer = AdamW(head.trainable_variables, [1.0] * 2, weight_decay=1.0)
    class_weights = tf.constant(weights)

    def step(x: Tensor, y: Tensor, rate: Tensor) -> None:
        with tf.GradientTape() as tape:
            loss = smoothed_loss(head(x, training=False), y, class_weights, 0.0)
        optimizer.apply(tape.gradient(loss, optimizer.variables), rate)

    compiled = traced(step)
    rng = np.random.default_rng(seed)
    for rate in np.linspace(5e-3, 0, steps, endpoint=False, dtype=np.float32):
        pick = rng.integers(len(features), size=256)
        compiled(tf.constant(features[pick]), tf.constant(answers[pick]), tf.constant(rate))
