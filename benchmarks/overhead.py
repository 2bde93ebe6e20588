"""From a decoded frame: Classifier.classify beside bare set_tensor, invoke, get_tensor.

Both run in turn on the same 224×224 frames, one call each, in one process, single-threaded.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np

from benchmarks import bundles, material
from benchmarks.harness import Options
from benchmarks.result import Figure, in_turn, pair

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
    to_classify, to_invoke = itertools.cycle(frames), itertools.cycle(frames)

    def invoke() -> None:
        bare.set_tensor(source, next(to_invoke)[np.newaxis])
        bare.invoke()
        bare.get_tensor(target)

    with Classifier.from_bundle(bundle, runtime="litert", threads=1) as classifier:

        def classify() -> None:
            classifier.classify(next(to_classify))

        sides = ("Classifier.classify", classify), ("bare invoke", invoke)
        both = in_turn(*sides, rounds, calls)
    return (pair("from a decoded 224×224 frame", "ms", *both, at_most=1.05),)
