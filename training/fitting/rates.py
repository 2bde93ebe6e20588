"""How fast and how long to train on these photos: a short look at a few learning rates."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec.structs import replace

from training.files import write_shared
from training.recipe import Recipe, epochs_of, steps_per_epoch
from training.runs import HEAD, PROBE, Run

#: Learning rates that are tried, as multiples of the recipe's.
BESIDE = (1.0, 0.4, 2.5)
#: Times the recipe's own length that a training may take.
LONGEST = 4


class RateTrial(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What one training told of the validation photos."""

    learning_rate: float
    steps: int
    accuracy: float
    log_loss: float
    """Nats, at the best temperature."""
    falling: bool
    """Whether the validation loss still fell at the end."""


def settle_rate(
    recipe: Recipe, photos: int, folder: Path, train: Callable[[Recipe, Path], Run]
) -> tuple[Recipe, tuple[RateTrial, ...]]:
    """The recipe with the rate and length that tell most of the validation photos.

    One member is trained at each rate, then, as long as its loss still falls at the end, one of
    twice the length at the best of them. A trial that has ended is not repeated.

    Args:
        recipe: what is varied.
        photos: how many of them are trained on.
        folder: where the trials lie while they last.
        train: trains by a recipe into a folder, or goes on there.

    Returns:
        The recipe, and all trials in the order in which they were made.
    """
    if not recipe.epochs:
        return recipe, ()
    steps = epochs_of(recipe, photos) * steps_per_epoch(recipe, photos)
    tried = [
        _trial(
            replace(recipe, learning_rate=float(f"{recipe.learning_rate * times:.3g}")),
            steps,
            folder,
            train,
        )
        for times in BESIDE
    ]
    best = min(tried, key=lambda one: one.log_loss)
    while best.falling and 2 * best.steps <= LONGEST * steps:
        longer = _trial(
            replace(recipe, learning_rate=best.learning_rate), 2 * best.steps, folder, train
        )
        tried.append(longer)
        if longer.log_loss >= best.log_loss:
            break
        best = longer
    return replace(recipe, learning_rate=best.learning_rate, steps=best.steps), tuple(tried)


def _trial(
    recipe: Recipe, steps: int, folder: Path, train: Callable[[Recipe, Path], Run]
) -> RateTrial:
    """One member of so many steps, or what was found of it before."""
    place = folder / f"rate-{recipe.learning_rate:g}-steps-{steps}"
    ended = folder / f"{place.name}.json"
    if not ended.exists():
        result = train(replace(recipe, steps=steps, members=1, blend=1.0), place).info.result
        assert result is not None
        trained = next(c for c in result.candidates if c.name not in (PROBE, HEAD))
        found = RateTrial(
            learning_rate=recipe.learning_rate,
            steps=steps,
            accuracy=trained.accuracy,
            log_loss=trained.log_loss,
            falling=result.falling is not None,
        )
        write_shared(ended, msgspec.json.encode(found))
    shutil.rmtree(place, ignore_errors=True)
    return msgspec.json.decode(ended.read_bytes(), type=RateTrial)
