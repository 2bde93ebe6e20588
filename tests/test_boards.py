"""Estimates for boards: the fit, its error on what it has not seen, measured results instead."""

import io
import json
import subprocess
import sys
from pathlib import Path
from statistics import median

import msgspec
import numpy as np
import pytest
import tiny
from rich.console import Console

from edge.errors import ModelError, QuantizeError
from edge.model.bundle.bundle import EDGETPU_MODEL, MODEL, read_bundle, write_bundle
from edge.model.classifier import ModelInfo
from edge.model.timing import BenchReport as Bench
from edge.model.timing import Percentiles
from quantize.boards import figures, model
from quantize.boards.estimate import BOARDS, THREADS, judged, memory, times
from quantize.boards.figures import Setting
from quantize.boards.model import CPU, TPU, Law, fit, fitted, held_out, mean, spread, totals, worst
from quantize.boards.networks import NETWORKS, efficientnet_lite
from quantize.boards.report import build
from quantize.boards.show import short, show
from quantize.boards.totals import Totals, of_graph
from training.tflite import read_graph

DOCS = Path(__file__).parent.parent / "docs" / "quantize.md"
BY_ID = {board.id: board for board in BOARDS}


@pytest.fixture
def bundle(tmp_path):
    """The tiny model's bundle."""
    return tiny.write(tmp_path / "tiny.wtr")


def bench(bundle, path, **changes):
    """Write what `wheatear bench --json` prints on a Pi 4, and give the file."""
    steps = Percentiles(1.0, 1.1, 1.2)
    info = ModelInfo("tiny", "1.0", read_bundle(bundle).sha256, "litert", "2.3.0", "XNNPACK")
    report = Bench(
        model=info, model_bytes=2376, threads=1, runs=50, images=0, decode=steps, preprocess=steps,
        invoke=Percentiles(0.132, 0.14, 0.2), total=steps, images_per_second=99.0,
        peak_memory_bytes=95_000_000, machine="aarch64", cpus=4, python="3.11.2",
    )  # fmt: skip
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(report, **changes)))
    return path


def told(bundle, *measured, as_json=False):
    """Run the command and give what was printed."""
    stream = io.StringIO()
    show(bundle, measured, as_json, Console(file=stream, width=100))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("MobileNetV1 0.25 128", "mobilenet_v1_0.25_128_quant.tflite"),
        ("MobileNetV2 1.0 224", "mobilenet_v2_1.0_224_quant.tflite"),
    ],
)
def test_the_networks_add_up_to_what_the_real_files_do(data, name, file):
    """Coral's own files: sums to a hundredth, operators but for a softmax or a reshape."""
    real = of_graph(read_graph((data("coral_models") / file).read_bytes()))
    ours = totals(name)
    assert ours.macs == pytest.approx(real.macs, rel=0.01)
    assert ours.depthwise == pytest.approx(real.depthwise, rel=0.01)
    assert ours.moved == pytest.approx(real.moved, rel=0.01)
    assert ours.weights == pytest.approx(real.weights, rel=0.02)
    assert 0 <= real.operators - ours.operators <= 2


@pytest.mark.parametrize(
    ("name", "macs", "weights"),
    [
        ("MobileNetV1 1.0 224", 569e6, 4.2e6),
        ("MobileNetV2 1.0 224", 300e6, 3.5e6),
        ("EfficientNet-Lite0", 390e6, 4.7e6),
        ("ResNet-18", 1.82e9, 11.7e6),
        ("ResNet-50", 4.09e9, 25.5e6),
        ("SqueezeNet 1.1", 0.35e9, 1.24e6),
        ("VGG-16", 15.5e9, 138.4e6),
        ("VGG-19", 19.6e9, 143.7e6),
        ("Inception V1", 1.5e9, 6.6e6),
        ("Inception V4", 12.3e9, 42.7e6),
    ],
)
def test_the_networks_are_as_large_as_published(name, macs, weights):
    """Multiply-adds and weights of the papers and model zoos."""
    found = totals(name)
    assert found.macs + found.depthwise == pytest.approx(macs, rel=0.03)
    assert found.weights == pytest.approx(weights, rel=0.02)


@pytest.mark.parametrize(
    ("variant", "side", "macs", "weights"),
    [(0, 224, 407e6, 4.7e6), (1, 240, 631e6, 5.4e6), (2, 260, 899e6, 6.1e6)],
)
def test_efficientnet_lite_is_scaled_as_published(variant, side, macs, weights):
    """Its makers count 5 % more multiply-adds: not those of convolutions alone."""
    found = efficientnet_lite(variant, side)
    assert (found.macs + found.depthwise) / macs == pytest.approx(0.95, abs=0.01)
    assert found.weights == pytest.approx(weights, rel=0.02)


def test_every_figure_has_a_network_and_a_source():
    """Nothing dangles, nothing lies about unused."""
    timed = {n for setting in (*figures.CPU, *figures.TPU) for n in setting.times}
    assert timed == set(NETWORKS)
    ratios = (*figures.THREADS.values(), figures.ZERO_2_W)
    used = {s.source for s in (*figures.CPU, *figures.TPU)} | {r.source for r in ratios}
    assert used == set(figures.SOURCES)


@pytest.mark.parametrize("law", [CPU, TPU], ids=["cpu", "tpu"])
def test_the_fit_gives_the_published_times_back(law):
    """Half of them within a tenth, all within the error that is stated for unseen ones."""
    found = fitted(law)
    offs = []
    for setting in law.settings:
        for network, time in setting.times.items():
            ratio = found.milliseconds(totals(network), setting.name) / time
            offs.append(max(ratio, 1 / ratio))
    assert median(offs) < 1.1
    assert max(offs) < worst(held_out(law))


@pytest.mark.parametrize("law", [CPU, TPU], ids=["cpu", "tpu"])
def test_the_error_is_of_networks_left_out(law):
    """Every published time is judged once, by a fit without its network, and never flattered."""
    misses = held_out(law)
    assert {(m.setting, m.network) for m in misses} == {
        (s.name, n) for s in law.settings for n in s.times
    }
    chosen = misses[0]
    blind = fit(law, without=chosen.network)
    assert chosen.found == blind.milliseconds(totals(chosen.network), chosen.setting)
    assert chosen.found != fitted(law).milliseconds(totals(chosen.network), chosen.setting)
    assert worst(misses) < 1.4


def made_up(distort=1.0):
    """A law that is exactly true on two settings, but for one network."""
    names = ["MobileNetV1 0.25 128", "MobileNetV2 0.35 96", "MobileNetV2 1.0 224", "ResNet-18",
             "SqueezeNet 1.1", "MobileNetV1 1.0 224"]  # fmt: skip
    costs = np.array([0.03, 0.4, 0.02])

    def time(name, factor):
        return float(factor * costs @ CPU.terms(totals(name)))

    slow = {name: time(name, 3.0) for name in names}
    slow["ResNet-18"] *= distort
    fast = {name: time(name, 1.0) for name in names[:4]}
    settings = (Setting("slow", "b", "xnnpack", slow), Setting("fast", "b", "xnnpack", fast))
    return Law(settings, "fast", CPU.terms), costs


def test_costs_and_factors_are_found_again():
    """Exact times of a made-up machine give its costs, and no error on what was left out."""
    law, costs = made_up()
    found = fit(law)
    assert found.costs == pytest.approx(costs, rel=1e-6)
    assert found.factors == pytest.approx({"slow": 3.0, "fast": 1.0}, rel=1e-6)
    assert worst(model.held_out(law)) == pytest.approx(1, abs=1e-6)


def test_a_wrong_figure_shows_in_the_error():
    """One network that takes twice as long as the law says is off by as much when left out."""
    misses = model.held_out(made_up(distort=2.0)[0])
    off = {(m.setting, m.network): m.off for m in misses}
    assert off["slow", "ResNet-18"] == pytest.approx(2, rel=0.01)
    assert off["fast", "ResNet-18"] == pytest.approx(1, rel=0.01)


@pytest.mark.parametrize("law", [CPU, TPU], ids=["cpu", "tpu"])
def test_more_work_never_takes_less_time(law):
    """More of anything, on any machine."""
    base = totals("MobileNetV2 0.35 96")
    for setting in law.settings:
        before = fitted(law).milliseconds(base, setting.name)
        for field, value in base._asdict().items():
            more = base._replace(**{field: value * 20})
            assert fitted(law).milliseconds(more, setting.name) >= before
        large = fitted(law).milliseconds(totals("ResNet-50"), setting.name)
        assert large > 2 * before


def test_a_larger_model_is_slower_on_every_board(data):
    """MobileNetV1 0.25 at 128 against MobileNetV2 1.0 at 224, as files."""
    files = ("mobilenet_v1_0.25_128_quant.tflite", "mobilenet_v2_1.0_224_quant.tflite")
    small, large = ((data("coral_models") / file).read_bytes() for file in files)
    for board in BOARDS:
        quick, slow = times(board, small)[0], times(board, large)[0]
        assert all(slow[n].milliseconds > quick[n].milliseconds for n in THREADS)
    assert memory(large) > memory(small)


def test_boards_stand_in_their_order():
    """From the slowest to the fastest; one thread not faster than four; ranges hold them."""
    found = {board.id: times(board, tiny.model())[0] for board in BOARDS}
    order = ["pi-zero-2-w", "pi-3b+", "pi-4", "pi-5"]
    for threads in THREADS:
        steps = [found[name][threads].milliseconds for name in order]
        assert steps == sorted(steps, reverse=True)
    for each in found.values():
        assert each[1].milliseconds >= each[4].milliseconds
        for time in each.values():
            assert time.low < time.milliseconds < time.high
    # A board without figures of its own is known less well.
    zero, three = found["pi-zero-2-w"][4], found["pi-3b+"][4]
    assert zero.high / zero.milliseconds > three.high / three.milliseconds


def test_ratios_between_published_times():
    """The geometric mean, and the worst of each against the mean of the others."""
    ratio = figures.Ratio("ncnn", {"a": (2.0, 1.0), "b": (8.0, 1.0)})
    assert mean(ratio) == pytest.approx(4)
    assert spread(ratio) == pytest.approx(4)
    assert 1.2 < mean(figures.ZERO_2_W) < 1.4
    assert all(1.5 < mean(each) < 4 for each in figures.THREADS.values())


def test_weights_beyond_the_chip_cost_time():
    """Up to 8 MiB nothing, then by the byte."""

    def time(weights):
        return fitted(TPU).milliseconds(Totals(weights=weights), figures.TPU_REFERENCE)

    assert time(0) == time(8 << 20)
    assert time(20e6) > time(10e6) > time(8 << 20)


def test_what_the_edge_tpu_cannot_run_is_counted_on_the_cpu(data):
    """A float model runs on the CPU as a whole, and takes what it takes on a Pi 4."""
    path = data("backbone_weights") / "mlcommons_tiny" / "vww_96_float.tflite"
    tflite = path.read_bytes()
    coral, notes = times(BY_ID["pi-4-coral"], tflite)
    plain, _ = times(BY_ID["pi-4"], tflite)
    assert coral == plain
    assert any("operators fall to the CPU" in note and "float32" in note for note in notes)


def test_a_model_far_from_all_that_were_measured_is_told(bundle):
    """The tiny model has 5,304 multiply-adds."""
    printed = told(bundle)
    assert "5,304 multiply-adds" in printed
    assert "does not cover" in printed


def test_no_model_is_an_error():
    """Bytes that are no TFLite file."""
    with pytest.raises(ModelError, match="not a TFLite model"):
        times(BOARDS[0], b"nothing of the kind")


def test_all_is_marked_as_an_estimate(bundle):
    """On the terminal and in JSON, with the error, and the sources named."""
    printed = told(bundle)
    assert "estimate" in printed.splitlines()[0]
    assert printed.count("≈") == 3 * len(BOARDS)
    assert "not measured on a board" in printed
    assert "XNNPACK, README.md" in printed
    found = json.loads(told(bundle, as_json=True))
    assert "not measured on a board" in found["about"]
    assert [row["board"] for row in found["boards"]] == list(BY_ID)
    for row in found["boards"]:
        assert {time["basis"] for time in row["times"]} == {"estimate"}
        assert row["memory"]["basis"] == "estimate"
        assert row["held_out"]["worst"] >= row["held_out"]["median"] > 0
        assert set(row["sources"]) <= set(found["sources"])
    assert found["sources"]["xnnpack"]["date"] == "2022-02-08"
    assert found["totals"]["operators"] == 3


def test_the_compiled_model_is_missed_until_it_is_there(bundle, tmp_path):
    """The Coral's row says so."""
    assert "no compiled model in this bundle yet" in told(bundle)
    both = tmp_path / "both.wtr"
    members = {**tiny.members(), EDGETPU_MODEL: tiny.model("tiny_edgetpu"), MODEL: tiny.model()}
    write_bundle(both, tiny.manifest(), members)
    assert "no compiled model" not in told(both)


def test_a_measured_result_replaces_the_estimate(bundle, tmp_path):
    """Its time and memory stand there, marked, and how far off the estimate was."""
    file = bench(bundle, tmp_path / "bench.json")
    guessed = next(row for row in build(bundle).boards if row.board == "pi-4")
    report = build(bundle, [f"pi-4={file}"])
    row = next(row for row in report.boards if row.board == "pi-4")
    alone, four = row.times
    assert (alone.basis, alone.threads, alone.milliseconds) == ("measured", 1, 0.132)
    assert alone.estimate == guessed.times[0].milliseconds
    assert alone.error == pytest.approx(alone.estimate / 0.132 - 1, abs=1e-3)
    assert four == guessed.times[1]
    assert (row.memory.basis, row.memory.bytes) == ("measured", 95_000_000)
    assert [r for r in report.boards if r.board != "pi-4"] == [
        r for r in build(bundle).boards if r.board != "pi-4"
    ]
    printed = told(bundle, f"pi-4={file}")
    assert "0.132 measured" in printed
    assert f"Pi 4: measured: 0.132 ms, 1 thread(s), median of 50 ({file})" in printed
    assert f"the estimate was {alone.estimate:.3g} ms, {alone.error:+.0%}" in printed
    assert printed.count("≈") == 3 * len(BOARDS) - 2


def test_threads_without_an_estimate_are_shown_too(bundle, tmp_path):
    """Two threads: measured, with nothing to hold it against."""
    file = bench(bundle, tmp_path / "bench.json", threads=2)
    row = next(row for row in build(bundle, [f"pi-4={file}"]).boards if row.board == "pi-4")
    assert [(t.threads, t.basis) for t in row.times] == [
        (1, "estimate"), (2, "measured"), (4, "estimate")
    ]  # fmt: skip
    assert row.times[1].error is None
    assert "0.132 ms, 2 thread(s)" in told(bundle, f"pi-4={file}")


def test_results_that_do_not_belong_are_refused(bundle, tmp_path):
    """Another machine, another bundle, another accelerator: each with the cure."""
    desktop = bench(bundle, tmp_path / "desktop.json", machine="x86_64")
    with pytest.raises(QuantizeError, match="x86_64, which is not a Raspberry Pi"):
        build(bundle, [f"pi-4={desktop}"])
    good = bench(bundle, tmp_path / "good.json")
    with pytest.raises(QuantizeError, match="names pi-4 twice"):
        build(bundle, [f"pi-4={good}", f"pi-4={good}"])
    with pytest.raises(QuantizeError, match="without the Edge TPU"):
        build(bundle, [f"pi-4-coral={good}"])
    other = tiny.write(tmp_path / "other.wtr", version="2.0")
    with pytest.raises(QuantizeError, match="measured another bundle"):
        build(other, [f"pi-4={good}"])


def test_bad_options_and_files_are_named(bundle, tmp_path):
    """An unknown board lists the known ones; a file that is none says what is expected."""
    good = bench(bundle, tmp_path / "good.json")
    for option in (str(good), f"pi-7={good}", f"={good}"):
        with pytest.raises(QuantizeError, match="BOARD is one of pi-zero-2-w, pi-3b"):
            build(bundle, [option])
    with pytest.raises(QuantizeError, match=r"cannot read .*: No such file"):
        build(bundle, [f"pi-4={tmp_path / 'nothing.json'}"])
    for number, content in enumerate(("", "{}", '{"model": 3}', "pi-4: 3 ms")):
        broken = tmp_path / f"broken-{number}.json"
        broken.write_text(content)
        with pytest.raises(QuantizeError, match="is not what `wheatear bench --json` prints"):
            build(bundle, [f"pi-4={broken}"])


def test_the_memory_estimate_is_near_what_bench_says_here(bundle):
    """The whole program in a process of its own; a third is for other packages and processors.

    A shell starts it: what we start ourselves would begin with our own peak of memory.
    """
    command = [sys.executable, "-m", "edge", "bench", "--bundle", bundle, "--runs", "3", "--json"]
    done = subprocess.run(
        ["/bin/sh", "-c", '"$@"; exit $?', "sh", *command],
        capture_output=True,
        check=True,
    )
    found = msgspec.json.decode(done.stdout, type=Bench)
    assert memory(tiny.model()) == pytest.approx(found.peak_memory_bytes, rel=0.33)


def test_the_documented_errors_are_the_computed_ones():
    """The table in docs/quantize.md."""
    text = DOCS.read_text(encoding="utf-8")
    for name in ("pi-3b+", "pi-4", "pi-5", "pi-4-coral"):
        board, found = BY_ID[name], judged(BY_ID[name])
        row = f"| {board.name} | {found.times} | {found.median:.0%} | {found.worst:.0%} |"
        assert row in text, row
    for law in (CPU, TPU):
        assert f"{worst(held_out(law)) - 1:.0%} on the" in text
    alone = [f"{mean(ratio):.1f}" for ratio in figures.THREADS.values()]
    assert "({} on Pi 3B+, {} on Pi 4, {} on Pi 5)".format(*alone) in text
    assert f"eight published ratios, {mean(figures.ZERO_2_W):.2f}" in text
    assert f"Published times of {len(NETWORKS)} int8 networks" in text


def test_the_documented_sources_are_those_of_the_figures():
    """Title, date, conditions and place of each."""
    text = DOCS.read_text(encoding="utf-8")
    for source in figures.SOURCES.values():
        row = f"| {source.title} | {source.date} | {source.conditions} | {source.place} |"
        assert row in text, row


def test_numbers_have_two_digits_that_count():
    """And no exponent."""
    assert [short(n) for n in (0.0123, 3.97, 42.4, 113.0, 2163.0)] == [
        "0.012", "4", "42", "110", "2,200"
    ]  # fmt: skip
