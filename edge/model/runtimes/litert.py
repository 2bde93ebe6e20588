"""LiteRT, the maintained TFLite interpreter: package ``ai-edge-litert``."""

from __future__ import annotations

from typing import Any

from edge.errors import RuntimeUnavailableError
from edge.model.runtimes._tflite import TFLiteInterpreter, refuse_edgetpu_model
from edge.system.optional_packages import load


class LiteRT(TFLiteInterpreter):
    """A model in ``ai_edge_litert.interpreter.Interpreter``, on the CPU."""

    name = "litert"

    def __init__(self, model: bytes, threads: int = 1) -> None:
        """Load ``model`` with so many CPU threads.

        Raises:
            RuntimeUnavailableError: ai-edge-litert is not installed.
            ModelError: it cannot run this model.
        """
        refuse_edgetpu_model(model, self.name)
        interpreter_class, version = _package()
        super().__init__(interpreter_class, version, model, threads)

    @staticmethod
    def installed() -> str:
        """The version of ai-edge-litert.

        Raises:
            RuntimeUnavailableError: it is not installed.
        """
        return _package()[1]


def _package() -> tuple[Any, str]:
    """Return (Interpreter class, version)."""
    package, interpreter = (
        load(name, RuntimeUnavailableError, "runtime 'litert'", "pip install 'ai-edge-litert>=2.1'")
        for name in ("ai_edge_litert", "ai_edge_litert.interpreter")
    )
    return interpreter.Interpreter, str(getattr(package, "__version__", "unknown"))
