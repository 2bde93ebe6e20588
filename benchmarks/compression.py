"""What compression buys: time, bytes and memory, at what accuracy, beside TFMOT and smaller starts.

For each seed: a float run, then real int8 files through the command line, a
PQAT model made as in TFMOT's guides, and runs that start at a smaller resolution. All files of a
seed are timed in turn, one thread. Finished steps are not repeated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

import msgspec
import numpy as np

from benchmarks import accuracy
from benchmarks.accuracy import command, fit, of_seeds, zipped_bytes
from benchmarks.harness import Options
from benchmarks.result import Figure, Series, single
from edge.model.bundle.bundle import read_bundle
from quantize.parity.compare import Comparison
from quantize.tflite.memory import arena_bytes
from quantize.timing.timer import Local
from training.tflite import read_graph

SOURCES = ("training/recipes/*.py", "benchmarks/result.py", "benchmarks/accuracy.py")
MATERIAL = accuracy.MATERIAL
RESUMES = True
"""Not skipped when measured before: finished runs and bundles are read anew, which is quick."""

OURS: dict[str, tuple[str, ...]] = {
    "whole": (),
    "half": ("--budget", "latency=0.5"),
    "half, packed": ("--budget", "latency=0.5", "--pruning", "0.5", "--clusters", "16"),
    "two thirds": ("--budget", "latency=0.66"),
}
"""What is made of each run: all of the unpruned int8 model's time, half of it, two thirds of it."""
STARTS = (192, 160)
"""Resolutions of the runs that are small from the start, quantized as they are."""


class Model(NamedTuple):
    """One int8 file and its figures on the test photos."""

    content: bytes
    accuracy: float
    """Per cent."""
    agreement: float
    """With the float model it was quantized from, validation and test photos, per cent."""

    @property
    def zipped(self) -> float:
        """Bytes of a zip file that holds it."""
        return float(zipped_bytes(self.content))

    @property
    def arena(self) -> float:
        """Bytes of activations at the peak."""
        return float(arena_bytes(read_graph(self.content)))


class Seed(NamedTuple):
    """All models of one seed."""

    float_accuracy: float
    """Of the run's own float model on the test photos, per cent."""
    models: dict[str, Model]
    milliseconds: dict[str, list[float]]
    """By model and round, in turn."""


def run(data: Path, options: Options) -> tuple[Figure, ...]:
    """Make what is missing, then time and compare."""
    # The runs are those of the accuracy benchmark.
    return measure(data / "jute_pest", options.runs or options.out / "runs", options.seeds)


def measure(photos: Path, runs: Path, count: int) -> tuple[Figure, ...]:
    """The same for any set of photos beside the folder of weights, with runs in a folder."""
    return tuple(figures(photos.name, [_seed(photos, runs, seed) for seed in range(count)]))


def _seed(photos: Path, runs: Path, seed: int) -> Seed:
    run_folder = runs / f"seed-{seed}"
    fit(photos, run_folder, seed)
    models = {}
    for variant, arguments in OURS.items():
        path = run_folder / f"compressed-{variant.replace(',', '').replace(' ', '-')}.wtr"
        models[variant] = _bundle(run_folder, path, arguments)
    models["TFMOT PQAT"] = _tfmot(run_folder)
    for side in STARTS:
        start = runs / f"start-{side}-seed-{seed}"
        fit(photos, start, seed, "--set", f"resolution={side}")
        models[_start(side)] = _bundle(start, start / "int8.wtr", ())
    times = Local().milliseconds([model.content for model in models.values()])
    float_accuracy = (
        100 * _report(run_folder / "compressed-whole.wtr").splits["test"].keras.accuracy
    )
    return Seed(float_accuracy, models, dict(zip(models, times, strict=True)))


def _start(side: int) -> str:
    return f"trained at {side}"


def _bundle(run_folder: Path, path: Path, arguments: Sequence[str]) -> Model:
    """The gate is open: what it would refuse is measured all the same."""
    if not path.exists():
        gate = ("--tolerance", 1, "--min-agreement", 0)
        command("quantize", "run", run_folder, "--out", path, *arguments, *gate)
    report = _report(path)
    return Model(
        read_bundle(path).model,
        100 * report.splits["test"].int8.accuracy,
        100 * report.splits["both"].agreement,
    )


def _report(bundle: Path) -> Comparison:
    written = msgspec.json.decode(bundle.with_suffix(".parity.json").read_bytes())
    return msgspec.convert(written["report"], Comparison)


def _tfmot(run_folder: Path) -> Model:
    """TFMOT's own recipe on the same run, asked through the device's code like all others."""
    from quantize.int8.convert import int8_input, output_spec
    from quantize.parity.compare import device_logits
    from training.runs import load_run

    path = run_folder / "tfmot-pqat.tflite"
    if not path.exists():
        command("benchmarks.tfmot_pqat", run_folder, path)
    model, run = path.read_bytes(), load_run(run_folder)
    pixels, truth = run.arrays("test")
    logits = device_logits(model, int8_input(run.info.input, model), output_spec(model), pixels)
    right = logits.argmax(axis=1) == truth
    return Model(model, 100 * float(right.mean()), float("nan"))


def figures(name: str, seeds: Sequence[Seed]) -> list[Figure]:
    """What seeds say of one set of photos: means over them, by variant."""

    def of(variant: str, value: str) -> list[float]:
        return [getattr(seed.models[variant], value) for seed in seeds]

    def lost(variant: str) -> list[float]:
        return [seed.float_accuracy - seed.models[variant].accuracy for seed in seeds]

    def share(variant: str, value: str) -> list[float]:
        return [a / b for a, b in zip(of(variant, value), of("whole", value), strict=True)]

    def mean(
        what: str,
        unit: str,
        values: Sequence[float],
        at_least: float | None = None,
        at_most: float | None = None,
    ) -> Figure:
        return of_seeds(f"{name}: {what}", unit, values, at_least=at_least, at_most=at_most)

    packed = share("half, packed", "zipped")
    above = [s.models["half"].accuracy - s.models["TFMOT PQAT"].accuracy for s in seeds]
    figures = [mean("float accuracy, test", "%", [seed.float_accuracy for seed in seeds])]
    figures += [
        mean(f"{variant}, int8 accuracy, test", "%", of(variant, "accuracy"))
        for variant in seeds[0].models
    ]
    limits = {"half": (2.0, 0.5), "half, packed": (2.0, 0.5), "two thirds": (1.5, 0.0)}
    for variant, (faster, most) in limits.items():
        figures.append(mean(f"{variant}, lost to float", "points", lost(variant), at_most=most))
        figures.append(_faster(name, seeds, "whole", variant, at_least=faster))
    figures += [
        mean("half, zipped bytes of whole's", "share", share("half", "zipped")),
        mean("half, packed, zipped bytes of whole's", "share", packed, at_most=0.5),
        mean("half, arena of whole's", "share", share("half", "arena"), at_most=0.6),
        mean("half, as its own float model", "%", of("half", "agreement"), at_least=97),
        mean("whole, as its own float model", "%", of("whole", "agreement"), at_least=97),
        mean("half, accuracy above TFMOT PQAT", "points", above, at_least=0.0),
        _faster(name, seeds, "TFMOT PQAT", "half", at_least=1.0),
        single(
            f"{name}: smaller starts that one of ours beats in time and accuracy",
            "starts",
            (f"of {len(STARTS)}", [float(len(_beaten(seeds)))]),
            at_least=2,
            note=", ".join(_beaten(seeds)),
        ),
    ]
    return figures


def _faster(name: str, seeds: Sequence[Seed], slow: str, fast: str, *, at_least: float) -> Figure:
    """Time of one model by that of another, medians over rounds that ran in turn, seed by seed."""
    sides = [[median(seed.milliseconds[variant]) for seed in seeds] for variant in (slow, fast)]
    ratios = [
        median(a / b for a, b in zip(s.milliseconds[slow], s.milliseconds[fast], strict=True))
        for s in seeds
    ]
    return Figure(
        name=f"{name}: time of {slow} by that of {fast}",
        unit="ms",
        ours_name=slow,
        ours=Series.of(sides[0]),
        theirs_name=fast,
        theirs=Series.of(sides[1]),
        ratio=Series.of(ratios),
        at_least=at_least,
        by="mean",
    )


def _beaten(seeds: Sequence[Seed]) -> list[str]:
    """Smaller starts with a model of ours that is no slower and no less accurate, on the mean."""

    def place(variant: str) -> tuple[float, float]:
        time = np.mean([median(s.milliseconds[variant]) for s in seeds])
        return float(time), float(np.mean([s.models[variant].accuracy for s in seeds]))

    found = []
    for side in STARTS:
        time, accuracy = place(_start(side))
        ours: Mapping[str, tuple[float, float]] = {variant: place(variant) for variant in OURS}
        if any(t <= time and a >= accuracy for t, a in ours.values()):
            found.append(_start(side))
    return found
