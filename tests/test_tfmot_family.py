"""TFMOT's techniques on a small net: each makes an int8 file that holds what was asked for."""

import csv
import io
import shutil
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from discs import RECIPE, paint
from rich.console import Console

from benchmarks.tfmot_pqat import accuracy, main
from edge.errors import QuantizeError
from quantize.commands.bar import Bar
from quantize.compress.cluster import cluster, k_means
from quantize.int8.convert import to_int8_qat
from quantize.int8.equalisation import hold_upright, turn_upright
from quantize.int8.qat import quantization_aware
from quantize.keras.finetune import Distillation, Schedule
from quantize.keras.kernels import check_kernels
from quantize.options import Options
from quantize.parity import compliance as promises
from quantize.pipeline import Pipeline
from quantize.tflite.graph import WEIGHTED, check_all_int8, most_in_block
from quantize.workbench import Watcher, Workbench
from training.data.sources import load_dataset
from training.fitting.fit import fit as train
from training.runs import load_run
from training.tflite import read_graph

#: For a net from scratch, in few steps.
QUICK = {
    "batch": 12,
    "epochs": 3,
    "pruning_epochs": 6,
    "learning_rate": 1e-3,
    "pruning_learning_rate": 2e-3,
}


def quiet():
    """Bars that nobody sees."""
    return Bar(Console(file=io.StringIO()))


@pytest.fixture(scope="module")
def trained(discs_run, tmp_path_factory):
    """A finished float run on coloured discs, in which what quantization leaves is shared."""
    return shutil.copytree(discs_run, tmp_path_factory.mktemp("runs") / "discs")


def pipeline(run, **options):
    """The pipeline of a run with quick options."""
    return Pipeline(Workbench(load_run(run), Options(**(QUICK | options)), quiet()))


def kernels(model):
    """Int8 kernels of a file without the depthwise ones: (out, ..., in) each."""
    graph = read_graph(model)
    tensors = [
        graph.tensors[op.inputs[WEIGHTED[op.name]]]
        for op in graph.operators
        if op.name in ("CONV_2D", "FULLY_CONNECTED")
    ]
    assert len(tensors) == 3
    return [tensor.data.reshape(tensor.shape) for tensor in tensors]


def half_is_zero(model):
    """Half of all weights, the others bearing the part of depthwise ones."""
    graph = read_graph(model)
    all_weights = [
        graph.tensors[op.inputs[WEIGHTED[op.name]]].data
        for op in graph.operators
        if op.name in WEIGHTED
    ]
    zeros = sum(int((w == 0).sum()) for w in all_weights)
    assert zeros >= sum(w.size for w in all_weights) // 2 - len(all_weights)


def two_of_four(model):
    """No four neighbours along the input channels hold three weights that are not zero."""
    for kernel in kernels(model):
        for row in kernel.reshape(-1, kernel.shape[-1]):
            for first in range(0, row.size, 4):
                assert np.count_nonzero(row[first : first + 4]) <= 2
        if kernel.shape[-1] % 4 == 0:
            assert (kernel == 0).mean() >= 0.5


def few_levels(count):
    """At most so many different levels in a layer."""

    def check(model):
        for kernel in kernels(model):
            assert len(set(kernel.reshape(-1).tolist())) <= count

    return check


def few_levels_a_channel(count):
    """At most so many different levels in each output channel."""

    def check(model):
        for kernel in kernels(model):
            assert max(len(set(channel.reshape(-1).tolist())) for channel in kernel) <= count

    return check


TECHNIQUES: dict[str, tuple[dict[str, Any], list[Callable[[bytes], None]]]] = {
    "constant": (
        {"pruning": 0.5, "pruning_schedule": "constant"},
        [half_is_zero],
    ),
    "2:4": ({"pruning": 0.5, "pruning_pattern": "2:4"}, [two_of_four]),
    "cqat": ({"clusters": 16}, [few_levels(16)]),
    "pcqat": ({"pruning": 0.5, "clusters": 16}, [half_is_zero, few_levels(16)]),
    "clustered ptq": ({"clusters": 16, "method": "ptq"}, [few_levels_a_channel(16)]),
}


@pytest.mark.parametrize("name", TECHNIQUES)
def test_every_technique_gives_an_int8_file_that_holds_what_it_promises(trained, name):
    """Int8 throughout, the property in the file, and right answers through the device's code."""
    options, properties = TECHNIQUES[name]
    work = pipeline(trained, **options)
    model = work.int8_model()
    check_all_int8(read_graph(model))
    for holds in properties:
        holds(model)
    test = work.judge(model).report.splits["test"]
    assert test.int8.accuracy >= 0.9


def test_clustering_goes_on_from_its_phases_and_gives_the_same_file(trained, tmp_path):
    """A pruned model is shared with pruning alone; kept weights give the same bytes again."""
    copy = shutil.copytree(trained, tmp_path / "run")
    shutil.rmtree(copy / "quantize", ignore_errors=True)
    options: dict[str, Any] = {"pruning": 0.5, "clusters": 16, "epochs": 1, "pruning_epochs": 2}
    first = pipeline(copy, **options).int8_model()
    folder = copy / "quantize" / "qat"
    next(folder.glob("int8-*.tflite")).unlink()
    again = Recorder()
    bench = Workbench(load_run(copy), Options(**(QUICK | options)), again)
    assert Pipeline(bench).int8_model() == first
    assert [line.split(" taken from")[0] for line in again.lines] == [
        "pruned model",
        "clustered model",
        "quantization-aware weights",
    ]
    assert pipeline(copy, **(options | {"clusters": 0})).source is not None
    assert len(list(folder.glob("pruned-*.keras"))) == 1


class Recorder(Watcher):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def phase(self, name, steps):
        """Not kept."""

    def advance(self, steps, note=""):
        """Not kept."""

    def say(self, text):
        """Keep the line."""
        self.lines.append(text)


def with_negative_scales(trained):
    """The run's model with the same answers, every third channel turned over."""
    model = load_run(trained).model()
    for layer in model.layers:
        if not layer.name.endswith("_point") and layer.name != "stem":
            continue
        norm = model.get_layer(f"{layer.name}_bn")
        sign = np.where(np.arange(layer.filters) % 3, 1.0, -1.0)
        layer.set_weights([layer.get_weights()[0] * sign])
        norm.moving_mean.assign(norm.moving_mean.numpy() * sign)
        norm.gamma.assign(norm.gamma.numpy() * sign)
    return model


def test_negative_batch_norm_scales_do_not_double_the_levels(trained):
    """Folded into its kernel a negative scale would mirror a channel's levels."""
    model = with_negative_scales(trained)
    work = pipeline(trained)
    schedule = Schedule(epochs=1, steps_per_epoch=2, learning_rate=1e-4)
    photos = np.random.default_rng(0).uniform(-1, 1, (1, 16, 32, 32, 3)).astype(np.float32)
    batches = work.bench.batches(schedule, stream=9, side=32)
    few = cluster(
        model,
        16,
        photos[0],
        lambda student: Distillation(student, model).run(batches, schedule, lambda *_: None),
    )
    int8 = to_int8_qat(quantization_aware(few, photos, clustered=True), "int8")
    few_levels(16)(int8)
    assert max(len(set(kernel.reshape(-1).tolist())) for kernel in kernels(int8)) > 8


def test_channels_are_turned_without_changing_an_answer(trained):
    """All scales are positive afterwards, and stay above zero when training pushed them below."""
    model = with_negative_scales(trained)
    images = np.random.default_rng(0).uniform(-1, 1, (4, 32, 32, 3)).astype(np.float32)
    before = model(images, training=False).numpy()
    names = turn_upright(model)
    assert len(names) == 2
    assert all((model.get_layer(name).gamma.numpy() > 0).all() for name in names)
    assert np.allclose(model(images, training=False).numpy(), before, atol=1e-5)
    stem = model.get_layer("stem_bn")
    stem.gamma.assign(stem.gamma.numpy() - 100)
    hold_upright(model, names)
    assert (stem.gamma.numpy() > 0).all()


@pytest.mark.parametrize(
    ("options", "phase", "kept"),
    [
        ({"pruning": 0.5, "learning_rate": 1.0}, "qat", "pruned"),
        ({"pruning": 0.5, "clusters": 16, "pruning_learning_rate": 1.0}, "pruned", None),
        ({"clusters": 16, "learning_rate": 1.0}, "qat", "clustered"),
    ],
)
def test_training_that_diverges_is_an_error_and_earlier_phases_stay(
    trained, tmp_path, options, phase, kept
):
    """An absurd learning rate: the message has the cure, nothing of the phase is kept."""
    copy = shutil.copytree(trained, tmp_path / "run")
    shutil.rmtree(copy / "quantize", ignore_errors=True)
    with pytest.raises(QuantizeError, match=r"diverged: .*Earlier results are untouched; lower"):
        pipeline(copy, **options).int8_model()
    left = [path.name for path in (copy / "quantize" / "qat").iterdir()]
    assert [name for name in left if name.startswith((phase, "int8"))] == []
    if kept:
        (before,) = (copy / "quantize" / "qat").glob(f"{kept}-*.keras")
        stamp = before.stat().st_mtime_ns
        assert pipeline(copy, **(options | {"learning_rate": 1e-3, "epochs": 1})).source
        assert before.stat().st_mtime_ns == stamp


def test_a_class_with_one_photo_does_not_stop_the_rest(tmp_path):
    """One to train on, one to validate, none to test: everything runs to a judged int8 model."""
    (tmp_path / "photos").mkdir()
    photos = paint(tmp_path / "photos", 30)
    with (photos / "split.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    seen = {"train": 0, "val": 0}
    kept = [rows[0]]
    for row in rows[1:]:
        if row[1] == "moth":
            if row[2] not in seen or seen[row[2]]:
                continue
            seen[row[2]] += 1
        kept.append(row)
    with (photos / "split.csv").open("w", newline="") as file:
        csv.writer(file).writerows(kept)
    out = tmp_path / "run"
    short = msgspec.structs.replace(RECIPE, epochs=2)
    train(load_dataset(photos), "shallow", short, out, seed=1, console=Console(file=io.StringIO()))
    work = pipeline(out, pruning=0.5, clusters=16, epochs=1, pruning_epochs=1)
    report = work.judge(work.int8_model()).report
    assert {drop.label: drop.n for drop in report.classes}["moth"] == 1
    assert report.splits["test"].n == 12


def test_a_file_without_the_property_is_refused(trained):
    """The check reads the file: an ordinary int8 model is not sparse, patterned or clustered."""
    model = pipeline(trained, method="ptq").int8_model()
    promises.check(model, Options())
    for options, message in (
        (Options(pruning=0.5), "of the weights are zero after quantization, not 50.0%"),
        (Options(pruning=0.5, pruning_pattern="2:4"), "of 4 neighbouring weights are not zero"),
        (Options(clusters=16), "different int8 weights in the layer, not 16"),
        (Options(clusters=16, method="ptq"), "different int8 weights in a channel, not 16"),
    ):
        with pytest.raises(QuantizeError, match=message):
            promises.check(model, options)


def test_neighbours_are_counted_in_blocks_of_four():
    """From the first input channel on; the last block may be short."""
    assert most_in_block(np.array([[1, 0, 0, 1, 1, 1, 0, 0]])) == 2
    assert most_in_block(np.array([[0, 1, 1, 1, 0]])) == 3
    assert most_in_block(np.array([[0, 0, 0, 0, 5, 5]])) == 2


def test_k_means_ends_in_the_means_and_leaves_zero_where_it_is():
    """Two clouds, a loner and zeros; a centroid far from all goes where one is needed."""
    values = np.array([[-1.1, -0.9, 0, 0, 0, 0.1, 1.9, 2.1]], np.float32)
    found = k_means(values, np.array([-2, 0, 1, 9], np.float32))
    assert found[1] == 0
    assert sorted(found.tolist()) == pytest.approx([-1, 0, 0.1, 2])
    again = k_means(values, np.array([-2, 0, 1, 9], np.float32))
    assert again.tolist() == found.tolist()


def test_kernels_that_would_be_left_whole_are_named_with_the_cure():
    """Each has its own line; layers without kernels are no matter."""
    from training.tf import keras

    inputs = keras.Input((8, 8, 3))
    x = keras.layers.SeparableConv2D(4, 3, name="separable")(inputs)
    x = keras.layers.Conv2DTranspose(4, 3, name="up")(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.Sequential([keras.layers.Conv2D(4, 3)], name="inner")(x)
    with pytest.raises(QuantizeError) as refused:
        check_kernels(keras.Model(inputs, x), "clustered")
    assert str(refused.value).splitlines() == [
        "these layers cannot be clustered:",
        "  separable (SeparableConv2D): write it as a DepthwiseConv2D and a Conv2D of 1 x 1",
        "  up (Conv2DTranspose): replace it by Conv2D, DepthwiseConv2D or Dense",
        "  inner (a model inside the model): build the model flat",
    ]


@pytest.mark.filterwarnings("ignore:Statistics for quantized inputs")
def test_the_rival_makes_a_sparse_int8_model(trained, tmp_path, monkeypatch, capsys):
    """TFMOT by the book on the same run: int8, half of each kernel zero, judged on photos."""
    for name in ("PRUNING_EPOCHS", "QAT_EPOCHS"):
        monkeypatch.setattr(f"benchmarks.tfmot_pqat.{name}", 2)
    for name in ("PRUNING_STEPS", "QAT_STEPS"):
        monkeypatch.setattr(f"benchmarks.tfmot_pqat.{name}", 1)
    main(trained, tmp_path / "rival.tflite", (1e-3,))
    model = (tmp_path / "rival.tflite").read_bytes()
    for kernel in kernels(model):
        assert (kernel == 0).mean() >= 0.45
    assert accuracy(load_run(trained), model, "test") >= 0.6
    assert "rate 0.001: validation" in capsys.readouterr().out
