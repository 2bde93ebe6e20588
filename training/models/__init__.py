"""Networks: a file for each of `training.architectures`.

A model takes float32 (n, height, width, 3) in -1..1 and returns logits (n, classes). Two layer
names are fixed, because training takes models apart there: ``features`` gives the pooled features
(n, d), ``logits`` is the last layer.
"""

from __future__ import annotations

from collections import Counter
from importlib import import_module
from pathlib import Path

from edge.errors import TrainingError
from training.architectures import ARCHITECTURES, settings_of
from training.inverted import published
from training.recipe import Recipe
from training.untyped import Model


def build_model(recipe: Recipe, classes: int) -> Model:
    """A Keras model of the recipe's architecture, with start weights if it names any.

    Raises:
        TrainingError: the architecture is unknown, or weights do not fit it.
    """
    from training.models.weights import WrongWeights

    if recipe.model not in ARCHITECTURES:
        known = ", ".join(sorted(ARCHITECTURES))
        raise TrainingError(f"model {recipe.model!r} is unknown: choose one of {known}")
    if classes < 2:
        raise TrainingError(f"{classes} class: a classifier needs at least 2")
    try:
        return _build(recipe, classes)
    except WrongWeights as error:
        raise TrainingError(f"{error}; {_mistaken(recipe)}") from error
    except TrainingError:
        raise
    except ValueError as error:
        raise TrainingError(f"model {recipe.model}: {error}") from error


def owner(weights: Path) -> Recipe:
    """The network that a file of start weights is of, told by the shapes of its kernels.

    Returns:
        A recipe that loads the file.

    Raises:
        TrainingError: there is no such file, or none of the networks has such kernels.
    """
    from training.models.weights import kernel_shapes

    found = kernel_shapes(weights)
    for settings, layers in published():
        if found == Counter(layer.kernel for layer in layers if layer.kernel):
            return Recipe(**settings, weights=str(weights))
    raise TrainingError(f"weights {weights}: of no MobileNetV2 and no EfficientNet-Lite")


def _build(recipe: Recipe, classes: int) -> Model:
    module, function = ARCHITECTURES[recipe.model].build.split(":")
    own = {name: getattr(recipe, name) for name in settings_of(recipe.model)}
    return getattr(import_module(module), function)(recipe, classes, **own)


def _mistaken(recipe: Recipe) -> str:
    """Whose weights were wanted, and whose the file has."""
    wanted = f"those of {_words(recipe)} are wanted"
    try:
        found = owner(Path(str(recipe.weights)))
    except TrainingError:
        return f"{wanted}, saved without the top"
    settings = " ".join(f"--set {name}={getattr(found, name)}" for name in settings_of(found.model))
    return f"{wanted}, these are of {_words(found)}: give --set model={found.model} {settings}"


def _words(recipe: Recipe) -> str:
    return " ".join(
        [recipe.model, *(f"{name} {getattr(recipe, name)}" for name in settings_of(recipe.model))]
    )
