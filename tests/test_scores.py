"""From raw outputs to a decision."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edge.messages.sighting import Score
from edge.model.scores import (
    DecisionSpec,
    decide,
    dequantise,
    energy,
    softmax,
    top_k,
    unknown_score,
)

LABELS = ("ant", "bee", "cricket")


def probabilities(*values: float) -> np.ndarray:
    """Float32 probabilities."""
    return np.array(values, np.float32)


def test_dequantise_gives_real_values():
    """(level - zero point) x scale, and floats as they are."""
    levels = np.array([-128, 10, 127], np.int8)
    np.testing.assert_allclose(dequantise(levels, 0.5, 10), [-69, 0, 58.5])
    np.testing.assert_array_equal(dequantise(probabilities(1, 2), 0.5, 10), [1, 2])


def test_softmax_survives_large_logits():
    """Logits of any size give finite probabilities that sum to 1, along the last axis."""
    result = softmax(np.array([[1000.0, 999.0, -1000.0], [0, 0, 0]]))
    np.testing.assert_allclose(result.sum(-1), 1, rtol=1e-6)
    np.testing.assert_allclose(result[0, 0], 1 / (1 + math.exp(-1)), rtol=1e-5)


def test_temperature_softens_without_changing_the_order():
    """A temperature above 1 lowers the confidence of the same winner."""
    logits = np.array([3.0, 1.0, 0.0])
    cold, warm = softmax(logits), softmax(logits, 2.0)
    assert cold.argmax() == warm.argmax() == 0
    assert warm[0] < cold[0]
    np.testing.assert_allclose(warm, softmax(logits / 2))


def test_energy_is_log_sum_exp():
    """Two equal logits of 0 give log 2; the temperature scales."""
    np.testing.assert_allclose(energy(np.zeros(2)), math.log(2), rtol=1e-6)
    np.testing.assert_allclose(energy(np.zeros(2), 3.0), 3 * math.log(2), rtol=1e-6)


def test_top_k_breaks_ties_by_index():
    """Equal scores come in the order of the labels, the same on every machine."""
    assert top_k(probabilities(0.2, 0.4, 0.4), 2) == [1, 2]
    assert top_k(probabilities(0.2, 0.8), 5) == [1, 0]


def test_a_confident_picture_gets_its_label():
    """The most likely label, its confidence and the alternatives are told."""
    decision = decide(probabilities(0.1, 0.7, 0.2), LABELS, (0, 0, 0), DecisionSpec(), top=2)
    assert (decision.label, decision.reason) == ("bee", None)
    assert [score.label for score in decision.alternatives] == ["bee", "cricket"]
    assert isinstance(decision.alternatives[0], Score)
    assert decision.confidence == pytest.approx(0.7)


def test_below_its_class_threshold_there_is_no_label():
    """Each class has its own threshold; the confidence is told all the same."""
    decision = decide(probabilities(0.1, 0.7, 0.2), LABELS, (0, 0.75, 0), DecisionSpec())
    assert (decision.label, decision.reason) == (None, "below-threshold")
    assert decision.confidence == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("rule", "threshold", "logits", "reason"),
    [
        ("max-probability", 0.6, (0.1, 0.0, 0.0), "unknown"),
        ("max-probability", 0.6, (5.0, 0.0, 0.0), None),
        ("energy", 3.0, (2.0, 0.0, 0.0), "unknown"),
        ("energy", 3.0, (5.0, 0.0, 0.0), None),
        ("none", 0.9, (0.1, 0.0, 0.0), None),
    ],
)
def test_unknown_rule(rule, threshold, logits, reason):
    """A picture whose score is below the rule's threshold is unknown, not the nearest pest."""
    spec = DecisionSpec(unknown=rule, unknown_threshold=threshold)
    values = np.array(logits, np.float32)
    chances = softmax(values)
    score = unknown_score(values, chances, spec)
    decision = decide(chances, LABELS, (0, 0, 0), spec, score=score)
    assert decision.reason == reason
    assert (decision.label is None) == (reason is not None)


def test_impossible_rules_are_refused():
    """Temperature and probability threshold have ranges."""
    with pytest.raises(ValueError, match="temperature"):
        DecisionSpec(temperature=0)
    with pytest.raises(ValueError, match="unknown_threshold"):
        DecisionSpec(unknown_threshold=1.5)
