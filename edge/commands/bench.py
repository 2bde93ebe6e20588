"""``wheatear bench``: where the time of a picture goes on this device, or of several models."""

from __future__ import annotations

import io
import os
import platform
import resource
import sys
from collections.abc import Sequence
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from edge.commands.classify_pictures import files_of, open_classifier
from edge.commands.console import Console
from edge.errors import ConfigError
from edge.model import timing
from edge.model.classifier import Classifier
from edge.model.image.preprocessing import decode
from edge.model.tflite.foreign import read_model
from edge.model.timing import BenchReport, Percentiles
from edge.text.printable import encoded

if TYPE_CHECKING:
    import argparse

#: Pictures timed, where nothing else is said.
RUNS = 100
#: Pictures classified before the clock starts: caches fill, lazy tables are built.
WARM_UP = 5
#: Size (width, height) of the picture that is made when none is given.
FRAME = (1920, 1080)


def main(arguments: argparse.Namespace, console: Console) -> int:
    """Measure, and print a table or one JSON object.

    Raises:
        WheatearError: the model or a picture cannot be used.
    """
    if arguments.serve or arguments.models:
        return _bare_models(arguments, console)
    if arguments.rounds is not None or arguments.pictures is not None:
        raise ConfigError("--rounds and --pictures are for --models; here --runs is what counts")
    runs = RUNS if arguments.runs is None else arguments.runs
    if runs < 1:
        raise ConfigError(f"--runs must be at least 1, not {runs}")
    with open_classifier(arguments) as classifier:
        files = files_of(arguments.images, console)
        sources: Sequence[str | bytes] = files or [made_up_frame()]
        times = measure(classifier, sources, runs)
        report = _report(classifier, times, len(files), arguments)
    if arguments.json:
        console.out(encoded(report).decode())
    else:
        console.out(table(report, arguments.bundle or arguments.model))
    return 0


def _bare_models(arguments: argparse.Namespace, console: Console) -> int:
    if arguments.serve and arguments.models:
        raise ConfigError("give either --models or --serve")
    for name in ("images", "runs", "bundle", "model", "labels", "trusted_key", "mean", "std"):
        if getattr(arguments, name):
            option = "--serve" if arguments.serve else "--models"
            other = "pictures" if name == "images" else f"--{name.replace('_', '-')}"
            raise ConfigError(f"{option} times bare models and takes no {other}")
    if arguments.serve:
        from edge.commands.bench_server import serve

        return serve(sys.stdin.buffer, console, arguments.runtime, arguments.threads)
    found = timing.measure(
        [read_model(path) for path in arguments.models],
        timing.ROUNDS if arguments.rounds is None else arguments.rounds,
        timing.PICTURES if arguments.pictures is None else arguments.pictures,
        arguments.runtime,
        arguments.threads,
        arguments.models,
    )
    console.out(encoded(found).decode() if arguments.json else timing.table(found))
    return 0


def measure(
    classifier: Classifier, sources: Sequence[str | bytes], runs: int
) -> list[tuple[float, float, float, float]]:
    """Classify ``runs`` pictures in turn; give (decode, preprocess, invoke, total) ms of each.

    Raises:
        ImageError: a picture cannot be decoded.
    """
    size = (classifier.input.width, classifier.input.height)
    times = []
    for i in range(-WARM_UP, runs):
        started = perf_counter()
        pixels = decode(sources[i % len(sources)], at_least=size)
        decoded = perf_counter()
        steps = classifier.classify(pixels).timings
        done = perf_counter()
        if i >= 0:
            total_ms = (done - started) * 1e3
            times.append(
                ((decoded - started) * 1e3, steps.preprocess_ms, steps.invoke_ms, total_ms)
            )
    return times


def made_up_frame() -> bytes:
    """Make a 1080p JPEG with detail at every scale, always the same."""
    random = np.random.default_rng(0)
    picture = Image.new("RGB", FRAME)
    for side in (6, 24, 96, 384):
        coarse = random.integers(0, 256, (side * 9 // 16 + 1, side, 3), np.uint8)
        layer = Image.fromarray(coarse).resize(FRAME, Image.Resampling.BICUBIC)
        picture = Image.blend(picture, layer, 0.4)
    jpeg = io.BytesIO()
    picture.save(jpeg, "JPEG", quality=90)
    return jpeg.getvalue()


def table(report: BenchReport, model: str) -> str:
    """Lay the report out for people."""
    info = report.model
    delegate = info.delegate or "no delegate found"
    lines = [
        f"model    {model} ({report.model_bytes / 1024:.0f} KiB)",
        f"runtime  {info.runtime} {info.runtime_version}, {delegate}, {report.threads} thread(s)",
        f"machine  {report.machine}, {report.cpus} CPUs, Python {report.python}",
        f"{'ms':<12}{'p50':>9}{'p90':>9}{'p99':>9}",
    ]
    for name in ("decode", "preprocess", "invoke", "total"):
        step: Percentiles = getattr(report, name)
        lines.append(f"{name:<12}{step.p50:>9.2f}{step.p90:>9.2f}{step.p99:>9.2f}")
    lines.append(
        f"{report.images_per_second:.1f} images/s over {report.runs} runs, "
        f"peak memory {report.peak_memory_bytes / (1 << 20):.0f} MiB"
    )
    return "\n".join(lines)


def _report(
    classifier: Classifier,
    times: list[tuple[float, float, float, float]],
    images: int,
    arguments: argparse.Namespace,
) -> BenchReport:
    columns = np.array(times)
    steps = [
        Percentiles(*(round(float(v), 4) for v in np.percentile(column, (50, 90, 99))))
        for column in columns.T
    ]
    return BenchReport(
        model=classifier.model_info,
        model_bytes=classifier.model_bytes,
        threads=arguments.threads,
        runs=len(times),
        images=images,
        decode=steps[0],
        preprocess=steps[1],
        invoke=steps[2],
        total=steps[3],
        images_per_second=round(1e3 * len(times) / float(columns[:, 3].sum()), 2),
        # Linux counts in KiB (getrusage(2)).
        peak_memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        machine=platform.machine(),
        cpus=os.cpu_count() or 1,
        python=platform.python_version(),
    )
