"""Scores of models from elsewhere: taken for what they are, or refused by name."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")
from typing import Any

import floats

from edge.config import parse_config
from edge.errors import ConfigError, ModelError
from edge.model.classifier import Classifier
from edge.model.tflite.foreign import open_tflite
from edge.updates.load import open_classifier

RED = np.full((4, 4, 3), (255, 0, 0), np.uint8)
ZEROS = [[0, 0, 0]] * 3


def opened(tmp_path, data: bytes, labels=("a", "b", "c"), **options) -> Classifier:
    """Open a model with labels; pixels are scaled to 0..1."""
    file = tmp_path / "foreign.tflite"
    file.write_bytes(data)
    return open_tflite(file, labels, mean=(0.0,), std=(255.0,), **options)


@pytest.mark.parametrize("ending", ["", "logistic"])
@pytest.mark.parametrize(("bias", "yes"), [(-9.4, 0.0000827), (0.0, 0.5), (3.0, 0.9526)])
def test_one_score_is_two_classes(tmp_path, ending, bias, yes):
    """The first label has what the score says, the second the rest: never 1.0 for whatever."""
    data = floats.model([[0, 0, 0]], [bias], ending)
    with opened(tmp_path, data, ("pest", "no pest")) as classifier:
        found = classifier.classify(RED)
    assert found.probabilities == pytest.approx([yes, 1 - yes], abs=1e-4)
    assert found.label == ("no pest" if yes < 0.5 else "pest")


@pytest.mark.parametrize(
    ("labels", "background"),
    [(("pest",), "none"), (("a", "b", "c"), "none"), (("a", "b"), "drop"), (("a",), "add")],
)
def test_one_score_needs_two_labels(tmp_path, labels, background):
    """The message says which; no option makes one of them vanish."""
    data = floats.model([[0, 0, 0]], [1.0])
    with pytest.raises(ModelError, match=r"one score, which says yes or no.* give two: first what"):
        opened(tmp_path, data, labels, background=background)


@pytest.mark.parametrize(
    ("weights", "bias", "ending", "options", "message"),
    [
        (ZEROS, [math.nan, 0, 1], "", {}, "1 of 3 scores are not finite numbers"),
        (ZEROS, [math.inf, 0, 1], "", {}, "1 of 3 scores are not finite numbers"),
        (ZEROS, [math.nan, 0, 1], "softmax", {}, "3 of 3 scores are not finite numbers"),
        (ZEROS, [0, 0, 0], "", {}, r"all 3 scores are 0; .*\(mean, std\)"),
        (ZEROS, [2, 2, 2], "", {}, "all 3 scores are 2"),
        (ZEROS, [2, 2, 2], "softmax", {}, r"all 3 scores are 0\.3333"),
        (ZEROS, [-3, 0, 7], "", {"kind": "probabilities"}, "from -3 to 7 are not probabilities"),
        (ZEROS, [0.2, 0.7, 0.1], "", {}, "sum to 1, as probabilities do.*output = probabilities"),
    ],
)
def test_scores_that_make_no_sense_are_errors(tmp_path, weights, bias, ending, options, message):
    """Not a class with some confidence."""
    classifier = opened(tmp_path, floats.model(weights, bias, ending), **options)
    with classifier, pytest.raises(ModelError, match=message):
        classifier.classify(RED)


@pytest.mark.parametrize(
    ("bias", "ending", "options", "expected"),
    [
        ([0, 1, 2], "softmax", {}, [0.0900, 0.2447, 0.6652]),
        ([0, 1, 2], "", {}, [0.0900, 0.2447, 0.6652]),
        ([0, 1, 2], "logistic", {}, [0.5, 0.7311, 0.8808]),
        ([0.2, 0.7, 0.1], "", {"kind": "probabilities"}, [0.2, 0.7, 0.1]),
    ],
)
def test_probabilities_are_not_softmaxed_again(tmp_path, bias, ending, options, expected):
    """By what the model ends in, else by the option."""
    with opened(tmp_path, floats.model(ZEROS, bias, ending), **options) as classifier:
        assert classifier.classify(RED).probabilities == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    "shape", [(1, 3, 8, 8), (1, 1, 8, 8), (2, 8, 8, 3), (1, 8, 8, 4), (1, 192)]
)
def test_inputs_that_are_no_picture_here_are_refused(tmp_path, shape):
    """Colours first, several pictures at once, four colours, a flat vector."""
    weights = np.zeros((3, int(np.prod(shape[1:]))))
    with pytest.raises(ModelError, match=r"colours first \(NCHW\)|not a picture classifier"):
        opened(tmp_path, floats.model(weights, [0, 1, 2], shape=shape))


def config(tmp_path, model: dict[str, Any]):
    """A configuration with these settings of the model."""
    raw = {"model": model, "camera": {"kind": "folder", "path": "photos"}}
    return parse_config(raw | {"broker": {"host": "localhost"}}, tmp_path)


def test_a_float_model_runs_by_the_configuration(tmp_path):
    """With the settings that the command line has."""
    (tmp_path / "m.tflite").write_bytes(floats.model(np.eye(3) * 4, [0, 0, 0.5]))
    (tmp_path / "l.csv").write_text("id,name\n1,blue\n0,green\n")
    settings = {"tflite": "m.tflite", "labels": "l.csv", "mean": [0], "std": [255]}
    settings |= {"background": "add", "crop": "centre", "output": "logits"}
    with open_classifier(config(tmp_path, settings)) as classifier:
        found = classifier.classify(RED)
    assert classifier.labels == ("background", "green", "blue")
    assert classifier.input.crop == "centre"
    assert (found.label, round(found.confidence, 3)) == ("background", 0.954)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bundle": "m.wtr", "mean": [1], "std": [1]}, "model.mean goes with model.tflite"),
        ({"bundle": "m.wtr", "output": "logits"}, "model.output goes with model.tflite"),
        ({"tflite": "m.tflite", "mean": [1]}, "model.mean and model.std belong together"),
        ({"tflite": "m.tflite", "crop": "middle"}, "model.crop"),
    ],
)
def test_settings_that_do_not_go_together_are_named(tmp_path, settings, message):
    """Before anything is opened."""
    with pytest.raises(ConfigError, match=message):
        config(tmp_path, settings)
