"""Architectures by name. One more = one file here and one line in `ARCHITECTURES`.

A model takes float32 (n, height, width, 3) in -1..1 and returns logits (n, classes). Two layer
names are fixed, because training takes models apart there: ``features`` gives the pooled features
(n, d), ``logits`` is the last layer.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from edge.errors import TrainingError

if TYPE_CHECKING:
    from training.recipe import Recipe

ARCHITECTURES = {
    "mobilenet_v2": "training.models.mobilenet_v2:build",
    "small": "training.models.small:build",
}


def build_model(recipe: Recipe, classes: int) -> Any:  # noqa: ANN401  (Keras has no types)
    """A Keras model of the recipe's architecture, with start weights if it names any.

    Raises:
        TrainingError: the architecture is unknown, or weights do not fit it.
    """
    if recipe.model not in ARCHITECTURES:
        known = ", ".join(sorted(ARCHITECTURES))
        raise TrainingError(f"model {recipe.model!r} is unknown: choose one of {known}")
    if classes < 2:
        raise TrainingError(f"{classes} class: a classifier needs at least 2")
    module, function = ARCHITECTURES[recipe.model].split(":")
    try:
        return getattr(import_module(module), function)(recipe, classes)
    except ValueError as error:
        if isinstance(error, TrainingError):
            raise
        raise TrainingError(f"model {recipe.model}: {error}") from error
