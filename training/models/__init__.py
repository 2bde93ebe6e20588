"""Networks: a file for each of `training.architectures`.

A model takes float32 (n, height, width, 3) in -1..1 and returns logits (n, classes). Two layer
names are fixed, because training takes models apart there: ``features`` gives the pooled features
(n, d), ``logits`` is the last layer.
"""

from __future__ import annotations

from collections import Counter
from importlib import import_module
from pathlib import Path

import msgspec

from edge.errors import TrainingError
from training.architectures import ARCHITECTURES, settings_of
from training.inverted import published
from training.recipe import Recipe
from training.starts.table import STARTS, names
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
    start = STARTS.get(recipe.weights or "")
    if start and any(getattr(recipe, key) != value for key, value in start.settings.items()):
        raise TrainingError(
            f"weights {recipe.weights!r} are of {start.network}, the recipe's network is "
            f"{_words(recipe)}"
        )
    try:
        return _build(recipe, classes)
    except WrongWeights as error:
        raise TrainingError(f"{error}; {_mistaken(recipe)}") from error
    except TrainingError:
        raise
    except ValueError as error:
        raise TrainingError(f"model {recipe.model}: {error}") from error


def owner(weights: str | Path) -> Recipe:
    """The network that start weights are of: by their name, or by the shapes of a file's kernels.

    Returns:
        A recipe that loads them.

    Raises:
        TrainingError: there is no such file, or none of the networks has such kernels.
    """
    from training.models.weights import kernel_shapes

    if weights in names():
        settings = STARTS[str(weights)].settings if weights in STARTS else {}
        return msgspec.convert({**settings, "weights": weights}, Recipe)
    found = kernel_shapes(Path(weights))
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
        found = owner(str(recipe.weights))
    except TrainingError:
        return f"{wanted}, saved without the top"
    settings = " ".join(f"--set {name}={getattr(found, name)}" for name in settings_of(found.model))
    return f"{wanted}, these are of {_words(found)}: give --set model={found.model} {settings}"


def _words(recipe: Recipe) -> str:
    return " ".join(
        [recipe.model, *(f"{name} {getattr(recipe, name)}" for name in settings_of(recipe.model))]
    )
