"""A small net from scratch: about 60,000 weights, for few classes and few minutes."""

from __future__ import annotations

from edge.errors import TrainingError
from training.recipe import Recipe
from training.tf import keras
from training.untyped import Model, Tensor

#: Output channels and stride of each block, at alpha 1.
_BLOCKS = ((24, 1), (48, 2), (48, 1), (96, 2), (96, 1), (128, 2))


def build(recipe: Recipe, classes: int, *, alpha: float) -> Model:
    """A strided convolution, six depthwise-separable blocks (ReLU6), mean over space, logits.

    Raises:
        TrainingError: the recipe names start weights; there are none for this net.
    """
    if recipe.weights is not None:
        raise TrainingError(f"weights {recipe.weights!r}: the small net has none, leave them out")
    layers = keras.layers
    inputs = keras.Input((recipe.resolution, recipe.resolution, 3))
    x = _norm(
        layers.Conv2D(_width(16, alpha), 3, 2, "same", use_bias=False, name="stem")(inputs), "stem"
    )
    for index, (channels, stride) in enumerate(_BLOCKS):
        name = f"block_{index}"
        x = layers.DepthwiseConv2D(3, stride, "same", use_bias=False, name=f"{name}_depthwise")(x)
        x = _norm(x, f"{name}_depthwise")
        x = layers.Conv2D(_width(channels, alpha), 1, use_bias=False, name=f"{name}_point")(x)
        x = _norm(x, f"{name}_point")
    x = layers.GlobalAveragePooling2D(name="features")(x)
    return keras.Model(inputs, layers.Dense(classes, name="logits")(x), name="small")


def _norm(x: Tensor, name: str) -> Tensor:
    # Momentum 0.9: a demo trains for a few hundred steps, too few for Keras' 0.99 to settle.
    x = keras.layers.BatchNormalization(momentum=0.9, name=f"{name}_bn")(x)
    return keras.layers.ReLU(6.0, name=f"{name}_relu")(x)


def _width(channels: int, alpha: float) -> int:
    return max(8, round(channels * alpha / 8) * 8)
