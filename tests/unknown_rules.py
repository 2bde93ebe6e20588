"""A small unknown rule for the tiny model, and a bundle that carries it."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import tiny

from edge.model.bundle.bundle import write_bundle
from edge.model.scores import DecisionSpec
from edge.model.unknown_rule import ConfidenceScale, Scale, UnknownSpec
from quantize.tflite.features import with_features

FEATURES = 4
"""Of the tiny model."""
SPEC = UnknownSpec(
    features=FEATURES,
    dtype="int8",
    scale=0.007392349187284708,
    zero_point=-128,
    directions=2,
    prototypes=1,
    logit=Scale(centre=1.0, spread=2.0),
    likeness=Scale(centre=0.5, spread=0.25),
    outlier=4.0,
)

OWN = msgspec.structs.replace(
    SPEC,
    prototypes_of=(1, 0, 0),
    confidence=ConfidenceScale(centre=1.0, spread=8.0, temperature=0.5),
)
"""The same by likeness to the answered class and by confidence."""


def arrays(classes: int = 3) -> list[np.ndarray[Any, Any]]:
    """Two directions along the first two features; class 0 and "none" look along the second."""
    layer = np.zeros((classes + 1, 2), np.float32)
    layer[0], layer[-1] = (0, 1), (0, -1)
    return [
        np.array([0.1, 0.2, 0, 0], np.float32),
        np.array([0.5, 0.25, 1, 1], np.float32),
        layer,
        np.array([0.5] + [-9] * (classes - 1) + [0.25], np.float32),
        np.array([[100, 0, 0, 0], [0, 50, 0, 0]], np.int8),
        np.array([[0, 7]], np.int8),
    ]


def packed(parts: list[np.ndarray[Any, Any]]) -> bytes:
    """The file."""
    return b"".join(part.tobytes() for part in parts)


def bundle(path: Path, data: bytes, spec: UnknownSpec = SPEC, threshold: float = 0.0) -> Path:
    """The tiny bundle with a second output and a rule."""
    found = DecisionSpec(unknown="features", unknown_threshold=threshold)
    members = tiny.members() | {"model.tflite": with_features(tiny.model()), "unknown.bin": data}
    write_bundle(path, tiny.manifest(decision=found, unknown=spec), members)
    return path
