"""What the network of each shipped recipe costs on a device.

Multiply-adds and bytes are counted in the int8 file. Times are estimates, none was measured: they
are what :mod:`quantize.boards` makes of published times of other networks (docs/quantize.md), which
it cannot be asked for here, since `quantize` stands on `training`. A test makes every file and
holds every figure against it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from training.recipe import Recipe
from training.recipes import load_recipe, recipe_names

BOARDS = ("Pi Zero 2 W", "Pi 3B+", "Pi 4", "Pi 5", "Pi 4 + Coral")
CLASSES = 10
"""Of the networks that were looked at."""
ABOUT = (
    f"Multiply-adds and bytes are counted, for {CLASSES} classes, in the int8 file without labels. "
    "Milliseconds are estimates, not measured on a board, from published times of other networks: "
    "one thread, the network alone, without decoding and resizing; those of the Pi Zero 2 W are "
    "the Pi 3B+'s by how both run other networks. The range is as wide as the error on networks "
    "that were held out of the fit. `python -m quantize estimate BUNDLE` says it of a bundle, and "
    "takes what was measured."
)


class BoardTime(NamedTuple):
    """Estimated milliseconds for one picture, and their range; two digits count."""

    milliseconds: float
    low: float
    high: float


class NetworkCost(msgspec.Struct, frozen=True, kw_only=True):
    """What one network costs."""

    multiply_adds: int
    """Of one picture."""
    int8_bytes: int
    """Of the file, rounded after training."""
    milliseconds: tuple[BoardTime, ...]
    """In the order of :data:`BOARDS`."""


def _cost(macs: int, size: int, *times: tuple[float, float, float]) -> NetworkCost:
    made = tuple(BoardTime(*one) for one in times)
    return NetworkCost(multiply_adds=macs, int8_bytes=size, milliseconds=made)


COSTS = {
    "accurate": _cost(
        634_635_488, 3_894_632,
        (260, 180, 380), (210, 150, 290), (110, 85, 140), (17, 14, 22), (6.7, 5.2, 8.8),
    ),
    "fast": _cost(
        58_018_608, 603_288,
        (37, 25, 53), (28, 20, 40), (15, 12, 19), (2.5, 2, 3.1), (2.7, 2, 3.5),
    ),
    "insects": _cost(
        299_507_072, 2_659_000,
        (110, 76, 160), (85, 61, 120), (45, 35, 56), (7.2, 5.7, 9.1), (4.5, 3.5, 5.9),
    ),
    "small": _cost(
        9_837_344, 62_904,
        (5.9, 4.1, 8.4), (4.6, 3.3, 6.4), (2.4, 1.9, 3), (0.4, 0.32, 0.5), (1.5, 1.2, 2),
    ),
}  # fmt: skip
"""By the recipe's name."""


def cost_of(recipe: Recipe) -> NetworkCost | None:
    """What a recipe's network costs; None: no shipped recipe has the same."""
    own = _network(recipe)
    return next(
        (COSTS[name] for name in recipe_names() if _network(load_recipe(name)) == own), None
    )


def _network(recipe: Recipe) -> tuple[object, ...]:
    return recipe.model, recipe.alpha, recipe.variant, recipe.resolution


def cost_rows(recipes: Mapping[str, Recipe]) -> list[tuple[str, ...]]:
    """A table with a column for each recipe, its heading first; "?" where a network is no shipped
    recipe's.
    """
    headings = ("multiply-adds", "int8 file", *BOARDS)
    columns = [_column(cost_of(recipe), len(headings)) for recipe in recipes.values()]
    return [("boards: ≈ ms", *recipes), *zip(headings, *columns, strict=True)]


def _column(cost: NetworkCost | None, rows: int) -> tuple[str, ...]:
    if cost is None:
        return ("?",) * rows
    return (
        f"{cost.multiply_adds / 1e6:,.0f} M",
        f"{cost.int8_bytes / 1e6:.2g} MB",
        *map(in_words, cost.milliseconds),
    )


def in_words(time: BoardTime) -> str:
    """The estimate and its range: ``45 (35–56)``."""
    return "{:g} ({:g}–{:g})".format(*time)


def summary(cost: NetworkCost | None) -> str:
    """What a network costs in one line; of one that is no shipped recipe's, who says it."""
    if cost is None:
        return "of no shipped recipe; python -m quantize estimate says of its bundle what it costs"
    times = zip(BOARDS, cost.milliseconds, strict=True)
    return (
        f"{cost.multiply_adds / 1e6:,.0f} million multiply-adds, {cost.int8_bytes / 1e6:.2g} MB as "
        "int8; ms on one thread, estimated, not measured: "
        + ", ".join(f"{board} {in_words(time)}" for board, time in times)
    )
