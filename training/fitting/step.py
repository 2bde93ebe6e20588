"""One compiled training step, and the parts of a model that it needs."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.errors import TrainingError
from training.fitting.optimizer import AdamW
from training.recipe import Recipe
from training.tf import keras, tf, traced
from training.untyped import Model, Tensor

Step = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]

#: Least steps of a warm-up.
WARMUP = 30
_LAST = 99
"""How deep what follows the last block lies."""


class Parts(NamedTuple):
    """One model as three that share its layers: frozen stem (or None), body, head."""

    stem: Model | None
    body: Model
    head: Model


def take_apart(model: Model, freeze_blocks: int) -> Parts:
    """Cut a model after its first blocks and after its pooled features.

    Raises:
        TrainingError: the model has fewer blocks than are to be frozen.
    """
    blocks = max((d for layer in model.layers if (d := block_of(layer.name)) < _LAST), default=0)
    if freeze_blocks > blocks:
        raise TrainingError(f"freeze_blocks {freeze_blocks}: the model has {blocks} blocks")
    features = model.get_layer("features").output
    head = keras.Model(features, model.output, name="head")
    if freeze_blocks == 0:
        return Parts(None, keras.Model(model.input, features, name="body"), head)
    border = [layer for layer in model.layers if block_of(layer.name) < freeze_blocks][-1].output
    stem = keras.Model(model.input, border, name="stem")
    return Parts(stem, keras.Model(border, features, name="body"), head)


def block_of(layer: str) -> int:
    """How deep a layer lies: 0 the first convolution, k + 1 block k, _LAST what follows."""
    match = re.match(r"block_(\d+)_", layer)
    if match:
        return int(match[1]) + 1
    if layer.startswith("expanded_conv"):
        return 1
    return 0 if re.match(r"(input|Conv1|bn_Conv1|stem)", layer) else _LAST


def learning_rates(model: Model, variables: list[Any], decay: float) -> list[float]:
    """Relative rate of each variable: decay ** (blocks between it and the output)."""
    depth = {id(v): block_of(layer.name) for layer in model.layers for v in layer.weights}
    last = max((d for d in depth.values() if d < _LAST), default=0)
    return [decay ** max(0, last + 1 - depth[id(v)]) for v in variables]


def scheduled_rate(recipe: Recipe, step: int, steps: int, per_epoch: int) -> float:
    """Linear warm-up, then a cosine to 0 (Loshchilov and Hutter 2017, arXiv:1608.03983).

    A warm-up of two steps, one epoch of 90 photos, breaks good start weights: it takes `WARMUP`
    steps at least, but no more than a tenth of them all.
    """
    warmup = recipe.warmup * per_epoch
    if warmup:
        warmup = max(warmup, min(WARMUP, steps / 10))
    if step < warmup:
        return recipe.learning_rate * (step + 1) / (warmup + 1)
    done = (step - warmup) / max(1.0, steps - warmup)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def make_step(
    parts: Parts,
    optimizer: AdamW,
    recipe: Recipe,
    weights: NDArray[np.float32],
    seed: int,
    share: float,
) -> Step:
    """A compiled step(images, targets, taught, rate) -> (loss, share of right answers).

    `taught` is the teachers' log-probabilities, float32 (n, classes); without teachers anything.

    Args:
        parts: the model; what `optimizer` holds is trained.
        optimizer: of the variables of body and head.
        recipe: label smoothing, the teachers' part and the treatment of batch norm.
        weights: float32 (classes,), loss weight of each class.
        seed: of dropout, which also depends on the step's number, so a resumed run repeats it.
        share: of the loss that is the teachers'; 0: there are none.
    """
    class_weights = tf.constant(weights)

    def step(
        images: Tensor, targets: Tensor, taught: Tensor, rate: Tensor
    ) -> tuple[Tensor, Tensor]:
        x = images if parts.stem is None else tf.stop_gradient(parts.stem(images, training=False))
        with tf.GradientTape() as tape:
            features = parts.body(x, training=not recipe.freeze_statistics)
            if recipe.dropout:
                place = tf.stack([tf.cast(seed, tf.int64), optimizer.step])
                features = tf.nn.experimental.stateless_dropout(features, recipe.dropout, place)
            logits = parts.head(features)
            loss = smoothed_loss(logits, targets, class_weights, recipe.label_smoothing)
            if share:
                softened = taught_loss(logits, taught, recipe.teacher_temperature)
                loss = (1 - share) * loss + share * softened
        optimizer.apply(tape.gradient(loss, optimizer.variables), rate)
        hit = tf.equal(tf.argmax(logits, 1), tf.argmax(targets, 1))
        return loss, tf.reduce_mean(tf.cast(hit, tf.float32))

    compiled: Step = traced(step)
    return compiled


def compiled_for(
    model: Model,
    parts: Parts,
    recipe: Recipe,
    weights: NDArray[np.float32],
    seed: int,
    share: float = 0.0,
) -> tuple[AdamW, Step]:
    """Optimiser and step of a model that holds its start weights; see `make_step`."""
    variables = parts.body.trainable_variables + parts.head.trainable_variables
    optimizer = AdamW(
        variables,
        learning_rates(model, variables, recipe.layer_decay),
        weight_decay=recipe.weight_decay,
        anchor=recipe.anchor,
        average=recipe.average,
    )
    return optimizer, make_step(parts, optimizer, recipe, weights, seed, share)


def smoothed_loss(logits: Tensor, targets: Tensor, weights: Tensor, smoothing: float) -> Tensor:
    """Mean cross-entropy against smoothed targets (n, classes), weighted by class."""
    classes = logits.shape[-1]
    smooth = targets * (1 - smoothing) + smoothing / classes
    loss = tf.nn.softmax_cross_entropy_with_logits(smooth, logits)
    return tf.reduce_mean(loss * tf.linalg.matvec(targets, weights))


def taught_loss(logits: Tensor, taught: Tensor, temperature: float) -> Tensor:
    """Mean divergence (Kullback-Leibler) of answers from the teachers' log-probabilities, both at a
    temperature; times its square, so that gradients keep their size (Hinton et al. 2015).
    """
    wanted = tf.nn.log_softmax(taught / temperature)
    given = tf.nn.log_softmax(logits / temperature)
    apart = tf.reduce_sum(tf.exp(wanted) * (wanted - given), axis=1)
    return temperature**2 * tf.reduce_mean(apart)
