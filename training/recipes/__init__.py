"""Recipes that are shipped: a file each, with one `Recipe` named ``RECIPE``."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable
from importlib import import_module

from edge.errors import TrainingError
from training.recipe import Recipe, change_recipe


def recipe_names() -> tuple[str, ...]:
    """Names of the shipped recipes, sorted."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def load_recipe(name: str, changes: Iterable[str] = ()) -> Recipe:
    """A shipped recipe, with "key=value" changes ("learning_rate=1e-4", "augment.hue=0").

    Raises:
        TrainingError: the recipe or a key is unknown, or a value is out of its range.
    """
    if name not in recipe_names():
        known = ", ".join(recipe_names())
        raise TrainingError(f"recipe {name!r} is unknown: choose one of {known}")
    recipe: Recipe = import_module(f"{__name__}.{name}").RECIPE
    return change_recipe(recipe, changes)
