"""Facts in a TFLite file, read without an interpreter."""

from __future__ import annotations

import numpy as np
import pytest
import tiny

from edge.errors import ModelError
from edge.model.tflite import facts as tflite_file


def test_tensors_are_described():
    """Shapes, types and quantisation stand in the file."""
    facts = tflite_file.read(tiny.model())
    assert [t.shape for t in (*facts.inputs, *facts.outputs)] == [(1, 16, 16, 3), (1, 3)]
    assert facts.inputs[0].dtype == facts.outputs[0].dtype == "int8"
    assert facts.outputs[0].zero_point == 10
    assert facts.outputs[0].scale == pytest.approx(0.0481829)
    assert (facts.ending, facts.labels, facts.custom_operators) == ("other", None, ())


def test_custom_operators_are_named():
    """What the Edge TPU compiler leaves in a model is seen."""
    facts = tflite_file.read(tiny.model("tiny_edgetpu"))
    assert facts.custom_operators == ("edgetpu-custom-op",)


def test_metadata_gives_labels_and_normalisation(data):
    """Labels, mean and std that TFLite tools embedded are found."""
    model = data("coral_models/tf2_mobilenet_v2_1.0_224_ptq.tflite").read_bytes()
    facts = tflite_file.read(model)
    assert facts.labels is not None
    assert (len(facts.labels), facts.labels[:2]) == (1001, ("background", "tench, Tinca tinca"))
    assert (facts.mean, facts.std, facts.ending) == ((127.5,), (127.5,), "softmax")


@pytest.mark.parametrize("model", [b"", b"TFL3", bytes(100), b"\x1c\0\0\0TFL3"])
def test_other_bytes_are_refused(model):
    """Bytes that are no TFLite file, or only the start of one."""
    with pytest.raises(ModelError):
        tflite_file.read(model)


def test_damaged_files_are_read_or_refused():
    """Changed offsets and counts never lead outside the file, nor to another error."""
    random = np.random.default_rng(0)
    good = tiny.model()
    refused = 0
    for _ in range(400):
        changed = bytearray(good)
        for at in random.integers(0, len(good), 4):
            changed[at] = random.integers(256)
        try:
            tflite_file.read(bytes(changed))
        except ModelError:
            refused += 1
    assert 0 < refused < 400
