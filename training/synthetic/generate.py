"""A data set of painted scenes: photos of plants with and without pests, and their labels."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from edge.errors import DataError
from training.data.dataset import Dataset, Example
from training.data.tables import write_csv
from training.synthetic.pests import PESTS, UNKNOWN
from training.synthetic.scenes import Plant

KINDS = (*sorted(PESTS), "empty")
PHOTOS_PER_PLANT = 10
"""Photos of one plant, half of them of each of its two labels."""


def generate(
    out: Path,
    per_class: int = 150,
    seed: int = 0,
    size: tuple[int, int] = (320, 240),
    unknown: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
) -> Dataset:
    """Paint ``per_class`` JPEG photos of each kind of pest and of empty plants into ``out``.

    Each plant is a group: its photos share ground, light and camera, and show two labels. The
    folder gets ``labels.csv`` (``file,label,split,group``). The same arguments give the same bytes.

    Args:
        out: Folder to make; must be absent or empty.
        per_class: Photos per label.
        seed: Another seed, other plants.
        size: Width and height in pixels.
        unknown: Photos, in ``out/unknown``, of pests that are no class here.
        progress: Told how far the work is.

    Raises:
        DataError: ``out`` holds files already, or a number makes no sense.
    """
    if per_class < 1 or unknown < 0 or min(size) < 48:
        raise DataError(
            f"per_class={per_class}, unknown={unknown}, size={size}: at least one photo per class "
            "and 48 x 48 pixels are needed"
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out}: exists and is not an empty folder; name another one")
    plan = _plan(per_class, seed) + _plan_unknown(unknown)
    for label in sorted({label for plant in plan for label, _, _ in plant}):
        (out / label).mkdir(parents=True, exist_ok=True)
    total, done = sum(len(plant) for plant in plan), 0
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2
    with ThreadPoolExecutor(workers) as pool:
        jobs = [pool.submit(_paint, out, p, plant, seed, size) for p, plant in enumerate(plan)]
        for job in jobs:
            job.result()
            done += PHOTOS_PER_PLANT
            if progress:
                progress("painting scenes", min(done, total), total)
    examples = [
        Example(file, label, None, f"plant-{number:03d}")
        for number, plant in enumerate(plan)
        for label, file, _ in plant
        if label != "unknown"
    ]
    dataset = Dataset(out, tuple(examples), f"painted with seed {seed}")
    write_csv(dataset, out / "labels.csv")
    return dataset


Shot = tuple[str, str, str | None]
"""Label, file, and the pest to draw."""


def _plan(per_class: int, seed: int) -> list[list[Shot]]:
    """What each plant's photos show: two labels each, every pair of labels about equally often."""
    rng = np.random.default_rng([seed, 7])
    left = dict.fromkeys(KINDS, per_class)
    plants: list[list[Shot]] = []
    while any(left.values()):
        # The two labels with most photos still to take; chance decides among equals.
        order = sorted(KINDS, key=lambda kind: (-left[kind], rng.random()))
        shots: list[Shot] = []
        for kind in order[:2]:
            for _ in range(min(PHOTOS_PER_PLANT // 2, left[kind])):
                left[kind] -= 1
                name = f"{kind}/plant-{len(plants):03d}-{len(shots):02d}.jpg"
                shots.append((kind, name, kind if kind in PESTS else None))
        plants.append(shots)
    return plants


def _plan_unknown(count: int) -> list[list[Shot]]:
    kinds = sorted(UNKNOWN)
    plants: list[list[Shot]] = []
    for number in range(count):
        if number % PHOTOS_PER_PLANT == 0:
            plants.append([])
        kind = kinds[number % len(kinds)]
        plants[-1].append(("unknown", f"unknown/{kind}-{number:03d}.jpg", kind))
    return plants


def _paint(out: Path, number: int, plant: list[Shot], seed: int, size: tuple[int, int]) -> None:
    label = plant[0][0]
    place = Plant(np.random.default_rng([seed, number, int(label == "unknown")]), size)
    for index, (_, file, kind) in enumerate(plant):
        rng = np.random.default_rng([seed, number, 1 + index, int(label == "unknown")])
        (out / file).write_bytes(place.photo(rng, kind))
