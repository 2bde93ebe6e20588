"""A runtime without an interpreter, for demonstrations and tests: shipped, chosen by name.

Its "model" is JSON (see :func:`fake_model`): scripted scores in turn, or the class whose colour is
nearest to the picture's mean colour. Given a TFLite model instead, it takes shapes and types from
it and makes scores up from a hash of the input: the same picture always scores the same.
"""

from __future__ import annotations

import os
import signal
import time
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np

from edge import __version__
from edge.errors import ModelError
from edge.model.runtimes import TensorSpec
from edge.model.tflite import facts as tflite_file
from edge.text.json_text import from_json
from edge.text.refusals import refusal

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a fake model fails, as real interpreters have been seen to."""

    kind: Literal["crash", "hang", "memory", "error", "slow"]
    """A segmentation fault; no answer; all the memory there is; an error; `seconds` a picture."""
    after: int = 0
    """Pictures that go well before."""
    seconds: float = 0.0

    def strike(self) -> None:
        """Fail. Raises ModelError, MemoryError."""
        if self.kind == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        elif self.kind == "hang":
            while True:
                time.sleep(3600)
        elif self.kind == "memory":
            taken = []
            while True:
                taken.append(bytearray(16 << 20))
        elif self.kind == "error":
            raise ModelError("the fake model fails, as it was told to")
        time.sleep(self.seconds)


class FakeModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the fake runtime runs."""

    input: TensorSpec
    output: TensorSpec
    features: TensorSpec | None = None
    """Of a second output, which holds chance numbers."""
    script: tuple[tuple[float, ...], ...] = ()
    """Raw outputs, given one after the other, then from the start again."""
    colours: tuple[tuple[float, ...], ...] = ()
    """One mean input value per channel and class; the nearest class scores highest."""
    fault: Fault | None = None
    """What goes wrong."""


def fake_model(
    classes: int = 2,
    *,
    size: int = 8,
    script: Sequence[Sequence[float]] = (),
    colours: Sequence[Sequence[float]] = (),
    dtype: str = "uint8",
    fault: Fault | None = None,
) -> bytes:
    """The bytes of a fake model for (1, size, size, 3) inputs and float32 logits."""
    model = FakeModel(
        input=TensorSpec("input", (1, size, size, 3), dtype, 1.0 if dtype != "float32" else 0.0),
        output=TensorSpec("output", (1, classes), "float32"),
        script=tuple(tuple(row) for row in script),
        colours=tuple(tuple(row) for row in colours),
        fault=fault,
    )
    return msgspec.json.encode(model)


class Fake:
    """Scores without inference, the same for the same inputs in the same order."""

    name = "fake"
    version = __version__
    delegate: str | None = None

    def __init__(self, model: bytes, threads: int = 1) -> None:  # noqa: ARG002 - one signature
        """Read a fake model, or a TFLite model's shapes.

        Raises:
            ModelError: neither of the two.
        """
        self._model = _read(model)
        self.input = self._model.input
        second = self._model.features
        self.outputs = (self._model.output, *([] if second is None else [second]))
        self._last = np.zeros(0, np.uint8)
        self._calls = 0
        self._closed = False

    @staticmethod
    def installed() -> str:
        """The program's own version: the fake runtime is part of it."""
        return __version__

    def invoke(self, tensor: NDArray[Any]) -> NDArray[Any]:
        """Return scores for the input tensor as a flat array.

        Raises:
            ModelError: closed, or a tensor of the wrong shape or dtype.
        """
        if self._closed:
            raise ModelError("the runtime is closed")
        if tensor.shape != self.input.shape or tensor.dtype != self.input.dtype:
            raise ModelError(
                f"fake expects {self.input.dtype} {self.input.shape}, "
                f"not {tensor.dtype} {tensor.shape}"
            )
        self._calls += 1
        self._last = tensor
        fault = self._model.fault
        if fault is not None and self._calls > fault.after:
            fault.strike()
        model, output = self._model, self._model.output
        if model.script:
            scores = np.array(model.script[(self._calls - 1) % len(model.script)])
        elif model.colours:
            mean = tensor.reshape(-1, tensor.shape[-1]).mean(axis=0)
            scores = -np.abs(np.array(model.colours) - mean).sum(axis=1) / 16
        else:
            seed = zlib.crc32(np.ascontiguousarray(tensor).tobytes())
            scores = np.random.default_rng(seed).normal(size=output.shape[-1])
        if output.dtype == "float32":
            return scores.astype(np.float32)
        low, high = np.iinfo(output.dtype).min, np.iinfo(output.dtype).max
        levels = np.rint(scores / (output.scale or 1.0)) + output.zero_point
        result: NDArray[Any] = np.clip(levels, low, high).astype(output.dtype)
        return result

    def output(self, index: int) -> NDArray[Any]:
        """Give scores or features for the last tensor, the same for the same one."""
        spec = self.outputs[index]
        seed = zlib.crc32(np.ascontiguousarray(self._last).tobytes())
        levels = np.random.default_rng([seed, index]).integers(-128, 128, spec.shape[-1])
        return levels.astype(np.int8).view(spec.dtype)

    def close(self) -> None:
        """Let the model go; a second call does nothing."""
        self._closed = True


def _read(model: bytes) -> FakeModel:
    if not model.startswith(b"{"):
        facts = tflite_file.read(model)
        second = facts.outputs[1] if len(facts.outputs) > 1 else None
        return FakeModel(input=facts.inputs[0], output=facts.outputs[0], features=second)
    try:
        return from_json(model, msgspec.json.Decoder(FakeModel))
    except msgspec.DecodeError as error:
        raise ModelError(f"not a fake model: {refusal(error)}") from error
