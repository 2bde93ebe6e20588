"""Budgets: channels and pixels that go so that a model costs no more than is asked for."""

import re
import shutil
from importlib.metadata import version
from typing import Any

import numpy as np
import pytest
from quantizing import Recorder, Stopped, asked, fresh_copy, inspected, quantized
from sshd import DEVICE_PROGRAM
from there import there

from edge.errors import QuantizeError
from edge.model.bundle.bundle import read_bundle
from edge.model.classifier import Classifier
from edge.system.board import board
from quantize.pipeline import Pipeline
from quantize.tflite.graph import layers
from quantize.tflite.memory import deflated
from quantize.timing.ssh import Remote
from quantize.timing.timer import Local
from quantize.workbench import Workbench
from training.runs import load_run
from training.tflite import read_graph

TRIAL = 24
"""Steps in which a candidate is taught."""


@pytest.fixture(scope="module")
def trained(discs_run, tmp_path_factory):
    """A finished float run, in which what quantization leaves is shared."""
    return shutil.copytree(discs_run, tmp_path_factory.mktemp("runs") / "discs")


@pytest.fixture(autouse=True)
def brief(monkeypatch):
    """Fewer rounds, trainings and timings of smaller networks: each of them builds its graph."""
    monkeypatch.setattr("quantize.compress.channels.shrink.ROUNDS", 2)
    monkeypatch.setattr("quantize.compress.channels.shrink.MEASURED", 8)
    monkeypatch.setattr("quantize.compress.structured.MEMBERS", 2)
    monkeypatch.setattr("quantize.compress.structured.TRIAL_STEPS", TRIAL)
    monkeypatch.setattr("quantize.compress.structured.TRIAL_ROUNDS", 1)
    monkeypatch.setattr("quantize.compress.cost_search.TIMED_FOR", 50)
    monkeypatch.setattr("quantize.compress.channels.speed.FITTED", 6)
    monkeypatch.setattr("quantize.compress.channels.speed.JUDGED", 2)


def test_a_budget_takes_channels_out_and_passes_the_same_gate(trained, tmp_path):
    """Half of the multiply-adds: a smaller model, as often right, that says what it was cut for."""
    changes: dict[str, Any] = {"pruning": 0.0, "budget": "macs=0.5", "resolution": 32}
    printed = quantized(trained, tmp_path / "discs.wtr", **changes)
    found = read_bundle(tmp_path / "discs.wtr")
    whole = next((trained / "quantize" / "qat").glob("whole-*.tflite")).read_bytes()
    sizes = [sum(layer.size for layer in layers(read_graph(m))) for m in (found.model, whole)]
    assert sizes[0] < 0.7 * sizes[1]
    assert there(found.manifest.provenance).budget == "macs=0.5"
    assert there(found.manifest.metrics).int8.accuracy >= 0.9
    assert "budget macs=0.5:" in printed
    assert "one thread, this machine (" in printed
    assert "made smaller for macs=0.5" in inspected(tmp_path / "discs.wtr")


def test_a_budget_weighs_channels_against_pixels(trained, tmp_path):
    """Ways to half of the multiply-adds are tried, and what is closest to the run is taken."""
    changes: dict[str, Any] = {"pruning": 0.3, "budget": "macs=0.5", "epochs": 1}
    changes |= {"tolerance": 1.0, "min_agreement": 0.0, "pruning_epochs": 2}
    printed = quantized(trained, tmp_path / "discs.wtr", **changes)
    missed = {
        int(side): float(distance)
        for side, distance in re.findall(
            r"candidate \d of 3, (\d+) pixels.*: ([\d.]+) of the variance", printed
        )
    }
    assert set(missed) == {32, 24, 16}
    found = read_bundle(tmp_path / "discs.wtr")
    assert found.manifest.input.width == min(missed, key=missed.__getitem__)
    pruned = layers(read_graph(found.model))
    assert sum(x.zeros for x in pruned) >= 0.3 * sum(x.size for x in pruned) - len(pruned)


def test_a_search_that_is_stopped_goes_on_where_it_was(trained, tmp_path):
    """In a candidate, then in the last trainings: what had ended is not done again, and the network
    is that of a search that was never stopped.
    """
    stopped, never = fresh_copy(trained, tmp_path / "a"), fresh_copy(trained, tmp_path / "b")
    options = asked(pruning=0.0, budget="macs=0.5", pruning_epochs=2)

    def found(run, watcher):
        return Pipeline(Workbench(load_run(run), options, watcher)).source.get_weights()

    for stop in (Recorder("candidate 2"), Recorder("making the network", at=7)):
        with pytest.raises(Stopped):
            found(stopped, stop)
    last = Recorder()
    weights = found(stopped, last)
    tried = [notes for name, notes in stop.notes.items() if name.startswith("candidate")]
    assert tried[0] == ["from before"]
    assert len(tried[1]) == TRIAL
    assert not any(name.startswith("candidate") for name in last.phases)
    taught = last.notes[last.phases[-1]]
    assert taught[0] == "from before"
    assert len(taught) > 4
    assert "from before" not in taught[1:]
    for one, other in zip(weights, found(never, Recorder()), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize(
    ("full", "epochs", "passes"), [(1e9, None, []), (1, None, [5]), (1, 4, [])]
)
def test_a_large_network_is_taught_for_fewer_passes_unless_asked(
    trained, tmp_path, monkeypatch, full, epochs, passes
):
    """By its multiply-adds, not by how fast the machine is; a line says so."""
    monkeypatch.setattr("quantize.compress.structured.FULL_MACS", full)
    options = asked(pruning=0.0, resolution=16, pruning_epochs=epochs)
    ear = Recorder("making the network")
    with pytest.raises(Stopped):
        assert Pipeline(Workbench(load_run(fresh_copy(trained, tmp_path)), options, ear)).source
    said = [re.search(r"is taught for (\d+) passes over .* instead of 15", x) for x in ear.lines]
    assert [int(found[1]) for found in said if found] == passes


def test_a_smaller_input_can_be_asked_for(trained, tmp_path):
    """The bundle takes 16 pixels and proves itself so; a side whose maps are odd is refused."""
    quantized(trained, tmp_path / "discs.wtr", pruning=0.0, resolution=16)
    with Classifier.from_bundle(tmp_path / "discs.wtr") as classifier:
        assert classifier.input.width == classifier.input.height == 16
    with pytest.raises(
        QuantizeError, match="--resolution 20: give 32, or a multiple of 8 down to 16"
    ):
        quantized(trained, tmp_path / "odd.wtr", pruning=0.0, resolution=20)


def test_a_measured_budget_is_searched_once_and_kept(trained, tmp_path):
    """Zipped bytes: every try is told, the model keeps within, the next call goes on from it."""
    first = quantized(trained, tmp_path / "discs.wtr", pruning=0.0, budget="bytes=4kB")
    assert first.count("of the predicted cost: bytes") >= 4
    assert deflated(read_bundle(tmp_path / "discs.wtr").model) <= 1.05 * 4_000
    again = Recorder()
    options = asked(pruning=0.0, budget="bytes=4kB", epochs=1)
    assert Pipeline(Workbench(load_run(trained), options, again)).source
    assert [line.split(" taken from")[0] for line in again.lines] == ["smaller network"]
    assert again.phases == []


def test_a_time_budget_is_measured_on_the_board_that_is_named(trained, tmp_path, sshd):
    """All over SSH: every line with a time says where; the bundle names the board, not the login.

    Repeated, what was found is taken again; on this machine it would be another model.
    """
    wanted: dict[str, Any] = {"pruning": 0.0, "budget": "latency=0.9"}
    wanted |= {"epochs": 1, "pruning_epochs": 1}
    wanted |= {"on": sshd.on, "on_command": DEVICE_PROGRAM, "tolerance": 1.0, "min_agreement": 0.0}
    run = fresh_copy(trained, tmp_path)
    printed = quantized(run, tmp_path / "discs.wtr", **wanted)
    here = f"{board()}, litert {version('ai-edge-litert')}"
    assert f"timing smaller int8 networks on {sshd.on} ({here}), one thread" in printed
    assert f"one thread, {sshd.on} ({here})" in printed
    budget = there(read_bundle(tmp_path / "discs.wtr").manifest.provenance).budget
    assert budget == f"latency=0.9 on {here}"
    again = quantized(run, tmp_path / "again.wtr", **wanted)
    assert "smaller network taken from" in again
    assert f"one thread, {sshd.on} ({here})" in again
    options = asked(**wanted)
    afar, local = (
        Workbench(load_run(run), options, Recorder(), timer)
        for timer in (Remote(sshd.on, DEVICE_PROGRAM), Local())
    )
    with afar.timer:
        assert afar.source_facts() != local.source_facts()
