"""MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381), from ImageNet weights or from scratch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge.errors import TrainingError
from training.models.weights import load_backbone_weights
from training.recipe import Recipe
from training.tf import keras


def build(recipe: Recipe, classes: int) -> Any:  # noqa: ANN401
    """Keras' own MobileNetV2 as one flat graph (TFMOT wants no nested models), logits out.

    Raises:
        TrainingError: the weights cannot be found, downloaded or matched.
    """
    side = recipe.resolution
    backbone = keras.applications.MobileNetV2(
        (side, side, 3), alpha=recipe.alpha, include_top=False, weights=None
    )
    _load(backbone, recipe)
    x = keras.layers.GlobalAveragePooling2D(name="features")(backbone.output)
    logits = keras.layers.Dense(classes, name="logits")(x)
    return keras.Model(backbone.input, logits, name="mobilenet_v2")


def _load(backbone: Any, recipe: Recipe) -> None:  # noqa: ANN401
    if recipe.weights is None:
        return
    if recipe.weights != "imagenet":
        load_backbone_weights(backbone, Path(recipe.weights))
        return
    try:
        # Keras has weights for a few sizes only; every size shares the same convolutions.
        source = keras.applications.MobileNetV2(
            (224, 224, 3), alpha=recipe.alpha, include_top=False, weights="imagenet"
        )
    except Exception as error:  # Keras raises bare Exception and ValueError here.
        raise TrainingError(
            f"ImageNet weights of MobileNetV2 {recipe.alpha} could not be had ({error}); "
            "give a file with --weights FILE, or --weights none to start from scratch"
        ) from error
    backbone.set_weights(source.get_weights())
