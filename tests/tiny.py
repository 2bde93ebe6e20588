"""A bundle of 3 KB around tests/models/tiny_int8.tflite, for tests that need a real one."""

from __future__ import annotations

import io
from pathlib import Path

import msgspec
import numpy as np
from PIL import Image

from edge.model.bundle.bundle import write_bundle
from edge.model.bundle.manifest import Golden, Interpreter, LabelSpec, Manifest, OutputSpec
from edge.model.image.preprocessing import InputSpec
from edge.model.scores import DecisionSpec

MODELS = Path(__file__).parent / "models"
COLOURS = {"red": (220, 40, 30), "green": (40, 210, 60), "blue": (30, 50, 200)}
#: What LiteRT 2.3.0 gives for the pictures of golden_png, by label.
SCORES = {"red": (127, -47, -56), "green": (-50, 112, -33), "blue": (-50, -35, 115)}


def model(name: str = "tiny_int8") -> bytes:
    """The bytes of a model beside this file."""
    return (MODELS / f"{name}.tflite").read_bytes()


def png(pixels: np.ndarray) -> bytes:
    """Encode uint8 pixels."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def picture(label: str, width: int = 40, height: int = 30) -> np.ndarray:
    """A noisy picture of the label's colour, uint8 (height, width, 3)."""
    noise = np.random.default_rng(len(label)).integers(-20, 20, (height, width, 3))
    return np.clip(np.array(COLOURS[label]) + noise, 0, 255).astype(np.uint8)


def manifest(**changes: object) -> Manifest:
    """A manifest for the tiny model with three goldens."""
    base = Manifest(
        name="tiny",
        version="1.0",
        created="2026-01-01T00:00:00Z",
        labels=tuple(LabelSpec(id=label, name=label.title()) for label in COLOURS),
        input=InputSpec(
            width=16, height=16, dtype="int8", scale=0.007843137718737125, zero_point=-1
        ),
        output=OutputSpec(dtype="int8", scale=0.04818287864327431, zero_point=10),
        decision=DecisionSpec(),
        goldens=tuple(
            Golden(file=f"golden/{label}.png", scores=scores, tolerance=2)
            for label, scores in SCORES.items()
        ),
        interpreter=Interpreter(name="litert", version="2.3.0"),
    )
    return msgspec.structs.replace(base, **changes)


def members() -> dict[str, bytes]:
    """The members that go with :func:`manifest`."""
    goldens = {f"golden/{label}.png": png(picture(label)) for label in COLOURS}
    return {"model.tflite": model(), **goldens}


def write(path: Path, **changes: object) -> Path:
    """Write the tiny bundle, its manifest changed as said."""
    write_bundle(path, manifest(**changes), members())
    return path
