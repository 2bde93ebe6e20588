"""A network of one block: all that is done to a network is done to it, in a third of the time."""

from typing import Any

from training.recipe import Recipe
from training.tf import keras


def build(recipe: Recipe, classes: int) -> Any:
    """A strided convolution, one depthwise-separable block (ReLU6), mean over space, logits.

    Layers are named as in the small network; `recipe` gives the side of the input.
    """
    layers = keras.layers
    inputs = keras.Input((recipe.resolution, recipe.resolution, 3))
    x = inputs
    for name, layer in (
        ("stem", layers.Conv2D(16, 3, 2, "same", use_bias=False, name="stem")),
        (
            "block_0_depthwise",
            layers.DepthwiseConv2D(3, 2, "same", use_bias=False, name="block_0_depthwise"),
        ),
        ("block_0_point", layers.Conv2D(96, 1, use_bias=False, name="block_0_point")),
    ):
        x = layers.BatchNormalization(momentum=0.9, name=f"{name}_bn")(layer(x))
        x = layers.ReLU(6.0, name=f"{name}_relu")(x)
    x = layers.GlobalAveragePooling2D(name="features")(x)
    return keras.Model(inputs, layers.Dense(classes, name="logits")(x), name="shallow")
