"""How pruning is divided among layers."""

import numpy as np
import pytest

from quantize.compress.sensitivity import divergence, shares, without_least


def zeros_in_all(found, sizes):
    """Share of zeros over all layers."""
    return sum(found[name] * sizes[name] for name in sizes) / sum(sizes.values())


def test_shares_add_up_to_the_target():
    """Whatever the harms, all layers together have the sparsity asked for."""
    sizes = {"stem": 400, "middle": 9000, "last": 140_000}
    for sparsity in (0.1, 0.5, 0.8, 0.9):
        found = shares({"stem": 0.5, "middle": 0.2, "last": 0.01}, sizes, sparsity)
        assert zeros_in_all(found, sizes) == pytest.approx(sparsity, abs=1e-6)
        assert all(0 <= share <= max(0.85, sparsity) for share in found.values())


def test_layers_that_suffer_most_for_least_are_spared():
    """A small sensitive layer keeps its weights; a large robust one gives them."""
    found = shares({"stem": 0.5, "last": 0.01}, {"stem": 400, "last": 140_000}, 0.5)
    assert found["stem"] < 0.01
    assert found["last"] == pytest.approx(0.5, abs=0.01)


def test_equal_layers_get_equal_shares():
    """With nothing to choose between them, every layer has the target."""
    found = shares({"a": 0.1, "b": 0.1}, {"a": 1000, "b": 1000}, 0.5)
    assert found == {"a": pytest.approx(0.5), "b": pytest.approx(0.5)}


def test_a_model_that_nothing_harms_is_pruned_all_the_same():
    """No measured harm anywhere is no division by zero."""
    found = shares({"a": 0.0, "b": 0.0}, {"a": 1000, "b": 3000}, 0.5)
    assert zeros_in_all(found, {"a": 1000, "b": 3000}) == pytest.approx(0.5, abs=1e-6)


def test_the_weights_that_move_least_go_first():
    """Exactly the asked share becomes zero, chosen by the scores and not by the weights."""
    kernel = np.arange(1, 11, dtype=np.float32).reshape(2, 5)
    pruned = without_least(kernel, kernel * np.array([[1], [-0.01]], np.float32), 0.4)
    assert kernel[pruned == 0].tolist() == [6, 7, 8, 9]


def test_the_same_answers_have_no_divergence():
    """Zero for the same, above zero for others."""
    sure, unsure = np.array([[0.9, 0.1]], np.float32), np.array([[0.6, 0.4]], np.float32)
    assert divergence(sure, sure) == 0
    assert divergence(sure, unsure) > 0.1
