"""Networks with weights that nothing trained, for tests of what is done to a network."""

import numpy as np

from training.models import build_model
from training.recipe import Recipe
from training.tf import keras


def mobilenet(whole=False, **changes):
    """MobileNetV2 with random weights and batch norms that do something.

    Unless `whole`, its first stages and its end: all kinds of its layers and ties are there, and
    all that is done to it takes half as long. `changes` are of the recipe.
    """
    values = {"alpha": 0.35, "resolution": 64, **changes}
    model = build_model(Recipe(**values), 5)
    if not whole:
        names = [layer.name for layer in model.layers]
        x = model.get_layer("block_6_project_BN").output
        for layer in model.layers[names.index("block_16_project_BN") + 1 :]:
            x = type(layer).from_config(layer.get_config())(x)
        model = keras.Model(model.input, x)
    rng = np.random.default_rng(0)
    for layer in model.layers:
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
