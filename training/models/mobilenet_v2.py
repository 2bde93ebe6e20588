"""MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381), from ImageNet weights or from scratch."""

from __future__ import annotations

from edge.errors import TrainingError
from training.inverted import MOBILENET_V2_WIDTHS
from training.models.weights import load_backbone_weights
from training.recipe import Recipe
from training.starts.origin import imagenet_file
from training.tf import keras
from training.untyped import Model


def build(recipe: Recipe, classes: int, *, alpha: float) -> Model:
    """Keras' own MobileNetV2 as one flat graph (TFMOT wants no nested models), logits out.

    Raises:
        TrainingError: the weights cannot be found, downloaded or matched.
    """
    side = recipe.resolution
    backbone = keras.applications.MobileNetV2(
        (side, side, 3), alpha=alpha, include_top=False, weights=None
    )
    _load(backbone, recipe, alpha)
    x = keras.layers.GlobalAveragePooling2D(name="features")(backbone.output)
    logits = keras.layers.Dense(classes, name="logits")(x)
    return keras.Model(backbone.input, logits, name="mobilenet_v2")


def _load(backbone: Model, recipe: Recipe, alpha: float) -> None:
    if recipe.weights is None:
        return
    if recipe.weights != "imagenet":
        load_backbone_weights(backbone, recipe.weights)
        return
    if alpha not in MOBILENET_V2_WIDTHS:
        known = ", ".join(map(str, MOBILENET_V2_WIDTHS))
        raise TrainingError(
            f"there are no ImageNet weights of MobileNetV2 {alpha}: choose one of {known}, "
            "give a file with --weights FILE, or --weights none to start from scratch"
        )
    try:
        # Keras has weights for a few sizes only; every size shares the same convolutions.
        source = keras.applications.MobileNetV2(
            (224, 224, 3), alpha=alpha, include_top=False, weights="imagenet"
        )
    except Exception as error:  # Keras raises bare Exception and ValueError here.
        where = imagenet_file(alpha)
        raise TrainingError(
            f"ImageNet weights of MobileNetV2 {alpha} could not be downloaded ({error}). "
            f"Without a network: put {where.name} (from Keras' applications) at {where}, give "
            "--weights FILE with MobileNetV2's weights without its top (Keras 3 .weights.h5 or "
            "Keras 2 .h5, the same alpha), or --weights none to start from scratch"
        ) from error
    backbone.set_weights(source.get_weights())
