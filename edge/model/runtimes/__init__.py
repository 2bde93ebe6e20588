"""Interpreters and accelerators, chosen by name from a table; one file each.

Adding one: a module here with a class that fulfils :class:`Runtime`, and a line in ``RUNTIMES``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec
import numpy as np

from edge.errors import ConfigError, RuntimeUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

T = TypeVar("T")

#: Name of the output that holds a classifier's pooled features, beside its scores.
FEATURES = "features"

#: Name -> "module:Class"; the class is called with (model: bytes, threads: int).
RUNTIMES = {
    "litert": "edge.model.runtimes.litert:LiteRT",
    "tflite_runtime": "edge.model.runtimes.tflite_runtime:TFLiteRuntime",
    "edgetpu": "edge.model.runtimes.edgetpu:EdgeTPU",
    "fake": "edge.model.runtimes.fake:Fake",
}
#: What ``auto`` tries, in this order; ``Runtime.name`` tells what it came to.
AUTO = ("litert", "tflite_runtime")


class TensorSpec(msgspec.Struct, frozen=True):
    """An input or output tensor of a model."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    """NumPy name: uint8, int8, float32."""
    scale: float = 0.0
    """Real units per level; 0 where the tensor is not quantised."""
    zero_point: int = 0


class Runtime(Protocol):
    """A loaded model, ready to be invoked from one thread at a time."""

    name: str
    """Its name in the table."""
    version: str
    """Of the interpreter package."""
    delegate: str | None
    """What runs the graph ("XNNPACK", "EdgeTPU"); None: plain kernels, or not known."""
    input: TensorSpec
    outputs: tuple[TensorSpec, ...]

    @staticmethod
    def installed() -> str:
        """The version of the runtime's package; needs no model.

        Raises:
            RuntimeUnavailableError: it, or its library, is not installed.
        """
        ...

    def invoke(self, tensor: NDArray[Any]) -> NDArray[Any]:
        """Run the input tensor; give the first output as a flat array of its own."""
        ...

    def output(self, index: int) -> NDArray[Any]:
        """Give an output of the last :meth:`invoke`, flat and of its own."""
        ...

    def close(self) -> None:
        """Let the model go; a second call does nothing."""
        ...


def open_runtime(name: str, model: bytes, threads: int = 1) -> Runtime:
    """Load TFLite ``model`` bytes into the runtime called ``name``, or into the first of ``auto``.

    Raises:
        ConfigError: no runtime of that name, or ``threads`` below 1.
        RuntimeUnavailableError: its package or library is not installed.
        ModelError: it cannot run this model.
    """
    if threads < 1:
        raise ConfigError(f"threads must be at least 1, not {threads}")
    if name == "auto":
        return _first_available(lambda found: open_runtime(found, model, threads))
    runtime: Runtime = _runtime_class(name)(model, threads)
    return runtime


def installed(name: str) -> tuple[str, str]:
    """The name and version of the interpreter that ``open_runtime`` would take.

    Raises:
        ConfigError: no runtime of that name.
        RuntimeUnavailableError: its package or library is not installed.
    """
    if name == "auto":
        return _first_available(installed)
    return name, str(_runtime_class(name).installed())


def _runtime_class(name: str) -> Any:  # noqa: ANN401 - a class and no instance fulfils Runtime
    if name not in RUNTIMES:
        known = ", ".join([*RUNTIMES, "auto"])
        raise ConfigError(f"unknown runtime {name!r}; known are {known}")
    module, _, attribute = RUNTIMES[name].partition(":")
    return getattr(import_module(module), attribute)


def _first_available(use: Callable[[str], T]) -> T:
    missing = []
    for name in AUTO:
        try:
            return use(name)
        except RuntimeUnavailableError as error:
            missing.append(str(error))
    raise RuntimeUnavailableError("no TFLite interpreter found: " + "; ".join(missing))


def dtype_name(dtype: Any) -> str:  # noqa: ANN401 - whatever NumPy takes for a dtype
    """The NumPy name of a dtype or scalar type."""
    return str(np.dtype(dtype).name)
