"""What all interpreters with TensorFlow Lite's Python API have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edge.errors import ModelError, RuntimeUnavailableError
from edge.model.runtimes import TensorSpec, dtype_name
from edge.model.tflite.flatbuffer import is_for_edgetpu
from edge.system.optional_packages import load

if TYPE_CHECKING:
    from numpy.typing import NDArray


class TFLiteInterpreter:
    """A model in an interpreter of the ``tf.lite.Interpreter`` family."""

    name = "tflite"

    def __init__(
        self,
        interpreter_class: Any,  # noqa: ANN401 - the packages carry no types
        version: str,
        model: bytes,
        threads: int,
        delegates: list[Any] | None = None,
    ) -> None:
        """Load ``model`` and reserve its memory.

        Raises:
            ModelError: damaged, of a newer schema, with unknown operators or several inputs.
        """
        self.version = version
        self._closed = False
        try:
            self._interpreter: Any = interpreter_class(
                model_content=model, num_threads=threads, experimental_delegates=delegates
            )
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"{self.name} {version} cannot load this model: {error}") from error
        inputs = self._interpreter.get_input_details()
        outputs = self._interpreter.get_output_details()
        if len(inputs) != 1 or not outputs:
            raise ModelError(
                f"a model with one input picture is needed; this one has {len(inputs)} inputs "
                f"and {len(outputs)} outputs"
            )
        self.input = _tensor(inputs[0])
        self.outputs = tuple(_tensor(output) for output in outputs)
        self._input_index = inputs[0]["index"]
        self._output_indices = [output["index"] for output in outputs]
        self.delegate = self._find_delegate()

    def invoke(self, tensor: NDArray[Any]) -> NDArray[Any]:
        """Run the input tensor; give the first output as a flat array of its own.

        Raises:
            ModelError: wrong shape or dtype, or the interpreter failed.
        """
        interpreter = self._interpreter
        if interpreter is None:
            raise ModelError("the runtime is closed")
        try:
            interpreter.set_tensor(self._input_index, tensor)
            interpreter.invoke()
            output: NDArray[Any] = interpreter.get_tensor(self._output_indices[0])
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"{self.name} cannot run this tensor: {error}") from error
        return output.reshape(-1)

    def output(self, index: int) -> NDArray[Any]:
        """Give an output of the last invoke, flat and of its own.

        Raises:
            ModelError: closed, or nothing was run yet.
        """
        if self._interpreter is None:
            raise ModelError("the runtime is closed")
        try:
            found: NDArray[Any] = self._interpreter.get_tensor(self._output_indices[index])
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"{self.name} gives no output {index}: {error}") from error
        return found.reshape(-1)

    def close(self) -> None:
        """Let the model go; a second call does nothing."""
        self._interpreter = None

    def _find_delegate(self) -> str | None:
        """The delegate's name if XNNPACK took the graph: it is then one node at the plan's end.

        LiteRT switches XNNPACK off without an error where it cannot read /proc/cpuinfo or /sys.
        """
        wrapper = getattr(self._interpreter, "_interpreter", None)
        try:
            last = wrapper.NodeName(wrapper.NumNodes() - 1)  # type: ignore[union-attr]
        except (AttributeError, ValueError, RuntimeError):
            return None
        return "XNNPACK" if last == "DELEGATE" else None


class PackageInterpreter(TFLiteInterpreter):
    """A model in the interpreter of a package, on the CPU."""

    package: str
    """As it is imported."""
    install: str
    """The command that brings it."""

    def __init__(self, model: bytes, threads: int = 1) -> None:
        """Load ``model`` with so many CPU threads.

        Raises:
            RuntimeUnavailableError: the package is not installed, or not for this NumPy.
            ModelError: it cannot run this model; one compiled for the Edge TPU fails obscurely.
        """
        if is_for_edgetpu(model):
            raise ModelError(
                f"this model is compiled for the Edge TPU and cannot run on runtime {self.name!r}; "
                "use runtime 'edgetpu' with a Coral device, or the model that it was compiled from"
            )
        version = self.installed()
        super().__init__(self._load(".interpreter").Interpreter, version, model, threads)

    @classmethod
    def installed(cls) -> str:
        """The version of the package.

        Raises:
            RuntimeUnavailableError: it is not installed, or not for this NumPy.
        """
        package = cls._load("")
        cls._load(".interpreter")
        return str(getattr(package, "__version__", "unknown"))

    @classmethod
    def _load(cls, part: str) -> Any:  # noqa: ANN401 - the packages carry no types
        use = f"runtime {cls.name!r}"
        return load(cls.package + part, RuntimeUnavailableError, use, cls.install)


def _tensor(details: dict[str, Any]) -> TensorSpec:
    scale, zero_point = details["quantization"]
    return TensorSpec(
        name=str(details["name"]),
        shape=tuple(int(n) for n in np.atleast_1d(details["shape"])),
        dtype=dtype_name(details["dtype"]),
        scale=float(scale),
        zero_point=int(zero_point),
    )
