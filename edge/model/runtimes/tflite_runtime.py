"""The older interpreter package ``tflite-runtime``, where that is what is installed."""

from __future__ import annotations

from typing import Any

from edge.errors import RuntimeUnavailableError
from edge.model.runtimes._tflite import TFLiteInterpreter, refuse_edgetpu_model
from edge.system.optional_packages import load


class TFLiteRuntime(TFLiteInterpreter):
    """A model in ``tflite_runtime.interpreter.Interpreter``, on the CPU."""

    name = "tflite_runtime"

    def __init__(self, model: bytes, threads: int = 1) -> None:
        """Load ``model`` with so many CPU threads.

        Raises:
            RuntimeUnavailableError: tflite-runtime is not installed, or was built for NumPy 1.
            ModelError: it cannot run this model.
        """
        refuse_edgetpu_model(model, self.name)
        interpreter_class, version = _package()
        super().__init__(interpreter_class, version, model, threads)

    @staticmethod
    def installed() -> str:
        """The version of tflite-runtime.

        Raises:
            RuntimeUnavailableError: it is not installed, or was built for NumPy 1.
        """
        return _package()[1]


def _package() -> tuple[Any, str]:
    """Return (Interpreter class, version)."""
    install = "pip install tflite-runtime 'numpy<2' on Python 3.11"
    package, interpreter = (
        load(name, RuntimeUnavailableError, "runtime 'tflite_runtime'", install)
        for name in ("tflite_runtime", "tflite_runtime.interpreter")
    )
    return interpreter.Interpreter, str(getattr(package, "__version__", "unknown"))
