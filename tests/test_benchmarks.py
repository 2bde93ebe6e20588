"""Each benchmark runs through on its smallest sizes and yields both sides."""

from __future__ import annotations

import random
import shutil

import msgspec
import pytest

from benchmarks import accuracy, compression, harness, table
from benchmarks.result import Figure, Result, pair, single
from edge.model.bundle.bundle import Bundle
from edge.model.bundle.manifest import (
    Golden,
    Interpreter,
    LabelSpec,
    Manifest,
    Metrics,
    ModelMetrics,
    OutputSpec,
)
from edge.model.image.preprocessing import InputSpec
from edge.model.scores import DecisionSpec
from soak.filesystems import impossible


@pytest.fixture
def options(tmp_path):
    """Smallest sizes, results below a folder of this test."""
    return harness.Options(out=tmp_path, seeds=1, tiny=True)


def need_mosquitto() -> None:
    """Skip where there is no broker to measure with."""
    if not shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin:/opt/homebrew/sbin"):
        pytest.skip("mosquitto is not installed")


def both_sides(figure: Figure) -> bool:
    """Whether a figure has what it promises."""
    sides = [figure.ours, *([figure.theirs, figure.ratio] if figure.theirs_name else [])]
    return all(side is not None and side.minimum > 0 for side in sides)


def test_a_ratio_is_taken_pair_by_pair_and_held_against_the_target():
    """The median of the ratios counts, not the ratio of the medians."""
    figure = pair("x", "ms", ("a", [1.0, 4.0, 9.0]), ("b", [1.0, 2.0, 3.0]), at_most=2.0)
    assert figure.ratio is not None
    assert figure.ratio.values == (1.0, 2.0, 3.0)
    assert figure.met is True
    assert pair("x", "ms", ("a", [3.0]), ("b", [1.0]), at_most=2.0).met is False


def test_a_side_that_could_not_be_measured_meets_nothing():
    """Without the other side there is no ratio and the target is not called met."""
    figure = pair("x", "fps", ("a", [1.0]), ("b", []), at_least=1.0, note="not measured: why")
    assert figure.met is None
    row = table.rows([Result(name="x", what="x", figures=(figure,))])
    assert "| b: not measured | not measured | ≥ 1 × | – |" in row


def test_the_mean_over_seeds_counts_where_asked():
    """Training figures are judged by their mean."""
    assert single("x", "%", ("a", [1.0, 1.0, 4.0]), by="mean", at_least=2.0).met is True
    assert single("x", "%", ("a", [1.0, 1.0, 4.0]), at_least=2.0).met is False


def test_the_table_is_written_between_the_markers(tmp_path):
    """What stands around the generated part stays, also when written twice."""
    result = Result(name="start", what="X.", figures=(single("x", "ms", ("a", [1.5])),))
    (tmp_path / "start.json").write_bytes(msgspec.json.encode(result))
    document = tmp_path / "page.md"
    document.write_text(f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n")
    table.write(tmp_path, document)
    once = document.read_text()
    table.write(tmp_path, document)
    assert document.read_text() == once
    assert once.startswith("before\n")
    assert once.endswith("after\n")
    assert "| x (ms) | a: 1.5 | – | 1.5 | – | – |" in once
    assert "old" not in once


def test_a_finished_benchmark_is_not_measured_again(options, tmp_path, monkeypatch):
    """The same inputs give the kept result; --again measures anew."""
    calls = []

    def measure(data, options):  # noqa: ARG001
        calls.append(1)
        return (single("x", "ms", ("a", [1.0])),)

    monkeypatch.setattr("benchmarks.start.run", measure)
    first = harness.run("start", tmp_path, options)
    assert harness.run("start", tmp_path, options) == first
    assert len(calls) == 1
    harness.run("start", tmp_path, msgspec.structs.replace(options, again=True))
    assert len(calls) == 2


def test_accuracy_compares_float_and_int8_seed_by_seed():
    """The mean over seeds of the differences counts, and of the zipped sizes' ratio."""

    def bundle(float_accuracy: float, int8_accuracy: float, model: bytes) -> Bundle:
        def judged(accuracy: float) -> ModelMetrics:
            interval = {"accuracy_low": 0.0, "accuracy_high": 1.0}
            return ModelMetrics(accuracy=accuracy, **interval, balanced_accuracy=accuracy, ece=0.03)

        metrics = Metrics(
            split="test",
            n=439,
            float_=judged(float_accuracy),
            int8=judged(int8_accuracy),
            agreement=0.97,
        )
        label = LabelSpec(id="aphid", name="Aphid")
        manifest = Manifest(
            name="x",
            version="1",
            created="2026-01-01T00:00:00Z",
            labels=(label,),
            input=InputSpec(width=1, height=1),
            output=OutputSpec(),
            decision=DecisionSpec(),
            metrics=metrics,
            goldens=(Golden(file="golden/0.png", scores=(1,), tolerance=0),),
            interpreter=Interpreter(name="litert", version="1"),
        )
        return Bundle(
            manifest=manifest,
            model=model,
            edgetpu_model=None,
            goldens={},
            sha256="",
            size=0,
            signed=False,
            signed_by=None,
        )

    noise = random.Random(0).randbytes(4000)
    plain = [bundle(0.80, 0.79, noise), bundle(0.78, 0.78, noise)]
    pruned = [bundle(0.80, 0.78, noise[:2000] + bytes(2000))] * 2
    named = {figure.name: figure for figure in accuracy.summarise(plain, pruned)}
    assert named["float accuracy, test"].value == pytest.approx(79)
    assert named["float less int8"].value == pytest.approx(0.5)
    assert named["float less pruned int8"].value == pytest.approx(1.0)
    assert named["zipped pruned model to zipped unpruned one"].value == pytest.approx(
        0.52, abs=0.03
    )
    assert all(figure.met is not False for figure in named.values())


@pytest.mark.parametrize("name", ["overhead", "start"])
def test_inference_benchmarks_measure_both_sides(name, options, data):
    """Overhead, start-up and peak memory beside a bare script."""
    root = data("coral_models").parent
    assert all(both_sides(figure) for figure in harness.run(name, root, options).figures)


def test_tiles_are_measured_beside_doing_so_by_hand(options, data):
    """Large picture, batches of 12, and the decision."""
    data("yellow_sticky_traps")
    figures = harness.run("tiles", data("coral_models").parent, options).figures
    assert all(both_sides(figure) for figure in figures[:3])
    assert figures[3].ours is not None


def test_the_pipeline_is_measured_to_the_acknowledgement(options, data):
    """Every frame's sighting arrives at a subscriber and the outbox is empty at the end."""
    need_mosquitto()
    data("yellow_sticky_traps")
    result = harness.run("pipeline", data("coral_models").parent, options)
    assert both_sides(result.figures[0])


def test_the_outbox_is_measured_beside_sqlite_and_paho(options, tmp_path):
    """Events in, messages out, memory."""
    need_mosquitto()
    result = harness.run("outbox", tmp_path, options)
    named = {figure.name: figure for figure in result.figures}
    assert both_sides(named["out, QoS 1 to mosquitto"])
    assert both_sides(named["the same beside SQLite"])


def test_wear_is_counted_below_the_file_system(options, tmp_path):
    """Bytes and flushes per sighting, offline and while delivering, at both rates."""
    need_mosquitto()
    if reason := impossible():
        pytest.skip(f"WEAR NOT MEASURED: {reason}")
    figures = harness.run("wear", tmp_path, options).figures
    assert len(figures) == 20  # bytes and flushes, offline and delivering, on 3 disks and on 2
    assert all(both_sides(figure) for figure in figures)
    assert "the kernel charges the process" in figures[0].note


def test_what_comes_out_of_damaged_outboxes_is_measured_beside_sqlite(options, tmp_path):
    """Page by page, opening it, and row by row, of the same bytes."""
    figures = harness.run("recovery", tmp_path, options).figures
    assert figures
    assert all(both_sides(figure) for figure in figures)


def test_the_field_is_measured_on_both_sides(options, data):
    """Draining beside paho, a stalled broker beside a running one, everything beside nothing."""
    need_mosquitto()
    data("yellow_sticky_traps")
    figures = harness.run("field", data("coral_models").parent, options).figures
    assert all(both_sides(figure) for figure in figures if figure.theirs_name)


def test_compression_is_judged_by_means_over_seeds():
    """Times in turn, losses, what lies on the better side of smaller starts."""
    from tiny import model

    content = model()

    def seed(times, accuracies):
        models = {k: compression.Model(content, a, 98.0) for k, a in accuracies.items()}
        milliseconds = {k: [t, 1.1 * t] for k, t in times.items()}
        return compression.Seed(70.0, models, milliseconds)

    times = {
        "whole": 10.0,
        "half": 4.0,
        "half, packed": 5.5,
        "two thirds": 6.0,
        "TFMOT PQAT": 10.0,
        "trained at 192": 7.0,
        "trained at 160": 3.0,
    }
    first = seed(times, dict.fromkeys(times, 69.0) | {"half": 69.8, "trained at 192": 68.0})
    second = seed(times, dict.fromkeys(times, 70.0) | {"half": 69.4, "two thirds": 71.0})
    found = {f.name: f for f in compression.figures("set", [first, second])}
    lost = found["set: half, lost to float"]
    assert lost.value == pytest.approx(0.4)
    assert lost.met is True
    assert found["set: time of whole by that of half"].value == pytest.approx(2.5)
    slower = found["set: time of whole by that of half, packed"]
    assert slower.value == pytest.approx(10 / 5.5)
    assert slower.met is False
    assert found["set: two thirds, lost to float"].met
    assert found["set: half, arena of whole's"].met is False  # the same bytes
    assert found["set: half, accuracy above TFMOT PQAT"].value == pytest.approx(0.1)
    beaten = found["set: smaller starts that one of ours beats in time and accuracy"]
    assert (beaten.value, beaten.met, beaten.note) == (1, False, "trained at 192")
