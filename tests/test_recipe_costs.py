"""What the networks of recipes cost: every figure of the table, and where it is shown."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from rich.console import Console

from quantize.boards import estimate
from quantize.boards.show import short
from quantize.boards.totals import of_graph
from quantize.int8.convert import to_int8_ptq
from training.commands.recipes import say_costs
from training.costs import ABOUT, BOARDS, CLASSES, COSTS, cost_of, cost_rows, summary
from training.models import build_model
from training.recipes import load_recipe, recipe_names
from training.tflite import read_graph

DOCS = Path(__file__).parent.parent / "docs" / "training.md"


@pytest.mark.parametrize("name", recipe_names())
def test_a_network_costs_what_its_int8_file_says(name):
    """Its size and its multiply-adds; times and their ranges as `quantize estimate` gives them."""
    recipe = load_recipe(name)
    side = recipe.resolution
    model = build_model(replace(recipe, weights=None), CLASSES)
    photo = np.random.default_rng(0).uniform(-1, 1, (1, side, side, 3)).astype(np.float32)
    file = to_int8_ptq(model, [photo], "int8")
    cost = COSTS[name]
    assert cost.multiply_adds == estimate.arithmetic(of_graph(read_graph(file)))
    assert cost.int8_bytes == pytest.approx(len(file), rel=0.01)
    assert tuple(board.name for board in estimate.BOARDS) == BOARDS
    for board, time in zip(estimate.BOARDS, cost.milliseconds, strict=True):
        found = estimate.times(board, file)[0][1]
        assert list(map(short, time)) == list(map(short, found)), board.name


def test_a_network_is_known_by_what_it_is_made_of():
    """Other rates are the same network; another width or size of pictures is another."""
    recipe = load_recipe("insects")
    assert cost_of(replace(recipe, learning_rate=0.1, weights=None)) == COSTS["insects"]
    assert cost_of(load_recipe("fast")) == COSTS["fast"]
    assert cost_of(replace(recipe, resolution=192)) is None
    assert cost_of(replace(recipe, alpha=0.5)) is None
    _, column = zip(*cost_rows({"mine": replace(recipe, resolution=192)}), strict=True)
    assert column == ("mine", *"???????")


def test_the_table_is_documented_as_it_is_printed():
    """A row a board in docs/training.md; the terminal's table, and that times are estimates."""
    recipes = {name: load_recipe(name) for name in recipe_names()}
    text = DOCS.read_text(encoding="utf-8")
    for row in cost_rows(recipes):
        assert f"| {' | '.join(row)} |" in text
    assert ABOUT in text
    assert "estimates, not measured" in ABOUT
    stream = io.StringIO()
    say_costs(recipes, Console(file=stream, width=80))
    printed = [
        tuple(cell.strip() for cell in line.split("│")[1:-1])
        for line in stream.getvalue().splitlines()
        if "│" in line
    ]
    assert printed == cost_rows(recipes)[1:]


def test_evaluate_says_it_in_one_line():
    """With every board and that none was measured; of another network, who knows."""
    assert summary(COSTS["insects"]) == (
        "300 million multiply-adds, 2.7 MB as int8; ms on one thread, estimated, not measured: "
        "Pi Zero 2 W 110 (76–160), Pi 3B+ 85 (61–120), Pi 4 45 (35–56), Pi 5 7.2 (5.7–9.1), "
        "Pi 4 + Coral 4.5 (3.5–5.9)"
    )
    assert "python -m quantize estimate" in summary(None)
