"""Networks with weights that nothing trained, for tests of what is done to a network."""

from typing import Any, NamedTuple

import numpy as np

from training.models import build_model
from training.recipe import Recipe
from training.tf import keras

CLASSES = 40
"""So many that a figure over all answers does not hang on the draw of one."""


class Net(NamedTuple):
    """An architecture, and where in it what is to be found."""

    settings: dict[str, Any]
    """Of the recipe."""
    stem: str
    head: str
    head_norm: str
    tied: tuple[int, int, int]
    """Blocks whose outputs are added."""
    last: int
    """Block that the head follows in what is not whole."""
    kernels: int
    """Convolutions in that."""
    bottlenecks: int
    """Groups of channels between blocks in that."""


NETS = {
    "mobilenet_v2": Net({"alpha": 0.35}, "Conv1", "Conv_1", "Conv_1_bn", (3, 4, 5), 6, 22, 4),
    "efficientnet_lite": Net(
        {"model": "efficientnet_lite"}, "stem", "head", "head_BN", (5, 6, 7), 8, 28, 5
    ),
}


def network(name: str = "mobilenet_v2", whole: bool = False, **changes: Any) -> Any:
    """A network of `NETS` with random weights and batch norms that do something.

    Unless `whole`, its first stages and its end: all kinds of its layers and ties are there, and
    all that is done to it takes half as long. `changes` are of the recipe.
    """
    net = NETS[name]
    model = build_model(Recipe(**(net.settings | {"resolution": 64} | changes)), CLASSES)
    if not whole:
        names = [layer.name for layer in model.layers]
        x = model.get_layer(f"block_{net.last}_project_BN").output
        for layer in model.layers[names.index(net.head) :]:
            x = type(layer).from_config(layer.get_config())(x)
        model = keras.Model(model.input, x)
    rng, draw = np.random.default_rng(0), np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D):
            # As Keras begins with them, nothing of the picture would be left after a few blocks.
            shape = layer.get_weights()[0].shape
            each = shape[2] if type(layer) is keras.layers.Conv2D else 1
            layer.set_weights([draw.normal(0, (2 / (shape[0] * shape[1] * each)) ** 0.5, shape)])
        if isinstance(layer, keras.layers.Dense):
            kernel, bias = (w.shape for w in layer.get_weights())
            layer.set_weights([draw.normal(0, kernel[0] ** -0.5, kernel), np.zeros(bias)])
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights(
                [
                    rng.uniform(low, high, w.shape)
                    for w, (low, high) in zip(
                        layer.get_weights(),
                        ((0.5, 1.5), (-0.5, 0.5), (-0.2, 0.2), (0.5, 1.5)),
                        strict=True,
                    )
                ]
            )
    return model
