"""Pixels in, a decided classification out."""

from __future__ import annotations

import time

import devices
import msgspec
import numpy as np
import pytest
import tiny

from edge.errors import ConfigError, ImageError, ModelError
from edge.model.bundle.bundle import read_bundle
from edge.model.bundle.manifest import LabelSpec
from edge.model.classifier import Classifier
from edge.model.scores import DecisionSpec
from edge.model.tflite.foreign import open_tflite

pytest.importorskip("ai_edge_litert")


@pytest.fixture
def bundle(tmp_path):
    """The tiny bundle, read."""
    return read_bundle(tiny.write(tmp_path / "tiny.wtr"))


@pytest.mark.parametrize("label", tiny.COLOURS)
@pytest.mark.parametrize("size", [(16, 16), (64, 48), (7, 90)])
def test_pictures_of_any_size_get_their_label(bundle, label, size):
    """Preprocessing, inference and decision together name the colour."""
    with Classifier.from_bundle(bundle) as classifier:
        found = classifier.classify(tiny.picture(label, *size))
    assert (found.label, found.reason) == (label, None)
    assert found.alternatives[0].label == label
    assert found.confidence == pytest.approx(float(found.probabilities.max()))
    assert found.probabilities.sum() == pytest.approx(1, abs=1e-5)
    assert found.timings.invoke_ms > 0


def test_the_model_tells_what_runs_it(bundle):
    """A sighting can name bundle, interpreter and accelerator."""
    with Classifier.from_bundle(bundle) as classifier:
        info = classifier.model_info
    assert (info.name, info.version, info.sha256) == ("tiny", "1.0", bundle.sha256)
    assert (info.runtime, info.delegate) == ("litert", "XNNPACK")


def test_the_manifest_decides(tmp_path):
    """Thresholds and the unknown rule of the bundle hold on the device."""
    labels = tuple(LabelSpec(id=i, name=i, threshold=1.0) for i in tiny.COLOURS)
    unsure = DecisionSpec(temperature=10, unknown="max-probability", unknown_threshold=0.9)
    grey = np.full((16, 16, 3), 128, np.uint8)
    strict = Classifier.from_bundle(tiny.write(tmp_path / "a.wtr", labels=labels))
    careful = Classifier.from_bundle(tiny.write(tmp_path / "b.wtr", decision=unsure))
    assert strict.classify(tiny.picture("red")).reason == "below-threshold"
    assert strict.classify(tiny.picture("red")).label is None
    assert careful.classify(grey).reason == "unknown"


def test_results_outlive_the_next_picture(bundle):
    """Buffers are reused inside, never in what is handed out."""
    with Classifier.from_bundle(bundle) as classifier:
        first = classifier.classify(tiny.picture("red"))
        kept = first.probabilities.copy()
        raw = classifier.raw(tiny.picture("red"))
        classifier.classify(tiny.picture("blue"))
    np.testing.assert_array_equal(first.probabilities, kept)
    assert raw.argmax() == 0


def test_wrong_pixels_are_an_image_error(bundle):
    """A frame of another type is the camera's fault, and told as such."""
    with Classifier.from_bundle(bundle) as classifier, pytest.raises(ImageError):
        classifier.classify(np.zeros((16, 16), np.uint8))


def test_closing_twice_is_fine_and_final(bundle):
    """A closed classifier refuses work."""
    classifier = Classifier.from_bundle(bundle)
    classifier.close()
    classifier.close()
    with pytest.raises(ModelError, match="closed"):
        classifier.classify(tiny.picture("red"))


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        ("input", {"width": 32}, r"takes int8 \(1, 16, 16, 3\), .* \(1, 16, 32, 3\)"),
        ("input", {"dtype": "uint8", "zero_point": 0}, "its description says uint8"),
        ("input", {"scale": 0.5}, "its description says 0.5 and -1"),
        ("output", {"zero_point": 0}, "zero point 10, its description says .* and 0"),
        ("output", {"dtype": "uint8"}, "gives int8, its description says uint8"),
    ],
)
def test_a_manifest_that_describes_another_model_is_refused(tmp_path, part, changes, message):
    """What the manifest says of the tensors must be so."""
    changed = msgspec.structs.replace(getattr(tiny.manifest(), part), **changes)
    path = tiny.write(tmp_path / "b.wtr", **{part: changed})
    with pytest.raises(ModelError, match=message):
        Classifier.from_bundle(path)


def test_a_label_too_many_is_refused(tmp_path):
    """The number of labels must be the number of scores."""
    labels = tuple(LabelSpec(id=str(i), name="x") for i in range(4))
    goldens = tuple(
        msgspec.structs.replace(g, scores=(*g.scores, 0)) for g in tiny.manifest().goldens
    )
    path = tiny.write(tmp_path / "b.wtr", labels=labels, goldens=goldens)
    with pytest.raises(ModelError, match="one output of 4 scores is needed"):
        Classifier.from_bundle(path)


def test_a_bundle_with_one_label_is_refused_before_it_judges(tmp_path):
    """Its golden pictures would be reproduced, and then no frame could be judged."""
    devices.bundle(tmp_path / "one.wtr", colours={"aphid": (40, 160, 40)})
    with pytest.raises(ModelError, match="with a single label, every picture would get that label"):
        Classifier.from_bundle(read_bundle(tmp_path / "one.wtr"), "fake")


def test_the_edge_tpu_needs_a_compiled_model(bundle):
    """A bundle without one says so before any library is looked for."""
    with pytest.raises(ModelError, match="holds no model compiled for the Edge TPU"):
        Classifier.from_bundle(bundle, runtime="edgetpu")


def test_unknown_runtimes_are_refused(bundle):
    """The table's error reaches the caller."""
    with pytest.raises(ConfigError, match="unknown runtime 'gpu'"):
        Classifier.from_bundle(bundle, runtime="gpu")


def test_little_is_spent_besides_inference(data):
    """From a decoded 224 x 224 frame, classify costs little more than a bare invoke.

    The figure aimed at is 1.05 (benchmarks/overhead.py). Of many turns the quickest are compared,
    in time of the processor, since a busy machine slows any of them; that leaves some room.
    """
    model = data("coral_models/mobilenet_v2_1.0_224_quant.tflite")
    frame = np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8)
    with open_tflite(model) as classifier:
        tensor = frame[None].copy()
        ours, bare = [], []
        for _ in range(40):
            started = time.thread_time()
            classifier.classify(frame)
            middle = time.thread_time()
            classifier.runtime.invoke(tensor)
            ours.append(middle - started)
            bare.append(time.thread_time() - middle)
    assert min(ours) < 1.12 * min(bare)
