"""Which kernels of a Keras model are pruned and clustered, and which stand in the way."""

from __future__ import annotations

from typing import Any

from edge.errors import QuantizeError
from training.tf import keras
from training.untyped import Model

_KINDS = (keras.layers.Conv2D, keras.layers.Dense)
_CURES = {
    "SeparableConv2D": "write it as a DepthwiseConv2D and a Conv2D of 1 x 1",
    "Conv1D": "write it as a Conv2D of height 1",
}


def prunable(model: Model) -> list[Any]:
    """Layers that are pruned: ordinary convolutions and dense layers, not depthwise ones.

    Depthwise kernels hold a few percent of the weights and suffer most from losing any.
    """
    return [layer for layer in model.layers if type(layer) in _KINDS]


def check_kernels(model: Model, wanted: str) -> None:
    """Refuse a model with kernels that would be left as they are without a word.

    Args:
        model: any.
        wanted: what is to happen to them, for the message: "pruned", "clustered".

    Raises:
        QuantizeError: naming each layer with its class and the cure.
    """
    wrong = []
    for layer in model.layers:
        kind = type(layer).__name__
        if isinstance(layer, keras.Model):
            wrong.append(f"{layer.name} (a model inside the model): build the model flat")
        elif type(layer) not in (*_KINDS, keras.layers.DepthwiseConv2D) and weights(layer):
            cure = _CURES.get(kind, "replace it by Conv2D, DepthwiseConv2D or Dense")
            wrong.append(f"{layer.name} ({kind}): {cure}")
    if wrong:
        raise QuantizeError(f"these layers cannot be {wanted}:\n  " + "\n  ".join(wrong))


def twin(model: Model) -> Model:
    """A copy of a model with the weights that it has."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def weights(model: Model) -> int:
    """Weights in all kernels, pruned or not; biases and batch norms are no kernels."""
    return sum(
        variable.shape.num_elements()
        for variable in model.trainable_variables
        if len(variable.shape) >= 2
    )
