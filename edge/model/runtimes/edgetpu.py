"""Coral's Edge TPU, as a delegate of either TFLite interpreter package."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from importlib import import_module
from typing import Any

from edge.errors import ModelError, RuntimeUnavailableError
from edge.model.runtimes._tflite import TFLiteInterpreter
from edge.model.tflite.flatbuffer import is_for_edgetpu

LIBRARY = "libedgetpu.so.1"
#: Interpreter packages that can load the delegate, in order of preference.
PACKAGES = ("tflite_runtime", "ai_edge_litert")


class EdgeTPU(TFLiteInterpreter):
    """A model compiled for the Edge TPU, on the first Coral device found."""

    name = "edgetpu"

    def __init__(self, model: bytes, threads: int = 1) -> None:
        """Load ``model``; ``threads`` are for operators that stayed on the CPU.

        Raises:
            RuntimeUnavailableError: the Edge TPU library, an interpreter package or the device
                is missing.
            ModelError: not compiled for the Edge TPU, or it cannot be loaded.
        """
        if not is_for_edgetpu(model):
            raise ModelError(
                "this model is not compiled for the Edge TPU; run it through edgetpu_compiler, "
                "or choose runtime 'litert'"
            )
        _find_library()
        interpreter_class, load_delegate, version = _interpreter_package()
        try:
            delegate = load_delegate(LIBRARY)
        except (ValueError, OSError) as error:
            raise RuntimeUnavailableError(
                f"no Edge TPU answers through {LIBRARY} ({error}); is the device plugged in, and "
                "may this user open it (group plugdev, udev rule of libedgetpu1-std)?"
            ) from error
        super().__init__(interpreter_class, version, model, threads, [delegate])

    @staticmethod
    def installed() -> str:
        """The interpreter package and its version; does not look for the device.

        Raises:
            RuntimeUnavailableError: the Edge TPU library or an interpreter package is missing.
        """
        _find_library()
        return _interpreter_package()[2]

    def _find_delegate(self) -> str:
        return "EdgeTPU"


def _find_library() -> None:
    """Load the library once ourselves: the packages' own attempt leaves a half-made object."""
    try:
        ctypes.PyDLL(LIBRARY)
    except OSError as error:
        raise RuntimeUnavailableError(
            f"runtime 'edgetpu' needs the library {LIBRARY} ({error}); add Coral's package source "
            "and apt-get install libedgetpu1-std"
        ) from error


def _interpreter_package() -> tuple[Any, Callable[[str], Any], str]:
    """Return (Interpreter class, load_delegate, "package version") of the first that imports."""
    problems = []
    for name in PACKAGES:
        try:
            module = import_module(f"{name}.interpreter")
            version = getattr(import_module(name), "__version__", "unknown")
        except Exception as error:  # importing runs the package's own code
            problems.append(f"{name}: {error}")
            continue
        return module.Interpreter, module.load_delegate, f"{name} {version}"
    raise RuntimeUnavailableError(
        f"runtime 'edgetpu' needs tflite-runtime or ai-edge-litert ({'; '.join(problems)})"
    )
