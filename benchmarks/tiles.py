"""Tiles: a large JPEG in 4 x 3 parts, beside doing so by hand; batches; the decision of a frame.

By hand: Pillow decodes the whole picture, crops and resizes each tile, the interpreter runs it.
Batches of 12 tiles beside 12 calls, on a model that takes batches (most have the batch of 1
written into their last reshape, and refuse). All single-threaded unless the name says otherwise.
"""

from __future__ import annotations

import io
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks import bundles, material
from benchmarks.harness import Options
from benchmarks.result import Figure, in_turn, pair, single
from edge.config import Decision, View
from edge.model.classifier import Classification, Classifier
from edge.model.image.preprocessing import quantise
from edge.model.tiled_classifier import TiledClassifier
from edge.model.tiles import layout, see
from edge.sightings.decision import Decider
from edge.sightings.findings import findings

SOURCES = ("edge/**/*.py", "benchmarks/bundles.py", "benchmarks/material.py")
BATCHED = "backbone_weights/mlcommons_tiny/vww_96_int8.tflite"
MATERIAL = (material.MODEL, BATCHED, "yellow_sticky_traps/SOURCE.md")
VIEW = View(tiles=(4, 3))
TILES = 12


def run(data: Path, options: Options) -> tuple[Figure, ...]:
    """Measure; each value is the median of its round."""
    rounds, calls = (2, 1) if options.tiny else (7, 9)
    photo = min((data / material.PHOTOS).glob("*.jpg")).read_bytes()
    bundle = bundles.third_party(data, options.out / "material" / "mobilenet-1.wtr")
    with Classifier.from_bundle(bundle, runtime="litert") as classifier:
        figures = [_frame(classifier, photo, rounds, calls)]
        viewer = TiledClassifier(classifier, VIEW)
        with Image.open(io.BytesIO(photo)) as picture:
            found = viewer.look(see(photo, classifier.input, VIEW), picture.size)
    figures += [_batch(data, threads, rounds, calls * 10) for threads in (1, 2)]
    figures.append(_decision(found, rounds, calls * 100))
    return tuple(figures)


def _frame(classifier: Classifier, photo: bytes, rounds: int, calls: int) -> Figure:
    viewer, spec = TiledClassifier(classifier, VIEW), classifier.input
    with Image.open(io.BytesIO(photo)) as picture:
        size = picture.size

    def ours() -> None:
        findings(viewer.look(see(photo, spec, VIEW), size), {}, frozenset())

    def by_hand() -> None:
        with Image.open(io.BytesIO(photo)) as picture:
            for box in layout(VIEW, size):
                tile = picture.crop(box).resize(
                    (spec.width, spec.height), Image.Resampling.BILINEAR
                )
                classifier.runtime.invoke(quantise(np.asarray(tile), spec))

    return pair(
        "a 1536×2048 JPEG in 4×3 tiles, to findings",
        "ms",
        *in_turn(
            ("camera and TiledClassifier", ours), ("whole decode, crop", by_hand), rounds, calls
        ),
        at_most=1.0,
    )


def _batch(data: Path, threads: int, rounds: int, calls: int) -> Figure:
    from ai_edge_litert.interpreter import Interpreter

    one, many = (Interpreter(model_path=str(data / BATCHED), num_threads=threads) for _ in range(2))
    source, target = one.get_input_details()[0], one.get_output_details()[0]["index"]
    many.resize_tensor_input(source["index"], [TILES, *source["shape"][1:]])
    for interpreter in (one, many):
        interpreter.allocate_tensors()
    shape = (TILES, *source["shape"][1:])
    tiles: NDArray[Any] = np.random.default_rng(0).integers(-128, 128, shape).astype(np.int8)

    def batch() -> None:
        many.set_tensor(source["index"], tiles)
        many.invoke()
        many.get_tensor(target)

    def singly() -> None:
        for i in range(TILES):
            one.set_tensor(source["index"], tiles[i : i + 1])
            one.invoke()
            one.get_tensor(target)

    return pair(
        f"12 tiles of 96×96, {threads} thread{'s' if threads > 1 else ''}",
        "ms",
        *in_turn(("as one batch", batch), ("one by one, as shipped", singly), rounds, calls),
    )


def _decision(found: Classification, rounds: int, calls: int) -> Figure:
    times = []
    taken = datetime(2026, 1, 1, tzinfo=UTC)
    for _ in range(rounds):
        decider = Decider(Decision(), {})
        start = time.perf_counter()
        for now in range(calls):
            decider.see(found, float(now), taken)
        times.append((time.perf_counter() - start) * 1e3 / calls)
    return single(
        "findings, votes, lives: 12 tiles",
        "ms",
        ("Decider.see", times),
        at_most=1.0,
    )
