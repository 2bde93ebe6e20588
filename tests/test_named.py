"""Labels that settings name and the model does not have."""

from __future__ import annotations

import devices
import numpy as np

from edge.config import load_config
from edge.model.classifier import Classifier
from edge.model.missing_labels import unknown
from edge.system.clock import SystemClock
from edge.updates.switch import ModelSwitch


def test_a_device_tells_with_each_model_which_labels_it_lacks(tmp_path, caplog):
    """Once at the start, and again when another model takes over; it runs all the same."""
    path = devices.config(tmp_path, 1)
    decision = 'mode = "always"\nbackground = ["leaf", "Leaf"]'
    path.write_text(path.read_text().replace('mode = "always"', decision))
    first, second = (Classifier.from_bundle(tmp_path / "model.wtr", "fake") for _ in range(2))
    with ModelSwitch(first, load_config(path), SystemClock(), lambda last: last.close()) as switch:
        assert caplog.text.count("decision.background names 'Leaf', which the model does not") == 1
        switch.offer(second)
        switch.look(np.zeros((32, 32, 3), np.uint8), (32, 32))
        assert caplog.text.count("decision.background names 'Leaf', which the model does not") == 2
    first.close()


def test_long_lists_of_labels_are_cut():
    """Twelve of the model's are enough to see how they are written."""
    labels = [f"label {i}" for i in range(1000)]
    told = unknown({"--ignore": ["a", "label 1"], "other": ["label 2"]}, labels)
    assert told.startswith("--ignore names 'a', which the model does not have; its labels are 'lab")
    assert told.endswith("'label 11' and 988 more")
