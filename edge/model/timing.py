"""How long bare TFLite models take here: in turn, so that noise hits them alike. And the form
of all times that a desktop reads from a device.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import ExitStack, closing
from statistics import median
from time import perf_counter

import msgspec
import numpy as np

from edge import __version__
from edge.errors import ConfigError, ModelError
from edge.model.classifier import ModelInfo
from edge.model.runtimes import Runtime, open_runtime
from edge.system.board import Board, board, governor, temperature, throttled

#: Passes over all models, and pictures a pass.
ROUNDS, PICTURES = 15, 10
#: Of what a desktop and `wheatear bench --serve` say to each other.
PROTOCOL = 1


class ModelTimes(msgspec.Struct, frozen=True, kw_only=True):
    """One model."""

    sha256: str
    file: str = ""
    """Where it was read from; empty: it came otherwise."""
    delegate: str | None
    """What runs its graph ("XNNPACK"); None: plain kernels, or not known."""
    milliseconds: tuple[float, ...]
    """One picture in each round, the mean over its pictures."""


class Times(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured, with what, and how the machine did."""

    models: tuple[ModelTimes, ...]
    runtime: str
    runtime_version: str
    threads: int
    pictures: int
    """A round."""
    board: Board
    governor: str | None
    temperature_celsius: float | None
    """Of the processor, at the end."""
    throttled: tuple[str, ...] | None
    """Why a Raspberry Pi's firmware holds it back, at the end."""


class Hello(msgspec.Struct, frozen=True, kw_only=True, tag="hello"):
    """Who answers: the first line of `wheatear bench --serve`."""

    protocol: int = PROTOCOL
    wheatear: str = __version__
    board: Board
    runtime: str
    runtime_version: str


class SentModel(msgspec.Struct, frozen=True):
    """A model whose bytes follow the request."""

    sha256: str
    size: int


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What to time. A model that the last request named is not sent again."""

    models: tuple[str, ...]
    """SHA-256 of each, in the order of the answer."""
    parcels: tuple[SentModel, ...]
    """Those that follow, in the order of their bytes."""
    rounds: int
    pictures: int


class TimingAnswer(msgspec.Struct, frozen=True, kw_only=True, tag="answer"):
    """Times, or why there are none."""

    times: Times | None = None
    error: str = ""


class Percentiles(msgspec.Struct, frozen=True):
    """Milliseconds."""

    p50: float
    p90: float
    p99: float


class BenchReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `wheatear bench` measured: pictures, from their files to the decision."""

    model: ModelInfo
    model_bytes: int
    threads: int
    runs: int
    images: int
    """Different pictures; 0: one made up, 1080p JPEG."""
    decode: Percentiles
    """Read and decode, at reduced scale where possible."""
    preprocess: Percentiles
    """Crop, resize, quantise."""
    invoke: Percentiles
    total: Percentiles
    """Decode to decision."""
    images_per_second: float
    peak_memory_bytes: int
    """Largest resident set of the process so far."""
    machine: str
    cpus: int
    python: str


def measure(
    models: Sequence[bytes],
    rounds: int = ROUNDS,
    pictures: int = PICTURES,
    runtime: str = "litert",
    threads: int = 1,
    files: Sequence[str] = (),
) -> Times:
    """Time one `invoke` of each, the rounds interleaved.

    Args:
        models: TFLite files with one input, at least one.
        rounds: how often each is measured.
        pictures: of zeros, run one after the other in a round.
        runtime: a name in `edge.model.runtimes`, or "auto".
        threads: of the interpreter.
        files: where the models were read from, if they were; errors name them.

    Raises:
        ConfigError: no such runtime, or a number below 1.
        RuntimeUnavailableError: the runtime is not installed.
        ModelError: it cannot run a model.
    """
    for name, number in (("rounds", rounds), ("pictures", pictures), ("models", len(models))):
        if number < 1:
            raise ConfigError(f"{name} must be at least 1, not {number}")
    with ExitStack() as held:
        opened = []
        for number, model in enumerate(models):
            try:
                opened.append(held.enter_context(closing(open_runtime(runtime, model, threads))))
            except ModelError as error:
                name = files[number] if files else f"model {number + 1}"
                raise ModelError(f"{name}: {error}") from error
        found = _in_turn(opened, rounds, pictures)
        return Times(
            models=tuple(
                ModelTimes(
                    sha256=hashlib.sha256(model).hexdigest(),
                    file=file,
                    delegate=each.delegate,
                    milliseconds=milliseconds,
                )
                for model, file, each, milliseconds in zip(
                    models, files or [""] * len(models), opened, found, strict=True
                )
            ),
            runtime=opened[0].name,
            runtime_version=opened[0].version,
            threads=threads,
            pictures=pictures,
            board=board(),
            governor=governor(),
            temperature_celsius=temperature(),
            throttled=throttled(),
        )


def _in_turn(opened: Sequence[Runtime], rounds: int, pictures: int) -> list[tuple[float, ...]]:
    """Time the models in turn; milliseconds a picture, of each model in each round."""
    tensors = [np.zeros(each.input.shape, each.input.dtype) for each in opened]
    found: list[list[float]] = [[] for _ in opened]
    for number in range(-1, rounds):
        for each, tensor, times in zip(opened, tensors, found, strict=True):
            begin = perf_counter()
            for _ in range(pictures):
                each.invoke(tensor)
            if number >= 0:  # the round before the first warms up
                times.append((perf_counter() - begin) / pictures * 1e3)
    return [tuple(times) for times in found]


def table(times: Times) -> str:
    """Lay times out for people: medians, and the share of the first model's time."""
    first = times.models[0].milliseconds
    state = [
        f"governor {times.governor}" if times.governor else "",
        f"{times.temperature_celsius:.0f} °C" if times.temperature_celsius is not None else "",
        *(times.throttled or ()),
    ]
    lines = [
        f"machine  {', '.join(text for text in (str(times.board), *state) if text)}",
        f"runtime  {times.runtime} {times.runtime_version}, {times.threads} thread(s)",
        f"{'ms':>9}{'least':>9}{'most':>9}{'share':>9}  model",
    ]
    for model in times.models:
        each = model.milliseconds
        share = median(a / b for a, b in zip(each, first, strict=True))
        lines.append(
            f"{median(each):>9.3f}{min(each):>9.3f}{max(each):>9.3f}{share:>9.2f}  {model.file}"
        )
    lines.append(f"medians of {len(first)} rounds of {times.pictures} pictures, models in turn")
    return "\n".join(lines)
