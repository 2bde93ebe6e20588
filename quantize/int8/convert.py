"""Keras model -> TFLite bytes: float, after quantization-aware training, or post-training int8."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from numpy.typing import NDArray

from edge.errors import QuantizeError
from edge.model.bundle.manifest import OutputSpec
from edge.model.image.preprocessing import InputSpec
from edge.model.tflite import facts as tflite_file
from quantize.options import Io
from quantize.tflite.graph import check_all_int8
from quantize.workbench import INPUT_MEAN, INPUT_SCALE
from training.quiet import quiet
from training.tflite import read_graph
from training.untyped import Model


def to_float_tflite(model: Model) -> bytes:
    """Convert a float model without any quantization; the reference for the converter itself."""
    return _convert(_converter(model))


def to_int8_qat(model: Model, io: Io) -> bytes:
    """Convert a model that carries its own fake quantization.

    Raises:
        QuantizeError: the converter fails, or left an operator that is not int8.
    """
    # supported_ops stays as it is: with TFLITE_BUILTINS_INT8 the converter would ask for a
    # representative data set and overrule the ranges that were trained.
    return _int8(_converter(model), io)


def to_int8_ptq(model: Model, photos: Iterable[NDArray[Any]], io: Io) -> bytes:
    """Convert a float model, activation ranges taken from photos (float32 (1, h, w, 3) each).

    Raises:
        QuantizeError: the converter fails, or left an operator that is not int8.
    """
    import tensorflow as tf

    converter = _converter(model)
    converter.representative_dataset = lambda: ([photo] for photo in photos)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    return _int8(converter, io)


def int8_input(spec: InputSpec, model: bytes) -> InputSpec:
    """The float run's input rules with the int8 model's own tensor type, scale and zero point.

    Raises:
        QuantizeError: the model's input is not what the run's pictures are.
    """
    tensor = tflite_file.read(model).inputs[0]
    expected = (1, spec.height, spec.width, spec.channels)
    if tensor.shape != expected or tensor.dtype not in ("int8", "uint8"):
        raise QuantizeError(f"model input is {tensor.dtype} {tensor.shape}, not {expected}")
    # Written as 2/255 the scale gives every pixel its own level; the file's float32 means the same.
    exact = abs(tensor.scale - INPUT_SCALE) < 1e-8
    return msgspec.structs.replace(
        spec,
        dtype="int8" if tensor.dtype == "int8" else "uint8",
        mean=(INPUT_MEAN,) if exact else spec.mean,
        scale=INPUT_SCALE if exact else tensor.scale,
        zero_point=tensor.zero_point,
    )


def output_spec(model: bytes) -> OutputSpec:
    """Dtype, scale and zero point of the logits."""
    tensor = tflite_file.read(model).outputs[0]
    if tensor.dtype not in ("int8", "uint8"):
        raise QuantizeError(f"model output is {tensor.dtype}, not int8 or uint8")
    return OutputSpec(
        kind="logits",
        dtype="int8" if tensor.dtype == "int8" else "uint8",
        scale=tensor.scale,
        zero_point=tensor.zero_point,
    )


def _converter(model: Model) -> Any:  # noqa: ANN401 - TensorFlow carries no types
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    shape = (1, *model.input_shape[1:])
    call = tf.function(lambda image: model(image, training=False), autograph=False)
    concrete = call.get_concrete_function(tf.TensorSpec(shape, tf.float32, name="image"))
    # Only the function goes to the converter, its weights in it: given the model, or variables, it
    # would save and load them first, which takes twice to four times as long and adds nothing.
    frozen = convert_variables_to_constants_v2(concrete)
    return tf.lite.TFLiteConverter.from_concrete_functions([frozen], tf.Module())


def _int8(converter: Any, io: Io) -> bytes:  # noqa: ANN401
    import tensorflow as tf

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    dtype = {"int8": tf.int8, "uint8": tf.uint8}[io]
    converter.inference_input_type = converter.inference_output_type = dtype
    model = _convert(converter)
    check_all_int8(read_graph(model))
    return model


def _convert(converter: Any) -> bytes:  # noqa: ANN401
    try:
        with quiet():
            return bytes(converter.convert())
    except Exception as error:  # the converter raises whatever its C++ side threw
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise QuantizeError(f"the TFLite converter refused the model: {first}") from error
