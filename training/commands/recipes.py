"""What ``recipes`` does on the terminal, and the table of what networks cost."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from training.costs import ABOUT, cost_rows
from training.recipe import Recipe
from training.recipes import load_recipe, recipe_names


def recipes() -> None:
    """Print what is shipped, and what the network of each costs."""
    say_costs({name: load_recipe(name) for name in recipe_names()}, Console(highlight=False))


def say_costs(recipes: Mapping[str, Recipe], console: Console) -> None:
    """Print what the networks of some recipes cost, by the names given."""
    (first, *names), *rows = cost_rows(recipes)
    shown = Table(first, title="what the networks cost", title_justify="left")
    for name in names:
        shown.add_column(name, justify="right")
    for row in rows:
        shown.add_row(*row)
    console.print(shown)
    console.print(ABOUT, style="dim", soft_wrap=True, markup=False)
