"""Training throughput: whole epochs of the product beside the same step on a batch in memory.

MobileNetV2 0.35 at 224, batch 32, on the training photos of jute_pest. Ours includes decoding,
spread over the recipe's epochs, augmentation and input. Each side is a process of its own; they
run an epoch in turn, the others idle meanwhile.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Self

from benchmarks.harness import TREE, Options, scratch
from benchmarks.result import Figure, pair

SOURCES = (
    "benchmarks/epochs.py",
    "training/input/augment.py",
    "training/input/cache.py",
    "training/input/dataset.py",
    "training/fitting/optimizer.py",
    "training/recipes/fast.py",
    "training/fitting/step.py",
    "training/input/warp.py",
)
MATERIAL = ("jute_pest/split.csv",)


class Side:
    """A process that runs an epoch when told to."""

    def __init__(self, name: str, data: Path, folder: Path, steps: int) -> None:
        folder = folder / name
        folder.mkdir()
        self._log = (folder / "log").open("w+b")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.epochs", name, str(data), str(folder), str(steps)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            cwd=TREE,
        )
        self.ready = self._answer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._log.close()

    def epoch(self, step: str, extra_seconds: float = 0.0) -> float:
        """Run an epoch; gives photos per second, with a share of one-time work added."""
        assert self._process.stdin
        self._process.stdin.write(f"{step}\n".encode())
        self._process.stdin.flush()
        answer = self._answer()
        return answer["photos"] / (answer["seconds"] + extra_seconds)

    def _answer(self) -> dict[str, float]:
        assert self._process.stdout
        for line in self._process.stdout:
            if line.startswith(b"{"):  # Keras prints "Found 1331 files ..." there too
                answer: dict[str, float] = json.loads(line)
                return answer
        self._log.seek(0)
        raise RuntimeError(f"a side ended: {self._log.read()[-2000:].decode()}")


def run(data: Path, options: Options) -> tuple[Figure, ...]:
    """Measure photos per second of the three sides in turn, with two kinds of step."""
    repeats, steps = (1, 1) if options.tiny else (3, 1000)
    rates: dict[tuple[str, str], list[float]] = defaultdict(list)
    with (
        scratch(options.out, "epochs-") as folder,
        Side("product", data, folder, steps) as product,
        Side("memory", data, folder, steps) as memory,
        Side("directory", data, folder, steps) as directory,
    ):
        decode = product.ready["decode_seconds"]
        share = decode / product.ready["epochs"]
        for step in ("full", "recipe"):
            for _ in range(repeats):
                rates["product", step].append(product.epoch(step, share))
                rates["memory", step].append(memory.epoch(step))
                rates["directory", step].append(directory.epoch(step))
    note = f"decoding took {decode:.1f} s once, for {product.ready['epochs']:.0f} epochs"
    return (
        *_figures("every layer trained", rates, "full", note, 0.95),
        *_figures("the recipe fast", rates, "recipe", "a shorter step: blocks are frozen"),
    )


def _figures(
    what: str,
    rates: dict[tuple[str, str], list[float]],
    step: str,
    note: str,
    at_least: float | None = None,
) -> tuple[Figure, Figure]:
    memory = ("the same step, one batch in memory", rates["memory", step])
    usual = ("image_dataset_from_directory, augmentation layers", rates["directory", step])
    ours = ("training fit", rates["product", step])
    return (
        pair(f"whole epochs, {what}", "photos/s", ours, memory, at_least=at_least, note=note),
        pair(f"the usual input, {what}", "photos/s", usual, memory, note="for comparison"),
    )
