"""Training throughput: whole epochs of the product beside the same step on a batch in memory.

MobileNetV2 0.35 at 224, batch 32, on the training photos of jute_pest. Ours includes decoding,
spread over the recipe's epochs, augmentation and input. Each side is a process of its own; they
run an epoch in turn, the others idle meanwhile.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.harness import TREE, Options
from benchmarks.result import Figure, pair

SOURCES = (
    "benchmarks/epochs.py",
    "training/augment.py",
    "training/cache.py",
    "training/input.py",
    "training/optimizer.py",
    "training/recipes/finetune.py",
    "training/step.py",
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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._log.close()

    def epoch(self, extra_seconds: float = 0.0) -> float:
        """Run an epoch; gives photos per second, with a share of one-time work added."""
        assert self._process.stdin
        self._process.stdin.write(b"\n")
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
    """Measure photos per second of the three sides in turn."""
    repeats, steps = (1, 1) if options.tiny else (3, 1000)
    folder = Path(tempfile.mkdtemp(dir=options.out, prefix="epochs-"))
    ours: list[float] = []
    limit: list[float] = []
    usual: list[float] = []
    plain: list[float] = []
    try:
        with (
            Side("product", data, folder, steps) as product,
            Side("memory", data, folder, steps) as memory,
            Side("directory", data, folder, steps) as directory,
            Side("keras", data, folder, steps) as keras,
        ):
            decode = product.ready["decode_seconds"]
            share = decode / product.ready["epochs"]
            for _ in range(repeats):
                ours.append(product.epoch(share))
                limit.append(memory.epoch())
                usual.append(directory.epoch())
                plain.append(keras.epoch())
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    note = f"decoding took {decode:.1f} s once, for {product.ready['epochs']:.0f} epochs"
    step = ("the same step, one batch in memory", limit)
    unit = "photos/s"
    return (
        pair(
            "training, whole epochs", unit, ("training fit", ours), step, at_least=0.95, note=note
        ),
        pair(
            "the same beside Keras' step",
            unit,
            ("training fit", ours),
            ("train_on_batch, one batch in memory", plain),
            note="Keras' step also computes batch statistics, which the recipe freezes",
        ),
        pair(
            "the usual way to feed it",
            unit,
            ("image_dataset_from_directory, augmentation layers", usual),
            step,
            note="the other side of the figure above, for comparison",
        ),
    )
