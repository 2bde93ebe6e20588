"""The older interpreter package ``tflite-runtime``, where that is what is installed."""

from __future__ import annotations

from edge.model.runtimes._tflite import PackageInterpreter


class TFLiteRuntime(PackageInterpreter):
    """A model in ``tflite_runtime.interpreter.Interpreter``, on the CPU; built for NumPy 1."""

    name = "tflite_runtime"
    package = "tflite_runtime"
    install = "pip install tflite-runtime 'numpy<2' on Python 3.11"
