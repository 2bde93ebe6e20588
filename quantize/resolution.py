"""The same network on a smaller input: the cheapest way to make a narrow network faster.

Convolutions do not care how large a picture is, so the weights stay; time, multiply-adds and memory
go down with the area. What the network knows of sizes has to be learnt anew.
"""

from __future__ import annotations

from math import gcd
from typing import Any

from edge.errors import QuantizeError
from training.tf import keras

#: Below this share of its side a network is not tried: the last maps have nothing left in them.
SMALLEST = 0.4


def resolutions(model: Any) -> list[int]:  # noqa: ANN401 - a Keras model
    """Sides that `model` can have, its own first, descending: pixels.

    Every map has to shrink by the same ratio, or padding would fall elsewhere than in training.
    """
    side = model.input_shape[1]
    # A padding layer's map is the one before it with a margin, no map of its own.
    maps = [
        layer.output.shape[1]
        for layer in model.layers
        if len(layer.output.shape) == 4 and not isinstance(layer, keras.layers.ZeroPadding2D)
    ]
    step = side // gcd(side, *maps)
    return [k * step for k in range(side // step, 0, -1) if k * step >= SMALLEST * side]


def resized(model: Any, side: int) -> Any:  # noqa: ANN401 - a Keras model
    """A copy of `model` with the same weights for pictures of `side` x `side` pixels.

    Raises:
        QuantizeError: the network's maps do not come out even at this side.
    """
    possible = resolutions(model)
    if side not in possible:
        raise QuantizeError(
            f"--resolution {side}: this network can have {', '.join(map(str, possible))}"
        )

    shape = (side, side, model.input_shape[-1])
    pixels = keras.Input(shape, name=model.layers[0].name)
    copy = keras.models.clone_model(model, input_tensors=pixels)
    copy.set_weights(model.get_weights())
    return copy
