"""How long int8 models take on this machine: one thread, in turn, so that noise hits them alike."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from time import perf_counter

import numpy as np

from edge.runtimes import open_runtime

#: Passes over all models, and pictures a pass.
ROUNDS, PICTURES = 15, 10


def milliseconds(models: Sequence[bytes], rounds: int = ROUNDS) -> list[list[float]]:
    """Time of one `invoke` in milliseconds, by model and round, the rounds interleaved.

    Args:
        models: TFLite files with one input.
        rounds: how often each is measured, each time the mean of `PICTURES` pictures.
    """
    opened = [open_runtime("litert", model, threads=1) for model in models]
    tensors = [np.zeros(runtime.input.shape, runtime.input.dtype) for runtime in opened]
    found: list[list[float]] = [[] for _ in models]
    try:
        for number in range(-1, rounds):
            for runtime, tensor, times in zip(opened, tensors, found, strict=True):
                begin = perf_counter()
                for _ in range(PICTURES):
                    runtime.invoke(tensor)
                if number >= 0:  # the round before the first warms up
                    times.append((perf_counter() - begin) / PICTURES * 1e3)
    finally:
        for runtime in opened:
            runtime.close()
    return found


def ratio(model: bytes, other: bytes, rounds: int = ROUNDS) -> float:
    """Time of `model` as a share of the time of `other`: the median over interleaved rounds."""
    ours, theirs = milliseconds([model, other], rounds)
    return float(median(a / b for a, b in zip(ours, theirs, strict=True)))
