"""Joined networks on their way to a bundle: cut, rounded and proved as one network is."""

import shutil

import msgspec
import numpy as np
import pytest
from quantizing import inspected, quantized
from there import there

from edge.errors import QuantizeError
from edge.model.bundle.bundle import read_bundle
from edge.model.bundle.manifest import StartWeights
from edge.model.classifier import Classifier
from edge.model.image.preprocessing import decode
from quantize.tflite.graph import check_all_int8
from training.models.joined import joined
from training.runs import UsedRun, load_run, save_info
from training.tflite import read_graph

STARTS = (
    StartWeights(name="moths", source="a shelf", licence="CC0-1.0", sha256="5e" * 32),
    StartWeights(name="leaves", source="a hedge", licence="MIT", sha256="6f" * 32),
)


@pytest.fixture(scope="module")
def both(discs_run, tmp_path_factory):
    """A run of two networks: a trained one, and one that is a little off."""
    path = shutil.copytree(discs_run, tmp_path_factory.mktemp("runs") / "both")
    run = load_run(path)
    one, other, rng = run.model(), run.model(), np.random.default_rng(0)
    for layer in other.layers:
        weights = layer.get_weights()
        layer.set_weights([w * rng.normal(1, 0.05, w.shape).astype(w.dtype) for w in weights])
    joined([one, other], [1.0, 1.5]).save(path / "model.keras")
    parts = tuple(UsedRun(path=name, recipe_name=name, sha256="0" * 64) for name in ("a", "b"))
    save_info(path, msgspec.structs.replace(run.info, joined=parts, start=STARTS))
    return path


def test_joined_networks_become_a_bundle(both, tmp_path):
    """All int8, right on held-out pictures through the device's program, and said what it is of."""
    out = tmp_path / "both.wtr"
    quantized(both, out, method="ptq", pruning=0)
    found, run = read_bundle(out), load_run(both)
    check_all_int8(read_graph(found.model))
    assert there(there(found.manifest.provenance).start) == STARTS
    told = inspected(out)
    assert "moths (a shelf, CC0-1.0)" in told
    assert "leaves (a hedge, MIT)" in told
    part = run.dataset.split("test")
    with Classifier.from_bundle(out) as classifier:
        said = [
            classifier.classify(decode(part.path(e))).alternatives[0].label for e in part.examples
        ]
    right = np.mean([label == e.label for label, e in zip(said, part.examples, strict=True)])
    assert right >= 0.85


@pytest.mark.parametrize(
    "how",
    [
        {"method": "qat", "pruning": 0},
        {"method": "ptq", "pruning": 0.5},
        {"method": "ptq", "pruning": 0, "clusters": 16},
        {"method": "ptq", "pruning": 0, "budget": "macs=0.6"},
        {"method": "ptq", "pruning": 0, "resolution": 24},
    ],
)
def test_what_cannot_be_done_to_joined_networks_is_said(both, how, tmp_path):
    """At once, and nothing is written."""
    with pytest.raises(QuantizeError, match="joined networks are rounded as they are"):
        quantized(both, tmp_path / "both.wtr", **how)
    assert not (tmp_path / "both.wtr").exists()
