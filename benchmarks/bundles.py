"""A third-party model as a bundle, so that the real programs can run it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from benchmarks import material
from edge.model.bundle.bundle import write_bundle
from edge.model.bundle.manifest import Golden, Interpreter, LabelSpec, Manifest, OutputSpec
from edge.model.image.preprocessing import InputSpec, load, quantise
from edge.model.runtimes import TensorSpec, open_runtime
from edge.model.scores import DecisionSpec
from quantize.bundle.goldens import png

PICTURES = ("coral_models/bird.bmp", "coral_models/sunflower.bmp", "coral_models/dragonfly.bmp")


def third_party(data: Path, path: Path) -> Path:
    """Write the 224×224 MobileNetV2 1.0 of ``data`` as a bundle with three golden pictures."""
    path.parent.mkdir(parents=True, exist_ok=True)
    model = (data / material.MODEL).read_bytes()
    names = material.labels(data)
    runtime = open_runtime("litert", model, threads=1)
    source, target = runtime.input, runtime.outputs[0]
    shape = {"width": source.shape[2], "height": source.shape[1]}
    spec = msgspec.convert(shape | _levels(source), InputSpec)
    members, goldens = {"model.tflite": model}, []
    for number, picture in enumerate(PICTURES):
        pixels = load(data / picture, spec)
        name = f"golden/{number}.png"
        scores = runtime.invoke(quantise(pixels, spec))
        members[name] = png(pixels)
        goldens.append(Golden(file=name, scores=tuple(scores.tolist()), tolerance=2))
    runtime.close()
    manifest = Manifest(
        name="mobilenet-v2-1.0-224",
        version="1",
        created="2021-01-01T00:00:00Z",
        labels=tuple(LabelSpec(id=f"n{i:04d}", name=name) for i, name in enumerate(names)),
        input=spec,
        output=msgspec.convert({"kind": "probabilities"} | _levels(target), OutputSpec),
        decision=DecisionSpec(unknown="none"),
        goldens=tuple(goldens),
        interpreter=Interpreter(name="litert", version="any"),
    )
    write_bundle(path, manifest, members, signing_key=None)
    return path


def _levels(tensor: TensorSpec) -> dict[str, object]:
    return {"dtype": tensor.dtype, "scale": tensor.scale, "zero_point": tensor.zero_point}
