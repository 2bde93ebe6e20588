"""Several classifiers as one: each sees the picture at its own size, their mean answer counts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from training.tf import keras
from training.untyped import Model, Tensor


def joined(models: Sequence[Model], temperatures: Sequence[float]) -> Model:
    """One flat model whose logits are the mean of others' logits over their temperatures.

    That is the mean of their log-probabilities but for a constant. The pooled features of all
    stand side by side and the last layers become one, so that what is done to one network
    (`quantize`) is done to it as well.

    Args:
        models: as of `training.models.build_model`, with the same classes.
        temperatures: of each.

    Returns:
        float32 (n, side, side, 3) in -1..1 to logits (n, classes); `side` is the largest of theirs.
    """
    side = max(model.input_shape[1] for model in models)
    image = keras.Input((side, side, 3), name="image")
    features = [_trunk(model, image, f"net{i + 1}_") for i, model in enumerate(models)]
    both = keras.layers.Concatenate(name="features")(features)
    last = keras.layers.Dense(models[0].output_shape[-1], name="logits")
    result = keras.Model(image, last(both), name="joined")
    tables = [model.get_layer("logits").get_weights() for model in models]
    scales = [1 / (temperature * len(models)) for temperature in temperatures]
    kernel = np.concatenate([k * scale for (k, _), scale in zip(tables, scales, strict=True)])
    bias = np.sum([b * scale for (_, b), scale in zip(tables, scales, strict=True)], axis=0)
    last.set_weights([kernel, bias])
    return result


def _trunk(model: Model, image: Tensor, prefix: str) -> Tensor:
    """A model's pooled features of a picture: its layers anew, under other names."""
    side = model.input_shape[1]
    if side != image.shape[1]:
        image = keras.layers.Resizing(side, side, name=f"{prefix}resize")(image)
    seen = {id(model.input): image}
    wanted = model.get_layer("features").output
    for layer in model.layers:
        if isinstance(layer, keras.layers.InputLayer):
            continue
        given = [seen[id(tensor)] for tensor in layer.inbound_nodes[0].keras_inputs]
        about = {**layer.get_config(), "name": f"{prefix}{layer.name}"}
        copy = type(layer).from_config(about)
        seen[id(layer.output)] = copy(given if len(given) > 1 else given[0])
        copy.set_weights(layer.get_weights())
        if layer.output is wanted:
            break
    return seen[id(wanted)]
