"""The same network on a smaller input: the cheapest way to make a narrow network faster.

Convolutions do not care how large a picture is, so the weights stay; time, multiply-adds and memory
go down with the area. What the network knows of sizes has to be learnt anew.
"""

from __future__ import annotations

from typing import Any

from edge.errors import QuantizeError
from training.tf import keras

#: Sides are multiples of this. Maps need not halve evenly on their way down: what strides leave
#: over is padding, and the training that follows meets the network as it is.
STEP = 8
#: Below this share of its side a network is not tried: the last maps have nothing left in them.
SMALLEST = 0.4


def resolutions(model: Any) -> list[int]:  # noqa: ANN401 - a Keras model
    """Sides that `model` can have, its own first, descending: pixels."""
    side = model.input_shape[1]
    first = (side - 1) // STEP * STEP
    return [side, *(s for s in range(first, 0, -STEP) if s >= SMALLEST * side)]


def resized(model: Any, side: int) -> Any:  # noqa: ANN401 - a Keras model
    """A copy of `model` with the same weights for pictures of `side` x `side` pixels.

    Raises:
        QuantizeError: this is not one of its `resolutions`.
    """
    possible = resolutions(model)
    if side not in possible:
        raise QuantizeError(
            f"--resolution {side}: give {possible[0]}, or a multiple of {STEP} down to "
            f"{possible[-1]}"
        )
    shape = (side, side, model.input_shape[-1])
    pixels = keras.Input(shape, name=model.layers[0].name)
    copy = keras.models.clone_model(model, input_tensors=pixels)
    copy.set_weights(model.get_weights())
    return copy
