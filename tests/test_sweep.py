"""The sweep: trials compared, memory and multiply-adds of a file, what is said about points."""

import io
import shutil
from pathlib import Path

import msgspec
import pytest
from rich.console import Console
from sshd import DEVICE_PROGRAM
from trials_here import Here

from edge.errors import QuantizeError
from edge.system.board import board
from quantize.commands.sweep import quantize_sweep
from quantize.options import Options
from quantize.sweep import trials
from quantize.sweep.asked import SweepOptions
from quantize.sweep.points import Point, front, networks
from quantize.sweep.report import COLUMNS, chosen, rows, words
from quantize.tflite.graph import macs
from quantize.tflite.memory import arena_bytes
from training.runs import UsedRun, load_run, save_info
from training.tflite import Graph, Operator, Tensor, read_graph

MODELS = Path(__file__).parent / "models"


def chain(sizes, skip=None):
    """A graph of int8 tensors, each made of the one before; the last reads `skip` again."""
    tensors = tuple(
        Tensor(index=i, name=str(i), shape=(1, size), dtype="INT8") for i, size in enumerate(sizes)
    )
    operators = tuple(
        Operator(
            index=i,
            name="ADD",
            inputs=(i, skip) if skip is not None and i == len(sizes) - 2 else (i,),
            outputs=(i + 1,),
        )
        for i in range(len(sizes) - 1)
    )
    return Graph(tensors=tensors, operators=operators, inputs=(0,), outputs=(len(sizes) - 1,))


def test_memory_is_that_of_what_lives_at_once():
    """Neighbours live together; what is read again later lives until then."""
    assert arena_bytes(chain([640, 1280, 64, 640])) == 640 + 1280
    assert arena_bytes(chain([640, 1280, 640, 640], skip=0)) == 1280 + 640 + 640
    assert arena_bytes(chain([100, 30, 100])) == 158


def test_multiply_adds_are_read_out_of_the_file():
    """The tiny model: one dense layer of 8 x 8 x 3 inputs and 3 outputs, or what it holds."""
    graph = read_graph((MODELS / "tiny_int8.tflite").read_bytes())
    by_hand = 0
    for op in graph.operators:
        if op.name in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
            weights = graph.tensors[op.inputs[1]].shape
            places = 1
            for side in graph.tensors[op.outputs[0]].shape[1:-1]:
                places *= side
            size = 1
            for side in weights:
                size *= side
            by_hand += places * size
    assert macs(graph) == by_hand > 0


def point(variant, accuracy, milliseconds, **changes):
    """An invented point of two runs."""
    values = {
        "variant": variant,
        "command": "",
        "runs": ("a", "b"),
        "float_accuracy": (0.9, 0.9),
        "accuracy": (accuracy, accuracy),
        "val_accuracy": (accuracy, accuracy),
        "lost_low": (-0.01, -0.01),
        "lost_high": (0.01, 0.01),
        "agreement": (0.97, 0.98),
        "milliseconds": (milliseconds, milliseconds),
        "time_ratio": (milliseconds / 10, milliseconds / 10),
        "macs": (100, 100),
        "zipped": (1000, 1000),
        "arena": (500, 500),
    }
    return Point(**(values | changes))


def test_the_front_is_what_nothing_else_beats():
    """Cheapest first; a point that costs more and is no better is left out."""
    points = [point("a", 0.9, 10), point("b", 0.85, 5), point("c", 0.84, 6), point("d", 0.9, 12)]
    assert [p.variant for p in front(points, "milliseconds")] == ["b", "a"]


def test_what_each_bought_is_said_in_words():
    """Time, bytes or nothing, beside the reference; a loss beyond chance is told."""
    said = words(
        [
            point("qat", 0.9, 10),
            point("zeros-50", 0.9, 10, zipped=(700, 700)),
            point("macs-50", 0.85, 6, lost_low=(0.02, -0.01), arena=(250, 250)),
            point("ptq", 0.9, 10),
        ]
    )
    assert said == [
        "zeros-50 bought bytes (0.70 of qat's); +0.0 points of accuracy lost to float, within "
        "chance in every run.",
        "macs-50 bought time (0.60 of qat's) and memory (0.50 of qat's); +5.0 points of accuracy "
        "lost to float, beyond chance in 1 of 2 runs.",
        "ptq bought nothing; +0.0 points of accuracy lost to float, within chance in every run.",
    ]


def test_costs_are_compared_run_by_run():
    """A variant that failed in one run is compared with the others only."""
    base = point("qat", 0.9, 10, runs=("a", "b"), zipped=(1000, 2000))
    half = point("half", 0.9, 5, runs=("b",), zipped=(1000,))
    assert half.share("zipped", base) == 0.5
    assert half.share("zipped", point("other", 0.9, 10, runs=("c", "d"))) is None


def test_what_has_nothing_to_compare_with_says_so():
    """Without the reference, in all runs or in those of a variant, no number stands for it."""
    alone = point("ptq", 0.9, 10, time_ratio=(None, None))
    (row,) = rows([alone])
    assert row[COLUMNS.index("time / qat")] == "no qat"
    (said,) = words([alone])
    assert said == "What each variant bought cannot be said: no qat was measured beside it."
    apart = point("ptq", 0.9, 10, runs=("c", "d"), time_ratio=(None, None))
    assert words([point("qat", 0.9, 10), apart]) == ["ptq has no run in common with qat."]
    half = point("ptq", 0.9, 10, runs=("b", "c"), time_ratio=(0.5, None))
    (row,) = rows([half])
    assert row[COLUMNS.index("time / qat")] == "0.50"
    (said,) = words([point("qat", 0.9, 10), half])
    assert said.startswith("ptq bought time (0.50 of qat's);")


def test_each_network_is_held_against_its_own_reference():
    """Another network's int8 model says nothing of what a technique bought."""
    said = words(
        [
            point("qat", 0.9, 10, network="wide"),
            point("qat", 0.8, 4, network="narrow", runs=("c", "d")),
            point("ptq", 0.8, 2, network="narrow", runs=("c", "d"), time_ratio=(0.5, 0.5)),
            point("ptq", 0.7, 2, network="joined", runs=("e", "f"), time_ratio=(None, None)),
        ]
    )
    assert said == [
        "narrow ptq bought time (0.50 of qat's); +10.0 points of accuracy lost to float, within "
        "chance in every run.",
        "joined ptq has no qat beside it.",
    ]


def test_validation_photos_choose_the_network_for_a_budget():
    """Test photos, which like the other one better, are told and have no say."""
    points = [
        point("qat", 0.99, 10, network="wide", val_accuracy=(0.99, 0.99)),
        point("ms=8", 0.9, 8, network="wide", val_accuracy=(0.7, 0.8)),
        point("ms=8", 0.8, 4, network="narrow", val_accuracy=(0.79, 0.77)),
    ]
    assert chosen(points, "ms=8") == (
        "Within ms=8 the validation photos choose narrow with 78.0% (test 80.0%, 4.00 ms); "
        "then wide with 75.0% (test 90.0%, 8.00 ms)."
    )
    assert chosen(points, "ms=7") == ""


def test_runs_that_differ_by_more_than_their_seed_are_not_averaged(trained, tmp_path):
    """Seeds share a name; another recipe, start or teacher has one of its own."""
    info = load_run(trained).info

    def run(name, **changes):
        path = tmp_path / name
        path.mkdir()
        save_info(path, msgspec.structs.replace(info, **changes))
        return path

    one, two = run("one", seed=1), run("two", seed=2)
    assert networks([one, two]) == {one: "", two: ""}
    wide = run("wide", recipe=msgspec.structs.replace(info.recipe, resolution=64))
    other = run("other", recipe_name="other", recipe=msgspec.structs.replace(info.recipe, batch=3))
    taught = run("taught", teachers=(UsedRun(path="x", recipe_name="other", sha256="0" * 64),))
    found = networks([one, wide, two, other, taught])
    assert found == {
        one: "shallow (one)",
        two: "shallow (one)",
        wide: "shallow (wide)",
        other: "other",
        taught: "shallow (taught)",
    }


def test_a_budget_is_kept_by_every_network_and_the_best_is_named(trained, tmp_path):
    """Through the real trials: one keeps it as it is, the other is made smaller."""
    runs = [shutil.copytree(trained, tmp_path / name) for name in ("wide", "narrow")]
    info = load_run(runs[1]).info
    recipe = msgspec.structs.replace(info.recipe, group_balance=0.1)
    save_info(runs[1], msgspec.structs.replace(info, recipe_name="narrow", recipe=recipe))
    budget = "bytes=1MB"
    asked = SweepOptions(variants=budget, budget=budget, epochs=1, pruning_epochs=1)
    stream = io.StringIO()
    quantize_sweep(runs, tmp_path / "out", asked, Here(), Console(file=stream, width=200))
    record = msgspec.json.decode((tmp_path / "out" / "sweep.json").read_bytes())
    assert [(p["network"], p["variant"]) for p in record["points"]] == [
        ("shallow", budget),
        ("narrow", budget),
    ]
    assert "Within bytes=1MB the validation photos choose" in record["in words"][0]
    assert record["in words"][0] in stream.getvalue()
    log = (tmp_path / "out" / "wide" / "bytes=1MB.log").read_text()
    assert "the run's own network keeps that: it is left as it is" in log


def test_unknown_variants_and_equal_names_are_refused(tmp_path):
    """The message names what there is."""
    with pytest.raises(QuantizeError, match=r"'magic' is unknown: choose from ptq, qat, zeros-50"):
        trials.plan([tmp_path], tmp_path, SweepOptions(variants="magic"))
    with pytest.raises(QuantizeError, match="same folder name"):
        trials.plan([tmp_path / "a" / "x", tmp_path / "b" / "x"], tmp_path, SweepOptions())


def test_options_stand_in_one_order_in_records(tmp_path):
    """In another one, trials of before would count as asked for otherwise, and be done anew."""
    (trial,) = trials.plan(
        [tmp_path],
        tmp_path,
        SweepOptions(variants="macs-50-zeros-50-clusters-16", pruning_epochs=3, on="pi@host"),
    )
    words = "--budget macs=0.5 --pruning 0.5 --clusters 16 --on pi@host --pruning-epochs 3"
    assert " ".join(trial.options.words()) == words
    assert trial.command.endswith(f"run {tmp_path} --out {trial.variant}.wtr {words}")


@pytest.fixture(scope="module")
def trained(discs_run, tmp_path_factory):
    """A finished run on coloured discs."""
    return shutil.copytree(discs_run, tmp_path_factory.mktemp("sweep") / "discs")


def at_the_runs_own_input(monkeypatch, variant):
    """Leave out what a variant with a budget tries besides: other inputs, each with a training."""
    options = msgspec.structs.replace(trials.VARIANTS[variant], resolution=32)
    monkeypatch.setitem(trials.VARIANTS, variant, options)


def test_a_sweep_compares_real_models_and_goes_on_after_a_failure(trained, tmp_path, monkeypatch):
    """One variant cannot work: its message is shown, the others are measured; again is quick."""
    monkeypatch.setitem(trials.VARIANTS, "bad", Options(budget="macs=0.0001"))
    at_the_runs_own_input(monkeypatch, "macs-50")
    asked = SweepOptions(variants="ptq,qat,macs-50,bad", epochs=1, pruning_epochs=1)
    stream = io.StringIO()
    quantize_sweep([trained], tmp_path, asked, Here(), Console(file=stream, width=160))
    record = msgspec.json.decode((tmp_path / "sweep.json").read_bytes())
    found = {p["variant"]: p for p in record["points"]}
    assert set(found) == {"ptq", "qat", "macs-50"}
    assert found["macs-50"]["macs"][0] <= 0.52 * found["qat"]["macs"][0]
    assert found["macs-50"]["arena"][0] < found["qat"]["arena"][0]
    assert found["qat"]["time_ratio"] == [1.0]
    (failure,) = record["failures"]
    assert failure["variant"] == "bad"
    assert "cannot be met" in failure["reason"]
    page = (tmp_path / "sweep.html").read_text()
    assert page.count("<svg") == 4
    assert "cannot be met" in page
    assert f"python -m quantize run {trained} --out macs-50.wtr --budget macs=0.5" in page
    assert "Times: this machine (" in page
    again = io.StringIO()
    asked = msgspec.structs.replace(asked, variants="ptq,qat,macs-50")
    quantize_sweep([trained], tmp_path, asked, Here(), Console(file=again, width=160))
    assert again.getvalue().count("done before") == 3


def test_a_sweep_is_timed_on_the_board_that_is_named(trained, tmp_path, sshd, monkeypatch):
    """The report says where; a variant with a budget is told too, and shows it in its command."""
    at_the_runs_own_input(monkeypatch, "macs-70")
    stream = io.StringIO()
    asked = SweepOptions(
        variants="ptq,macs-70", epochs=1, pruning_epochs=1, on=sshd.on, on_command=DEVICE_PROGRAM
    )
    quantize_sweep([trained], tmp_path, asked, Here(), Console(file=stream, width=160))
    record = msgspec.json.decode((tmp_path / "sweep.json").read_bytes())
    assert record["machine"].startswith(f"{sshd.on} ({board()}, litert ")
    assert f"timing all models on {record['machine']}" in stream.getvalue()
    commands = {p["variant"]: p["command"] for p in record["points"]}
    assert "--on" not in commands["ptq"]
    assert (
        f"--budget macs=0.7 --resolution 32 --on {sshd.on} --on-command 'env "
        in commands["macs-70"]
    )
    log = (tmp_path / trained.name / "macs-70.log").read_text()
    assert f"one thread, {record['machine']}" in log
