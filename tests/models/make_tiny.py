"""Make the models beside this file: needs the desktop packages; they are committed.

Three classes (red, green, blue) told apart by the mean colour of a 16 x 16 picture, all int8.
Command: ``python tests/models/make_tiny.py``.
"""

from __future__ import annotations

from pathlib import Path

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from training.tf import keras, tf

HERE = Path(__file__).parent
SIZE = 16


def build() -> keras.Model:
    """Build a convolution that keeps the colours, a mean, and a dense layer with set weights."""
    keras.utils.set_random_seed(0)
    picture = keras.Input((SIZE, SIZE, 3), batch_size=1)
    x = keras.layers.Conv2D(4, 3, strides=2, activation="relu6", name="edges")(picture)
    x = keras.layers.GlobalAveragePooling2D()(x)
    logits = keras.layers.Dense(3, name="logits")(x)
    model = keras.Model(picture, logits)
    kernel = np.zeros((3, 3, 3, 4), np.float32)
    for channel in range(3):
        kernel[:, :, channel, channel] = 1 / 9
    # The fourth channel answers to fine detail, so that resizing matters to the scores.
    kernel[1, 1, :, 3], kernel[0, 0, :, 3] = 1.0, -1.0
    model.get_layer("edges").set_weights([kernel, np.array([1, 1, 1, 0], np.float32)])
    weights = np.vstack([np.eye(3) * 6 - 2, np.full((1, 3), 0.5)]).astype(np.float32)
    model.get_layer("logits").set_weights([weights, np.array([0.1, -0.1, 0.0], np.float32)])
    return model


def representative() -> list[list[np.ndarray]]:
    """Flat and noisy pictures that span -1..1."""
    random = np.random.default_rng(0)
    pictures = []
    for _ in range(50):
        colour = random.uniform(-1, 1, 3)
        noise = random.normal(0, 0.3, (1, SIZE, SIZE, 3))
        pictures.append([np.clip(colour + noise, -1, 1).astype(np.float32)])
    return pictures


def main() -> None:
    """Convert and write."""
    converter = tf.lite.TFLiteConverter.from_keras_model(build())
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8
    model = converter.convert()
    (HERE / "tiny_int8.tflite").write_bytes(model)
    (HERE / "tiny_edgetpu.tflite").write_bytes(as_if_for_edgetpu(model))


def as_if_for_edgetpu(model: bytes) -> bytes:
    """The model with its first operator named as the Edge TPU compiler names its own."""
    parsed = schema.ModelT.InitFromPackedBuf(model, 0)
    code = parsed.operatorCodes[0]
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode = b"edgetpu-custom-op"
    for operator in parsed.subgraphs[0].operators:
        if operator.opcodeIndex == 0:
            operator.builtinOptionsType, operator.builtinOptions = 0, None
    builder = flatbuffers.Builder(0)
    builder.Finish(parsed.Pack(builder), b"TFL3")
    return bytes(builder.Output())


if __name__ == "__main__":
    main()
