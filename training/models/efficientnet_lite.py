"""EfficientNet-Lite 0 to 2: the all-rounder where MobileNetV2 is not accurate enough.

EfficientNet-B0 (Tan and Le 2019, arXiv:1905.11946) without squeeze-and-excitation and with ReLU6
for Swish, made wider and deeper between a stem and a head that stay as they are. Multipliers,
rounding and the pixels that the published weights were trained on (224, 240, 260; others do too)
are those of github.com/tensorflow/tpu, models/official/efficientnet:
lite/efficientnet_lite_builder.py and efficientnet_model.py.
"""

from __future__ import annotations

from typing import Any

from edge.errors import TrainingError
from training.inverted import HEAD, STEM, Stage, lite_stages
from training.models.weights import load_backbone_weights
from training.recipe import Recipe
from training.tf import keras


def build(recipe: Recipe, classes: int, *, variant: int) -> Any:  # noqa: ANN401
    """The network as one flat graph, logits out; layers are named as in Keras' MobileNetV2.

    Raises:
        TrainingError: the weights cannot be found or matched.
    """
    inputs = keras.Input((recipe.resolution, recipe.resolution, 3))
    x = _normed(keras.layers.Conv2D(STEM, 3, 2, "same", use_bias=False, name="stem"), inputs)
    x = keras.layers.ReLU(6.0, name="stem_relu")(x)
    number = 0
    for stage in lite_stages(variant):
        for block in range(stage.blocks):
            x = _block(x, f"block_{number}", stage, 1 if block else stage.stride)
            number += 1
    x = _normed(keras.layers.Conv2D(HEAD, 1, use_bias=False, name="head"), x)
    x = keras.layers.ReLU(6.0, name="head_relu")(x)
    _load(keras.Model(inputs, x), recipe)
    x = keras.layers.GlobalAveragePooling2D(name="features")(x)
    logits = keras.layers.Dense(classes, name="logits")(x)
    return keras.Model(inputs, logits, name="efficientnet_lite")


def _block(x: Any, name: str, stage: Stage, stride: int) -> Any:  # noqa: ANN401
    """Widen, look at each channel's surroundings, narrow; add what came in where it fits."""
    layers, start, read = keras.layers, x, x.shape[-1]
    if stage.expansion > 1:
        widen = layers.Conv2D(stage.expansion * read, 1, use_bias=False, name=f"{name}_expand")
        x = layers.ReLU(6.0, name=f"{name}_expand_relu")(_normed(widen, x))
    depthwise = layers.DepthwiseConv2D(
        stage.kernel, stride, "same", use_bias=False, name=f"{name}_depthwise"
    )
    x = layers.ReLU(6.0, name=f"{name}_depthwise_relu")(_normed(depthwise, x))
    x = _normed(layers.Conv2D(stage.channels, 1, use_bias=False, name=f"{name}_project"), x)
    if stride == 1 and read == stage.channels:
        x = layers.Add(name=f"{name}_add")([start, x])
    return x


def _normed(layer: Any, x: Any) -> Any:  # noqa: ANN401
    return keras.layers.BatchNormalization(name=f"{layer.name}_BN")(layer(x))


def _load(backbone: Any, recipe: Recipe) -> None:  # noqa: ANN401
    if recipe.weights is None:
        return
    if recipe.weights == "imagenet":
        raise TrainingError(
            "weights 'imagenet' are of MobileNetV2: give --weights "
            f"efficientnet-lite{recipe.variant}, --weights FILE, or --weights none to start from "
            "scratch"
        )
    load_backbone_weights(backbone, recipe.weights)
