"""The motion trigger: insects that it sees, quiet frames that it passes, milliseconds a frame.

Seeded sequences (motion_scenes.py) at a frame a second, painted and of photographs, none of which
was used for choosing the trigger's constants, beside a running average with a fixed threshold of
25 levels and the same least area, on the same small pictures.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from benchmarks.harness import Options
from benchmarks.motion_scenes import SIZE, WEATHERS, Shot, Weather, sequence
from benchmarks.result import Figure, pair, single
from edge.cameras.triggers.motion import MotionTrigger, shrink
from edge.cameras.triggers.regions import largest_region
from edge.config import Motion as Settings
from edge.system.counters import Counters

SOURCES = ("edge/cameras/triggers/*.py", "benchmarks/motion_scenes.py", "training/synthetic/*.py")
MATERIAL = ("bean_leaf/SOURCE.md", "jute_pest/SOURCE.md")
LEARNING = 48
"""Frames before the first insect, which are not counted."""
AFTER = 3
"""Frames after an insect left, which are not counted: the background shows where it was."""
FIRST_SEED = 100


class Score(NamedTuple):
    """What a detector did with one sequence."""

    seen: int
    """Visits with motion in two frames or more."""
    visits: int
    false: int
    """Frames without an insect that passed."""
    quiet: int


def run(data: Path, options: Options) -> tuple[Figure, ...]:
    """Measure."""
    seeds = range(FIRST_SEED, FIRST_SEED + (1 if options.tiny else 5))
    frames, visits = (70, 1) if options.tiny else (240, 6)
    figures: list[Figure] = []
    sources: dict[str, Callable[[int, Weather], Iterable[Shot]]] = {
        "painted": partial(sequence, frames=frames, visits=visits),
        "photos": partial(photographed, data, frames=frames, visits=visits),
    }
    for name, make in sources.items():
        for weather in WEATHERS:
            ours, theirs = [], []
            for seed in seeds:
                shots = [(shrink(shot.pixels), shot) for shot in make(seed, weather)]
                ours.append(score(motion_trigger(), shots))
                theirs.append(score(plain_detector(), shots))
            figures += _figures(f"{name}, {weather.name}", ours, theirs)
    return (*figures, cost(options))


def _figures(name: str, ours: Sequence[Score], theirs: Sequence[Score]) -> list[Figure]:
    sides = [("motion trigger", ours), ("running average", theirs)]
    seen = [
        (side, [100 * sum(s.seen for s in found) / sum(s.visits for s in found)])
        for side, found in sides
    ]
    false = [
        (side, [100 * sum(s.false for s in found) / sum(s.quiet for s in found)])
        for side, found in sides
    ]
    return [
        pair(f"insects seen: {name}", "%", *seen),
        pair(f"quiet frames passed: {name}", "%", *false),
    ]


def score(moves: Callable[[np.ndarray], bool], shots: Iterable[tuple[np.ndarray, Shot]]) -> Score:
    """Show a sequence to a detector."""
    hits: dict[int, int] = {}
    false = quiet = since = 0
    for number, (grey, shot) in enumerate(shots):
        moved = moves(grey)
        if shot.visit is not None:
            hits[shot.visit] = hits.get(shot.visit, 0) + moved
            since = 0
            continue
        since += 1
        if number >= LEARNING and (since > AFTER or not hits):
            quiet += 1
            false += moved
    return Score(sum(count >= 2 for count in hits.values()), len(hits), false, quiet)


def motion_trigger() -> Callable[[np.ndarray], bool]:
    """What the device does, with its usual settings."""
    return MotionTrigger(Settings(), Counters()).moving


def plain_detector(levels: float = 25.0) -> Callable[[np.ndarray], bool]:
    """What a plain detector does: difference to a running average, threshold, connected area."""
    kept: list[np.ndarray] = []

    def moves(grey: np.ndarray) -> bool:
        if not kept:
            kept.append(grey.copy())
        region = largest_region(np.abs(grey - kept[0]) > levels)
        kept[0] += 0.05 * (grey - kept[0])
        return region is not None and region.area >= Settings().min_area * grey.size

    return moves


def photographed(
    data: Path, seed: int, weather: Weather, frames: int = 240, visits: int = 6
) -> Iterable[Shot]:
    """Make a sequence of a photographed bean leaf, crossed by a cut-out of a photographed pest."""
    rng = np.random.default_rng([seed, 1])
    leaves = sorted((data / "bean_leaf").rglob("*.jpg"))
    pests = sorted((data / "jute_pest" / "field_cricket").rglob("*.jpg")) + sorted(
        (data / "jute_pest" / "leaf_beetle").rglob("*.jpg")
    )
    with Image.open(leaves[int(rng.integers(len(leaves)))]) as opened:
        leaf = ImageOps.fit(opened.convert("RGB"), SIZE)
    with Image.open(pests[int(rng.integers(len(pests)))]) as opened:
        pest = ImageOps.fit(opened.convert("RGB"), (96, 64))
    y, x = np.mgrid[-1:1:64j, -1:1:96j]
    alpha = np.clip((1 - np.hypot(x, y)) * 4, 0, 1) * 255
    cut = np.dstack([np.asarray(pest), alpha.astype(np.uint8)])
    return sequence(seed, weather, np.asarray(leaf, np.float32) / 255, frames, visits, cut)


def cost(options: Options) -> Figure:
    """Milliseconds of the processor a frame, from the model's pixels to the verdict."""
    shots = [shot.pixels for shot in sequence(FIRST_SEED, WEATHERS[2], frames=60)]
    times = []
    for _ in range(1 if options.tiny else 7):
        trigger = MotionTrigger(Settings(), Counters())
        start = time.process_time()
        for pixels in shots:
            trigger.moving(shrink(pixels))
        times.append((time.process_time() - start) * 1e3 / len(shots))
    return single("motion trigger, 384 x 216, wind", "CPU ms a frame", ("trigger", times))
