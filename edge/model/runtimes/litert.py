"""LiteRT, the maintained TFLite interpreter: package ``ai-edge-litert``."""

from __future__ import annotations

from edge.model.runtimes._tflite import PackageInterpreter


class LiteRT(PackageInterpreter):
    """A model in ``ai_edge_litert.interpreter.Interpreter``, on the CPU."""

    name = "litert"
    package = "ai_edge_litert"
    install = "pip install 'ai-edge-litert>=2.1'"
