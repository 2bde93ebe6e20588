"""What ``fit --recipe auto`` does before it trains: which recipe, how fast and how long."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from rich.console import Console
from rich.table import Table

from edge.errors import TrainingError
from training.commands.asked import FitOptions
from training.commands.data import bars
from training.commands.recipes import say_costs
from training.commands.weights import ready
from training.data.dataset import Dataset
from training.files import write_json

if TYPE_CHECKING:
    from training.fitting.auto import StartComparison
    from training.fitting.rates import RateTrial
    from training.recipe import Recipe

AUTO = "auto"
"""In place of a recipe's name: the photos choose."""


def choices(asked: FitOptions) -> dict[str, Recipe]:
    """The recipe asked for, or all that begin with start weights.

    Raises:
        TrainingError: the recipe or a change is wrong, or weights are given to choose recipes by.
    """
    from training.recipes import load_recipe, recipe_names

    if asked.recipe != AUTO:
        return {asked.recipe: load_recipe(asked.recipe, asked.changes)}
    if asked.weights is not None:
        raise TrainingError(
            f"--weights {asked.weights}: --recipe auto tries the start weights of every recipe; "
            "leave --weights out, or name the recipe"
        )
    with_start = [name for name in recipe_names() if load_recipe(name).weights is not None]
    return {name: load_recipe(name, asked.changes) for name in with_start}


def settle(
    dataset: Dataset,
    recipes: Mapping[str, Recipe],
    asked: FitOptions,
    split_rule: str,
    console: Console,
) -> tuple[str, Recipe]:
    """Name and recipe for these photos; test photos have no part in it.

    What was compared lies in OUT/auto and is not compared again.

    Raises:
        TrainingError: no start weights can be had, or other things were compared there before.
    """
    from training.fitting.fit import fit
    from training.fitting.rates import settle_rate

    out = asked.out
    cache = asked.cache or out / "cache"
    compared = _compared(dataset, recipes, out / "auto" / "starts.json", cache, console)
    console.print(_starts(compared))
    say_costs({start.recipe: recipes[start.recipe] for start in compared.starts}, console)
    for name, why in compared.left_out.items():
        console.print(f"warning: {name} was left out: {why}", style="yellow", markup=False)
    console.print(f"{compared.reason}; now how fast and how long", markup=False)
    name = compared.chosen
    recipe, rates = settle_rate(
        recipes[name],
        len(dataset.split("train")),
        out / "auto",
        lambda one, place: fit(dataset, name, one, place, asked.seed, split_rule, cache, console),
    )
    if rates:
        console.print(_rates(rates))
        console.print(
            f"--recipe {name} --set learning_rate={recipe.learning_rate:g} "
            f"--set steps={recipe.steps}",
            markup=False,
        )
    return name, recipe


def _compared(
    dataset: Dataset, recipes: Mapping[str, Recipe], path: Path, cache: Path, console: Console
) -> StartComparison:
    """The comparison of all starts, or what was found before."""
    from training.fitting.auto import StartComparison, compare_starts

    used = dataset.with_examples(e for e in dataset.examples if e.split != "test")
    if path.exists():
        found = msgspec.json.decode(path.read_bytes(), type=StartComparison)
        same = all(recipes.get(name) == recipe for name, recipe in found.recipes.items())
        if not same or found.data_fingerprint != used.fingerprint():
            raise TrainingError(
                f"{path}: other photos or settings were compared; repeat that command to go on "
                "with it, or choose another --out"
            )
        return found
    had, left_out = {}, {}
    for name, recipe in recipes.items():
        try:
            ready(recipe.weights, console)
            had[name] = recipe
        except TrainingError as error:
            left_out[name] = str(error)
    path.parent.mkdir(parents=True, exist_ok=True)
    with bars(console) as told:
        found = compare_starts(
            used,
            had,
            cache,
            lambda name, done: told(f"probing the start of {name}", done, len(used)),
            left_out,
        )
    write_json(path, found)
    return found


def _starts(compared: StartComparison) -> Table:
    shown = Table(
        "recipe",
        title=f"linear probes, cross-validated on {compared.photos} photos in {compared.groups} "
        "groups",
        title_justify="left",
    )
    for name in ("accuracy", "95 %", "log loss", "million multiply-adds"):
        shown.add_column(name, justify="right")
    for start in compared.starts:
        low, high = start.accuracy_interval
        chosen = start.recipe == compared.chosen
        shown.add_row(
            start.recipe,
            f"{start.accuracy:.1%}",
            f"{low:.1%} to {high:.1%}",
            f"{start.log_loss:.3f}",
            f"{start.multiply_adds / 1e6:,.0f}",
            style="bold" if chosen else None,
        )
    return shown


def _rates(rates: tuple[RateTrial, ...]) -> Table:
    shown = Table("learning rate", title="one member each, on the validation photos")
    for name in ("steps", "accuracy", "log loss", "loss still fell"):
        shown.add_column(name, justify="right")
    for rate in rates:
        shown.add_row(
            f"{rate.learning_rate:g}",
            str(rate.steps),
            f"{rate.accuracy:.1%}",
            f"{rate.log_loss:.3f}",
            "yes" if rate.falling else "no",
        )
    return shown
