"""A third-party model as a bundle, so that the real programs can run it."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks import material
from edge.bundle import write_bundle
from edge.image import InputSpec, load, quantise
from edge.manifest import Golden, Interpreter, LabelSpec, Manifest, OutputSpec
from edge.runtimes import open_runtime
from edge.scores import DecisionSpec

PICTURES = ("coral_models/bird.bmp", "coral_models/sunflower.bmp", "coral_models/dragonfly.bmp")


def third_party(data: Path, path: Path) -> Path:
    """Write the 224×224 MobileNetV2 1.0 of ``data`` as a bundle with three golden pictures."""
    path.parent.mkdir(parents=True, exist_ok=True)
    model = (data / material.MODEL).read_bytes()
    names = material.labels(data)
    runtime = open_runtime("litert", model, threads=1)
    source, target = runtime.input, runtime.outputs[0]
    spec = InputSpec(
        width=source.shape[2],
        height=source.shape[1],
        dtype=source.dtype,
        scale=source.scale,
        zero_point=source.zero_point,
    )
    members, goldens = {"model.tflite": model}, []
    for number, picture in enumerate(PICTURES):
        pixels = load(data / picture, spec)
        name = f"golden/{number}.png"
        scores = runtime.invoke(quantise(pixels, spec))
        members[name] = _png(pixels)
        goldens.append(Golden(file=name, scores=tuple(scores.tolist()), tolerance=2))
    runtime.close()
    manifest = Manifest(
        name="mobilenet-v2-1.0-224",
        version="1",
        created="2021-01-01T00:00:00Z",
        labels=tuple(LabelSpec(id=f"n{i:04d}", name=name) for i, name in enumerate(names)),
        input=spec,
        output=OutputSpec(
            kind="probabilities",
            dtype=target.dtype,
            scale=target.scale,
            zero_point=target.zero_point,
        ),
        decision=DecisionSpec(unknown="none"),
        goldens=tuple(goldens),
        interpreter=Interpreter(name="litert", version="any"),
    )
    write_bundle(path, manifest, members, signing_key=None)
    return path


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
