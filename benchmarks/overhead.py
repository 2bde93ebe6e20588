"""From a decoded frame: Classifier.classify beside bare set_tensor, invoke, get_tensor.

Both run in turn on the same 224×224 frames, one call each, in one process, single-threaded.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from benchmarks import bundles, material
from benchmarks.harness import Options
from benchmarks.result import Figure, pair

SOURCES = ("edge/**/*.py", "benchmarks/bundles.py", "benchmarks/material.py")
MATERIAL = (material.MODEL,)
ROUNDS, CALLS = 7, 150


def run(data: Path, options: Options) -> tuple[Figure, ...]:
    """Measure the milliseconds of one call, each round the median over its calls."""
    from ai_edge_litert.interpreter import Interpreter

    from edge.model.classifier import Classifier

    rounds, calls = (2, 3) if options.tiny else (ROUNDS, CALLS)
    bundle = bundles.third_party(data, options.out / "material" / "mobilenet-1.wtr")
    bare = Interpreter(model_path=str(data / material.MODEL), num_threads=1)
    bare.allocate_tensors()
    source = bare.get_input_details()[0]["index"]
    target = bare.get_output_details()[0]["index"]
    frames = np.random.default_rng(0).integers(0, 256, (8, 224, 224, 3)).astype(np.uint8)
    ours: list[float] = []
    theirs: list[float] = []
    with Classifier.from_bundle(bundle, runtime="litert", threads=1) as classifier:
        for _ in range(rounds):
            mine, other = [], []
            for number in range(calls):
                frame = frames[number % len(frames)]
                start = time.perf_counter()
                classifier.classify(frame)
                middle = time.perf_counter()
                bare.set_tensor(source, frame[np.newaxis])
                bare.invoke()
                bare.get_tensor(target)
                mine.append(middle - start)
                other.append(time.perf_counter() - middle)
            ours.append(float(np.median(mine)) * 1e3)
            theirs.append(float(np.median(other)) * 1e3)
    figure = pair(
        "from a decoded 224×224 frame",
        "ms",
        ("Classifier.classify", ours),
        ("bare invoke", theirs),
        at_most=1.05,
    )
    return (figure,)
